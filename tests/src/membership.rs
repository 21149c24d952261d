//! A world whose server and client came by tokens, as their users would have it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rcmd_certs::Layout;
use rcmd_certs::enroll::Kind;

use crate::authority::Serving;
use crate::binaries;
use crate::world::{Builder, World};

/// A world without a running server, whose identities this authority's tokens brought.
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
        let done = enroll(program, &world, &[token.trim()]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    world
}

/// A client's identity, in a folder beside the authority, that a token brought.
///
/// # Panics
///
/// As [`enrolled`].
#[must_use]
pub fn enrolled_client(authority: &Serving, name: &str) -> Layout {
    let layout = authority.member(name);
    let token = authority.certs(&["token", "client", name, "--group", "admin"]);
    let mut command = Command::new(&binaries().client);
    command.arg("enroll").arg("--dir").arg(layout.dir()).arg(token.trim()).stdin(Stdio::null());
    let done = command.env_remove("RCMD_DIR").output().expect("the program");
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

/// The serial number of a member's certificate.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn serial(world: &World, kind: Kind) -> String {
    let layout = Layout::new(world.dir());
    rcmd_certs::tls::load_leaf(&layout.member_cert(kind)).expect("a certificate").serial
}
