//! The units of systemd that are shipped, judged by systemd's own programs.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rcmd_tests::wait::{DEADLINE, exit_within};
use rcmd_tests::{World, binaries, proc, require, skip};
use rustix::process::Signal;

/// Returns the folder of the shipped units.
fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd")
}

/// Copies the units to a folder, with the program that was built for these tests.
fn units_with_program(folder: &Path) -> [PathBuf; 2] {
    ["rcmd-server.service", "rcmd-server.socket"].map(|name| {
        let text = fs::read_to_string(units().join(name)).unwrap();
        let server = binaries().server.to_str().unwrap();
        let path = folder.join(name);
        fs::write(&path, text.replace("/usr/bin/rcmd-server", server)).unwrap();
        path
    })
}

#[test]
fn systemd_finds_no_fault_in_the_units() {
    let analyze = require!(skip::need_tool("systemd-analyze"));
    let folder = tempfile::tempdir().unwrap();
    let units = units_with_program(folder.path());
    let verified =
        Command::new(analyze).args(["verify", "--man=no"]).args(&units).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    // It also reads the units of the host, and speaks of those by their names.
    let ours: Vec<_> = said.lines().filter(|line| line.contains("rcmd")).collect();
    assert!(verified.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn the_documented_exposure_of_the_service_is_what_systemd_says() {
    let analyze = require!(skip::need_tool("systemd-analyze"));
    let folder = tempfile::tempdir().unwrap();
    let [service, _] = units_with_program(folder.path());
    let judged =
        Command::new(analyze).args(["security", "--offline=true"]).arg(&service).output().unwrap();
    let said = String::from_utf8_lossy(&judged.stdout).into_owned();
    let level = said.lines().rev().find_map(|line| line.split_once("rcmd-server.service: "));
    let level = level.expect(&said).1.split(' ').next().unwrap();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating.md");
    let docs = fs::read_to_string(docs).unwrap();
    assert!(docs.contains(&format!("rcmd-server.service: {level} ")), "systemd says {level}");
}

#[test]
fn systemd_takes_the_account_and_the_folders() {
    let sysusers = require!(skip::need_tool("systemd-sysusers"));
    let tmpfiles = require!(skip::need_tool("systemd-tmpfiles"));
    require!(skip::need_root());
    let root = tempfile::tempdir().unwrap();
    let root_option = format!("--root={}", root.path().display());
    fs::create_dir(root.path().join("etc")).unwrap();
    for (program, option, kind) in
        [(sysusers, None, "sysusers"), (tmpfiles, Some("--create"), "tmpfiles")]
    {
        // Both look for the file where the packages of that root have it.
        let folder = root.path().join(format!("usr/lib/{kind}.d"));
        fs::create_dir_all(&folder).unwrap();
        fs::copy(units().join(format!("rcmd.{kind}")), folder.join("rcmd.conf")).unwrap();
        let done =
            Command::new(program).args(option).args([&root_option, "rcmd.conf"]).output().unwrap();
        assert!(done.status.success(), "{kind}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let groups = fs::read_to_string(root.path().join("etc/group")).unwrap();
    assert!(groups.contains("rcmd:x:"), "{groups}");
    for folder in ["etc/rcmd", "run/rcmd", "var/lib/rcmd"] {
        assert!(root.path().join(folder).is_dir(), "{folder}");
    }
}

#[test]
fn a_real_systemd_starts_the_server_with_the_first_connection() {
    let activate = require!(skip::need_tool("systemd-socket-activate"));
    let world = World::builder().prepare();
    // It takes no port 0. Another program may take the port before it does: then it is tried again.
    let mut started = None;
    for _ in 0..5 {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = world.server_program();
        let mut command = Command::new(&activate);
        command.args(["--listen", &free.to_string(), "--fdname", "rcmd"]);
        command.arg(server.get_program()).args(server.get_args()).args(["--listen", "fd"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut says = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        says.read_line(&mut line).unwrap();
        if line.contains("Listening on") {
            std::thread::spawn(move || says.lines().for_each(drop));
            started = Some((child, free));
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (mut child, address): (_, SocketAddr) = started.expect("a free port");
    // Nothing of rcmd runs yet; the first client is served like all others.
    for _ in 0..3 {
        let done = world.shell("echo $RCMD_PEER").target(address.to_string()).run();
        done.assert_code(0);
    }
    proc::signal(child.id(), Signal::TERM);
    let ended = exit_within(&mut child, DEADLINE).unwrap().expect("it ends");
    assert!(ended.success(), "{ended}");
}
