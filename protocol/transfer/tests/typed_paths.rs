//! What a path that was typed means: as `cp` reads it.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests may wait")]
// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "engine/ends.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)] // Each test program uses a part of it.
mod ends;

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use ends::{transfer, tree_options};
use rcmd_transfer::{
    Destination, DestinationKind, Failure, FailureKind, Landing, SourceParts, TransferSource,
    settled,
};
use tempfile::TempDir;

/// A folder with sources: a tree `t` with a link to itself, a file `f`, and links to both.
fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir(path("t")).unwrap();
    fs::write(path("t/f"), b"in the tree").unwrap();
    symlink(".", path("t/self")).unwrap();
    fs::write(path("f"), b"content").unwrap();
    for (target, name) in [("t", "cur"), ("t/f", "lf"), ("/nowhere", "L")] {
        symlink(target, path(name)).unwrap();
    }
    place
}

/// Copies as `cp -r` does. Returns the kinds of failures.
fn copy(place: &Path, sources: &[(&str, bool)], to: &str, is_itself: bool) -> Vec<String> {
    let start = File::open(place).unwrap();
    let found: Result<Vec<_>, _> = sources
        .iter()
        .map(|(path, follows)| TransferSource::at(&start, path.as_bytes(), *follows))
        .collect();
    let landing = Landing { is_itself, has_several: sources.len() > 1 };
    let found = match found {
        Ok(found) => found,
        Err(failure) => return vec![failure.kind.to_string()],
    };
    let destination = match Destination::at(&start, to.as_bytes(), landing) {
        Ok(destination) => destination,
        Err(failure) => return vec![failure.kind.to_string()],
    };
    let ended = transfer(&tree_options(), found, destination);
    ended.summary();
    let failed = ended.sent.lines.iter().filter(|line| line.starts_with("Failed"));
    failed.map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn a_source_that_is_a_link_is_followed_where_cp_follows_it() {
    let place = place();
    let path = |name: &str| place.path().join(name);
    assert_eq!(copy(place.path(), &[("lf", true)], "x", false), [""; 0]);
    assert!(path("x").symlink_metadata().unwrap().is_file());
    assert_eq!(copy(place.path(), &[("cur", false)], "y", false), [""; 0]);
    assert_eq!(fs::read_link(path("y")).unwrap(), Path::new("t"));
    assert_eq!(copy(place.path(), &[("cur/", false)], "z", false), [""; 0]);
    assert!(path("z").symlink_metadata().unwrap().is_dir() && path("z/f").is_file());
    // A link in the tree that leads to its own folder is a link there.
    assert_eq!(fs::read_link(path("z/self")).unwrap(), Path::new("."));
    // Links and `..` on the way are followed too.
    assert_eq!(copy(place.path(), &[("cur/../cur/f", true)], "w", false), [""; 0]);
    assert_eq!(fs::read(path("w")).unwrap(), b"in the tree");
    assert_eq!(copy(place.path(), &[("none", true)], "v", false), ["no_such_file"]);
    assert_eq!(copy(place.path(), &[("L", true)], "v", false), ["no_such_file"]);
    assert_eq!(copy(place.path(), &[("f/", true)], "v", false), ["exists"]);
}

#[test]
fn a_destination_that_is_missing_is_made_only_where_cp_makes_it() {
    let place = place();
    let path = |name: &str| place.path().join(name);
    let refused = [
        (vec![("f", true)], "L"),
        (vec![("f", true)], "L/"),
        (vec![("f", true)], "no/"),
        (vec![("f", true), ("t/f", true)], "no"),
        (vec![("f", true)], "no/such/f"),
        (vec![("t", true)], "no/such"),
    ];
    for (sources, to) in refused {
        let failed = copy(place.path(), &sources, to, false);
        assert_eq!(failed, ["no_such_file"], "{to}");
        assert!(!path("no").exists(), "{to}");
    }
    assert_eq!(copy(place.path(), &[("t", true)], "no/", false), [""; 0]);
    assert!(path("no/t/f").is_file());
    assert_eq!(copy(place.path(), &[("t", true)], "new", false), [""; 0]);
    assert!(path("new/f").is_file());
}

#[test]
fn a_destination_that_is_there_is_gone_into_unless_it_is_meant_itself() {
    let place = place();
    let path = |name: &str| place.path().join(name);
    fs::create_dir(path("d")).unwrap();
    symlink("d", path("to-d")).unwrap();
    assert_eq!(copy(place.path(), &[("t", true), ("f", true)], "to-d", false), [""; 0]);
    assert!(path("d/t/f").is_file() && path("d/f").is_file());
    assert_eq!(copy(place.path(), &[("t", true)], "d/", true), [""; 0]);
    assert!(path("d/self").is_symlink());
    // A folder onto a file, and a file onto a folder.
    let before = fs::metadata(path("f")).unwrap().ino();
    assert_eq!(copy(place.path(), &[("t", true)], "f", true).first().unwrap(), "exists");
    assert_eq!(fs::metadata(path("f")).unwrap().ino(), before);
    assert_eq!(copy(place.path(), &[("f", true)], "d", true), ["exists"]);
    assert_eq!(copy(place.path(), &[("t", true), ("f", true)], "f", false), ["exists"]);
    assert_eq!(copy(place.path(), &[("f", true)], "t/f/", false), ["exists"]);
}

#[test]
fn a_destination_that_is_a_link_is_written_where_it_leads() {
    let place = place();
    let path = |name: &str| place.path().join(name);
    assert_eq!(copy(place.path(), &[("f", true)], "lf", false), [""; 0]);
    assert_eq!(fs::read(path("t/f")).unwrap(), b"content");
    assert_eq!(fs::read_link(path("lf")).unwrap(), Path::new("t/f"));
}

#[test]
fn a_device_or_a_pipe_is_no_destination() {
    let place = place();
    let mode = rustix::fs::Mode::RUSR;
    let pipe = place.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert_eq!(copy(place.path(), &[("f", true)], "pipe", false), ["exists"]);
    assert_eq!(copy(place.path(), &[("f", true)], "/dev/null", false), ["exists"]);
    assert_eq!(copy(place.path(), &[("pipe", true)], "x", false), ["special"]);
    let root = TransferSource::at(File::open("/").unwrap(), b"/", true).unwrap_err();
    assert_eq!(root.kind, FailureKind::NoSuchFile);
}

#[test]
fn a_source_that_is_lost_is_one_failure_among_others() {
    let place = place();
    let folder = File::open(place.path()).unwrap();
    let failure = Failure::new(FailureKind::NoSuchFile, "it is nowhere");
    let lost = TransferSource::lost(Arc::new(folder.into()), b"/a/../b", failure).unwrap();
    let there = TransferSource::at(File::open(place.path()).unwrap(), b"f", false).unwrap();
    let to = place.path().join("to");
    fs::create_dir(&to).unwrap();
    let to_folder = Destination::inside(File::open(&to).unwrap().into()).unwrap();
    let ended = transfer(&tree_options(), vec![lost, there], to_folder);
    let counts = ended.summary().counts;
    assert_eq!((counts.sent, counts.failed), (1, 1));
    for lines in [&ended.sent.lines, &ended.received.lines] {
        assert!(lines.contains(&"Failed /a/../b no_such_file".to_owned()), "{lines:?}");
    }
    assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
}

#[test]
fn sources_and_destinations_are_made_again_from_their_parts() {
    let place = place();
    let start = File::open(place.path()).unwrap();
    let landing = Landing::default();
    for (to, made) in [("new", "new"), ("dir/", "dir/lf")] {
        let source = TransferSource::at(&start, b"lf", true).unwrap();
        let SourceParts { folder, entry, name } = source.into_parts();
        assert_eq!((entry.as_deref(), &*name), (Some(&b"f"[..]), &b"lf"[..]));
        let source = TransferSource::entry(folder, &entry.unwrap()).unwrap();
        let source = source.under(&name).unwrap();
        fs::create_dir_all(place.path().join("dir")).unwrap();
        let (folder, kind) = Destination::at(&start, to.as_bytes(), landing).unwrap().into_parts();
        let destination = Destination::of(folder.try_clone().unwrap(), kind).unwrap();
        transfer(&tree_options(), vec![source], destination).summary();
        assert_eq!(fs::read(place.path().join(made)).unwrap(), b"in the tree");
    }
    for name in [&b".."[..], b"a/b", b""] {
        let folder = File::open(place.path()).unwrap().into();
        let kind = DestinationKind::Named(name.to_vec());
        assert_eq!(Destination::of(folder, kind).unwrap_err().kind, FailureKind::UnsafePath);
    }
}

#[test]
fn a_link_that_leads_into_a_process_is_not_followed() {
    let place = place();
    let root = format!("/proc/self/root{}", place.path().display());
    symlink(&root, place.path().join("drop")).unwrap();
    for from in ["drop/f", "drop/t", "drop", "drop/t/"] {
        assert_eq!(copy(place.path(), &[(from, true)], "x", false), ["unsafe_path"], "{from}");
    }
    for to in ["drop/x", "drop/f", "drop/t", "drop/x/", "drop"] {
        assert_eq!(copy(place.path(), &[("f", true)], to, false), ["unsafe_path"], "{to}");
    }
    assert!(!place.path().join("x").exists());
    // The link itself leads nowhere.
    assert_eq!(copy(place.path(), &[("drop", false)], "y", false), [""; 0]);
    assert_eq!(fs::read_link(place.path().join("y")).unwrap(), Path::new(&root));
}

#[test]
fn a_folder_of_another_mount_namespace_is_not_the_one_that_has_its_path_here() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().canonicalize().unwrap().join(name);
    ["real", "other"].iter().for_each(|name| fs::create_dir(path(name)).unwrap());
    let line = "mount --bind \"$1\" \"$2\" && printf ready && read end";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", line, "sh"]);
    command.args([path("other"), path("real")]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut foreign) = command.stderr(Stdio::null()).spawn() else {
        println!("skipped: needs unshare");
        return;
    };
    let mut said = [0; 5];
    let is_ready = foreign.stdout.as_mut().unwrap().read_exact(&mut said).is_ok();
    let opened = |name: &str| {
        File::open(format!("/proc/{}/root{}", foreign.id(), path(name).display())).unwrap()
    };
    let kinds = is_ready.then(|| {
        let kind = |name| settled(opened(name)).map_err(|failure| failure.kind).map(drop);
        // What has its own path is still of another mount.
        [kind("real"), kind("other")]
    });
    let _ = foreign.kill();
    foreign.wait().unwrap();
    match kinds {
        Some(kinds) => assert_eq!(kinds, [Err(FailureKind::Changed), Err(FailureKind::Changed)]),
        None => println!("skipped: needs user namespaces"),
    }
    assert!(settled(File::open(path("real")).unwrap()).is_ok());
}
