//! A world whose server and client came by tokens, as their users would have it.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rcmd_certs::Layout;
use rcmd_certs::enroll::Kind;

use crate::authority::Serving;
use crate::binaries;
use crate::world::{Builder, World};

/// Makes a world without a running server, whose identities this authority's tokens brought.
///
/// # Panics
///
/// When one of the programs refuses.
#[must_use]
pub fn enrolled(authority: &Serving, builder: Builder) -> World {
    let world = builder.prepare();
    for folder in ["authority", "server", "client"] {
        fs::remove_dir_all(world.dir().join(folder)).expect("the throwaway identity");
    }
    fs::remove_file(world.dir().join("ca.pem")).expect("the throwaway authority");
    for (program, kind, rest) in [
        (&binaries().server, "server", &["localhost", "127.0.0.1"][..]),
        (&binaries().client, "client", &["alice", "--group", "admin"]),
    ] {
        let token = authority.certs(&[&["token", kind], rest].concat());
        let mut command = Command::new(program);
        command.arg("enroll").arg("--dir").arg(world.dir());
        let done = output_with(&mut command, &token);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    world
}

/// Enrolls a client by a token, in a folder beside the authority.
///
/// # Panics
///
/// When [`enrolled`] does.
#[must_use]
pub fn enrolled_client(authority: &Serving, name: &str) -> Layout {
    let layout = authority.member(name);
    let token = authority.certs(&["token", "client", name, "--group", "admin"]);
    let mut command = Command::new(&binaries().client);
    let done = output_with(command.arg("enroll").arg("--dir").arg(layout.dir()), &token);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    layout
}

/// Runs `PROGRAM enroll --dir WORLD WORDS`.
///
/// # Panics
///
/// When it can't be run.
#[must_use]
pub fn enroll(program: &PathBuf, world: &World, words: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.arg("enroll").arg("--dir").arg(world.dir()).args(words).stdin(Stdio::null());
    command.env_remove("RCMD_DIR").output().expect("the program")
}

/// Runs a program with this standard input.
///
/// # Panics
///
/// When it can't be run.
pub fn output_with(command: &mut Command, input: &str) -> Output {
    command.env_remove("RCMD_DIR").stdin(Stdio::piped());
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
    // One that refuses what was typed reads nothing.
    let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
    child.wait_with_output().expect("its output")
}

/// Returns the serial number of a member's certificate.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn serial(world: &World, kind: Kind) -> String {
    let layout = Layout::new(world.dir());
    rcmd_certs::tls::load_leaf(&layout.member_cert(kind)).expect("a certificate").serial
}
