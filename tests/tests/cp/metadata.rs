//! What files have besides content, by the real programs: permission bits, owners, access lists, attributes.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::Command;

use rcmd_tests::{World, require, skip};
use rustix::fs::{XattrFlags, getxattr, setxattr};

use crate::tree::set;
use crate::{cp, there};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn get(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 512];
    let length = getxattr(path, name, &mut value[..]).ok()?;
    Some(value[..length].to_vec())
}

fn give(path: &Path, name: &str, value: &[u8]) -> Result<(), String> {
    let given = setxattr(path, name, value, XattrFlags::empty());
    given.map_err(|error| format!("attributes {name} in {}: {error}", path.display()))
}

/// An access list in which a user has rights of their own: rwx, the user r-x, r--, mask r-x, ---.
fn acl() -> Vec<u8> {
    let nobody = u32::MAX;
    let entries: [(u16, u16, u32); 5] =
        [(1, 7, nobody), (2, 5, 33), (4, 4, nobody), (16, 5, nobody), (32, 0, nobody)];
    let entry = |(tag, rights, id): (u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    [vec![2, 0, 0, 0], entries.map(entry).concat()].concat()
}

#[test]
fn permission_bits_are_changed_as_chmod_does_and_setuid_is_told_of() {
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    fs::create_dir_all(path("s/d")).unwrap();
    fs::write(path("s/f"), b"content").unwrap();
    set(&path("s/f"), 0o644, 1_600_000_000);
    let to = there(&world, path("to"));
    cp(&world, ["-r", "--chmod", "D700,F600", "s", &to]).run().assert_code(0);
    assert_eq!((mode(&path("to/d")), mode(&path("to/f"))), (0o700, 0o600));
    cp(&world, ["-r", "--chmod=go+r,Da+X", &to, "back"]).run().assert_code(0);
    assert_eq!((mode(&path("back/d")), mode(&path("back/f"))), (0o755, 0o644));
    cp(&world, ["--chmod", "-w", "s/f", &there(&world, path("g"))]).run().assert_code(0);
    assert_eq!(mode(&path("g")), 0o444);
    let done = cp(&world, ["--chmod", "u+s", "s/f", &there(&world, path("h"))]).run();
    done.assert_code(0).assert_says("setuid or setgid bit was not set");
    assert_eq!(mode(&path("h")), 0o644);
}

#[test]
fn owners_are_kept_or_named_by_root_in_both_directions() {
    require!(skip::need_root());
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    let owner = |name: &str| {
        let facts = fs::metadata(path(name)).unwrap();
        (facts.uid(), facts.gid())
    };
    fs::create_dir_all(path("s/d")).unwrap();
    fs::write(path("s/d/f"), b"content").unwrap();
    chown(path("s/d/f"), Some(65_534), Some(100_000)).unwrap();
    let to = there(&world, path("to"));
    cp(&world, ["-r", "--owner", "s", &to]).run().assert_code(0);
    assert_eq!(owner("to/d/f"), (65_534, 100_000));
    cp(&world, ["-r", "--owner", &to, "back"]).run().assert_code(0);
    assert_eq!(owner("back/d/f"), (65_534, 100_000));
    let done = cp(&world, ["-r", "--itemize", "--chown", "nobody:77", "s/", &to]).run();
    assert!(
        done.assert_code(0).stdout_text().contains("adjusted  s/d/f (owner)"),
        "{}",
        done.story()
    );
    // The destination that existed is its owner's; what is typed is for all in it.
    let owners = ["to", "to/d", "to/d/f"].map(owner);
    assert_eq!(owners, [(0, 0), (65_534, 77), (65_534, 77)]);
    let done = cp(&world, ["--chown", "nobody-here", "s/d/f", &there(&world, path("g"))]).run();
    done.assert_code(125).assert_says("there is no user \"nobody-here\"");
    let done = cp(&world, ["--chown", ":nobody-here", &there(&world, path("s/d/f")), "g"]).run();
    done.assert_code(125).assert_says("there is no group \"nobody-here\"");
    assert!(!path("g").exists());
}

#[test]
fn an_account_that_is_not_root_gives_nothing_away() {
    require!(skip::need_root());
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    let open = tempfile::tempdir().unwrap();
    chown(open.path(), Some(65_534), None).unwrap();
    fs::write(path("f"), b"content").unwrap();
    let to = there(&world, open.path());
    let push = |words: &[&str]| {
        cp(
            &world,
            ["-l", "nobody"].into_iter().chain(words.iter().copied()).chain(["f", to.as_str()]),
        )
        .run()
    };
    push(&["--owner"])
        .assert_code(1)
        .assert_says("only root can give a file")
        .assert_says("permission");
    push(&["--chown", "root"]).assert_code(1).assert_says("only root can give a file");
    assert_eq!(fs::read_dir(open.path()).unwrap().count(), 0);
    push(&["--chown", "nobody"]).assert_code(0);
    assert_eq!(fs::metadata(open.path().join("f")).unwrap().uid(), 65_534);
}

#[test]
fn attributes_and_access_lists_go_there_and_back() {
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    fs::create_dir_all(path("s/d")).unwrap();
    fs::write(path("s/f"), b"content").unwrap();
    require!(give(&path("s/f"), "user.note", b"kept"));
    require!(give(&path("s/f"), "system.posix_acl_access", &acl()));
    require!(give(&path("s/d"), "system.posix_acl_default", &acl()));
    let to = there(&world, path("to"));
    cp(&world, ["-r", "s", &there(&world, path("plain"))]).run().assert_code(0);
    assert_eq!(get(&path("plain/f"), "user.note"), None);
    cp(&world, ["-r", "--xattrs", "--acls", "s", &to]).run().assert_code(0);
    cp(&world, ["-r", "--xattrs", "--acls", &to, "back"]).run().assert_code(0);
    for root in ["to", "back"] {
        let path = |name: &str| path(root).join(name);
        assert_eq!(get(&path("f"), "user.note").as_deref(), Some(&b"kept"[..]));
        assert_eq!(get(&path("f"), "system.posix_acl_access"), Some(acl()));
        assert_eq!(get(&path("d"), "system.posix_acl_default"), Some(acl()));
        assert_eq!(mode(&path("f")), 0o750);
    }
    let done = cp(&world, ["-r", "--xattrs", "--acls", "--json", "s/", &to]).run();
    done.assert_code(0);
    let totals = &rcmd_tests::many::events(&done).pop().unwrap()["totals"];
    assert_eq!((&totals["sent"], &totals["adjusted"]), (&0.into(), &0.into()));
}

#[test]
fn a_program_that_is_replaced_while_it_runs_loses_its_rights_and_nothing_else() {
    require!(skip::need_root());
    let sleep = require!(skip::need_tool("sleep"));
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    fs::copy(sleep, path("program")).unwrap();
    set(&path("program"), 0o4755, 1_600_000_000);
    // Version 2, effective: CAP_NET_RAW.
    let mut rights = [0; 20];
    (rights[0], rights[3], rights[5]) = (1, 2, 0x20);
    require!(give(&path("program"), "security.capability", &rights));
    require!(give(&path("program"), "user.k", b"1"));
    let mut running = Command::new(path("program")).arg("600").spawn().unwrap();
    fs::write(path("new"), b"new").unwrap();
    let to = there(&world, path("program"));
    let in_place = cp(&world, ["--in-place", "new", &to]).run();
    let replaced = cp(&world, ["new", &to]).run();
    let is_running = running.try_wait().unwrap().is_none();
    running.kill().unwrap();
    running.wait().unwrap();
    in_place.assert_code(1).assert_says("busy");
    replaced.assert_code(0).assert_says("setuid or setgid bit was not set");
    assert!(is_running, "the old content is there for as long as it runs");
    assert_eq!(fs::read(path("program")).unwrap(), b"new");
    assert_eq!(mode(&path("program")), 0o755);
    assert_eq!(get(&path("program"), "security.capability"), None);
    assert_eq!(get(&path("program"), "user.k").as_deref(), Some(&b"1"[..]));
}

#[test]
fn what_is_newer_there_stays_with_update() {
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    fs::create_dir_all(path("s")).unwrap();
    fs::create_dir_all(path("to")).unwrap();
    for (name, here, there) in
        [("older", 1_600_000_000, 1_500_000_000), ("newer", 1_600_000_000, 1_700_000_000)]
    {
        fs::write(path("s").join(name), b"from here").unwrap();
        set(&path("s").join(name), 0o644, here);
        fs::write(path("to").join(name), b"there").unwrap();
        set(&path("to").join(name), 0o644, there);
    }
    let to = there(&world, path("to"));
    let words = ["-r", "--update", "--sync", "--progress", "--itemize", "s/", &to];
    let done = cp(&world, words).run();
    let text = done.assert_code(0).stdout_text();
    assert!(text.contains("skipped   s/newer") && text.contains("replaced  s/older"), "{text}");
    assert_eq!(fs::read(path("to/newer")).unwrap(), b"there");
    assert_eq!(fs::read(path("to/older")).unwrap(), b"from here");
    cp(&world, ["-q", "-r", "s/", &to]).run().assert_code(0);
    assert_eq!(fs::read(path("to/newer")).unwrap(), b"from here");
}

#[test]
fn the_first_failure_ends_it_if_asked() {
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    fs::create_dir_all(path("s/sub")).unwrap();
    fs::create_dir_all(path("to/a")).unwrap();
    fs::write(path("s/a"), b"a folder stands there").unwrap();
    for number in 0..20_000 {
        fs::write(path("s/sub").join(number.to_string()), b"").unwrap();
    }
    let to = there(&world, path("to"));
    let done = cp(&world, ["-r", "--fail-fast", "--lock", "deploy", "s/", &to]).run();
    done.assert_code(1).assert_says("a folder stands there (exists)");
    let made = fs::read_dir(path("to/sub")).map_or(0, Iterator::count);
    assert!(made < 20_000, "{made}");
}
