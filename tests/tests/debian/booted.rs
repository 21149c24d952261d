//! A Debian of its own under its own service manager.

use std::process::{Child, Command, Stdio};

use rcmd_tests::proc::{Process, descendants};
use rcmd_tests::wait::{DEADLINE, eventually, eventually_some, poll_for};

use super::root::{Root, quiet, said};

/// A Debian that runs in namespaces of its own, a network with nothing but loopback among them. All of it ends when it
/// is dropped.
pub(crate) struct Booted {
    unshare: Child,
    init: Process,
    /// The folder of this Debian.
    pub(crate) root: Root,
}

impl Booted {
    /// Starts the service manager and waits until it has started what it is to start.
    pub(crate) fn start(root: Root) -> Self {
        let mut command = root.entered(true, &["/lib/systemd/systemd"]);
        command.env("container", "rcmd").stdout(Stdio::null()).stderr(Stdio::null());
        let unshare = command.spawn().unwrap();
        // Before it has this name it has not entered the other root yet.
        let init = eventually_some("the service manager runs", || {
            let below = descendants(unshare.id());
            below.into_iter().find(|one| one.parent == unshare.id() && one.name == "systemd")
        });
        let booted = Self { unshare, init, root };
        eventually("all units are started", || {
            let state = booted.command("systemctl is-system-running").output().unwrap().stdout;
            ["running\n", "degraded\n"].iter().any(|up| state == up.as_bytes())
        });
        booted
    }

    fn command(&self, lines: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--all", "--target", &self.init.pid.to_string(), "sh", "-euc", lines]);
        quiet(&mut command);
        command
    }

    /// Runs lines of sh and returns what they print.
    #[track_caller]
    pub(crate) fn run(&self, lines: &str) -> String {
        said(self.command(lines).output().unwrap(), lines)
    }

    /// Runs lines of sh that end with status 1, and returns what they print.
    #[track_caller]
    pub(crate) fn fails(&self, lines: &str) -> String {
        self.run(&format!("status=0; ( {lines} ) || status=$?; test $status = 1"))
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        // The folder is removed next.
        let _ = poll_for(DEADLINE, || (!self.init.runs()).then_some(()));
    }
}
