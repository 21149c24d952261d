//! `--compress`: the same bytes and the same ends, over fewer bytes of the network.

use std::fs;
use std::process::Command;

use rcmd_client::{Client, Config, Stdio};
use rcmd_tests::sink::Sink;
use rcmd_tests::{Direction, Fault, Plan, Proxy, World, eventually};

/// Lines that differ, as those of a log do: 2.4 MB.
const LOG: &str = "seq -f 'service[%g]: request handled, status=200 duration=12ms' 1 40000";

fn log() -> Vec<u8> {
    (1..=40_000)
        .map(|n| format!("service[{n}]: request handled, status=200 duration=12ms\n"))
        .collect::<String>()
        .into_bytes()
}

#[test]
fn output_is_the_same_over_a_tenth_of_the_bytes() {
    let world = World::start();
    let over = |option: Option<&str>| {
        let proxy = Proxy::to(world.address());
        let client = world.shell(LOG).target(proxy.target()).options(option).with_result();
        let done = client.run();
        assert_eq!((done.code(), done.stdout == log()), (0, true), "{}", done.story());
        (done.result()["stdout_digest"].clone(), proxy.forwarded(Direction::ToClient))
    };
    let (plain_digest, plain) = over(None);
    let (digest, compressed) = over(Some("--compress"));
    assert_eq!(digest, plain_digest);
    assert!(plain > 2_000_000 && compressed < plain / 10, "{plain} {compressed}");
}

#[test]
fn input_is_the_same_over_a_tenth_of_the_bytes() {
    let world = World::start();
    let proxy = Proxy::to(world.address());
    let file = world.scratch("input");
    let line = format!("read first; echo \"$first\"; cat > {}", file.display());
    let client = world.shell(line).target(proxy.target()).option("--compress");
    let mut client = client.stdin_pipe().stdout(Sink::Pipe).spawn();
    // What is said before the server has agreed is not compressed, so the bulk comes after.
    client.write_stdin(b"agreed\n");
    assert_eq!(client.read_line(), "agreed");
    client.write_stdin(&log());
    drop(client.stdin.take());
    assert_eq!(client.wait().code(), 0);
    assert!(fs::read(&file).unwrap() == log());
    let sent = proxy.forwarded(Direction::ToServer);
    assert!(sent < log().len() as u64 / 10, "{sent}");
}

#[test]
fn a_cut_link_heals_and_is_compressed_again() {
    let world = World::start();
    let proxy = Proxy::to(world.address());
    proxy.plan(|number| match number {
        0 => Plan::after(Direction::ToClient, 10_000, Fault::Reset),
        _ => Plan::HONEST,
    });
    let done = world.shell(LOG).target(proxy.target()).option("--compress").run();
    assert_eq!((done.code(), done.stdout == log()), (0, true), "{}", done.story());
    assert_eq!(proxy.connections(), 2);
    let forwarded = proxy.forwarded(Direction::ToClient);
    assert!(forwarded < log().len() as u64 / 5, "{forwarded}");
}

/// The resident memory of the server, in KiB, that leaves no room for one more compressed
/// connection.
const HELD_KIB: u64 = 180 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_holds_much_for_its_clients_does_not_compress() {
    let world = World::start();
    let proxy = Proxy::to(world.address());
    let config = Config::from_dir(world.dir()).unwrap();
    let hoarder = Client::connect(&config, &proxy.target().parse().unwrap()).await.unwrap();
    // All of them wait until somebody opens it for writing.
    let gate = world.scratch("gate");
    let made = Command::new("mkfifo").arg(&gate).status().unwrap();
    assert!(made.success());
    let line = format!(": < {}; head -c 2M /dev/zero", gate.display());
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(hoarder.shell(&line).stdin(Stdio::Null).spawn().await.unwrap());
    }
    for child in &mut held {
        child.started().await.expect("a start");
    }
    // Nothing is acknowledged any more.
    proxy.silence();
    fs::write(&gate, "").unwrap();
    eventually("the server holds what it may", || world.resident_kib() > HELD_KIB);
    let over = Proxy::to(world.address());
    let done = world.shell(LOG).target(over.target()).option("--compress").run();
    assert_eq!((done.code(), done.stdout == log()), (0, true), "{}", done.story());
    assert!(over.forwarded(Direction::ToClient) > log().len() as u64);
}

#[test]
fn client_toml_can_say_it() {
    let world = World::start();
    let proxy = Proxy::to(world.address());
    fs::write(world.dir().join("client.toml"), "compress = true\n").unwrap();
    let done = world.shell(LOG).target(proxy.target()).run();
    assert_eq!((done.code(), done.stdout == log()), (0, true), "{}", done.story());
    assert!(proxy.forwarded(Direction::ToClient) < log().len() as u64 / 10);
}

#[test]
fn a_line_comes_when_it_was_written_and_not_when_a_block_is_full() {
    let world = World::start();
    let client = world.shell("read a; echo $a; read b; echo $b").option("--compress");
    let mut client = client.stdin_pipe().stdout(Sink::Pipe).spawn();
    for line in ["one", "two"] {
        client.write_stdin(format!("{line}\n").as_bytes());
        assert_eq!(client.read_line(), line);
    }
    drop(client.stdin.take());
    assert_eq!(client.wait().code(), 0);
}

#[test]
fn what_compression_takes_of_the_server_is_given_back() {
    let world = World::start();
    let before = world.settled_snapshot();
    for _ in 0..20 {
        assert_eq!(world.exec(["true"]).option("--compress").run().code(), 0);
    }
    eventually("the connections are gone", || world.open_connections() == 0);
    world.assert_settles_to(&before);
}
