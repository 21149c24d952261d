//! A real `rcmd-certs serve`, as a child of the test.

use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rcmd_certs::Layout;
use rcmd_certs::enroll::token::Token;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::lines::Lines;
use crate::wait::{DEADLINE, exit_within};
use crate::{binaries, proc};

/// An authority in a folder of its own, and the process that serves it.
pub struct Serving {
    folder: TempDir,
    log: Lines,
    process: Option<Child>,
    address: SocketAddr,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Serving").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Serving {
    /// Makes an authority and serves it on a free port of the loopback.
    ///
    /// # Panics
    ///
    /// When `rcmd-certs` fails.
    #[must_use]
    pub fn start() -> Self {
        Self::with("")
    }

    /// Starts an authority as [`Serving::start`] does, with lines of `authority.toml`.
    ///
    /// # Panics
    ///
    /// Panics when [`Serving::start`] does.
    #[must_use]
    pub fn with(settings: &str) -> Self {
        let mut serving = Self::unused();
        serving.certs(&["init"]);
        fs::write(serving.layout().authority_toml(), settings).expect("authority.toml");
        serving.restart();
        serving
    }

    /// Makes a folder without an authority.
    ///
    /// # Panics
    ///
    /// Without a folder for temporary files.
    #[must_use]
    pub fn unused() -> Self {
        let folder = tempfile::Builder::new().prefix("rcmd-ca-").tempdir().expect("a folder");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { folder, log: Lines::default(), process: None, address }
    }

    /// Serves the authority that `rcmd-certs WORDS` makes.
    ///
    /// # Panics
    ///
    /// Panics when [`Serving::start`] does.
    #[must_use]
    pub fn made_by(words: &[&str]) -> Self {
        let mut serving = Self::unused();
        serving.certs(words);
        serving.restart();
        serving
    }

    /// Returns the layout of the authority's folder.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout::new(self.folder.path().join("ca"))
    }

    /// Returns a folder for a member's files; it need not exist.
    #[must_use]
    pub fn member(&self, name: &str) -> Layout {
        Layout::new(self.folder.path().join("members").join(name))
    }

    /// Returns the address at which the authority listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of the authority's process.
    ///
    /// # Panics
    ///
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("a running authority").id()
    }

    /// Returns the lines that the authority has logged.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.all()
    }

    /// Returns the number of bytes that the authority has logged.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// Serves again, on the same port.
    ///
    /// # Panics
    ///
    /// When it does not listen in time.
    pub fn restart(&mut self) {
        let mut process = self
            .command(&["serve", "--listen", &self.address.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("rcmd-certs");
        let said = Lines::default();
        said.add(process.stdout.take().expect("its output"));
        self.log.add(process.stderr.take().expect("its log"));
        let lines = said.wait_for("listening on ", 1, DEADLINE);
        let address = lines.as_ref().and_then(|lines| lines.first()?.strip_prefix("listening on "));
        match address.and_then(|address| address.parse().ok()) {
            Some(address) => self.address = address,
            None => {
                let _ = process.kill();
                let _ = process.wait();
                panic!("rcmd-certs serve does not listen:\n{}", self.log.tail());
            }
        }
        self.process = Some(process);
    }

    /// Kills it (SIGKILL), wherever it is.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Ends it as an operator would.
    ///
    /// # Panics
    ///
    /// When it does not end in time, or with a failure.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            proc::signal(process.id(), Signal::TERM);
            let status = exit_within(&mut process, DEADLINE);
            let ended = matches!(&status, Ok(Some(status)) if status.success());
            assert!(ended, "{status:?}\n{}", self.log.tail());
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&binaries().certs);
        command.args(words).arg("--dir").arg(self.layout().dir());
        command.env_remove("RCMD_DIR").env_remove("RCMD_LOG").stdin(Stdio::null());
        command
    }

    /// Runs `rcmd-certs WORDS --dir AUTHORITY`, whatever comes of it.
    ///
    /// # Panics
    ///
    /// When it can't be run.
    #[must_use]
    pub fn try_certs(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("rcmd-certs")
    }

    /// Runs `rcmd-certs WORDS --dir AUTHORITY` and returns what it printed.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn certs(&self, words: &[&str]) -> String {
        let output = self.try_certs(words);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "rcmd-certs {words:?}: {complaint}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Makes a token: `rcmd-certs token WORDS`.
    ///
    /// # Panics
    ///
    /// When it is refused, or what is printed is none.
    pub fn token(&self, words: &[&str]) -> Token {
        self.certs(&[&["token"], words].concat()).parse().expect("a token")
    }

    /// Returns the output of `rcmd-certs list --json`.
    ///
    /// # Panics
    ///
    /// When it can't be told.
    #[must_use]
    pub fn census(&self) -> Value {
        serde_json::from_str(&self.certs(&["list", "--json"])).expect("JSON")
    }

    /// Returns the journal, line by line.
    ///
    /// # Panics
    ///
    /// When a line is no JSON.
    #[must_use]
    pub fn journal(&self) -> Vec<Value> {
        read_journal(&self.layout().journal())
    }
}

/// Stops the authority when the value is dropped, or kills it if the test is failing.
impl Drop for Serving {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.kill();
        } else {
            self.stop();
        }
    }
}

fn read_journal(path: &Path) -> Vec<Value> {
    let mut text = String::new();
    let mut file = fs::File::open(path).expect("the journal");
    file.read_to_string(&mut text).expect("text");
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("torn: {line}"));
    text.lines().map(line).collect()
}
