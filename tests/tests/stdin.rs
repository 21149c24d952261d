//! Standard input arrives whole, ends only when it was ended, and never holds the client up.

use std::fs;
use std::time::Duration;

use rcmd_tests::proc::descendants;
use rcmd_tests::sink::Sink;
use rcmd_tests::soak::stdin::{random, sizes};
use rcmd_tests::{Fault, Proxy, Random, Tally, World, eventually};
use rustix::process::Signal;

/// The grace in these tests: the time that an attached command may live after its client.
const SHORT_GRACE: &str = "grace = \"1s\"";

#[test]
fn input_of_every_sampled_size_comes_back() {
    // `soak stdin` takes all of 0 to 300 KiB.
    let edges = (0..=75).map(|block| block * 4096);
    let near = edges.flat_map(|edge: usize| edge.saturating_sub(2)..=edge + 2);
    let mut random = Random::new(300);
    let sampled = (0..300).map(|_| random.below(300 << 10) as usize);
    let world = World::start();
    sizes(&world, (0..=300).chain(near).chain(sampled.collect::<Vec<_>>()));
}

#[test]
fn the_command_line_sends_what_it_reads() {
    let world = World::start();
    for size in [0, 1, 4096, 65_534, 65_535, 65_536, 65_537, 65_538, 131_072, 300 << 10] {
        let bytes = Random::new(size as u64).take_bytes(size);
        let done = world.exec(["cat"]).stdin(bytes.clone()).run();
        done.assert_code(0);
        assert!(done.stdout == bytes, "{size}: {}", done.story());
    }
}

#[test]
fn a_large_input_is_whole() {
    // The whole GiB is `soak stdin`.
    random(&World::start(), 128 << 20);
}

#[test]
fn the_end_of_an_empty_input_is_an_end() {
    let world = World::start();
    let done = world.exec(["wc", "-c"]).stdin("").run();
    assert_eq!(done.assert_code(0).stdout_text().trim(), "0");
}

#[test]
fn with_n_nothing_is_read_and_nothing_is_sent() {
    let world = World::start();
    // The pipe stays open and full: who read from it would wait, or send it.
    let mut client = world.exec(["wc", "-c"]).option("-n").stdin_pipe().spawn();
    client.write_stdin(b"not for you");
    let kept = client.stdin.take();
    let done = client.wait();
    drop(kept);
    assert_eq!(done.assert_code(0).stdout_text().trim(), "0");
}

#[test]
fn the_client_ends_with_the_command_while_its_own_input_is_open() {
    let world = World::start();
    let mut client = world.exec(["sh", "-c", "echo over; exit 3"]).stdin_pipe().spawn();
    let kept = client.stdin.take();
    let done = client.wait();
    drop(kept);
    done.assert_code(3);
    assert_eq!(done.stdout, b"over\n");
}

#[test]
fn a_command_that_reads_a_little_of_much_ends_well() {
    let world = World::start();
    let endless = Random::new(10);
    let done = world.exec(["head", "-c", "10"]).stdin_from(endless).with_result().run();
    done.assert_code(0);
    assert_eq!(done.stdout, Random::new(10).take_bytes(16)[..10]);
    assert_eq!(done.stderr_text(), "", "nothing is wrong with that");
    assert_eq!(done.result()["outcome"], "exited");
}

#[test]
fn a_command_that_closes_its_input_goes_on() {
    let world = World::start();
    let line = "head -c 4 >/dev/null; exec <&-; seq 1 200000";
    let done = world.shell(line).stdin_from(Random::new(4)).stdout(Sink::Hash).run();
    done.assert_code(0);
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(done.stdout_tally(), Tally::of(expected.as_bytes()));
}

#[test]
fn input_that_nobody_reads_does_not_hold_output_up() {
    let world = World::start();
    let line = "seq 1 300000; sha256sum";
    let input = Random::new(9).take_bytes(5 << 20);
    let done = world.shell(line).stdin(input.clone()).run();
    done.assert_code(0);
    let mut expected: String = (1..=300_000).map(|number| format!("{number}\n")).collect();
    expected.push_str(&format!("{}  -\n", Tally::of(&input).sha256));
    assert_eq!(done.stdout_tally(), Tally::of(expected.as_bytes()));
}

#[test]
fn a_client_killed_in_mid_input_never_commits() {
    let world = World::builder().config(SHORT_GRACE).start();
    let (part, whole) = (world.scratch("f"), world.scratch("g"));
    let line = format!("cat > {} && mv {} {}", part.display(), part.display(), whole.display());
    let mut client = world.shell(&line).stdin_pipe().spawn();
    client.write_stdin(&[b'x'; 100_000]);
    eventually("the first part is there", || {
        fs::metadata(&part).is_ok_and(|file| file.len() == 100_000)
    });
    let tree = descendants(world.pid());
    assert!(!tree.is_empty());
    client.signal(Signal::KILL);
    client.wait();
    eventually("the tree is gone", || descendants(world.pid()).is_empty());
    assert!(!whole.exists(), "half a file was committed");
    assert!(part.exists());

    // The same line commits when its input ends.
    world.shell(line).stdin("whole").run().assert_code(0);
    assert_eq!(fs::read(&whole).unwrap(), b"whole");
}

#[test]
fn a_link_that_dies_in_mid_input_never_commits() {
    for fault in [Fault::Reset, Fault::Fin] {
        let world = World::builder().config(SHORT_GRACE).start();
        let proxy = Proxy::to(world.address());
        let (part, whole) = (world.scratch("f"), world.scratch("g"));
        let line = format!("cat > {} && mv {} {}", part.display(), part.display(), whole.display());
        let client = world.shell(line).target(proxy.target()).stdin_pipe().with_result();
        let mut client = client.limit(Duration::from_secs(60)).spawn();
        client.write_stdin(&[b'x'; 1000]);
        eventually("the first part is there", || {
            fs::metadata(&part).is_ok_and(|file| file.len() == 1000)
        });
        proxy.refuse(true);
        proxy.cut(fault);
        let kept = client.stdin.take();
        let done = client.wait();
        drop(kept);
        done.assert_code(255);
        assert_eq!(done.result()["outcome"], "unknown");
        eventually("the tree is gone", || descendants(world.pid()).is_empty());
        assert!(!whole.exists(), "half a file was committed");
    }
}
