//! A throwaway authority, a server of its own and clients for it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::Result;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::binaries::Binaries;
use crate::client::ClientCommand;
use crate::lines::Lines;
use crate::proc::{self, Process, Snapshot};
use crate::raw::{RawPeer, Start};
use crate::server::{Launch, Server};
use crate::wait::{DEADLINE, poll_for};

mod builder;

pub use builder::Builder;

/// One folder with an authority and identities, and one running server.
///
/// Dropping it stops the server and asserts that nothing is left of it. A test that is failing
/// already gets the end of the server's log instead.
#[derive(Debug)]
pub struct World {
    binaries: &'static Binaries,
    launch: Launch,
    server: Option<Server>,
    /// The resources that the server held when it began to listen.
    idle: Option<Snapshot>,
    log: Lines,
    /// The processes that ran below servers that were killed.
    strays: Vec<Process>,
    client_dir: PathBuf,
    dir: TempDir,
}

/// Makes a folder for programs, which are run only from where nobody else could change them: not
/// from below `/tmp`.
///
/// # Panics
///
/// When there is no home to make it in.
#[must_use]
pub fn own_folder() -> TempDir {
    let home = std::env::var_os("HOME").expect("a home");
    tempfile::Builder::new().prefix(".rcmd-").tempdir_in(home).expect("a folder in the home")
}

impl World {
    /// Starts a world with a server as it is by default.
    ///
    /// # Panics
    ///
    /// When it can't be made.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Returns a builder, by which something is changed before the server starts.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns the folder with `ca.pem`, `authority/`, `server/` and `client/`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.launch.dir
    }

    /// Returns the folder with the client's `ca.pem` and identity: the same, unless the server runs
    /// as another user, to whom that one belongs.
    #[must_use]
    pub fn client_dir(&self) -> &Path {
        &self.client_dir
    }

    /// Returns a path for a file of the test's own, removed with the world.
    #[must_use]
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the address at which the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.launch.listen
    }

    /// Returns the server's address as a client's HOST.
    #[must_use]
    pub fn target(&self) -> String {
        self.address().to_string()
    }

    /// Returns a client with this world's identity and target and no command yet.
    pub fn client(&self) -> ClientCommand {
        let mut client = ClientCommand::new(&self.binaries.client);
        client.in_world(self.client_dir(), self.target(), self.log.clone());
        client
    }

    /// Returns a client that runs a program with exactly these arguments (`--exec`).
    pub fn exec<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> ClientCommand {
        self.client().option("--exec").words(words)
    }

    /// Returns a client that runs a line in the remote shell (`--shell`).
    pub fn shell(&self, line: impl AsRef<OsStr>) -> ClientCommand {
        self.client().option("--shell").words([line])
    }

    /// Returns the command of `rcmd-client` with these arguments and nothing else.
    pub fn bare_client<W: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = W>) -> ClientCommand {
        ClientCommand::new(&self.binaries.client).words(args)
    }

    /// Returns the command of `rcmd-certs`, to be given arguments.
    #[must_use]
    pub fn certs(&self) -> Command {
        let mut command = Command::new(&self.binaries.certs);
        command.env_remove("RCMD_DIR").stdin(Stdio::null());
        command
    }

    /// Returns the command `rcmd-server --dir DIR` with this world's folder, to be given more
    /// arguments: a second server, which the world neither starts nor ends.
    #[must_use]
    pub fn server_program(&self) -> Command {
        let mut command = Command::new(&self.binaries.server);
        command.env_remove("RCMD_DIR").stdin(Stdio::null());
        command.arg("--dir").arg(self.dir());
        command
    }

    /// Returns the command of `rcmd-server`, to be given a subcommand.
    #[must_use]
    pub fn server_tool(&self) -> Command {
        let mut command = Command::new(&self.binaries.server);
        command.env_remove("RCMD_DIR").stdin(Stdio::null());
        command
    }

    /// Returns the server's process number.
    ///
    /// # Panics
    ///
    /// When no server runs.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("a running server").pid()
    }

    /// Sends the server a signal.
    ///
    /// # Panics
    ///
    /// When no server runs.
    pub fn signal_server(&self, signal: Signal) {
        self.server.as_ref().expect("a running server").signal(signal);
    }

    /// Starts the server after [`Builder::prepare`], [`World::stop_server`] or [`World::kill_server`],
    /// from the second time on at the same port.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start_server(&mut self) {
        self.try_start_server().unwrap_or_else(|error| panic!("{error:#}"));
    }

    fn try_start_server(&mut self) -> Result<()> {
        let server = Server::start(&self.launch, &self.log)?;
        self.launch.listen = server.address();
        self.idle = Snapshot::of(server.pid());
        self.server = Some(server);
        Ok(())
    }

    /// Ends the server by TERM and TERM again, and asserts that nothing below it is left.
    ///
    /// # Panics
    ///
    /// When it does not end, or something is left.
    pub fn stop_server(&mut self) -> ExitStatus {
        let mut server = self.server.take().expect("a running server");
        server.stop().unwrap_or_else(|error| panic!("{error:#}\n{}", self.log.tail()))
    }

    /// Waits for the end of a server that was told to stop.
    ///
    /// # Panics
    ///
    /// If the server does not end.
    pub fn wait_server(&mut self) -> ExitStatus {
        let mut server = self.server.take().expect("a running server");
        server.wait().unwrap_or_else(|error| panic!("{error:#}\n{}", self.log.tail()))
    }

    /// Kills the server. What ran below it is ended with the world.
    ///
    /// # Panics
    ///
    /// When no server runs.
    pub fn kill_server(&mut self) {
        let mut server = self.server.take().expect("a running server");
        self.strays.extend(server.kill());
    }

    /// Restarts the server: [`World::stop_server`] and [`World::start_server`].
    ///
    /// # Panics
    ///
    /// When one of these does.
    pub fn restart(&mut self) {
        self.stop_server();
        self.start_server();
    }

    /// Returns the lines that the world's servers logged until now.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.all()
    }

    /// Returns the number of bytes that the world's servers and clients have logged until now.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// Waits for the first line of the log that contains `needle`, and returns it.
    ///
    /// # Panics
    ///
    /// When it does not come within [`DEADLINE`].
    #[track_caller]
    pub fn wait_for_log(&self, needle: &str) -> String {
        self.wait_for_log_lines(needle, 1).remove(0)
    }

    /// Waits for the first `count` lines of the log that contain `needle`, and returns them.
    ///
    /// # Panics
    ///
    /// When they do not come within [`DEADLINE`].
    #[track_caller]
    pub fn wait_for_log_lines(&self, needle: &str, count: usize) -> Vec<String> {
        self.log.wait_for(needle, count, DEADLINE).unwrap_or_else(|| {
            panic!("no {count} lines with {needle:?} in the server's log:\n{}", self.log.tail())
        })
    }

    /// Returns the resources that the server holds now. Take them after a first command has run:
    /// some things are made then and stay.
    ///
    /// # Panics
    ///
    /// When no server runs.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self.pid()).expect("the server's entry in /proc")
    }

    /// Takes a snapshot after one command, when what that left behind is gone.
    ///
    /// # Panics
    ///
    /// When the command fails, or the server does not come to rest.
    #[must_use]
    pub fn settled_snapshot(&self) -> Snapshot {
        let idle = self.idle.as_ref().expect("a running server");
        let mut peer = RawPeer::greeted(self);
        let ran = peer.run(&Start::exec(1, &["true"])).expect("a command");
        assert_eq!(ran.exit["code"], 0, "{}", ran.exit);
        peer.close().expect("close_notify is taken");
        peer.expect_closed();
        let at_rest = || {
            let now = self.snapshot();
            let alone = now.children == 0 && now.zombies == 0 && self.open_connections() == 0;
            // A connection that both sides have ended still holds its socket for a moment.
            (alone && now.descriptors.get("socket") <= idle.descriptors.get("socket"))
                .then_some(now)
        };
        poll_for(DEADLINE, at_rest).unwrap_or_else(|| panic!("not at rest: {:?}", self.snapshot()))
    }

    /// Asserts that the server comes back to what it held before.
    ///
    /// # Panics
    ///
    /// When it does not within [`DEADLINE`].
    #[track_caller]
    pub fn assert_settles_to(&self, before: &Snapshot) {
        let back = poll_for(DEADLINE, || self.snapshot().is_back_to(before).then_some(()));
        assert!(
            back.is_some(),
            "the server kept something.\nbefore: {before:?}\nnow:    {:?}\nbelow it: {:?}\nlog:\n{}",
            self.snapshot(),
            proc::descendants(self.pid()),
            self.log.tail()
        );
    }

    /// Counts the TCP connections that the server's port has now, in any state that still holds a
    /// descriptor (proc(5), `/proc/net/tcp`).
    #[must_use]
    pub fn open_connections(&self) -> usize {
        let SocketAddr::V4(address) = self.address() else {
            return 0;
        };
        let local = format!("{:08X}:{:04X}", u32::from(*address.ip()).swap_bytes(), address.port());
        let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let held = |line: &str| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let (ours, _, state) = (fields.next(), fields.next(), fields.next());
            // 01 established, 08 close-wait: the rest is the listener or the kernel's own.
            ours == Some(&local) && matches!(state, Some("01" | "08"))
        };
        table.lines().filter(|line| held(line)).count()
    }

    /// Returns the server's resident memory in KiB.
    ///
    /// # Panics
    ///
    /// When no server runs.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        proc::resident_kib(self.pid()).expect("the server's entry in /proc")
    }

    /// Stops the server and removes everything, as dropping does.
    ///
    /// # Errors
    ///
    /// When the server does not end, or something below it is left.
    pub fn end(mut self) -> Result<()> {
        self.clear()
    }

    fn clear(&mut self) -> Result<()> {
        let stopped = match self.server.take() {
            Some(mut server) => server.stop().map(drop),
            None => Ok(()),
        };
        self.strays.drain(..).for_each(|stray| stray.kill());
        stopped
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Some(mut server) = self.server.take() {
                self.strays.extend(server.kill());
                let _ = writeln!(std::io::stderr(), "the server's log ended:\n{}", self.log.tail());
            }
            self.strays.iter().for_each(Process::kill);
        } else if let Err(error) = self.clear() {
            panic!("{error:#}\nthe server's log ended:\n{}", self.log.tail());
        }
    }
}
