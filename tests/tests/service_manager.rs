//! The server under a service manager: what it says to it, and what it takes from it.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rcmd_tests::World;
use rcmd_tests::wait::DEADLINE;
use rustix::process::Signal;

/// The socket of a service manager (sd_notify(3)).
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path, _folder: folder }
    }

    /// Returns the next message, if one comes in time.
    fn next_within(&self, time: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(time)).unwrap();
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).ok()?;
        Some(String::from_utf8(message[..length].to_vec()).unwrap())
    }

    /// Returns the next message that is not for the watchdog.
    fn next(&self) -> String {
        loop {
            let message = self.next_within(DEADLINE).expect("a message");
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }
}

#[test]
fn the_manager_is_told_when_the_server_is_ready_reloads_and_stops() {
    let manager = Manager::new();
    let mut world = World::builder().server_env("NOTIFY_SOCKET", &manager.path).start();
    assert_eq!(manager.next(), format!("READY=1\nSTATUS=listening on {}", world.target()));

    let reload = |says: &str| {
        world.signal_server(Signal::HUP);
        let reloading = manager.next();
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
        assert!(time.lines().next().unwrap().parse::<u64>().unwrap() > 0, "{reloading}");
        assert_eq!(manager.next(), format!("READY=1\nSTATUS={says}"));
    };
    reload("reloaded");
    // What can't be used is said, and the server is ready all the same, with what it had.
    let policy = world.dir().join("policy.cedar");
    let good = fs::read(&policy).unwrap();
    fs::write(&policy, "permit (").unwrap();
    reload("not reloaded, the log says why: policy");
    world.shell("true").run().assert_code(0);
    fs::write(&policy, good).unwrap();
    reload("reloaded");

    world.signal_server(Signal::TERM);
    assert_eq!(manager.next(), "STOPPING=1\nSTATUS=waiting for commands to end");
    assert!(world.wait_server().success());
}

#[test]
fn the_watchdog_hears_of_a_server_that_lives_and_of_no_other() {
    let manager = Manager::new();
    let world = World::builder()
        .server_env("NOTIFY_SOCKET", &manager.path)
        .server_env("WATCHDOG_USEC", "400000")
        .start();
    assert!(manager.next().starts_with("READY=1"));
    let hears = || {
        let message = manager.next_within(DEADLINE);
        assert_eq!(message.as_deref(), Some("WATCHDOG=1"));
    };
    (0..3).for_each(|_| hears());
    world.signal_server(Signal::STOP);
    // What was said before the stop is heard; then there is silence for longer than the period.
    let began = Instant::now();
    while manager.next_within(Duration::from_millis(900)).is_some() {
        assert!(began.elapsed() < DEADLINE, "a stopped server goes on speaking");
    }
    world.signal_server(Signal::CONT);
    (0..3).for_each(|_| hears());
}

#[test]
fn a_watchdog_for_another_process_hears_nothing() {
    let manager = Manager::new();
    let world = World::builder()
        .server_env("NOTIFY_SOCKET", &manager.path)
        .server_env("WATCHDOG_USEC", "20000")
        .server_env("WATCHDOG_PID", "1")
        .start();
    assert!(manager.next().starts_with("READY=1"));
    world.shell("true").run().assert_code(0);
    assert_eq!(manager.next_within(Duration::from_millis(200)), None);
}

#[test]
fn a_manager_that_can_not_be_reached_does_not_keep_the_server_from_serving() {
    let world = World::builder().server_env("NOTIFY_SOCKET", "/nonexistent/notify").start();
    world.wait_for_log("the service manager can not be told of the server's state");
    world.shell("true").run().assert_code(0);
}

#[test]
fn what_the_manager_says_to_the_server_reaches_no_command() {
    let manager = Manager::new();
    let world = World::builder()
        .passed_socket()
        .server_env("NOTIFY_SOCKET", &manager.path)
        .server_env("WATCHDOG_USEC", "10000000")
        .server_env("JOURNAL_STREAM", "8:1")
        .server_env("INVOCATION_ID", "0123456789abcdef")
        .start();
    let done = world.shell("env; echo; ls /proc/self/fd").run();
    done.assert_code(0);
    let said = done.stdout_text();
    let (variables, descriptors) = said.split_once("\n\n").unwrap();
    for name in ["LISTEN_", "NOTIFY_", "WATCHDOG_", "JOURNAL_", "INVOCATION_"] {
        assert!(!variables.contains(name), "{name}: {variables}");
    }
    // The last is the folder that ls(1) reads.
    assert_eq!(descriptors.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"], "{said}");
}
