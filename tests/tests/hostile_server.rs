//! Servers that hold their clients: what they say is believed for a while, and no longer.

use std::time::Duration;

use rcmd_tests::raw::{RawServer, frame};
use rcmd_tests::{RunningClient, World};
use serde_json::{Value, json};

/// The time from the end of a time limit until its host is late. The client does not leave earlier.
const SLACK: Duration = Duration::from_secs(30);

/// Starts a client of this server that asks for a command with a limit of a second.
fn limited(world: &World, server: &RawServer) -> RunningClient {
    let client = world.exec(["sleep", "9"]).options(["-n", "--timeout", "1s"]);
    client.target(server.address().to_string()).with_result().spawn()
}

/// The hello of a server with this grace.
fn hello(grace_ms: u64) -> Vec<u8> {
    let hello = json!({
        "type": "hello", "agent": "hostile", "capabilities": ["exec"], "instance": "ab".repeat(16),
        "grace_ms": grace_ms, "retain_ms": 600_000, "keepalive_ms": 15_000,
    });
    frame(&hello, &[])
}

/// Returns the first frames of a server with this grace, to a client that has sent its hello and a start.
fn greeting(grace_ms: u64) -> Vec<u8> {
    let started = json!({
        "type": "started", "ch": 1, "job": "0123456789abcdef", "digest": "sha256", "started_at": 1,
    });
    [hello(grace_ms), frame(&started, &[])].concat()
}

/// The answer of a server that has no room, and says when to ask again.
fn busy(ch: &Value, retry_after_ms: Option<u64>) -> Vec<u8> {
    let mut exit = json!({
        "type": "exit", "ch": ch, "outcome": "not_started", "kind": "busy", "message": "full",
        "stdout_bytes": 0, "stderr_bytes": 0, "ended_at": 1,
    });
    if let Some(wait) = retry_after_ms {
        exit["retry_after_ms"] = wait.into();
    }
    frame(&exit, &[])
}

fn assert_left(client: RunningClient) {
    let done = client.wait();
    let result = done.result();
    assert_eq!((done.code(), &result["outcome"]), (255, &json!("unknown")), "{}", done.story());
    assert_eq!(result["error"]["kind"], "lost", "{result}");
    assert!(done.elapsed >= SLACK, "{:?}", done.elapsed);
}

#[test]
fn a_server_that_does_not_keep_the_time_limit_is_left() {
    let world = World::builder().prepare();
    let server = RawServer::of(&world);
    let client = limited(&world, &server);
    let mut peer = server.accept().unwrap();
    peer.expect_frame("hello");
    peer.expect_frame("start");
    peer.send(&greeting(10_000)).unwrap();
    let mut cancelled = false;
    // It answers all that it is asked, and nothing more.
    while let Ok(Some((header, _))) = peer.read_frame() {
        match header["type"].as_str() {
            Some("ping") => {
                let pong = json!({"type": "pong", "number": header["number"]});
                // The client may have left.
                let _ = peer.send(&frame(&pong, &[]));
            }
            Some("cancel") => cancelled = true,
            _ => {}
        }
    }
    assert!(cancelled);
    assert_left(client);
}

#[test]
fn a_grace_without_end_holds_no_client_whose_command_has_a_limit() {
    let world = World::builder().prepare();
    let server = RawServer::of(&world);
    let client = limited(&world, &server);
    let mut peer = server.accept().unwrap();
    peer.expect_frame("hello");
    peer.expect_frame("start");
    peer.send(&greeting((1 << 53) - 1)).unwrap();
    // Who answers has read what came before.
    peer.send(&frame(&json!({"type": "ping", "number": 7}), &[])).unwrap();
    peer.expect_frame("pong");
    drop((peer, server));
    assert_left(client);
}

#[test]
fn a_flood_of_places_in_the_queue_is_told_once_a_second() {
    let world = World::builder().prepare();
    let server = RawServer::of(&world);
    let client = world.exec(["true"]).option("-n").target(server.address().to_string()).spawn();
    let mut peer = server.accept().unwrap();
    peer.expect_frame("hello");
    peer.expect_frame("start");
    peer.send(&hello(10_000)).unwrap();
    for position in 0..20_000 {
        let queued = json!({"type": "queued", "ch": 1, "position": position});
        peer.send(&frame(&queued, &[])).unwrap();
    }
    peer.send(&busy(&json!(1), None)).unwrap();
    let done = client.wait();
    done.assert_code(125).assert_says("full");
    let said = done.stderr_text();
    let told = said.lines().filter(|line| line.contains("waiting for its turn")).count();
    assert!(told >= 1 && told as u64 <= 1 + done.elapsed.as_secs(), "{told}: {}", done.story());
}

#[test]
fn a_busy_server_that_says_to_come_again_at_once_is_asked_ever_more_slowly() {
    let world = World::builder().prepare();
    let server = RawServer::of(&world);
    let client = world.exec(["true"]).options(["-n", "--busy-wait", "2s"]);
    let client = client.target(server.address().to_string()).spawn();
    let mut peer = server.accept().unwrap();
    peer.expect_frame("hello");
    peer.send(&hello(10_000)).unwrap();
    let mut asked = 0;
    while let Ok(Some((header, _))) = peer.read_frame() {
        if header["type"] == "start" {
            asked += 1;
            peer.send(&busy(&header["ch"], Some(0))).unwrap();
        }
    }
    client.wait().assert_code(125).assert_says("full");
    // At first, and at the earliest after 50, 150, 350, 750 and 1,550 ms.
    assert!((2..=6).contains(&asked), "{asked} times");
}
