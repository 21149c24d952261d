//! The second half of `cargo demo`: makes a throwaway authority, starts a server, runs one command through a client,
//! and removes everything. Standard output is the command's alone, and so is the exit status.
//!
//! Its first argument is the folder of the programs, the others are the command.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, getpgrp, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// The exit status of a command that did not run, which is rcmd's own for that case.
const NOT_STARTED: u8 = 125;

/// The longest time that the server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run()));
    done.map_or_else(
        |error| {
            say(&format!("demo: {error:#}\n"));
            ExitCode::from(NOT_STARTED)
        },
        ExitCode::from,
    )
}

/// Returns the exit status as a shell has it in `$?`.
async fn run() -> Result<u8> {
    let mut words = std::env::args_os().skip(1);
    let programs = PathBuf::from(words.next().context("no folder of the programs")?);
    let command: Vec<OsString> = words.collect();
    // From here on an interruption is passed to the client, and the folder and the server go as always.
    let mut signals = Signals::catch()?;
    let folder = tempfile::Builder::new().prefix("rcmd-").tempdir()?;
    let pair = tokio::select! {
        pair = Pair::start(&programs, folder.path()) => pair,
        name = signals.next() => Err(anyhow::anyhow!("ended by {name:?} before the server listened")),
    };
    let done = match pair {
        Ok(mut pair) => {
            let status = pair.run(&command, &mut signals).await;
            let stopped = pair.stop().await;
            status.and_then(|status| stopped.map(|()| status))
        }
        Err(error) => Err(error),
    };
    folder.close().context("can't remove the demo's folder")?;
    let status = shell_status(done?);
    let (bins, typed) = (programs.display(), as_typed(&command));
    say(&format!(
        "demo: it ended with status {status}, and everything is removed. A pair that stays:\n\
         \n    PATH=\"{bins}:$PATH\"\n    rcmd-certs quickstart demo\n    rcmd-server --dir demo &\n    \
         rcmd-client --dir demo localhost {typed}\n"
    ));
    Ok(status)
}

/// A running server, and what a client of it needs.
struct Pair {
    server: Child,
    client: PathBuf,
    dir: PathBuf,
    target: String,
}

impl Pair {
    /// Makes the authority below `folder` and starts the server. A start that is given up leaves nothing running.
    async fn start(programs: &Path, folder: &Path) -> Result<Self> {
        let dir = folder.join("d");
        say(&format!("demo: rcmd-certs quickstart {}\n", dir.display()));
        let mut certs = program(programs, "rcmd-certs");
        let made =
            certs.arg("quickstart").arg(&dir).output().await.context("can't run rcmd-certs")?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr);
            bail!("rcmd-certs quickstart failed ({}): {said}", made.status);
        }

        let log = folder.join("log");
        let mut server = program(programs, "rcmd-server");
        server.arg("--dir").arg(&dir).args(["--listen", "127.0.0.1:0"]).current_dir(&dir);
        // Out of reach of the terminal's Ctrl-C: that is for the client and the command.
        server.process_group(0).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut server = server.spawn().context("can't run rcmd-server")?;
        let stdout = server.stdout.take().context("rcmd-server has no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap_or(Ok(None))?;
        let Some(target) = line.as_deref().and_then(|line| line.strip_prefix("listening on "))
        else {
            let said = fs::read_to_string(&log).unwrap_or_default();
            bail!("rcmd-server does not say that it listens; its log:\n{said}");
        };
        say(&format!("demo: rcmd-server --dir {} on {target}\n", dir.display()));
        let (client, target) = (programs.join("rcmd-client"), target.to_owned());
        Ok(Self { server, client, dir, target })
    }

    /// Runs the command, and passes on to the client what should end it.
    async fn run(&mut self, command: &[OsString], signals: &mut Signals) -> Result<ExitStatus> {
        let (dir, target) = (&self.dir, &self.target);
        say(&format!("demo: rcmd-client --dir {} {target} {}\n", dir.display(), as_typed(command)));
        let mut client = Command::new(&self.client);
        client
            .arg("--dir")
            .arg(dir)
            .arg(target)
            .args(command)
            .env_remove("RCMD_DIR")
            .kill_on_drop(true);
        let mut client = client.spawn().context("can't run rcmd-client")?;
        loop {
            tokio::select! {
                status = client.wait() => return Ok(status?),
                name = signals.next() => {
                    // At a terminal the whole group has Ctrl-C already; a second one means "kill".
                    if !(name == Signal::INT && in_foreground()) {
                        send(&client, name);
                    }
                }
            }
        }
    }

    /// Ends the server as an operator would who does not want to wait: TERM, and TERM again.
    async fn stop(mut self) -> Result<()> {
        for patience in [Duration::from_millis(200), PATIENCE] {
            send(&self.server, Signal::TERM);
            if let Ok(ended) = timeout(patience, self.server.wait()).await {
                ended?;
                return Ok(());
            }
        }
        self.server.kill().await?;
        bail!("rcmd-server did not end within {PATIENCE:?} of two TERM")
    }
}

/// Returns a program of ours, with nothing to read, which is killed when it is given up.
fn program(programs: &Path, name: &str) -> Command {
    let mut command = Command::new(programs.join(name));
    command.env_remove("RCMD_DIR").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The signals that end a program from outside, caught.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn catch() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hangup.recv() => Signal::HUP,
        }
    }
}

/// Sends a signal to a child, unless it has ended.
fn send(child: &Child, name: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = kill_process(pid, name);
    }
}

/// Returns true when this process is in the foreground of its terminal, if it has one (tcgetpgrp(3)).
fn in_foreground() -> bool {
    File::open("/dev/tty")
        .ok()
        .and_then(|terminal| rustix::termios::tcgetpgrp(&terminal).ok())
        .is_some_and(|group| group == getpgrp())
}

fn shell_status(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Returns the words as one would type them: quoted where a shell needs it.
fn as_typed(words: &[OsString]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    let mut line = String::new();
    for word in words {
        let word = word.to_string_lossy();
        let gap = if line.is_empty() { "" } else { " " };
        let _ = if !word.is_empty() && word.chars().all(plain) {
            write!(line, "{gap}{word}")
        } else {
            write!(line, "{gap}'{}'", word.replace('\'', "'\\''"))
        };
    }
    line
}

/// Writes to standard error; a reader that is gone does not matter.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
