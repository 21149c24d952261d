//! `ls` and `edit`.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use rcmd_tests::{ClientCommand, World};

use crate::there;
use crate::tree::set;

fn client(world: &World, words: &[&str]) -> ClientCommand {
    world.client().without_target().options(words).env("TERM", "dumb")
}

#[test]
fn a_folder_is_listed_by_name_at_length_and_as_events() {
    let world = World::start();
    fs::create_dir_all(world.scratch("to/sub")).unwrap();
    fs::write(world.scratch("to/a b"), b"123").unwrap();
    fs::write(world.scratch("to").join(std::ffi::OsStr::from_bytes(b"\xff")), b"").unwrap();
    symlink("a b", world.scratch("to/l")).unwrap();
    set(&world.scratch("to/a b"), 0o640, 1_600_000_000);
    let place = there(&world, world.scratch("to"));
    let done = client(&world, &["ls", &place]).run();
    done.assert_code(0);
    assert_eq!(done.stdout, b"a b\nl\nsub\n\xff\n");
    let long = client(&world, &["ls", "--long", &place]).run();
    let text = long.assert_code(0).stdout_text();
    let line = text.lines().next().unwrap();
    assert!(line.starts_with("-rw-r----- ") && line.ends_with("Z a b"), "{text}");
    assert!(text.contains(" l -> a b\n") && text.contains(" \\xff\n"), "{text}");
    let json = client(&world, &["ls", "--json", &place]).run().stdout_text();
    let last: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!((&last["name"], &last["name_encoding"]), (&"/w==".into(), &"base64".into()));
    let one = client(&world, &["ls", &there(&world, world.scratch("to/a b"))]).run();
    assert_eq!(one.assert_code(0).stdout_text(), "a b\n");
    let none = client(&world, &["ls", &there(&world, world.scratch("none"))]).run();
    none.assert_code(1).assert_says("none");
    client(&world, &["ls", "here"]).run().assert_code(125).assert_says("HOST:PATH");
}

/// A program that edits by this line, in which `$1` is the file.
fn editor(world: &World, line: &str) -> String {
    let path = world.scratch("editor");
    fs::write(&path, format!("#!/bin/sh\n{line}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_file_is_edited_here_and_sent_back_if_it_was_changed() {
    let world = World::start();
    let file = world.scratch("f");
    fs::write(&file, b"one\n").unwrap();
    set(&file, 0o600, 1_600_000_000);
    let place = there(&world, &file);
    let edit =
        |line: &str| client(&world, &["edit", &place]).env("VISUAL", editor(&world, line)).run();
    edit("true").assert_code(0).assert_says("nothing was changed");
    edit("echo two >> \"$1\"").assert_code(0).assert_says("sent back");
    assert_eq!(fs::read(&file).unwrap(), b"one\ntwo\n");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    edit("echo x >> \"$1\"; exit 3").assert_code(3).assert_says("nothing was sent");
    assert_eq!(fs::read(&file).unwrap(), b"one\ntwo\n");
}

#[test]
fn a_file_that_was_changed_there_meanwhile_is_not_replaced_and_nothing_is_lost() {
    let world = World::start();
    let file = world.scratch("f");
    fs::write(&file, b"one\n").unwrap();
    let line = format!("echo mine >> \"$1\"; echo theirs >> {}", file.display());
    let done = client(&world, &["edit", &there(&world, &file)])
        .env("VISUAL", editor(&world, &line))
        .env("TMPDIR", world.scratch(""))
        .run();
    done.assert_code(1).assert_says("changed there meanwhile");
    assert_eq!(fs::read(&file).unwrap(), b"one\ntheirs\n");
    let said = done.stderr_text();
    let (_, kept) = said.split_once("your version is ").unwrap();
    let kept = kept.lines().next().unwrap();
    assert_eq!(fs::read(kept).unwrap(), b"one\nmine\n");
}

#[test]
fn a_file_that_is_not_there_is_made_and_a_folder_is_refused() {
    let world = World::start();
    let file = world.scratch("new");
    let done = client(&world, &["edit", &there(&world, &file)])
        .env("VISUAL", editor(&world, "echo new > \"$1\""))
        .run();
    done.assert_code(0);
    assert_eq!(fs::read(&file).unwrap(), b"new\n");
    fs::create_dir(world.scratch("to")).unwrap();
    let done = client(&world, &["edit", &there(&world, world.scratch("to"))])
        .env("VISUAL", editor(&world, "true"))
        .run();
    done.assert_code(1);
}
