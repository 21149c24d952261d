//! The real `rcmd-client`, run by a test that sees everything it does.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::lines::Lines;
use crate::sink::Sink;

mod finished;
mod running;

pub use finished::Finished;
pub use running::RunningClient;

/// The time that a client may take before the test fails with the client's output until then.
pub const CLIENT_DEADLINE: Duration = Duration::from_secs(300);

/// The source of a client's standard input.
enum Input {
    Nothing,
    From(Box<dyn Read + Send>),
    File(File),
    Pipe,
}

/// A client to be run: `rcmd-client [--dir DIR] OPTIONS [TARGET] WORDS`.
#[must_use]
pub struct ClientCommand {
    program: PathBuf,
    dir: Option<PathBuf>,
    options: Vec<OsString>,
    target: Option<String>,
    words: Vec<OsString>,
    env: Vec<(OsString, Option<OsString>)>,
    cwd: Option<PathBuf>,
    input: Input,
    stdout: Sink,
    stderr: Sink,
    limit: Duration,
    result: Option<PathBuf>,
    server_log: Lines,
}

impl ClientCommand {
    /// Returns a command of the program alone.
    pub(crate) fn new(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            dir: None,
            options: Vec::new(),
            target: None,
            words: Vec::new(),
            env: Vec::new(),
            cwd: None,
            input: Input::Nothing,
            stdout: Sink::Keep,
            stderr: Sink::Keep,
            limit: CLIENT_DEADLINE,
            result: None,
            server_log: Lines::default(),
        }
    }

    pub(crate) fn in_world(&mut self, dir: &Path, target: String, server_log: Lines) {
        self.dir = Some(dir.to_owned());
        self.target = Some(target);
        self.server_log = server_log;
    }

    /// Adds an option, or an option's value, before the target.
    pub fn option(mut self, option: impl AsRef<OsStr>) -> Self {
        self.options.push(option.as_ref().to_owned());
        self
    }

    /// Adds several, as [`ClientCommand::option`].
    pub fn options<O: AsRef<OsStr>>(mut self, options: impl IntoIterator<Item = O>) -> Self {
        self.options.extend(options.into_iter().map(|option| option.as_ref().to_owned()));
        self
    }

    /// Adds words of the remote command, after the target.
    pub fn words<W: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Sets another target, such as that of a [`crate::Proxy`].
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// Sets another folder for `--dir`.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Leaves out the target, for what takes none.
    pub fn without_target(mut self) -> Self {
        self.target = None;
        self
    }

    /// Leaves out `--dir`.
    pub fn without_dir(mut self) -> Self {
        self.dir = None;
        self
    }

    /// Sets a variable for the client.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Removes a variable for the client.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), None));
        self
    }

    /// Sets the folder that the client starts in.
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Sets standard input to these bytes, and then its end. By default it is /dev/null.
    pub fn stdin(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin_from(io::Cursor::new(bytes.into()))
    }

    /// Sets standard input to the bytes of a reader.
    pub fn stdin_from(mut self, reader: impl Read + Send + 'static) -> Self {
        self.input = Input::From(Box::new(reader));
        self
    }

    /// Sets standard input to a file or a terminal.
    pub fn stdin_file(mut self, file: File) -> Self {
        self.input = Input::File(file);
        self
    }

    /// Sets standard input to a pipe that the test holds, as [`RunningClient::stdin`].
    pub fn stdin_pipe(mut self) -> Self {
        self.input = Input::Pipe;
        self
    }

    /// Sets the sink of standard output, which is kept by default.
    pub fn stdout(mut self, sink: Sink) -> Self {
        self.stdout = sink;
        self
    }

    /// Sets the sink of standard error, which is kept by default.
    pub fn stderr(mut self, sink: Sink) -> Self {
        self.stderr = sink;
        self
    }

    /// Sets another deadline than [`CLIENT_DEADLINE`].
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Asks for `--result FILE`, to be read by [`Finished::result`].
    pub fn with_result(mut self) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        let file = folder.join(format!("result-{}-{number}.json", std::process::id()));
        self.result = Some(file.clone());
        self.option("--result").option(file)
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// When it can't be run, or does not end by its deadline; then with all that it said.
    pub fn run(self) -> Finished {
        self.spawn().wait()
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// When it can't be run.
    #[must_use]
    pub fn spawn(self) -> RunningClient {
        let mut command = with_signals_at_default(&self.program);
        if let Some(dir) = &self.dir {
            command.arg("--dir").arg(dir);
        }
        command.args(&self.options);
        command.args(self.target.iter());
        command.args(&self.words);
        command.env_remove("RCMD_DIR");
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        let (stdin, feed) = match self.input {
            Input::Nothing => (Stdio::null(), None),
            Input::From(reader) => (Stdio::piped(), Some(reader)),
            Input::File(file) => (Stdio::from(file), None),
            Input::Pipe => (Stdio::piped(), None),
        };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let what = finished::shortened(&format!("{command:?}"));
        let began = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("can't run {what}: {error}"));

        let mut stdin = child.stdin.take();
        if let Some(mut reader) = feed
            && let Some(mut pipe) = stdin.take()
        {
            // The client may end before it has read all; then the rest is nobody's.
            std::thread::spawn(move || io::copy(&mut reader, &mut pipe));
        }
        let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
        let catch_stdout = stdout.take_if(|_| self.stdout != Sink::Pipe).map(|pipe| {
            let sink = self.stdout;
            std::thread::spawn(move || sink.catch(pipe))
        });
        let catch_stderr = stderr.take_if(|_| self.stderr != Sink::Pipe).map(|pipe| {
            let sink = self.stderr;
            std::thread::spawn(move || sink.catch(pipe))
        });
        RunningClient {
            stdin,
            stdout,
            stderr,
            child,
            catch_stdout,
            catch_stderr,
            what,
            began,
            limit: self.limit,
            result: self.result,
            server_log: self.server_log,
        }
    }
}

/// Returns the command of a program that does not ignore Ctrl-C. A shell that starts the tests in
/// its background has them ignore it, and so would the client, by design. A test of Ctrl-C means
/// one that was started in the foreground.
fn with_signals_at_default(program: &Path) -> Command {
    const INTERRUPT: u64 = 1 << 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    if ignored.unwrap_or(0) & INTERRUPT == 0 {
        return Command::new(program);
    }
    // It changes itself and then executes the program, so that the pid stays.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT,QUIT").arg(program);
    command
}
