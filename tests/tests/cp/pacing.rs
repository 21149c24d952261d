//! `--bwlimit`: how much crosses in a second.

use std::fs;
use std::time::{Duration, Instant};

use rcmd_tests::many;
use rcmd_tests::{Direction, Proxy, World, eventually};
use rustix::process::Signal;

use crate::{cp, there};

const KIB: u64 = 1024;

/// Content that does not repeat, of so many bytes.
fn content(count: u64) -> Vec<u8> {
    let mut content = vec![0; usize::try_from(count).unwrap()];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    content
}

#[test]
fn what_is_sent_and_what_is_fetched_takes_its_time() {
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    fs::write(path("f"), content(384 * KIB)).unwrap();
    for (from, to) in
        [("f".to_owned(), there(&world, path("g"))), (there(&world, path("f")), "h".to_owned())]
    {
        let done = cp(&world, ["--bwlimit", "256", &from, &to]).run();
        done.assert_code(0);
        // A second and a half, less what is let through at once.
        assert!(done.elapsed > Duration::from_millis(1_200), "{from}: {:?}", done.elapsed);
    }
    for copy in ["g", "h"] {
        assert!(fs::read(path(copy)).unwrap() == fs::read(path("f")).unwrap(), "{copy}");
    }
}

#[test]
fn a_host_that_is_fetched_from_sends_no_faster_than_the_client_takes() {
    let world = World::start();
    fs::write(world.scratch("f"), content(4 << 20)).unwrap();
    let proxy = Proxy::to(world.address());
    let from = format!("{}:{}", proxy.target(), world.scratch("f").display());
    let began = Instant::now();
    let client = cp(&world, ["--bwlimit", "64K", &from, "g"]).spawn();
    let crossed = || proxy.forwarded(Direction::ToClient);
    eventually("a part of it has crossed", || crossed() > 160 * KIB);
    // Half a second ahead, as much that has come and waits to be paid for, and what is not content.
    let least = Duration::from_secs_f64((160.0 - 32.0 - 32.0 - 24.0) / 64.0);
    assert!(began.elapsed() > least, "{:?}", began.elapsed());
    let interrupted = Instant::now();
    client.signal(Signal::INT);
    let done = client.wait();
    assert_eq!(done.code(), 130, "{}", done.story());
    assert!(interrupted.elapsed() < Duration::from_secs(30));
    assert!(!world.scratch("g").exists());
}

#[test]
fn the_hosts_of_a_set_share_the_rate() {
    let world = many::world(4);
    fs::write(world.scratch("f"), content(96 * KIB)).unwrap();
    let to = format!("a[1-4]:{}", world.scratch("to/").display());
    fs::create_dir(world.scratch("to")).unwrap();
    let done = cp(&world, ["--bwlimit", "0.25M", "f", &to]).run();
    done.assert_code(0);
    // 384 KiB in all.
    assert!(done.elapsed > Duration::from_millis(1_200), "{:?}", done.elapsed);
}

#[test]
fn a_rate_that_may_mean_two_things_is_refused_with_what_to_write() {
    let world = World::builder().prepare();
    let done = cp(&world, ["--bwlimit", "10mb", "f", "web1:/tmp/"]).run();
    done.assert_code(125).assert_says("10MB or 10Mbit");
}
