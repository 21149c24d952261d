//! A client between its start and its end.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Finished;
use crate::lines::Lines;
use crate::proc;
use crate::sink::Caught;
use crate::wait::exit_within;

/// A client that runs. Dropping it kills it.
#[derive(Debug)]
pub struct RunningClient {
    /// The standard input, if a pipe was asked for. Drop it to end the input.
    pub stdin: Option<ChildStdin>,
    /// The standard output, if a pipe was asked for.
    pub stdout: Option<ChildStdout>,
    /// The standard error, if a pipe was asked for.
    pub stderr: Option<ChildStderr>,
    pub(super) child: Child,
    pub(super) catch_stdout: Option<JoinHandle<io::Result<Caught>>>,
    pub(super) catch_stderr: Option<JoinHandle<io::Result<Caught>>>,
    pub(super) what: String,
    pub(super) began: Instant,
    pub(super) limit: Duration,
    pub(super) result: Option<PathBuf>,
    pub(super) server_log: Lines,
}

impl RunningClient {
    /// Returns the number of the client's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        proc::signal(self.pid(), signal);
    }

    /// Returns whether it has not ended yet.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Reads exactly so many bytes of its standard output, which must be a pipe.
    ///
    /// # Panics
    ///
    /// When it ends before.
    #[track_caller]
    pub fn read_stdout(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let pipe = self.stdout.as_mut().expect("stdout(Sink::Pipe)");
        if let Err(error) = pipe.read_exact(&mut bytes) {
            let story = self.story();
            panic!("stdout: {error}: {story}");
        }
        bytes
    }

    /// Reads its standard output, which must be a pipe, up to and without the next newline.
    ///
    /// # Panics
    ///
    /// When it ends before.
    #[track_caller]
    pub fn read_line(&mut self) -> String {
        let mut line = Vec::new();
        loop {
            match self.read_stdout(1)[0] {
                b'\n' => return String::from_utf8_lossy(&line).into_owned(),
                byte => line.push(byte),
            }
        }
    }

    /// Writes to its standard input, which must be a pipe.
    ///
    /// # Panics
    ///
    /// When it does not take them.
    #[track_caller]
    pub fn write_stdin(&mut self, bytes: &[u8]) {
        let pipe = self.stdin.as_mut().expect("stdin_pipe()");
        if let Err(error) = pipe.write_all(bytes) {
            let story = self.story();
            panic!("stdin: {error}: {story}");
        }
    }

    /// Ends it, and returns all that it said and the end of the server's log.
    fn story(&mut self) -> String {
        let _ = self.child.kill();
        let status = self.child.wait().unwrap_or_default();
        let elapsed = self.began.elapsed();
        Finished::new(self, status, elapsed).story()
    }

    /// Waits for its end. Pipes that the test still holds stay open until then.
    ///
    /// # Panics
    ///
    /// When it does not end by its deadline: it is killed, and the message has all that it said and
    /// the end of the server's log.
    #[track_caller]
    pub fn wait(mut self) -> Finished {
        let ended = exit_within(&mut self.child, self.limit.saturating_sub(self.began.elapsed()));
        let status = ended.unwrap_or_else(|error| panic!("can't wait for {}: {error}", self.what));
        if status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let elapsed = self.began.elapsed();
        let finished = Finished::new(&mut self, status.unwrap_or_default(), elapsed);
        assert!(status.is_some(), "not within {:?}: {}", self.limit, finished.story());
        finished
    }
}

impl Drop for RunningClient {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
