//! `ls` and `edit`.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use rcmd_tests::many::events;
use rcmd_tests::proxy::Proxy;
use rcmd_tests::{ClientCommand, World, eventually, require, skip};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::there;
use crate::tree::set;

pub(crate) fn client(world: &World, words: &[&str]) -> ClientCommand {
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
    // Times are of one length; those in JSON are whole.
    assert!(text.lines().all(|line| !line.contains("Z ") || !line.contains('.')), "{text}");
    let json = client(&world, &["ls", "--json", &place]).run().stdout_text();
    let last: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!((&last["name"], &last["name_encoding"]), (&"/w==".into(), &"base64".into()));
    let one = client(&world, &["ls", &there(&world, world.scratch("to/a b"))]).run();
    assert_eq!(one.assert_code(0).stdout_text(), "a b\n");
    let none = client(&world, &["ls", &there(&world, world.scratch("none"))]).run();
    none.assert_code(1).assert_says("none");
    let pattern = client(&world, &["ls", &there(&world, world.scratch("*.c"))]).run();
    pattern.assert_code(1).assert_says("`ls` takes a path as it is");
    client(&world, &["ls", "here"]).run().assert_code(125).assert_says("HOST:PATH");
}

/// A program that edits by this line, in which `$1` is the file.
pub(crate) fn editor(world: &World, line: &str) -> String {
    let path = world.scratch("editor");
    fs::write(&path, format!("#!/bin/sh\n{line}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn each_kind_of_an_entry_is_one_that_the_documents_name() {
    let world = World::start();
    for path in ["to/folder", "to"] {
        fs::create_dir_all(world.scratch(path)).unwrap();
    }
    fs::write(world.scratch("to/file"), b"").unwrap();
    symlink("file", world.scratch("to/link")).unwrap();
    mknodat(CWD, world.scratch("to/pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = UnixListener::bind(world.scratch("to/socket")).unwrap();
    let mut kinds = Vec::new();
    for place in [world.scratch("to"), "/dev/null".into()] {
        let done = client(&world, &["ls", "--json", &there(&world, place)]).run();
        kinds.extend(events(done.assert_code(0)).iter().map(|entry| entry["kind"].to_string()));
    }
    kinds.sort();
    assert_eq!(kinds.join(" ").replace('"', ""), "char_device file folder link pipe socket");
    let documents =
        [include_str!("../../../docs/protocol.md"), include_str!("../../../docs/files.md")];
    for document in documents {
        for kind in kinds.iter().map(|kind| kind.replace('"', "`")) {
            assert!(document.contains(&kind), "{kind} is in one document alone");
        }
    }
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
    done.assert_code(1).assert_says("was changed on the host since it was fetched");
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

#[test]
fn what_can_t_be_written_is_told_before_anybody_edits() {
    let world = World::start();
    let mark = world.scratch("edited");
    let edit = |place: &str| {
        let line = format!("echo x > {}; echo y >> \"$1\"", mark.display());
        client(&world, &["edit", place]).env("VISUAL", editor(&world, &line)).run()
    };
    for (place, says) in [
        (world.scratch("no/such/file"), "there is no folder"),
        (world.scratch("a*b"), "`edit` takes a path as it is"),
    ] {
        let done = edit(&there(&world, &place));
        done.assert_code(1).assert_says(says);
        assert!(!mark.exists() && !place.exists(), "{}", done.story());
    }
    // It is a file like any other if it is there.
    fs::write(world.scratch("a*b"), b"x\n").unwrap();
    edit(&there(&world, world.scratch("a*b"))).assert_code(0);
    assert_eq!(fs::read(world.scratch("a*b")).unwrap(), b"x\ny\n");
}

#[test]
fn a_file_that_the_editor_removes_is_not_sent() {
    let world = World::start();
    fs::write(world.scratch("f"), b"one\n").unwrap();
    let done = client(&world, &["edit", &there(&world, world.scratch("f"))])
        .env("VISUAL", editor(&world, "rm \"$1\""))
        .run();
    done.assert_code(1).assert_says("the editor removed the file; nothing was sent");
    assert_eq!(fs::read(world.scratch("f")).unwrap(), b"one\n");
}

#[test]
fn the_commands_to_go_on_with_name_the_user_and_the_folder_that_were_typed() {
    require!(skip::need_root());
    let world = World::start();
    let file = world.scratch("f");
    fs::write(&file, b"one\n").unwrap();
    let line = format!("echo mine >> \"$1\"; echo theirs >> {}", file.display());
    let done = client(&world, &["edit", "-l", "root", &there(&world, &file)])
        .env("VISUAL", editor(&world, &line))
        .env("TMPDIR", world.scratch(""))
        .run();
    let dir = world.client_dir().display().to_string();
    done.assert_code(1).assert_says(&format!("`rcmd-client cp --dir {dir} -l root "));
}

#[test]
fn an_interrupted_fetch_says_so_and_leaves_nothing() {
    let world = World::start();
    let temporary = world.scratch("temporary");
    fs::create_dir(&temporary).unwrap();
    fs::write(world.scratch("f"), vec![b'x'; 8 << 20]).unwrap();
    let proxy = Proxy::to(world.address());
    proxy.throttle(Some(1_000_000));
    let place = format!("{}:{}", proxy.target(), world.scratch("f").display());
    let mark = world.scratch("edited");
    let line = format!("echo x > {}", mark.display());
    let editing = client(&world, &["edit", &place])
        .env("VISUAL", editor(&world, &line))
        .env("TMPDIR", &temporary)
        .spawn();
    let folders = || fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().path());
    let is_coming = || folders().any(|folder| fs::read_dir(folder).unwrap().count() > 0);
    eventually("it is being fetched", is_coming);
    editing.signal(Signal::INT);
    let done = editing.wait();
    done.assert_code(130).assert_says("interrupted; nothing was changed");
    assert_eq!(folders().count(), 0, "{}", done.story());
    assert!(!mark.exists());
}
