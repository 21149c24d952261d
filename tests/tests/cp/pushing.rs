//! What arrives is what was sent, in both directions.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use rcmd_tests::World;
use rcmd_tests::many::events;

use crate::tree::{describe, fill, set};
use crate::{cp, there};

#[test]
fn a_tree_goes_there_and_back_and_is_the_same() {
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    fs::create_dir(path("s")).unwrap();
    fill(&path("s"));
    let done = cp(&world, ["-r", "s", &there(&world, path("to"))]).run();
    assert_eq!(
        (done.assert_code(0).stdout_text(), done.stderr_text()),
        (String::new(), String::new())
    );
    assert_eq!(describe(&path("to")), describe(&path("s")));
    cp(&world, ["-r", &there(&world, path("to")), "back"]).run().assert_code(0);
    assert_eq!(describe(&path("back")), describe(&path("s")));
    let sparse = fs::metadata(path("back/sparse")).unwrap();
    assert!(sparse.blocks() * 512 < 1_000_000, "{} blocks", sparse.blocks());
}

#[test]
fn what_is_there_already_is_not_sent_again() {
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    fs::create_dir(path("s")).unwrap();
    fill(&path("s"));
    let to = there(&world, path("to"));
    cp(&world, ["-r", "s/", &to]).run().assert_code(0);
    fs::write(path("s/a"), b"changed").unwrap();
    let done = cp(&world, ["-r", "--json", "s/", &to]).run();
    done.assert_code(0);
    let events = events(&done);
    let sent: Vec<_> = events
        .iter()
        .filter(|event| event["action"] == "replaced" && event["kind"] == "file")
        .map(|event| &event["path"])
        .collect();
    assert_eq!(sent, ["s/a"]);
    let totals = &events.last().unwrap()["totals"];
    assert_eq!(
        (&totals["sent"], &totals["bytes"], &totals["failed"]),
        (&1.into(), &7.into(), &0.into())
    );
    // A folder that was there has another time since a name in it was replaced.
    let files = |root: &str| {
        let lines = describe(&path(root)).into_iter();
        lines.filter(|line| !line.ends_with(" folder")).collect::<Vec<_>>()
    };
    assert_eq!(files("to"), files("s"));
}

#[test]
fn a_file_of_the_same_size_and_time_is_seen_by_its_content_if_asked() {
    let world = World::start();
    let (from, to) = (world.scratch("f"), world.scratch("g"));
    fs::write(&from, b"aaaa").unwrap();
    fs::write(&to, b"bbbb").unwrap();
    set(&from, 0o644, 1_700_000_000);
    set(&to, 0o644, 1_700_000_000);
    let target = there(&world, &to);
    cp(&world, ["-p", "f", &target]).run().assert_code(0);
    assert_eq!(fs::read(&to).unwrap(), b"bbbb");
    cp(&world, ["-p", "--checksum", "f", &target]).run().assert_code(0);
    assert_eq!(fs::read(&to).unwrap(), b"aaaa");
}

#[test]
fn permission_bits_and_times_are_kept_or_not_as_asked() {
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    fs::write(path("f"), b"new").unwrap();
    set(&path("f"), 0o750, 1_600_000_000);
    fs::write(path("g"), b"older").unwrap();
    set(&path("g"), 0o600, 1_500_000_000);
    let to = there(&world, path("g"));
    let mode = |name: &str| fs::metadata(path(name)).unwrap().mode() & 0o7777;
    cp(&world, ["f", &to]).run().assert_code(0);
    assert_eq!(mode("g"), 0o600, "one that is replaced keeps its mode");
    cp(&world, ["-p", "f", &to]).run().assert_code(0);
    assert_eq!((mode("g"), fs::metadata(path("g")).unwrap().mtime()), (0o750, 1_600_000_000));
    cp(&world, ["f", &there(&world, path("new"))]).run().assert_code(0);
    assert_eq!(mode("new"), 0o750 & !0o022);
}

#[test]
fn a_stream_is_one_file_in_both_directions() {
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    let content: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let done = cp(&world, ["-", &there(&world, path("f"))]).stdin(content.clone()).run();
    done.assert_code(0);
    assert!(fs::read(path("f")).unwrap() == content);
    let done = cp(&world, [&there(&world, path("f")), "-"]).run();
    done.assert_code(0);
    assert!(done.stdout == content);
    let done = cp(&world, [&there(&world, "/proc/version"), "-"]).run();
    assert!(done.assert_code(0).stdout_text().starts_with("Linux"));
    let done = cp(&world, [&there(&world, path("none")), "-"]).run();
    assert!(done.assert_code(1).stdout.is_empty());
    done.assert_says("no_such_file");
}

#[test]
fn patterns_are_expanded_there_and_names_need_no_quoting() {
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    fs::create_dir(path("to")).unwrap();
    for name in
        ["a.txt", "b.txt", "c.log", ".x.txt", "r1", "r[1]", "a b", "q'\"", "$HOME", "-rf", "n\nl"]
    {
        fs::write(path("to").join(name), name).unwrap();
    }
    let fetch = |words: &[&str]| {
        let out = tempfile::tempdir_in(path("")).unwrap();
        let words: Vec<_> = words.iter().map(|word| there(&world, path("to").join(word))).collect();
        let to = out.path().to_str().unwrap().to_owned();
        let done = cp(&world, words.iter().map(String::as_str).chain([to.as_str()])).run();
        let mut names: Vec<_> = fs::read_dir(out.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        (done.code(), names)
    };
    assert_eq!(fetch(&["*.txt"]), (0, vec!["a.txt".to_owned(), "b.txt".to_owned()]));
    assert_eq!(fetch(&["?.log", "r[0-9]"]).1, ["c.log", "r1"]);
    for name in ["a b", "q'\"", "$HOME", "-rf", "n\nl"] {
        assert_eq!(fetch(&[name]), (0, vec![name.to_owned()]));
    }
    assert_eq!(fetch(&["*.none"]), (1, Vec::new()));
    let literal = path("literal");
    fs::create_dir(&literal).unwrap();
    let from = there(&world, path("to/r[1]"));
    cp(&world, ["--literal", &from, "literal/"]).run().assert_code(0);
    assert_eq!(fs::read(literal.join("r[1]")).unwrap(), b"r[1]");
}

#[test]
fn only_what_the_patterns_leave_goes_along_and_the_last_one_decides() {
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    fs::create_dir_all(path("s/sub")).unwrap();
    fs::create_dir_all(path("s/build")).unwrap();
    for name in ["a.conf", "b.txt", "sub/c.conf", "build/keep", ".env"] {
        fs::write(path("s").join(name), name).unwrap();
    }
    let copied = |patterns: &[&str]| {
        let to = tempfile::tempdir_in(path("")).unwrap();
        let place = there(&world, to.path());
        let words = patterns.iter().copied().chain(["-r", "s/", place.as_str()]);
        cp(&world, words).run().assert_code(0);
        let files = ["a.conf", "b.txt", "sub/c.conf", "build/keep", ".env"];
        files.into_iter().filter(|name| to.path().join(name).exists()).collect::<Vec<_>>()
    };
    assert_eq!(copied(&[]), ["a.conf", "b.txt", "sub/c.conf", "build/keep", ".env"]);
    assert_eq!(copied(&["--exclude", "*", "--include", "*.conf"]), ["a.conf"]);
    assert_eq!(
        copied(&["--exclude", "*", "--include", "*/", "--include", "*.conf"]),
        ["a.conf", "sub/c.conf"]
    );
    assert_eq!(copied(&["--include", "*.conf", "--exclude", "*"]), [""; 0]);
    assert_eq!(
        copied(&["--exclude", "build/", "--include", "build/keep", "--exclude", ".*"]),
        ["a.conf", "b.txt", "sub/c.conf"]
    );
}
