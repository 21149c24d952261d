//! A client that has ended, with its status and its output.

use std::fmt::Write as _;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::thread::JoinHandle;
use std::time::Duration;

use super::RunningClient;
use crate::lines::Lines;
use crate::sink::{Caught, Tally};

/// A client that has ended.
#[derive(Debug)]
pub struct Finished {
    /// The status with which the process ended.
    pub status: ExitStatus,
    /// The standard output, if it was kept.
    pub stdout: Vec<u8>,
    /// The standard error, if it was kept.
    pub stderr: Vec<u8>,
    /// The time from the client's start to its end.
    pub elapsed: Duration,
    stdout_hashed: Option<Tally>,
    stderr_hashed: Option<Tally>,
    result: Option<PathBuf>,
    what: String,
    server_log: Lines,
}

impl Finished {
    pub(super) fn new(client: &mut RunningClient, status: ExitStatus, elapsed: Duration) -> Self {
        let join = |catcher: Option<JoinHandle<io::Result<Caught>>>| match catcher {
            None => Caught::Piped,
            Some(thread) => match thread.join() {
                Ok(Ok(caught)) => caught,
                Ok(Err(error)) => panic!("can't read what {} says: {error}", client.what),
                Err(panic) => std::panic::resume_unwind(panic),
            },
        };
        let apart = |caught| match caught {
            Caught::Kept(bytes) => (bytes, None),
            Caught::Hashed(tally) => (Vec::new(), Some(tally)),
            Caught::Piped => (Vec::new(), None),
        };
        let (stdout, stdout_hashed) = apart(join(client.catch_stdout.take()));
        let (stderr, stderr_hashed) = apart(join(client.catch_stderr.take()));
        Self {
            status,
            stdout,
            stderr,
            elapsed,
            stdout_hashed,
            stderr_hashed,
            result: client.result.take(),
            what: client.what.clone(),
            server_log: client.server_log.clone(),
        }
    }

    /// Returns the exit status.
    ///
    /// # Panics
    ///
    /// When a signal ended it.
    #[must_use]
    #[track_caller]
    pub fn code(&self) -> i32 {
        let signal = self.status.signal();
        self.status.code().unwrap_or_else(|| panic!("ended by signal {signal:?}: {}", self.story()))
    }

    /// Asserts its exit status.
    ///
    /// # Panics
    ///
    /// When it is another; then with all that the client said.
    #[track_caller]
    pub fn assert_code(&self, code: i32) -> &Self {
        assert!(self.status.code() == Some(code), "expected status {code}: {}", self.story());
        self
    }

    /// Asserts that standard error contains `needle`.
    ///
    /// # Panics
    ///
    /// When it doesn't.
    #[track_caller]
    pub fn assert_says(&self, needle: &str) -> &Self {
        assert!(self.stderr_text().contains(needle), "expected {needle:?}: {}", self.story());
        self
    }

    /// Returns standard output as text; what is no UTF-8 is replaced.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Returns standard error as text; what is no UTF-8 is replaced.
    #[must_use]
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Returns the size and the SHA-256 of standard output, kept or hashed.
    #[must_use]
    pub fn stdout_tally(&self) -> Tally {
        self.stdout_hashed.clone().unwrap_or_else(|| Tally::of(&self.stdout))
    }

    /// Returns the size and the SHA-256 of standard error, kept or hashed.
    #[must_use]
    pub fn stderr_tally(&self) -> Tally {
        self.stderr_hashed.clone().unwrap_or_else(|| Tally::of(&self.stderr))
    }

    /// Returns the result object, asked for with [`super::ClientCommand::with_result`].
    ///
    /// # Panics
    ///
    /// When there is none, or it is no line of JSON.
    #[must_use]
    #[track_caller]
    pub fn result(&self) -> serde_json::Value {
        let file = self.result.as_ref().expect("with_result()");
        let text = std::fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("no result file: {error}: {}", self.story()));
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("result {text:?}: {error}: {}", self.story()))
    }

    /// Returns all that is known of this run, for a message.
    #[must_use]
    pub fn story(&self) -> String {
        let mut story = format!("{} ({}, {:?})\n", self.what, self.status, self.elapsed);
        let streams = [
            ("stdout", &self.stdout, &self.stdout_hashed),
            ("stderr", &self.stderr, &self.stderr_hashed),
        ];
        for (name, kept, hashed) in streams {
            let _ = match hashed {
                Some(tally) => writeln!(story, "{name}: {tally:?}"),
                None => writeln!(story, "{name}: {}", shortened(&String::from_utf8_lossy(kept))),
            };
        }
        let _ = write!(story, "the server's log ended:\n{}", self.server_log.tail());
        story
    }
}

pub(super) fn shortened(text: &str) -> String {
    const SHOWN: usize = 4000;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}
