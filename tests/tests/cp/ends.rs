//! Command lines that make no sense, hosts that can't, and transfers that are cut or ended.

use std::fs;
use std::time::Duration;

use rcmd_tests::proxy::Proxy;
use rcmd_tests::raw::{RawServer, frame};
use rcmd_tests::{World, eventually};
use rustix::process::Signal;
use serde_json::json;

use crate::{cp, there};

#[test]
fn sides_that_make_no_sense_are_refused_before_anything_is_connected_to() {
    let world = World::builder().prepare();
    fs::write(world.scratch("2026-01-01T10:00.log"), b"x").unwrap();
    for (words, says) in [
        (&["2026-01-01T10:00.log", "web1:/tmp/"][..], "./2026-01-01T10:00.log"),
        (&["a:b", "c:d"], "both sides are on other machines"),
        (&["f", "::1:/tmp/x"], "`[::1]:/tmp/x`"),
        (&["f", "root@a1:/tmp/x"], "-l root"),
        (&["f"], "the destination is missing"),
        (&[], "are missing"),
        (&["a", "b"], "cp(1)"),
        (&["-r", "--delete", "s/", "web1:/"], "a root or a home"),
        (&["-r", "--delete", "s/", "web1:"], "a root or a home"),
        (&["-x", "web3", "f", "@web:/tmp"], "@web!web3:PATH"),
        (&["--chown", "x:", "f", "web1:/tmp"], "names no owner"),
        (&["--chmod", "u+z", "f", "web1:/tmp"], "is no mode"),
    ] {
        let done = cp(&world, words).run();
        done.assert_code(125).assert_says(says);
        assert!(done.stdout.is_empty(), "{}", done.story());
        assert!(done.elapsed < Duration::from_secs(30));
    }
    let done = cp(&world, ["f", "127.0.0.1:1:30.log"]).run();
    done.assert_code(1).assert_says("no_such_file");
    fs::write(world.scratch("f"), b"x").unwrap();
    let done = cp(&world, ["f", "127.0.0.1:1:30.log"]).run();
    done.assert_code(125).assert_says("`127.0.0.1:./1:30.log`");
}

#[test]
fn a_server_that_knows_no_transfers_is_told_of_and_asked_for_none() {
    let world = World::builder().prepare();
    fs::write(world.scratch("f"), b"x").unwrap();
    let server = RawServer::of(&world);
    let to = format!("{}:/tmp/x", server.address());
    let client = cp(&world, ["f", &to]).spawn();
    let mut peer = server.accept().unwrap();
    peer.expect_frame("hello");
    let hello = json!({
        "type": "hello", "agent": "old", "capabilities": ["exec"], "instance": "ab".repeat(16),
        "grace_ms": 1000, "retain_ms": 1000, "keepalive_ms": 15_000,
    });
    peer.send(&frame(&hello, &[])).unwrap();
    let done = client.wait();
    done.assert_code(125)
        .assert_says("does not know `transfer`")
        .assert_says("older than this client");
}

#[test]
fn an_interrupted_transfer_leaves_nothing_half_done_and_goes_on_when_run_again() {
    for signal in [Signal::INT, Signal::TERM] {
        let world = World::start();
        fs::create_dir(world.scratch("s")).unwrap();
        for number in 0..60 {
            fs::write(world.scratch("s").join(number.to_string()), vec![b'x'; 5_000_000]).unwrap();
        }
        let to = there(&world, world.scratch("to"));
        // So slow that it is under way when the signal comes.
        let proxy = Proxy::to(world.address());
        proxy.throttle(Some(16_000_000));
        let slow = format!("{}:{}", proxy.target(), world.scratch("to").display());
        let client = cp(&world, ["-r", "s", &slow]).spawn();
        let copied = || fs::read_dir(world.scratch("to")).map_or(0, Iterator::count);
        eventually("a file is there", || copied() > 2);
        client.signal(signal);
        let done = client.wait();
        done.assert_code(128 + signal.as_raw()).assert_says("If DST was not there before, add -T");
        assert!(copied() < 60);
        for entry in fs::read_dir(world.scratch("to")).unwrap() {
            let entry = entry.unwrap();
            let is_partial = entry.file_name().to_string_lossy().starts_with(".rcmd-part-");
            assert!(is_partial || entry.metadata().unwrap().len() == 5_000_000);
        }
        cp(&world, ["-r", "s/", &to]).run().assert_code(0);
        assert_eq!(copied(), 60);
    }
}

#[test]
fn a_time_limit_ends_it() {
    let world = World::start();
    let file = fs::File::create(world.scratch("huge")).unwrap();
    file.set_len(1 << 40).unwrap();
    // Nothing of it is a hole to this end, which reads all of it to compare.
    let to = there(&world, world.scratch("to"));
    let done = cp(&world, ["--timeout", "1s", "--checksum", "huge", &to]).run();
    done.assert_code(124).assert_says("time limit");
}
