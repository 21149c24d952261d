//! `rcmd-ssh` in the place of ssh.

mod callers;
mod copies;
mod ends;
mod options;
mod shell;

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

use rcmd_tests::{World, binaries};

/// Returns a command of `rcmd-ssh` with this world's folder and nothing else.
fn bare(world: &World) -> Command {
    let mut command = Command::new(&binaries().ssh);
    command.env("RCMD_DIR", world.client_dir()).stdin(Stdio::null());
    command
}

/// Returns a command of `rcmd-ssh` with this world's folder and port; more options or a host are to follow.
fn ssh(world: &World) -> Command {
    let mut command = bare(world);
    command.arg("-p").arg(world.address().port().to_string());
    command
}

/// Runs words on this world's host by `rcmd-ssh`.
fn on_host<W: AsRef<OsStr>>(world: &World, words: impl IntoIterator<Item = W>) -> Output {
    ssh(world).arg("127.0.0.1").args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Asserts that a command ended with this status, and returns what it printed.
#[track_caller]
fn assert_status(done: &Output, status: i32) -> String {
    let (out, err) = (text(&done.stdout), text(&done.stderr));
    assert_eq!(done.status.code(), Some(status), "{out}\n{err}");
    out
}

/// Runs a program that calls `rcmd-ssh`, to a good end.
#[track_caller]
fn run(command: &mut Command) -> Output {
    let done = command.stdin(Stdio::null()).output().unwrap();
    let said = text(&done.stderr);
    assert!(done.status.success(), "{command:?}: {}\n{}\n{said}", done.status, text(&done.stdout));
    done
}
