//! Renewal under load: a server that renews again and again, and commands that notice nothing.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rcmd_certs::enroll::Kind;

use crate::World;
use crate::audit::{assert_whole, records};
use crate::authority::Serving;
use crate::membership::{enrolled, serial};
use crate::wait::eventually;

/// Clients that run one command after the other.
const CLIENTS: usize = 2;

/// The figures of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Certificates that the server got and used.
    pub renewals: u64,
    /// Commands meanwhile, none of which failed.
    pub commands: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} renewals, {} commands, none failed", self.renewals, self.commands)
    }
}

/// Lets the server renew its certificate `rounds` times, with lives of 3 s, while clients run
/// commands and one session lasts from the first renewal to the last on one connection.
///
/// # Panics
///
/// When a command fails, the session's connection is lost, or a renewal is missing in the audit.
#[must_use]
pub fn run(rounds: u64) -> Figures {
    let authority = Serving::with("server_life = \"3s\"\nclient_life = \"1h\"");
    let mut world = enrolled(&authority, World::builder());
    world.start_server();
    let mut session = world.exec(["cat"]).stdin_pipe().with_result().spawn();
    let (over, commands) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    world.exec(["true"]).run().assert_code(0);
                    commands.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..rounds {
            let before = serial(&world, Kind::Server);
            eventually("a renewal", || serial(&world, Kind::Server) != before);
        }
        over.store(true, Ordering::Relaxed);
    });
    session.write_stdin(b"still here\n");
    drop(session.stdin.take());
    let done = session.wait();
    done.assert_code(0);
    assert_eq!(done.stdout_text(), "still here\n");
    let lost = world.log().into_iter().find(|line| line.contains(" lost "));
    assert_eq!(lost, None, "a connection was dropped");
    let is_renewal =
        |record: &serde_json::Value| record["event"] == "enrolment" && record["failure"].is_null();
    eventually("each renewal is in the audit", || {
        records(&world).iter().filter(|record| is_renewal(record)).count() as u64 >= rounds
    });
    assert_whole(&world, None);
    Figures { renewals: rounds, commands: commands.into_inner() }
}
