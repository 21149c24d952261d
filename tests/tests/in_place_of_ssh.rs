//! Programs that take a command in place of ssh, over the real client.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcmd_tests::foreign::{assert_same_trees, make_tree, run};
use rcmd_tests::{World, binaries, require, skip};

/// Writes a script that runs the client with this world's folder and port: both programs know the
/// usual port alone.
fn client(world: &World) -> PathBuf {
    let file = world.scratch("client");
    let (client, dir) = (binaries().client.display(), world.dir().display());
    let port = world.address().port();
    // Options as git and rsync give them, then the host, then the command.
    let script = format!(
        "#!/bin/sh\nwhile :; do\n  case $1 in\n  -l) user=\"-l $2\"; shift 2;;\n  \
         -*) exec {client} \"$@\";;\n  *) break;;\n  esac\ndone\nhost=$1; shift\n\
         exec {client} --dir {dir} $user $host:{port} \"$@\"\n"
    );
    fs::write(&file, script).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
    file
}

#[test]
fn rsync_copies_there_and_back() {
    let rsync = require!(skip::need_tool("rsync"));
    let world = World::start();
    let client = client(&world);
    let [here, there, back] = ["here", "there", "back"].map(|name| world.scratch(name));
    make_tree(&here, "$x\n*");
    let remote = format!("127.0.0.1:{}/", there.display());
    run(Command::new(&rsync).arg("-a").arg("-e").arg(&client).arg(here.join("")).arg(&remote));
    assert_same_trees(&here, &there);
    fs::write(there.join("a b/new"), "new\n").unwrap();
    run(Command::new(&rsync).arg("-az").arg("-e").arg(&client).arg(&remote).arg(&back));
    assert_same_trees(&there, &back);
}

#[test]
fn git_clones_fetches_and_pushes() {
    let git = require!(skip::need_tool("git"));
    let world = World::start();
    let client = client(&world);
    let [origin, clone] = ["origin.git", "clone"].map(|name| world.scratch(name));
    let git_in = |folder: &Path| {
        let mut command = Command::new(&git);
        command.current_dir(folder).env("GIT_SSH_COMMAND", &client);
        command.args(["-c", "user.name=a", "-c", "user.email=a@example.org"]);
        command.args(["-c", "init.defaultBranch=main", "-c", "safe.directory=*"]);
        command
    };
    let base = world.scratch("");
    run(git_in(&base).args(["init", "-q", "--bare"]).arg(&origin));
    let url = format!("127.0.0.1:{}", origin.display());
    run(git_in(&base).args(["clone", "-q", &url]).arg(&clone));
    make_tree(&clone, "$x\n*");
    run(git_in(&clone).args(["add", "."]));
    run(git_in(&clone).args(["commit", "-q", "-m", "all"]));
    run(git_in(&clone).args(["push", "-q", "origin", "HEAD:main"]));
    let pushed = run(git_in(&base).arg("--git-dir").arg(&origin).args(["rev-parse", "main"]));
    let fetched = run(git_in(&clone).args(["ls-remote", "origin", "main"]));
    let id = String::from_utf8(pushed.stdout).unwrap();
    assert!(String::from_utf8(fetched.stdout).unwrap().starts_with(id.trim()));
}
