//! Trees that go over a link which breaks again and again.

use std::env;
use std::fs;
use std::path::Path;

use rcmd_tests::World;
use rcmd_tests::proxy::{Direction, Fault, Plan, Proxy};
use rcmd_tests::random::Random;

use crate::cp;
use crate::tree::{describe, set};

const MIB: u64 = 1 << 20;
/// The most bytes that cross before the link breaks.
const APART: u64 = 4 * MIB;

/// Returns how often the link breaks: `RCMD_TRANSFER_CUTS`, or a few times.
fn cuts() -> u64 {
    let set = env::var("RCMD_TRANSFER_CUTS");
    set.map_or(8, |cuts| cuts.parse().expect("RCMD_TRANSFER_CUTS is a number"))
}

/// Makes a tree of small and large files, so large that the link breaks as often as it is to. Returns the bytes in it.
fn fill(root: &Path, random: &mut Random) -> u64 {
    let mut bytes = 0;
    let mut write = |path: &Path, size: u64| {
        fs::write(path, random.take_bytes(usize::try_from(size).unwrap())).unwrap();
        bytes += size;
    };
    for number in 0..cuts() {
        let folder = root.join(format!("folder {number}"));
        fs::create_dir_all(&folder).unwrap();
        for small in 0..20 {
            write(&folder.join(format!("small {small}")), small * 100);
        }
        write(&folder.join("large"), APART + number * 1_000);
        set(&folder, 0o750, 1_600_000_000);
    }
    set(root, 0o755, 1_600_000_001);
    bytes
}

/// Copies a tree over a link that breaks at random bytes, and holds what came, and what crossed, against what was sent.
fn arrives_whole(is_push: bool) {
    let world = World::start();
    let mut random = Random::new(11);
    let content = fill(&world.scratch("s"), &mut random);
    let proxy = Proxy::to(world.address());
    let way = if is_push { Direction::ToServer } else { Direction::ToClient };
    let most = cuts();
    proxy.plan(move |number| match number {
        number if number >= most => Plan::HONEST,
        // A client that never reached its host does not try again.
        0 => Plan::after(way, MIB + random.below(APART - MIB), Fault::Reset),
        _ => {
            let fault = *random.choose(&[Fault::Reset, Fault::Fin, Fault::ServerReset]);
            Plan::after(way, random.below(APART), fault)
        }
    });
    let there = |name| format!("{}:{}", proxy.target(), world.scratch(name).display());
    let (from, to) = match is_push {
        true => ("s".to_owned(), there("came")),
        false => (there("s"), "came".to_owned()),
    };
    cp(&world, ["-r", &from, &to]).run().assert_code(0);
    let (came, sent) = (describe(&world.scratch("came")), describe(&world.scratch("s")));
    let differs = came.iter().zip(&sent).find(|(came, sent)| came != sent);
    assert_eq!((differs, came.len()), (None, sent.len()));
    let connections = proxy.connections();
    assert!(connections > most, "the link broke {connections} times");
    // What is not content: the handshakes, the frames, and what is said of each file.
    let overhead = MIB + content / 50 + connections * 16 * 1024;
    let twice = proxy.forwarded(way).saturating_sub(content + overhead);
    assert!(twice <= most * MIB, "{twice} bytes were sent twice in {most} cuts");
}

#[test]
fn a_tree_that_is_sent_arrives_over_a_link_that_breaks_and_little_crosses_twice() {
    arrives_whole(true);
}

#[test]
fn a_tree_that_is_fetched_arrives_over_a_link_that_breaks_and_little_crosses_twice() {
    arrives_whole(false);
}
