//! Rotation under load: a new authority in place of the old one, in a group of running servers whose
//! commands notice nothing.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rcmd_certs::tls::load_certificates;

use crate::World;
use crate::authority::Serving;
use crate::membership::enrolled;
use crate::wait::eventually;

/// The figures of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Servers that were moved over, each with a client of its own.
    pub servers: u64,
    /// Commands meanwhile, none of which failed.
    pub commands: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} servers moved over, {} commands, none failed", self.servers, self.commands)
    }
}

/// Starts `servers` servers, each with a client that runs one command after the other, while an
/// operator orders the rotation's steps until it is complete. Clients renew after two thirds of
/// `client_life`.
///
/// # Panics
///
/// When a command fails, or somebody is left behind.
#[must_use]
pub fn run(servers: u64, client_life: &str) -> Figures {
    // Clients renew after a command, within seconds; servers when they hear of a step.
    let authority = Serving::with(&format!("client_life = {client_life:?}"));
    let mut worlds: Vec<World> =
        (0..servers).map(|_| enrolled(&authority, World::builder())).collect();
    worlds.iter_mut().for_each(World::start_server);
    let root = |world: &World| load_certificates(&world.dir().join("ca.pem")).expect("roots");
    let old = root(&worlds[0]);
    let (over, commands) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for world in &worlds {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    world.exec(["true"]).run().assert_code(0);
                    commands.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for step in ["it is announced", "the new one signs", "it is complete"] {
            // Status 1 while somebody has to be waited for.
            eventually(step, || authority.try_certs(&["rotate"]).status.success());
        }
        for world in &worlds {
            eventually("the old root is forgotten", || root(world).len() == 1);
            assert_ne!(root(world)[0].key, old[0].key);
        }
        over.store(true, Ordering::Relaxed);
    });
    Figures { servers, commands: commands.into_inner() }
}
