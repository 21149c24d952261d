//! What the destination means, and what is deleted in it.

use std::fs;
use std::os::unix::fs::symlink;

use rcmd_tests::World;
use rcmd_tests::many::events;

use crate::{cp, there};

/// A world with a file `f`, another `g`, and a tree `t` with a file in it.
fn world() -> World {
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    fs::create_dir(path("t")).unwrap();
    fs::write(path("t/in"), b"in the tree").unwrap();
    fs::write(path("f"), b"f").unwrap();
    fs::write(path("g"), b"g").unwrap();
    symlink("/nowhere", path("dangling")).unwrap();
    symlink("f", path("link")).unwrap();
    world
}

#[test]
fn the_destination_is_as_cp_reads_it_in_both_directions() {
    for is_push in [true, false] {
        let world = world();
        let path = |name: &str| world.scratch(name);
        let run = |options: &[&str], sources: &[&str], to: &str| {
            let sources = sources.iter().map(|name| match is_push {
                true => (*name).to_owned(),
                false => there(&world, path(name)),
            });
            let to = if is_push { there(&world, path(to)) } else { to.to_owned() };
            let options = options.iter().map(|option| (*option).to_owned());
            cp(&world, options.chain(sources).chain([to])).run()
        };
        fs::create_dir(path("to")).unwrap();
        run(&[], &["f"], "to").assert_code(0);
        assert!(path("to/f").is_file());
        run(&[], &["f"], "to/new").assert_code(0);
        assert!(path("to/new").is_file());
        run(&[], &["link"], "to/copied").assert_code(0);
        assert!(path("to/copied").symlink_metadata().unwrap().is_file());
        run(&[], &["f", "g"], "to/").assert_code(0);
        assert!(path("to/g").is_file());
        run(&["-r"], &["t"], "to").assert_code(0);
        assert!(path("to/t/in").is_file());
        run(&["-r"], &["t"], "made").assert_code(0);
        assert!(path("made/in").is_file());
        run(&["-r"], &["t"], "other/").assert_code(0);
        assert!(path("other/t/in").is_file());
        run(&["-r"], &["t/"], "made").assert_code(0);
        run(&["-rT"], &["t"], "itself").assert_code(0);
        assert!(path("itself/in").is_file() && !path("made/t").exists());
        for (options, sources, to, kind) in [
            (&[][..], &["f"][..], "no/", "no_such_file"),
            (&[], &["f"], "no/such/file", "no_such_file"),
            (&[], &["f", "g"], "no", "no_such_file"),
            (&[], &["f"], "dangling", "no_such_file"),
            (&[], &["none"], "no", "no_such_file"),
            (&["-rT"], &["t"], "f", "exists"),
            (&["-T"], &["f"], "t", "exists"),
            (&[], &["t"], "no", "special"),
        ] {
            let done = run(options, sources, to);
            done.assert_code(1).assert_says(kind);
            assert!(!path("no").exists(), "{}", done.story());
        }
        assert_eq!(fs::read(path("f")).unwrap(), b"f");
    }
}

#[test]
fn some_sources_may_fail_and_the_others_arrive() {
    let world = world();
    fs::create_dir(world.scratch("to")).unwrap();
    let to = there(&world, world.scratch("to"));
    let done = cp(&world, ["f", "none", "t", "g", &to]).run();
    done.assert_code(1).assert_says("none").assert_says("no_such_file").assert_says("special");
    assert!(world.scratch("to/f").exists() && world.scratch("to/g").exists());
    let from = |name: &str| there(&world, world.scratch(name));
    let done = cp(&world, [&from("f"), &from("none"), "d2/"]).run();
    done.assert_code(1).assert_says("no_such_file");
    fs::create_dir(world.scratch("d2")).unwrap();
    let done = cp(&world, [&from("f"), &from("none"), "d2/"]).run();
    done.assert_code(1).assert_says("none");
    assert!(world.scratch("d2/f").exists());
}

#[test]
fn deletion_makes_the_destination_like_the_source_and_spares_what_is_excluded() {
    for is_push in [true, false] {
        let world = world();
        let path = |name: &str| world.scratch(name);
        fs::create_dir_all(path("to/old")).unwrap();
        for name in ["to/in", "to/keep.log", "to/old/x"] {
            fs::write(path(name), b"old").unwrap();
        }
        let (from, to) = match is_push {
            true => ("t/".to_owned(), there(&world, path("to"))),
            false => (there(&world, path("t/")), "to".to_owned()),
        };
        let words = ["-r", "--delete", "--exclude", "*.log", "--max-delete", "9", &from, &to];
        let done = cp(&world, ["--dry-run"].iter().chain(&words)).run();
        done.assert_code(0);
        // The paths of a push begin with the name of the source.
        let deleted = if is_push { "deleted   t/old/x\n" } else { "deleted   old/x\n" };
        assert!(done.stdout_text().contains(deleted), "{}", done.story());
        done.assert_says("dry run: ");
        assert!(path("to/old/x").exists());
        cp(&world, words).run().assert_code(0);
        assert!(path("to/in").exists() && path("to/keep.log").exists() && !path("to/old").exists());
    }
}

#[test]
fn nothing_is_deleted_from_an_empty_source_or_past_the_limit_and_that_is_said() {
    let world = world();
    let path = |name: &str| world.scratch(name);
    fs::create_dir(path("empty")).unwrap();
    fs::create_dir(path("to")).unwrap();
    for number in 0..6 {
        fs::write(path("to").join(number.to_string()), b"x").unwrap();
    }
    let to = there(&world, path("to"));
    for dry in [&["--dry-run"][..], &[]] {
        let delete = |words: &[&str]| {
            let options = dry.iter().copied().chain(["-r", "--delete"]);
            let done = cp(&world, options.chain(words.iter().copied()).chain([&*to])).run();
            let listed =
                done.stdout_text().lines().filter(|line| line.starts_with("deleted")).count();
            assert_eq!(listed, if dry.is_empty() { 0 } else { 6 }, "{}", done.story());
            done
        };
        let done = delete(&["empty/"]);
        done.assert_code(125).assert_says("6 entries would be, and the source has no file");
        done.assert_says("--max-delete N");
        let done = delete(&["t/"]);
        done.assert_code(1).assert_says("6 entries would be, which is more than half of the");
        let done = delete(&["--max-delete", "5", "t/"]);
        done.assert_code(1).assert_says("6 entries would be, and --max-delete permits 5");
        // It is the last thing that is said.
        let last = done.stderr_text().trim_end().lines().rev().nth(1).unwrap().to_owned();
        assert!(last.contains("nothing was deleted"), "{}", done.story());
        assert_eq!(fs::read_dir(path("to")).unwrap().count(), if dry.is_empty() { 7 } else { 6 });
    }
    let done = cp(&world, ["-r", "--delete", "--max-delete", "5", "--json", "t/", &to]).run();
    let end = events(&done).pop().unwrap();
    assert_eq!((&end["status"], &end["totals"]["withheld"]), (&1.into(), &"too_many".into()));
    let done = cp(&world, ["-r", "--delete", "--json", "empty/", &to]).run();
    let end = events(&done).pop().unwrap();
    assert_eq!((&end["status"], &end["error"]["kind"]), (&125.into(), &"usage".into()));
    assert_eq!(fs::read_dir(path("to")).unwrap().count(), 7);
    cp(&world, ["-r", "--delete", "--max-delete", "6", "t/", &to]).run().assert_code(0);
    assert_eq!(fs::read_dir(path("to")).unwrap().count(), 1);
}
