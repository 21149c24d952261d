//! The waits of one command, which hold up nobody else on its connection: not the name service, not
//! a large program, not the disk. A command that waits still hears its client.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use rcmd_tests::hostile::InTheWay;
use rcmd_tests::raw::{Dial, Echo, Start, frame};
use rcmd_tests::world::own_folder;
use rcmd_tests::{NameService, World, eventually, proc, require, skip};
use serde_json::{Value, json};

/// Beats of an echo that show that a connection is served.
const BEATS: usize = 3;
/// The number of frames that is more than may wait for one job.
const MANY: usize = 200;

fn send(echo: &mut Echo, header: &Value) {
    echo.peer.send(&frame(header, &[])).unwrap();
}

/// Asserts that a ping is answered before anything is said to these channels.
#[track_caller]
fn assert_answers_pings_beside(echo: &mut Echo, silent: &[u64]) {
    send(echo, &json!({"type": "ping", "number": 7}));
    loop {
        let (header, _) = echo.peer.read_frame().unwrap().unwrap();
        assert!(!silent.iter().any(|ch| header["ch"] == *ch), "{header} came before the pong");
        if header["type"] == "pong" {
            return;
        }
    }
}

#[test]
fn a_name_service_that_hangs_holds_up_nobody_else_on_the_connection() {
    require!(skip::need_mount_namespace());
    let names = NameService::start();
    let world = World::builder().name_service(&names).start();
    if !names.was_asked() {
        return skip::skip("a C library that asks nscd(8)");
    }
    let mut echo = Echo::start(&world);
    names.hold();
    let as_nobody = |ch| Start::exec(ch, &["true"]).user("nobody");
    let start = as_nobody(3);
    echo.peer.send(&Start::exec(2, &["true"]).user("nobody").ask()).unwrap();
    echo.peer.send(&start.frame()).unwrap();
    echo.peer.send(&as_nobody(4).frame()).unwrap();
    names.await_look_up();
    for _ in 0..BEATS {
        echo.beat_beside(&[2, 3, 4]);
    }
    assert_answers_pings_beside(&mut echo, &[2, 3, 4]);
    // It is there before anything is known of it, for who asks again and for who calls it off.
    let mut other = Dial::to(&world).connect().unwrap();
    other.send(&rcmd_tests::raw::hello()).unwrap();
    let known = start.header();
    let attach = json!({
        "type": "attach", "ch": 1, "key": known["key"], "generation": 2,
        "digest": known["digest"], "stdout": 0, "stderr": 0,
    });
    other.send(&frame(&attach, &[])).unwrap();
    let (attached, _) = other.expect_frame("attached");
    assert!(attached["started_at"].is_null(), "{attached}");
    send(&mut echo, &json!({"type": "cancel", "ch": 4}));
    let exit = echo.peer.expect_of(4, &["exit"]);
    assert_eq!(exit["outcome"], "not_started", "{exit}");
    names.release();
    assert_eq!(echo.peer.expect_of(2, &["verdict"])["permitted"], true);
    let (exit, _) = other.expect_frame("exit");
    assert_eq!((&exit["outcome"], &exit["code"]), (&json!("exited"), &json!(0)), "{exit}");
    echo.end();
}

#[test]
fn a_large_program_under_a_digest_rule_holds_up_nobody_else_on_the_connection() {
    let mut world = World::builder().prepare();
    let rules = "permit (principal, action, resource);\n\
        permit (principal, action == Action::\"run\", resource)\n\
        when { context has digest && context.digest == \"sha256:x\" };\n";
    fs::write(world.dir().join("policy.cedar"), rules).unwrap();
    world.start_server();
    // As large as it may be to be digested, and all of it behind the program holes.
    let folder = own_folder();
    let large = folder.path().join("true");
    fs::copy(skip::need_tool("true").unwrap(), &large).unwrap();
    File::options().write(true).open(&large).unwrap().set_len(256 << 20).unwrap();
    fs::set_permissions(&large, fs::Permissions::from_mode(0o755)).unwrap();
    let mut echo = Echo::start(&world);
    // While the second is looked at, the first could have its answer.
    let channels = [2, 3];
    for ch in channels {
        echo.peer.send(&Start::exec(ch, &[large.to_str().unwrap()]).frame()).unwrap();
    }
    for _ in 0..BEATS {
        echo.beat_beside(&channels);
    }
    assert_answers_pings_beside(&mut echo, &channels);
    let mut left = channels.len();
    while left > 0 {
        let (exit, _) = echo.peer.expect_frame("exit");
        assert_eq!((&exit["outcome"], &exit["code"]), (&json!("exited"), &json!(0)), "{exit}");
        left -= 1;
    }
    echo.end();
}

/// The source of a library that takes the place of the call that brings a file to the disk, and
/// waits while the file of `RCMD_TEST_FAULT` is there.
const SLOW_DISK: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int fd) {
    while (access(getenv("RCMD_TEST_FAULT"), F_OK) == 0) usleep(10000);
    return syscall(SYS_fdatasync, fd);
}
"#;

#[test]
fn a_start_that_waits_for_the_disk_hears_its_client() {
    let cc = require!(skip::need_tool("cc"));
    let dir = tempfile::tempdir().unwrap();
    let [source, library, fault] = ["sync.c", "sync.so", "fault"].map(|name| dir.path().join(name));
    fs::write(&source, SLOW_DISK).unwrap();
    let mut compile = Command::new(cc);
    let compiled = compile.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(compiled.unwrap().success());
    for config in ["", "audit.sync = \"each\""] {
        let builder = World::builder().config(config).server_env("LD_PRELOAD", &library);
        let world = builder.server_env("RCMD_TEST_FAULT", &fault).start();
        let mut echo = Echo::start(&world);
        fs::write(&fault, "").unwrap();
        let start = Start::exec(2, &["true"]).stdin();
        // With a key that is written down it waits for that, else for the audit.
        let start = if config.is_empty() { start.keep() } else { start };
        echo.peer.send(&start.frame()).unwrap();
        for offset in 0..MANY {
            let data = json!({"type": "data", "ch": 2, "stream": "stdin", "offset": offset});
            echo.peer.send(&frame(&data, b"x")).unwrap();
        }
        for _ in 0..BEATS {
            echo.beat_beside(&[2]);
        }
        send(&mut echo, &json!({"type": "cancel", "ch": 2}));
        echo.beat_beside(&[2]);
        fs::remove_file(&fault).unwrap();
        let exit = echo.peer.expect_of(2, &["exit"]);
        assert_eq!((&exit["outcome"], &exit["kind"]), (&json!("not_started"), &json!("busy")));
        echo.end();
    }
}

#[test]
fn what_comes_while_a_process_is_made_is_done_once_it_is_there() {
    let world = World::builder().config("[limits]\nrunning = 2\npeer.running = 2").start();
    let folder = own_folder();
    let program = folder.path().join("sleep");
    fs::copy(skip::need_tool("sleep").unwrap(), &program).unwrap();
    let mut echo = Echo::start(&world);
    let turn = Start::exec(2, &["cat"]).stdin();
    echo.peer.send(&turn.frame()).unwrap();
    echo.peer.expect_of(2, &["started"]);
    // It is found and permitted, and waits for its turn.
    let start = Start::exec(3, &[program.to_str().unwrap(), "604"]).stdin();
    echo.peer.send(&start.frame()).unwrap();
    echo.peer.expect_of(3, &["queued"]);
    let lease = require!(InTheWay::lease(&program));
    send(&mut echo, &json!({"type": "cancel", "ch": 2}));
    echo.peer.expect_of(2, &["exit"]);
    // Until it executes its program it has the name of the server's thread that made it.
    eventually("its process waits for the program", || {
        proc::descendants(world.pid()).iter().any(|child| child.name.starts_with("spawner"))
    });
    for number in 1..=MANY {
        let signal = json!({"type": "signal", "ch": 3, "number": number, "signal": "SIGCONT"});
        send(&mut echo, &signal);
    }
    for _ in 0..BEATS {
        echo.beat_beside(&[3]);
    }
    // A signal that ends no process calls no start off.
    let stop = json!({"type": "signal", "ch": 3, "number": MANY + 1, "signal": "SIGSTOP"});
    send(&mut echo, &stop);
    echo.beat_beside(&[3]);
    drop(lease);
    echo.peer.expect_of(3, &["started"]);
    eventually("it is stopped", || {
        let below = proc::descendants(world.pid());
        below.iter().any(|process| process.name == "sleep" && process.state == 'T')
    });
    let kill = json!({"type": "signal", "ch": 3, "number": MANY + 2, "signal": "SIGKILL"});
    send(&mut echo, &kill);
    let exit = echo.peer.expect_of(3, &["exit"]);
    assert_eq!(exit["signal"], "SIGKILL", "{exit}");
    echo.end();
}
