//! scp, sftp and rsync over `rcmd-ssh`.

use std::fs;
use std::path::Path;
use std::process::Command;

use rcmd_tests::{World, binaries, require, skip};

use super::run;

/// Makes files that are easily damaged on the way: large, empty, of all bytes, with odd names.
fn make_tree(folder: &Path) {
    let deep = folder.join("a b/'c'");
    fs::create_dir_all(&deep).unwrap();
    let every: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    fs::write(deep.join("every byte"), &every).unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    fs::write(folder.join("$x *"), "odd\r\n").unwrap();
}

fn assert_same(one: &Path, other: &Path) {
    run(Command::new("diff").arg("-r").arg(one).arg(other));
}

#[test]
fn rsync_copies_there_and_back() {
    let rsync = require!(skip::need_tool("rsync"));
    let world = World::start();
    let [here, there, back] = ["here", "there", "back x"].map(|name| world.scratch(name));
    make_tree(&here);
    let shell = format!("'{}' -p {}", binaries().ssh.display(), world.address().port());
    let rsync = || {
        let mut command = Command::new(&rsync);
        command.env("RCMD_DIR", world.client_dir()).arg("-a").arg("-e").arg(&shell);
        command
    };
    let remote = format!("127.0.0.1:{}/", there.display());
    run(rsync().arg(here.join("")).arg(&remote));
    assert_same(&here, &there);
    fs::write(there.join("a b/new"), "new\n").unwrap();
    run(rsync().arg("-z").arg(&remote).arg(&back));
    assert_same(&there, &back);
    // The other side's shell reads a pattern and a name that rsync has quoted.
    let some = world.scratch("some");
    run(rsync().arg(format!("127.0.0.1:{}/e*y", there.display())).arg(some.join("")));
    assert!(some.join("empty").exists());
    run(rsync().arg("-s").arg(here.join("")).arg(format!("127.0.0.1:{}/a  $b/", some.display())));
    assert_same(&here, &some.join("a  $b"));
    // Its own folder is named with quotes, as rsync splits them.
    let dir = world.client_dir().display();
    let shell = format!("{} --dir '{dir}' -p {}", binaries().ssh.display(), world.address().port());
    let mut own = rsync();
    own.env_remove("RCMD_DIR").arg("-e").arg(&shell);
    run(own.arg(&remote).arg(world.scratch("again").join("")));
}

#[test]
fn scp_and_sftp_copy_there_and_back_by_the_subsystem_and_scp_by_its_own_program() {
    let scp = require!(skip::need_tool("scp"));
    let sftp = require!(skip::need_tool("sftp"));
    require!(skip::need_sftp_server());
    let world = World::start();
    let [here, there] = ["here", "there"].map(|name| world.scratch(name));
    make_tree(&here);
    fs::create_dir(&there).unwrap();
    let port = world.address().port().to_string();
    let with = |program: &Path| {
        let mut command = Command::new(program);
        command.env("RCMD_DIR", world.client_dir()).arg("-S").arg(&binaries().ssh);
        command.args(["-P", &port]);
        command
    };
    let remote = |name: &str| format!("127.0.0.1:{}/{name}", there.display());
    for (way, options) in [("sftp", &["-r"][..]), ("own", &["-r", "-O"])] {
        run(with(&scp).args(options).arg(&here).arg(remote(way)));
        assert_same(&here, &there.join(way));
        let back = world.scratch(&format!("back-{way}"));
        run(with(&scp).args(options).arg(remote(way)).arg(&back));
        assert_same(&here, &back);
    }
    let orders = world.scratch("orders");
    let back = world.scratch("back");
    let text = format!(
        "put -r {} {1}/batch\nget -r {1}/batch {2}\n",
        here.display(),
        there.display(),
        back.display()
    );
    fs::write(&orders, text).unwrap();
    run(with(&sftp).arg("-b").arg(&orders).arg("127.0.0.1"));
    assert_same(&here, &back);
}
