//! A client in another language, written from `docs/protocol.md` alone, against the real server.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use rcmd_tests::pki::{Authority, Leaf};
use rcmd_tests::{Random, Tally, World, require, skip};

/// Runs `client.py` with `words`, a mode and a command, and `input` on its standard input.
fn stranger(python: &Path, world: &World, host: &str, input: &[u8], words: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stranger/client.py");
    let path = world.scratch("input");
    std::fs::write(&path, input).unwrap();
    Command::new(python)
        .arg(script)
        .arg(world.dir())
        .args([host, &world.address().port().to_string()])
        .args(words)
        .stdin(std::fs::File::open(path).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

#[test]
fn a_stranger_s_client_gets_output_errors_and_status_apart() {
    let python = require!(skip::need_tool("python3"));
    let world = World::start();
    let line = "printf out; printf err >&2; exit 7";
    let done = stranger(&python, &world, "localhost", b"", &["shell", line]);
    assert_eq!((code(&done), &*done.stdout, &*done.stderr), (7, &b"out"[..], &b"err"[..]));
}

#[test]
fn a_stranger_s_arguments_arrive_exactly() {
    let python = require!(skip::need_tool("python3"));
    let world = World::start();
    let words = ["exec", "printf", "[%s]", "a b", "", "$HOME", "*", "\u{e9}\n"];
    let done = stranger(&python, &world, "localhost", b"", &words);
    assert_eq!(code(&done), 0, "{done:?}");
    assert_eq!(String::from_utf8(done.stdout).unwrap(), "[a b][][$HOME][*][\u{e9}\n]");
}

#[test]
fn more_than_the_credit_goes_through_a_stranger_s_client_and_back() {
    let python = require!(skip::need_tool("python3"));
    let world = World::start();
    let bytes = Random::new(3).take_bytes(5_000_001);
    let done = stranger(&python, &world, "localhost", &bytes, &["exec", "cat"]);
    assert_eq!(code(&done), 0, "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(Tally::of(&done.stdout), Tally::of(&bytes));
}

#[test]
fn a_stranger_learns_how_it_ended() {
    let python = require!(skip::need_tool("python3"));
    let world = World::start();
    let status = |words: &[&str]| code(&stranger(&python, &world, "localhost", b"", words));
    assert_eq!(status(&["shell", "kill -KILL $$"]), 128 + 9);
    assert_eq!(status(&["exec", "no-such-program"]), 127);
    assert_eq!(status(&["exec", "/"]), 126);
    assert_eq!(status(&["exec", "false"]), 1);
}

#[test]
fn a_stranger_s_client_refuses_another_host_s_certificate() {
    let python = require!(skip::need_tool("python3"));
    let mut world = World::builder().prepare();
    let elsewhere = Authority::of(world.dir()).issue(&Leaf::server(&["elsewhere.test"]));
    elsewhere.write(&world.dir().join("server"));
    world.start_server();
    let done = stranger(&python, &world, "localhost", b"", &["exec", "true"]);
    assert_eq!(code(&done), 125);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("certificate verify failed"), "{said}");
}

#[test]
fn a_stranger_whom_the_server_refuses_knows_that_nothing_ran() {
    let python = require!(skip::need_tool("python3"));
    let world = World::start();
    let identity = Authority::new("other").issue(&Leaf::client("other"));
    identity.write(&world.dir().join("client"));
    let done = stranger(&python, &world, "localhost", b"", &["exec", "true"]);
    assert_eq!(code(&done), 125, "{done:?}");
}
