//! The attackers: a process of their own, with threads for each role, until it is told to end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::ground::Ground;
use super::roles::{Kit, ROLES};
use crate::proc::raise_descriptors;
use crate::wait::poll_for;

/// Stack of a thread of an attacker, in bytes.
const STACK: usize = 256 * 1024;

/// The time after the end of an attack for roles that have not acted at all.
const PATIENCE: Duration = Duration::from_secs(120);

/// The number of times that each role acted, by the role's name.
#[derive(Debug)]
pub(super) struct Blows(pub(super) BTreeMap<String, u64>);

/// The attackers' process, as the one who measures has it.
pub(super) struct Attackers {
    child: Child,
    orders: ChildStdin,
}

impl Attackers {
    /// Runs the program once more, behind these words.
    pub(super) fn start(program: &Path, behind: &[OsString], ground: &Ground) -> Self {
        let mut words = behind.iter();
        let mut command =
            Command::new(words.next().map_or(program.as_os_str(), OsString::as_os_str));
        command.args(words);
        if !behind.is_empty() {
            command.arg(program);
        }
        command.arg("attack").arg("--attackers").arg(ground.local());
        command.args(["--target", &ground.world.target()]);
        let kit = [ground.world.dir(), &ground.denied, &ground.permitted];
        command.args(kit.iter().flat_map(|folder| ["--kit".as_ref(), folder.as_os_str()]));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process for the attackers");
        let orders = child.stdin.take().expect("its stdin");
        Self { child, orders }
    }

    /// Ends them, and returns what they did.
    pub(super) fn end(mut self) -> Blows {
        drop(self.orders);
        let mut said = String::new();
        let mut out = self.child.stdout.take().expect("its stdout");
        out.read_to_string(&mut said).expect("their last word");
        assert!(self.child.wait().expect("the attackers end").success());
        Blows(serde_json::from_str(&said).expect("what they did"))
    }
}

/// Attacks in every role until standard input ends and each role has acted, or had two minutes more. Then prints
/// how often each did what it does, and ends the process, whatever its threads are at.
///
/// # Panics
///
/// When there are no threads to be had.
pub fn run(local: &Path, target: SocketAddr, kit: &[PathBuf]) -> ! {
    raise_descriptors();
    let [world, denied, permitted] = kit else { panic!("{kit:?}") };
    let kit = Kit::new(target, world, denied, permitted, local);
    let kit = Arc::new(kit);
    let mut counts = BTreeMap::new();
    for role in ROLES.iter().filter(|role| (role.can)(&kit)) {
        let count = Arc::<AtomicU64>::default();
        counts.insert(role.name, Arc::clone(&count));
        for _ in 0..role.threads {
            let (kit, count) = (Arc::clone(&kit), Arc::clone(&count));
            let attack = move || loop {
                // A connection that was cut, or a place that was refused, is what an attacker expects.
                let _ = (role.act)(&kit, &count);
            };
            let builder = std::thread::Builder::new().stack_size(STACK);
            builder.spawn(attack).expect("a thread");
        }
    }
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    // Beside other work on the machine the slowest have not acted by then.
    let all_acted = || counts.values().all(|count| count.load(Ordering::Relaxed) > 0);
    let _ = poll_for(PATIENCE, || all_acted().then_some(()));
    let counts: BTreeMap<_, _> =
        counts.iter().map(|(name, count)| (*name, count.load(Ordering::Relaxed))).collect();
    let said = serde_json::to_string(&counts).expect("names and numbers");
    std::io::stdout().write_all(said.as_bytes()).expect("a reader");
    // Threads that wait for the server are not waited for; what is in the way goes with its standard input.
    std::process::exit(0)
}
