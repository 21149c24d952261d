//! The obstacles that a hostile local user of the host puts where the server looks: files under a
//! lease, file systems that answer nothing, links that lead elsewhere at each look, pipes.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::skip::need_tool;
use crate::wait::exit_within;

/// The program that makes an obstacle and holds it until its input ends.
const SCRIPT: &str = include_str!("hostile/local.py");
/// The longest time that the program may take to remove its obstacle.
const PATIENCE: Duration = Duration::from_secs(10);

/// An obstacle in the server's way, which is removed when the value is dropped.
#[derive(Debug)]
pub struct InTheWay {
    holder: Child,
    said: BufReader<ChildStdout>,
}

impl InTheWay {
    /// Takes a lease on a file of this user: whoever opens or executes it waits, for as long as
    /// `/proc/sys/fs/lease-break-time` says or until this is dropped (fcntl(2), `F_SETLEASE`).
    ///
    /// # Errors
    ///
    /// The error names what is missing on this machine.
    pub fn lease(file: &Path) -> Result<Self, String> {
        Self::start("a file system with leases", &["lease".as_ref(), file.as_ref()])
    }

    /// Mounts a file system at this folder as a user with this number would. It takes every request
    /// and answers none: whoever looks at what lies in it waits until this is dropped, and is not
    /// ended by SIGKILL.
    ///
    /// # Errors
    ///
    /// The error names what is missing on this machine.
    pub fn silent_mount(at: &Path, uid: u32) -> Result<Self, String> {
        crate::skip::need_root()?;
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let uid = uid.to_string();
        Self::start("FUSE", &["silent".as_ref(), at.as_ref(), uid.as_ref()])
    }

    /// Makes a link that leads to one target and the other in turn, as fast as it can be changed.
    ///
    /// # Errors
    ///
    /// The error names what is missing on this machine.
    pub fn swapped_link(link: &Path, targets: [&Path; 2]) -> Result<Self, String> {
        let [one, other] = targets;
        let words = ["swap".as_ref(), link.as_ref(), one.as_ref(), other.as_ref()];
        Self::start("links", &words)
    }

    fn start(need: &str, words: &[&OsStr]) -> Result<Self, String> {
        let mut command = Command::new(need_tool("python3")?);
        command.args(["-c", SCRIPT]).args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().map_err(|error| error.to_string())?;
        let said = BufReader::new(holder.stdout.take().ok_or("its stdout")?);
        let mut this = Self { holder, said };
        if this.says("ready") { Ok(this) } else { Err(need.to_owned()) }
    }

    /// Waits for its next line. Returns whether it is this.
    fn says(&mut self, word: &str) -> bool {
        let mut line = String::new();
        self.said.read_line(&mut line).is_ok() && line.trim_end() == word
    }

    /// Waits until a silent file system has taken its first request, from when on nothing ends who made it.
    ///
    /// # Panics
    ///
    /// When it is no such file system, or is gone.
    pub fn await_look(&mut self) {
        assert!(self.says("asked"), "it has ended");
    }
}

impl Drop for InTheWay {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        if !matches!(exit_within(&mut self.holder, PATIENCE), Ok(Some(_))) {
            let _ = self.holder.kill();
            let _ = self.holder.wait();
        }
    }
}

/// Makes a named pipe that nobody writes to: whoever opens it to read, blocking, waits.
///
/// # Panics
///
/// When it can't be made.
#[must_use]
pub fn pipe(at: PathBuf) -> PathBuf {
    let mode = Mode::from_raw_mode(0o644);
    mknodat(CWD, &at, FileType::Fifo, mode, 0).expect("a folder of our own");
    at
}

/// Makes a script of this interpreter that everybody may execute.
///
/// # Panics
///
/// When it can't be written.
#[must_use]
pub fn script(at: PathBuf, interpreter: &Path) -> PathBuf {
    use std::io::Write as _;
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o755).open(&at);
    let line = format!("#!{}\n", interpreter.display());
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("a folder of our own");
    at
}
