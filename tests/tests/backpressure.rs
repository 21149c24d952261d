//! Readers that stall: what they do not take is held within bounds, and whoever else is served goes on,
//! on the same connection too.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::time::Duration;

use rcmd_tests::raw::{Echo, Start, frame, hello};
use rcmd_tests::{RawPeer, World, eventually, proc};
use serde_json::json;

/// Credit of a stream of which nothing was confirmed.
const CREDIT: u64 = 1 << 20;

/// Bytes that came of each channel and stream.
type Received = HashMap<(u64, String), u64>;

/// A silence after which nothing more is to be expected of a server whose peers take nothing.
const SILENCE: Duration = Duration::from_secs(1);

/// Reads what the server sends by itself, without confirming any of it.
fn read_without_windows(peer: &mut RawPeer) -> Received {
    let mut received = Received::new();
    peer.socket().set_read_timeout(Some(SILENCE)).unwrap();
    loop {
        match peer.read_frame() {
            Ok(Some((header, payload))) if header["type"] == "data" => {
                let key =
                    (header["ch"].as_u64().unwrap(), header["stream"].as_str().unwrap().to_owned());
                *received.entry(key).or_default() += payload.len() as u64;
            }
            Ok(Some(_)) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return received,
            ended => panic!("{ended:?} after {received:?}"),
        }
    }
}

fn growth(world: &World, before: u64) -> u64 {
    proc::peak_kib(world.pid()).unwrap().saturating_sub(before)
}

fn say(what: &str, growth: u64) {
    let _ = writeln!(io::stderr(), "{what}: peak growth {growth} KiB");
}

#[test]
fn an_echo_goes_on_beside_a_stalled_reader_of_its_own_connection() {
    let world = World::builder().config("grace = \"0s\"").start();
    let before = world.settled_snapshot();
    let mut peer = RawPeer::greeted(&world);
    assert!(proc::forget_peak(world.pid()));
    let resident = world.resident_kib();
    let total = 5_000_000;
    let line = format!("head -c {total} /dev/zero");
    peer.send(&Start::shell(1, &line).frame()).unwrap();
    let received = read_without_windows(&mut peer);
    assert_eq!(received, Received::from([((1, "stdout".to_owned()), CREDIT)]));

    peer.socket().set_read_timeout(Some(rcmd_tests::wait::DEADLINE)).unwrap();
    let mut echo = Echo::on(peer, 2);
    (0..1000).for_each(|_| echo.beat());
    let grown = growth(&world, resident);
    say("a stalled reader", grown);
    assert!(grown <= 8 * 1024, "{grown} KiB");

    // The reader takes the rest at last, and all of it is there.
    let mut peer = echo.end();
    let (mut got, mut window) = (CREDIT, 0);
    let exit = loop {
        if got > window {
            window = got;
            let header = json!({
                "type": "window", "ch": 1, "stream": "stdout", "got": got, "upto": got + CREDIT,
            });
            peer.send(&frame(&header, &[])).unwrap();
        }
        let (header, payload) = peer.read_frame().unwrap().unwrap();
        match header["type"].as_str().unwrap() {
            "data" => {
                assert_eq!(header["offset"], got);
                got += payload.len() as u64;
            }
            "exit" => break header,
            _ => {}
        }
    };
    assert_eq!((&exit["code"], &exit["stdout_bytes"]), (&json!(0), &json!(total)), "{exit}");
    assert_eq!(got, total);
    drop(peer);
    world.assert_settles_to(&before);
}

#[test]
fn a_peer_that_reads_nothing_at_all_holds_up_nobody_else() {
    let world = World::builder().config("grace = \"0s\"").start();
    let before = world.settled_snapshot();
    let mut honest = Echo::start(&world);
    assert!(proc::forget_peak(world.pid()));
    let resident = world.resident_kib();
    let mark = format!("MARK=604.{}", std::process::id());
    let mut peers: Vec<RawPeer> = (0..8)
        .map(|_| {
            let mut peer = RawPeer::connect(&world);
            // An assignment in its argv is how the command is found again.
            let start = Start::exec(1, &["env", &mark, "cat", "/dev/zero"]);
            peer.send(&[hello(), start.frame()].concat()).unwrap();
            peer
        })
        .collect();
    // Each has gone to sleep on a full pipe.
    eventually("the commands wait for their reader", || {
        honest.beat();
        let commands = proc::marked(&mark);
        commands.len() == peers.len()
            && commands.iter().all(|command| command.state == 'S' && command.name == "cat")
    });
    (0..100).for_each(|_| honest.beat());
    let grown = growth(&world, resident);
    say("eight peers that read nothing", grown);
    assert!(grown <= 32 * 1024, "{grown} KiB");
    peers.clear();
    eventually("the commands are gone", || proc::marked(&mark).is_empty());
    drop(honest.end());
    world.assert_settles_to(&before);
}

#[test]
fn what_all_stalled_readers_together_cost_is_bounded_and_none_of_them_starves() {
    const COMMANDS: u64 = 150;
    /// The bytes that a stream gets although the total is used up.
    const ALWAYS: u64 = CREDIT / 4;
    let world = World::builder().config("grace = \"0s\"").start();
    let before = world.settled_snapshot();
    let mut honest = Echo::start(&world);
    assert!(proc::forget_peak(world.pid()));
    let resident = world.resident_kib();
    let mut peer = RawPeer::greeted(&world);
    for ch in 1..=COMMANDS {
        peer.send(&Start::shell(ch, "cat /dev/zero >&2 & exec cat /dev/zero").frame()).unwrap();
    }
    let received = read_without_windows(&mut peer);
    honest.beat();
    assert_eq!(received.len() as u64, 2 * COMMANDS);
    let least = received.values().min().unwrap();
    assert!(*least >= ALWAYS, "one stream got {least} bytes");
    let total: u64 = received.values().sum();
    let bound = (256 << 20) + 2 * COMMANDS * ALWAYS;
    assert!(total <= bound, "{total} bytes are more than {bound}");
    let grown = growth(&world, resident);
    say(&format!("{COMMANDS} stalled readers of {} MiB", total >> 20), grown);
    assert!(grown <= 400 * 1024, "{grown} KiB");

    // When they go, the memory is anyone's again.
    drop(peer);
    eventually("the commands are gone", || world.snapshot().children == 1);
    let ran = RawPeer::greeted(&world).run(&Start::shell(1, "head -c 3000000 /dev/zero")).unwrap();
    assert_eq!(ran.stdout.len(), 3_000_000);
    drop(honest.end());
    world.assert_settles_to(&before);
}

#[test]
fn input_that_a_command_does_not_read_is_held_up_to_its_credit() {
    let world = World::builder().config("grace = \"0s\"").start();
    let before = world.settled_snapshot();
    let mut echo = Echo::on(RawPeer::greeted(&world), 1);
    assert!(proc::forget_peak(world.pid()));
    let resident = world.resident_kib();
    for ch in 2..10 {
        echo.peer.send(&Start::exec(ch, &["sleep", "604"]).stdin().frame()).unwrap();
        for offset in (0..CREDIT).step_by(CREDIT as usize / 16) {
            let data = json!({"type": "data", "ch": ch, "stream": "stdin", "offset": offset});
            echo.peer.send(&frame(&data, &[0; CREDIT as usize / 16])).unwrap();
        }
        echo.beat();
    }
    let grown = growth(&world, resident);
    say("eight commands that read no input", grown);
    assert!(grown <= 32 * 1024, "{grown} KiB");
    drop(echo);
    world.assert_settles_to(&before);
}
