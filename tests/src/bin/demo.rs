//! `cargo demo COMMAND...`: one command through a real server and a real client, with a throwaway
//! authority, on loopback. Standard output is the command's alone, and so is the exit status.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context as _, Result};
use rcmd_tests::World;
use rcmd_tests::binaries::try_binaries;
use rcmd_tests::proc;
use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// Nothing ran: the status that rcmd itself has for it.
const NOT_STARTED: u8 = 125;

fn main() -> ExitCode {
    let command: Vec<OsString> = std::env::args_os().skip(1).collect();
    if command.is_empty() {
        say("usage: cargo demo COMMAND...\n\nFor example: cargo demo uname -a\n");
        return ExitCode::from(NOT_STARTED);
    }
    match demonstrate(&command) {
        Ok(status) => ExitCode::from(shell_status(status)),
        Err(error) => {
            say(&format!("demo: {error:#}\n"));
            ExitCode::from(NOT_STARTED)
        }
    }
}

fn demonstrate(command: &[OsString]) -> Result<ExitStatus> {
    say("demo: building the programs, which takes minutes the first time\n");
    let binaries = try_binaries()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _context = runtime.enter();
    // From here on an interruption is passed to the client, and the folder and server go as always.
    let signals = Signals::catch()?;
    // Out of reach of the terminal's Ctrl-C: that is for the client and the command.
    let world = World::builder().own_group().try_start()?;
    let dir = world.dir().display();
    let target = world.target();
    say(&format!("demo: rcmd-certs quickstart {dir}\ndemo: rcmd-server --dir {dir} on {target}\n"));
    say(&format!("demo: rcmd-client --dir {dir} {target} {}\n", as_typed(command)));

    let mut client = Command::new(&binaries.client);
    client.arg("--dir").arg(world.dir()).arg(&target).args(command).env_remove("RCMD_DIR");
    let mut client = client.spawn().context("can't run rcmd-client")?;
    let status = runtime.block_on(wait(&mut client, signals))?;
    world.end()?;

    let bins = binaries.client.parent().unwrap_or_else(|| ".".as_ref()).display();
    say(&format!(
        "demo: it ended with status {}, and everything is removed. A pair that stays:\n\
         \n    PATH=\"{bins}:$PATH\"\n    rcmd-certs quickstart demo\n    rcmd-server --dir demo &\n    \
         rcmd-client --dir demo localhost {}\n",
        shell_status(status),
        as_typed(command)
    ));
    Ok(status)
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

/// Waits for the client to end, and passes on what should end it.
async fn wait(client: &mut Child, mut signals: Signals) -> std::io::Result<ExitStatus> {
    loop {
        tokio::select! {
            status = client.wait() => return status,
            name = signals.next() => {
                // At a terminal the whole group has Ctrl-C already; a second one means "kill".
                if let Some(pid) = client.id() && !(name == Signal::INT && in_foreground()) {
                    proc::signal(pid, name);
                }
            }
        }
    }
}

/// Whether this process is in the foreground of its terminal, if it has one (tcgetpgrp(3)).
fn in_foreground() -> bool {
    std::fs::File::open("/dev/tty")
        .ok()
        .and_then(|terminal| rustix::termios::tcgetpgrp(&terminal).ok())
        .is_some_and(|group| group.as_raw_pid() == nix::unistd::getpgrp().as_raw())
}

/// As a shell has it in `$?`.
fn shell_status(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// The words, quoted where a shell needs it.
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

/// To standard error; a reader that is gone does not matter.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
