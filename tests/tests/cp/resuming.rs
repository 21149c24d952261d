//! Single files whose transfer was ended early go on where they were when it is run again, whoever ended it.

use std::fs;
use std::path::Path;

use rcmd_tests::many::events;
use rcmd_tests::proxy::{Fault, Proxy};
use rcmd_tests::random::Random;
use rcmd_tests::{Finished, World, eventually};
use rustix::process::Signal;

use crate::{cp, there};

/// The size of the file, and of the part at which its first transfer is ended.
const SIZE: usize = 32 << 20;
const PART: u64 = 8 << 20;

/// How the first transfer is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    ClientKilled,
    ServerKilled,
    Interrupted,
    TimeLimit,
    Cut,
}

fn part(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let parts =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".rcmd-part-"));
    parts.map(|entry| entry.metadata().map_or(0, |facts| facts.len())).max().unwrap_or(0)
}

/// Ends a transfer when a part of the file is there, and returns how that ended.
fn first_try(world: &mut World, end: End, is_push: bool) -> Finished {
    let proxy = Proxy::to(world.address());
    proxy.throttle(Some(16_000_000));
    let (there, to) = match is_push {
        true => ("f".to_owned(), format!("{}:{}", proxy.target(), world.scratch("to/f").display())),
        false => {
            (format!("{}:{}", proxy.target(), world.scratch("f").display()), "to/f".to_owned())
        }
    };
    let limit = if end == End::TimeLimit { "1200ms" } else { "1h" };
    let client = cp(world, ["--timeout", limit, &there, &to]).spawn();
    if end != End::TimeLimit {
        let folder = world.scratch("to");
        eventually("a part of the file is there", || part(&folder) > PART);
    }
    match end {
        End::ClientKilled => client.signal(Signal::KILL),
        End::Interrupted => client.signal(Signal::INT),
        End::ServerKilled => {
            world.kill_server();
            world.start_server();
        }
        End::Cut => {
            proxy.refuse(true);
            proxy.cut(Fault::Reset);
        }
        End::TimeLimit => {}
    }
    client.wait()
}

fn goes_on_after(end: End, is_push: bool) {
    let mut world = World::start();
    let mut random = Random::new(7);
    let content = random.take_bytes(SIZE);
    fs::write(world.scratch("f"), &content).unwrap();
    fs::create_dir(world.scratch("to")).unwrap();
    let first = first_try(&mut world, end, is_push);
    match end {
        End::ClientKilled => {}
        End::Interrupted => {
            first.assert_code(130).assert_says("interrupted").assert_says("Run it again");
            assert!(!first.stderr_text().contains("other end gave up"), "{}", first.story());
        }
        End::TimeLimit => {
            first.assert_code(124).assert_says("Run it again");
        }
        End::ServerKilled | End::Cut => {
            first.assert_code(255).assert_says("Run it again: it goes on where it stopped");
            assert!(!first.stderr_text().contains("what the command did"), "{}", first.story());
        }
    }
    assert!(!world.scratch("to/f").exists(), "{end:?}");
    let (from, to) = match is_push {
        true => ("f".to_owned(), there(&world, world.scratch("to/f"))),
        false => (there(&world, world.scratch("f")), "to/f".to_owned()),
    };
    let again = cp(&world, ["--json", &from, &to]).run();
    let events = events(&again);
    let totals = &events.last().unwrap()["totals"];
    let crossed = totals["crossed"].as_u64().unwrap_or(u64::MAX);
    assert!(crossed < SIZE as u64 - PART + (2 << 20), "{end:?}: {}", again.story());
    assert_eq!(events[0]["notes"], serde_json::json!(["resumed"]), "{}", again.story());
    assert!(fs::read(world.scratch("to/f")).unwrap() == content);
}

fn goes_on_in_both_directions_after(end: End) {
    for is_push in [true, false] {
        goes_on_after(end, is_push);
    }
}

#[test]
fn a_file_goes_on_after_a_kill_of_the_client() {
    goes_on_in_both_directions_after(End::ClientKilled);
}

#[test]
fn a_file_goes_on_after_a_kill_of_the_server() {
    goes_on_in_both_directions_after(End::ServerKilled);
}

#[test]
fn a_file_goes_on_after_an_interrupt() {
    goes_on_in_both_directions_after(End::Interrupted);
}

#[test]
fn a_file_goes_on_after_a_time_limit() {
    goes_on_in_both_directions_after(End::TimeLimit);
}

#[test]
fn a_file_goes_on_after_a_cut() {
    goes_on_in_both_directions_after(End::Cut);
}
