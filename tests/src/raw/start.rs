//! Starts made by hand, and an honest run of one to its verified end.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{RawPeer, frame};

/// A `start` frame in the making. Its request digest is always right.
#[derive(Debug, Clone)]
#[must_use]
pub struct Start {
    ch: u64,
    key: u128,
    mode: &'static str,
    words: Vec<String>,
    env: Vec<String>,
    stdin: bool,
    timeout_ms: u64,
    lock: Option<(String, u64)>,
    cwd: Option<String>,
    user: Option<String>,
    keep: bool,
}

impl Start {
    /// Returns the start of a program with exactly these arguments, no environment of its own and
    /// no standard input, under a key that no other start of this process has.
    pub fn exec(ch: u64, words: &[&str]) -> Self {
        static KEYS: AtomicU64 = AtomicU64::new(1);
        let key = (u128::from(std::process::id()) << 64)
            | u128::from(KEYS.fetch_add(1, Ordering::Relaxed));
        let words = words.iter().map(|&word| word.to_owned()).collect();
        Self {
            ch,
            key,
            mode: "exec",
            words,
            env: Vec::new(),
            stdin: false,
            timeout_ms: 0,
            lock: None,
            cwd: None,
            user: None,
            keep: false,
        }
    }

    /// Returns the start of one line for the user's shell.
    pub fn shell(ch: u64, line: &str) -> Self {
        Self { mode: "shell", ..Self::exec(ch, &[line]) }
    }

    /// Sets the key.
    pub fn key(mut self, key: u128) -> Self {
        self.key = key;
        self
    }

    /// Sets the channel; a key may go to another one when the first connection was lost.
    pub fn channel(mut self, ch: u64) -> Self {
        self.ch = ch;
        self
    }

    /// Adds this setting to the environment, whatever it looks like.
    pub fn env(mut self, setting: &str) -> Self {
        self.env.push(setting.to_owned());
        self
    }

    /// Asks for a standard input, to be sent as `data` and `end`.
    pub fn stdin(mut self) -> Self {
        self.stdin = true;
        self
    }

    /// Sets the time limit, in milliseconds, after which the server ends the command.
    pub fn timeout_ms(mut self, timeout_ms: u64) -> Self {
        self.timeout_ms = timeout_ms;
        self
    }

    /// Asks for this lock, and sets the time in milliseconds for which the start waits for it.
    pub fn lock(mut self, name: &str, wait_ms: u64) -> Self {
        self.lock = Some((name.to_owned(), wait_ms));
        self
    }

    /// Sets the folder in which the command runs.
    pub fn cwd(mut self, folder: &str) -> Self {
        self.cwd = Some(folder.to_owned());
        self
    }

    /// Sets the user of the host as whom the command runs.
    pub fn user(mut self, name: &str) -> Self {
        self.user = Some(name.to_owned());
        self
    }

    /// Asks for the key to be written down, as one that a caller chose is.
    pub fn keep(mut self) -> Self {
        self.keep = true;
        self
    }

    /// Returns the header without `len`.
    #[must_use]
    pub fn header(&self) -> Value {
        let (argc, envc, mode) = (self.words.len(), self.env.len(), self.mode);
        let [cwd, user] = [&self.cwd, &self.user].map(|set| u8::from(set.is_some()));
        let (timeout, stdin) = (self.timeout_ms, u8::from(self.stdin));
        let mut facts = format!(
            "argc={argc}\nenvc={envc}\nmode={mode}\nuser={user}\ncwd={cwd}\ntimeout={timeout}\ntty=0\nstdin={stdin}\n"
        );
        if let Some((name, _)) = &self.lock {
            facts += &format!("lock={name}\n");
        }
        let digest = Sha256::new().chain_update(self.payload()).chain_update(facts).finalize();
        let mut header = json!({
            "type": "start", "ch": self.ch, "key": format!("{:032x}", self.key), "generation": 1,
            "digest": hex::encode(digest), "mode": mode, "argc": argc, "envc": envc,
            "stdin": self.stdin, "timeout_ms": timeout, "digests": ["sha256"],
        });
        if self.cwd.is_some() {
            header["cwd"] = json!(true);
        }
        if self.user.is_some() {
            header["user"] = json!(true);
        }
        if self.keep {
            header["keep"] = json!(true);
        }
        if let Some((name, wait_ms)) = &self.lock {
            header["lock"] = json!(name);
            header["lock_wait_ms"] = json!(wait_ms);
        }
        header
    }

    /// Returns the strings, each ended by NUL.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        let strings = self.words.iter().chain(&self.env).chain(&self.cwd).chain(&self.user);
        strings.map(|word| [word.as_bytes(), b"\0"].concat()).collect::<Vec<_>>().concat()
    }

    /// Returns the frame.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        frame(&self.header(), &self.payload())
    }

    /// Returns the frame that asks whether this would be permitted.
    #[must_use]
    pub fn ask(&self) -> Vec<u8> {
        let mut header = self.header();
        header["type"] = json!("ask");
        frame(&header, &self.payload())
    }
}

/// The result of a command whose end was verified.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The `exit` header.
    pub exit: Value,
    /// All of the command's standard output.
    pub stdout: Vec<u8>,
    /// All of the command's standard error.
    pub stderr: Vec<u8>,
}

impl RawPeer {
    /// Sends a start and takes what comes to its verified end, then says `done`. Frames of other
    /// channels are passed over.
    ///
    /// # Errors
    ///
    /// When the connection ends before the exit came.
    ///
    /// # Panics
    ///
    /// When offsets, totals or digests do not fit the bytes.
    pub fn run(&mut self, start: &Start) -> io::Result<Ran> {
        self.send(&start.frame())?;
        self.finish(start.ch)
    }

    /// Reads the result as [`RawPeer::run`] does, of a start that was sent before and of which no
    /// data was read.
    ///
    /// # Errors
    ///
    /// When the connection ends before the exit came.
    ///
    /// # Panics
    ///
    /// When offsets, totals or digests do not fit the bytes.
    pub fn finish(&mut self, ch: u64) -> io::Result<Ran> {
        let mut received = [Vec::new(), Vec::new()];
        loop {
            let Some((header, payload)) = self.read_frame()? else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            if header["type"] == "error" {
                return Err(io::Error::other(header.to_string()));
            }
            if header["ch"] != ch {
                continue;
            }
            let bytes = &mut received[usize::from(header["stream"] == "stderr")];
            match header["type"].as_str().unwrap_or_default() {
                "data" => {
                    assert_eq!(header["offset"], bytes.len(), "{header}");
                    bytes.extend(payload);
                    let (got, upto) = (bytes.len(), bytes.len() + (1 << 20));
                    let window = json!({
                        "type": "window", "ch": ch, "stream": header["stream"], "got": got, "upto": upto,
                    });
                    self.send(&frame(&window, &[]))?;
                }
                "end" => {
                    assert_eq!(header["total"], bytes.len(), "{header}");
                    assert_eq!(header["digest"], sha256(bytes), "{header}");
                }
                "exit" => {
                    let [stdout, stderr] = received;
                    assert_eq!(header["stdout_bytes"], stdout.len(), "{header}");
                    assert_eq!(header["stderr_bytes"], stderr.len(), "{header}");
                    if header["outcome"] != "not_started" {
                        assert_eq!(header["stdout_digest"], sha256(&stdout), "{header}");
                    }
                    self.send(&frame(&json!({"type": "done", "ch": ch}), &[]))?;
                    return Ok(Ran { exit: header, stdout, stderr });
                }
                _ => {}
            }
        }
    }
}

/// Returns a digest as it stands in `end` and `exit`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
