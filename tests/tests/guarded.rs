//! Files that decide something: no program takes one that others could change, or that lies where others
//! could put another in its place.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Output;

use rcmd_tests::{World, require, skip};
use rustix::process::Signal;

/// The files that each program takes from a folder; a missing one is written, empty.
const SERVER: [&str; 5] =
    ["ca.pem", "server.toml", "identity.toml", "policy.cedar", "server/cert.pem"];
const CLIENT: [&str; 4] = ["ca.pem", "client.toml", "identity.toml", "client/cert.pem"];
const AUTHORITY: [&str; 2] = ["authority/authority.toml", "authority/cert.pem"];

/// A user whom nobody knows.
const OTHER: u32 = 54_321;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A function that runs the program which takes the file, and returns how it ended and what it
/// said.
type Program = fn(&World) -> Output;

fn programs() -> [(&'static [&'static str], Program); 3] {
    [
        (&SERVER, |world| world.server_program().arg("--check-config").output().unwrap()),
        (&CLIENT, |world| {
            let done = world.exec(["true"]).run();
            Output { status: done.status, stdout: done.stdout, stderr: done.stderr }
        }),
        (&AUTHORITY, |world| {
            world.certs().arg("list").arg("--dir").arg(world.dir()).output().unwrap()
        }),
    ]
}

/// Runs each program with each of its files, of which one is spoilt and mended again.
#[track_caller]
fn each_refuses(spoil: fn(&Path), told: &str, mend: fn(&Path)) {
    let world = World::start();
    for (files, program) in programs() {
        for file in files {
            let path = world.dir().join(file);
            if !path.exists() {
                fs::write(&path, "").unwrap();
                set_mode(&path, 0o644);
            }
            for spoilt in [path.as_path(), world.dir()] {
                spoil(spoilt);
                let done = program(&world);
                mend(spoilt);
                let said = String::from_utf8_lossy(&done.stderr).into_owned();
                let named = spoilt.display().to_string();
                assert!(!done.status.success(), "{file}, {named}: {said}");
                assert!(said.contains(told) && said.contains(&named), "{file}, {named}: {said}");
            }
            let done = program(&world);
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(done.status.success(), "{file}: {said}");
        }
    }
}

#[test]
fn a_file_that_decides_is_refused_when_others_may_change_it_or_its_folder() {
    let mend = |path: &Path| set_mode(path, if path.is_dir() { 0o755 } else { 0o644 });
    each_refuses(
        |path| set_mode(path, if path.is_dir() { 0o777 } else { 0o666 }),
        "chmod go-w",
        mend,
    );
    each_refuses(
        |path| set_mode(path, if path.is_dir() { 0o775 } else { 0o664 }),
        "chmod go-w",
        mend,
    );
}

#[test]
fn a_file_that_decides_is_refused_when_it_or_its_folder_is_somebody_else_s() {
    require!(skip::need_root());
    each_refuses(
        |path| chown(path, Some(OTHER), None).unwrap(),
        "belongs to uid 54321",
        |path| chown(path, Some(0), None).unwrap(),
    );
}

#[test]
fn a_running_server_takes_no_settings_that_others_may_change() {
    let world = World::builder().config("grace = \"10s\"").start();
    let settings = world.dir().join("server.toml");
    set_mode(&settings, 0o666);
    world.signal_server(Signal::HUP);
    let said = world.wait_for_log("limits not reloaded");
    assert!(said.contains("server.toml") && said.contains("chmod go-w"), "{said}");
}

#[test]
fn a_certificate_is_shown_whoever_may_change_it() {
    let world = World::builder().prepare();
    let cert = world.dir().join("server/cert.pem");
    set_mode(&cert, 0o666);
    let done = world.certs().arg("show").arg(&cert).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Tests with a user who works for another one, with sudo or by mistake: nothing is left in that
/// one's folder.
mod another_s_folder {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use rcmd_tests::authority::Serving;
    use rcmd_tests::binaries;
    use rcmd_tests::membership::enrolled_client;

    use super::*;

    /// Returns the paths of all files and folders below a folder.
    fn below(dir: &Path) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            found.insert(entry.path());
            if entry.path().is_dir() {
                found.extend(below(&entry.path()));
            }
        }
        found
    }

    fn give(dir: &Path, to: u32) {
        chown(dir, Some(to), Some(to)).unwrap();
        below(dir).iter().for_each(|path| chown(path, Some(to), Some(to)).unwrap());
    }

    #[test]
    fn root_makes_no_file_beside_another_s_client_key() {
        require!(skip::need_root());
        let authority = Serving::start();
        let layout = enrolled_client(&authority, "alice");
        give(layout.dir(), OTHER);
        let before = below(layout.dir());
        let mut command = std::process::Command::new(&binaries().client);
        command.args(["enroll", "--renew", "--dir"]).arg(layout.dir()).env_remove("RCMD_DIR");
        let done = command.output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains("belongs to uid 54321"), "{said}");
        assert_eq!(below(layout.dir()), before);
    }

    #[test]
    fn root_enrolls_nothing_into_another_s_folder() {
        require!(skip::need_root());
        let authority = Serving::start();
        let token = authority.certs(&["token", "client", "alice"]);
        let home = tempfile::tempdir().unwrap();
        chown(home.path(), Some(OTHER), Some(OTHER)).unwrap();
        let mut command = std::process::Command::new(&binaries().client);
        command.args(["enroll", token.trim(), "--dir"]).arg(home.path().join(".config/rcmd"));
        let done = command.env_remove("RCMD_DIR").output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains("belongs to uid 54321"), "{said}");
        assert_eq!(below(home.path()), BTreeSet::new());
    }

    #[test]
    fn root_asks_the_one_that_serves_another_s_authority() {
        require!(skip::need_root());
        let authority = Serving::start();
        give(authority.layout().dir(), OTHER);
        authority.token(&["client", "alice"]);
        assert_eq!(authority.census()["tokens"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn root_makes_no_store_in_another_s_authority() {
        require!(skip::need_root());
        let world = World::builder().prepare();
        let authority = world.dir().join("authority");
        fs::remove_file(authority.join("store.redb")).unwrap();
        fs::remove_file(authority.join("journal.jsonl")).unwrap();
        give(world.dir(), OTHER);
        let before = below(world.dir());
        let done = world.certs().arg("list").arg("--dir").arg(world.dir()).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains("belongs to uid 54321"), "{said}");
        assert_eq!(below(world.dir()), before);
    }

    #[test]
    fn a_lock_that_another_left_keeps_nobody_from_renewing() {
        require!(skip::need_root());
        let setpriv = require!(skip::need_tool("setpriv"));
        let authority = Serving::start();
        let layout = enrolled_client(&authority, "alice");
        give(layout.dir(), OTHER);
        let lock = layout.client_dir().join(".renew.lock");
        fs::write(&lock, "").unwrap();
        set_mode(&lock, 0o644);
        // Where that user reaches it.
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o755);
        let program = folder.path().join("rcmd-client");
        fs::copy(&binaries().client, &program).unwrap();
        let way = layout.dir().parent().and_then(Path::parent).unwrap();
        set_mode(way, 0o755);
        let mut command = std::process::Command::new(setpriv);
        command.args(["--reuid=54321", "--regid=54321", "--clear-groups"]).arg(program);
        command.args(["enroll", "--renew", "--dir"]).arg(layout.dir()).env_remove("RCMD_DIR");
        let renewed = command.output().unwrap();
        assert!(renewed.status.success(), "{}", String::from_utf8_lossy(&renewed.stderr));
    }
}
