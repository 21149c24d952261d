//! Standard input and output in place of a file, and what is left of them.

use std::fs;

use rcmd_tests::many::events;
use rcmd_tests::{World, eventually};
use rustix::process::Signal;

use crate::{cp, there};

#[test]
fn standard_output_by_another_name_is_standard_output() {
    let world = World::start();
    fs::write(world.scratch("f"), b"content").unwrap();
    let from = there(&world, world.scratch("f"));
    for to in ["-", "/dev/stdout", "/dev/fd/1"] {
        let done = cp(&world, [from.as_str(), to]).run();
        assert_eq!(done.assert_code(0).stdout, b"content", "{to}");
    }
    let to = there(&world, world.scratch("g"));
    cp(&world, ["/dev/stdin", &to]).stdin(*b"from a pipe").run().assert_code(0);
    assert_eq!(fs::read(world.scratch("g")).unwrap(), b"from a pipe");
    // Nothing comes in a dry run, so that there is room for its line; the file has its own name.
    let done = cp(&world, ["--dry-run", &from, "-"]).run();
    assert_eq!(done.assert_code(0).stdout_text(), "created   f\n");
}

#[test]
fn nothing_is_left_of_a_stream_that_was_interrupted() {
    let world = World::start();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let temporary = world.scratch("temporary");
        fs::create_dir(&temporary).unwrap();
        let to = there(&world, world.scratch("g"));
        let mut client = cp(&world, ["-", &to]).env("TMPDIR", &temporary).stdin_pipe().spawn();
        client.write_stdin(&vec![b'x'; 1 << 20]);
        eventually("the input is being kept", || fs::read_dir(&temporary).unwrap().count() > 0);
        client.signal(signal);
        let done = client.wait();
        done.assert_code(128 + signal.as_raw()).assert_says("nothing was sent");
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "{}", done.story());
        fs::remove_dir(&temporary).unwrap();
    }
    assert!(!world.scratch("g").exists());
}

#[test]
fn patterns_may_come_from_standard_input() {
    let world = World::start();
    fs::create_dir(world.scratch("s")).unwrap();
    for name in ["a.o", "b.c"] {
        fs::write(world.scratch("s").join(name), b"x").unwrap();
    }
    let to = there(&world, world.scratch("to"));
    let done = cp(&world, ["-r", "--exclude-from", "-", "s/", &to]).stdin(*b"*.o\n").run();
    done.assert_code(0);
    assert!(world.scratch("to/b.c").exists() && !world.scratch("to/a.o").exists());
}

#[test]
fn a_reader_that_goes_away_ends_it_without_a_word() {
    let world = World::start();
    fs::create_dir(world.scratch("s")).unwrap();
    for number in 0..3_000 {
        fs::write(world.scratch("s").join(format!("a-rather-long-name-{number:05}")), b"").unwrap();
    }
    let to = there(&world, world.scratch("to"));
    let mut client =
        cp(&world, ["-r", "--itemize", "s", &to]).stdout(rcmd_tests::sink::Sink::Pipe).spawn();
    let first = client.read_line();
    assert!(first.starts_with("created"), "{first}");
    drop(client.stdout.take());
    let done = client.wait();
    done.assert_code(141);
    assert_eq!(done.stderr_text(), "");
}

#[test]
fn the_events_of_a_dry_run_say_that_it_is_one() {
    let world = World::start();
    fs::write(world.scratch("f"), b"content").unwrap();
    let to = there(&world, world.scratch("g"));
    let done = cp(&world, ["--dry-run", "--json", "f", &to]).run();
    let end = events(&done).pop().unwrap();
    assert_eq!((&end["dry_run"], &end["totals"]["sent"]), (&true.into(), &1.into()));
}
