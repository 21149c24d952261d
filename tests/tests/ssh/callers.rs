//! git and Ansible over `rcmd-ssh`.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rcmd_tests::{World, binaries, require, skip};

use super::{run, text};

#[test]
fn git_clones_pushes_and_fetches_with_a_port_and_without_a_variant() {
    let git = require!(skip::need_tool("git"));
    let world = World::start();
    let [origin, clone] = ["origin.git", "clone"].map(|name| world.scratch(name));
    let git_in = |folder: &Path| {
        let mut command = Command::new(&git);
        command.current_dir(folder).env("RCMD_DIR", world.client_dir());
        command.env("GIT_SSH", &binaries().ssh).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env_remove("GIT_SSH_VARIANT").env_remove("GIT_SSH_COMMAND");
        command.args(["-c", "user.name=a", "-c", "user.email=a@example.org"]);
        command.args(["-c", "init.defaultBranch=main", "-c", "safe.directory=*"]);
        command
    };
    let base = world.scratch("");
    run(git_in(&base).args(["init", "-q", "--bare"]).arg(&origin));
    let url = format!("ssh://{}{}", world.address(), origin.display());
    run(git_in(&base).args(["clone", "-q", &url]).arg(&clone));
    fs::write(clone.join("file"), "one\n").unwrap();
    run(git_in(&clone).args(["add", "."]));
    run(git_in(&clone).args(["commit", "-q", "-m", "one"]));
    run(git_in(&clone).args(["push", "-q", "origin", "HEAD:main"]));
    let second = world.scratch("second");
    run(git_in(&base).args(["clone", "-q", "-b", "main", &url]).arg(&second));
    assert_eq!(fs::read_to_string(second.join("file")).unwrap(), "one\n");
    fs::write(clone.join("file"), "two\n").unwrap();
    run(git_in(&clone).args(["commit", "-q", "-a", "-m", "two"]));
    run(git_in(&clone).args(["push", "-q", "origin", "HEAD:main"]));
    run(git_in(&second).args(["fetch", "-q", "origin"]));
    let fetched = run(git_in(&second).args(["show", "origin/main:file"]));
    assert_eq!(text(&fetched.stdout), "two\n");
}

/// An inventory with this world's host, and what Ansible writes beside it.
struct Ansible<'a> {
    program: PathBuf,
    world: &'a World,
    home: PathBuf,
}

impl<'a> Ansible<'a> {
    fn new(program: PathBuf, world: &'a World, port: u16) -> Self {
        let home = world.scratch("ansible");
        fs::create_dir(&home).unwrap();
        let inventory = format!(
            "web1 ansible_host=127.0.0.1 ansible_port={port} ansible_python_interpreter=/usr/bin/python3\n"
        );
        fs::write(home.join("inventory"), inventory).unwrap();
        fs::write(home.join("ansible.cfg"), "").unwrap();
        Self { program, world, home }
    }

    fn command(&self, module: &str, arguments: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("RCMD_DIR", self.world.client_dir()).env("HOME", &self.home);
        command
            .env("ANSIBLE_SSH_EXECUTABLE", &binaries().ssh)
            .env("ANSIBLE_CONFIG", self.home.join("ansible.cfg"));
        command.env("ANSIBLE_REMOTE_TEMP", self.home.join("remote")).env("ANSIBLE_NOCOLOR", "1");
        command
            .arg("-i")
            .arg(self.home.join("inventory"))
            .args(["web1", "-m", module, "-a", arguments]);
        command
    }
}

fn said(done: &Output) -> String {
    text(&done.stdout) + &text(&done.stderr)
}

#[test]
fn ansible_runs_raw_commands_and_modules() {
    let program = require!(skip::need_tool("ansible"));
    let world = World::start();
    let ansible = Ansible::new(program, &world, world.address().port());
    let raw = run(&mut ansible.command("raw", "echo hi; echo \"$0\" >&2"));
    assert!(text(&raw.stdout).starts_with("web1 | CHANGED | rc=0 >>\nhi\n"), "{}", said(&raw));
    assert!(!said(&raw).contains("rcmd:"), "{}", said(&raw));
    for (name, value) in [("ANSIBLE_PIPELINING", "1"), ("ANSIBLE_SSH_TRANSFER_METHOD", "piped")] {
        let module = run(ansible.command("command", "echo from a module").env(name, value));
        assert!(
            text(&module.stdout).contains("rc=0 >>\nfrom a module\n"),
            "{name}: {}",
            said(&module)
        );
    }
    if skip::need_sftp_server().is_ok() {
        let options = format!("-S {}", binaries().ssh.display());
        let mut by_sftp = ansible.command("command", "echo by sftp");
        let module = run(by_sftp.env("ANSIBLE_SFTP_EXTRA_ARGS", options));
        assert!(text(&module.stdout).contains("rc=0 >>\nby sftp\n"), "{}", said(&module));
    }
}

#[test]
fn ansible_tells_a_host_that_is_not_reached_from_a_command_that_failed() {
    let program = require!(skip::need_tool("ansible"));
    let world = World::start();
    let ansible = Ansible::new(program.clone(), &world, world.address().port());
    let killed = ansible.command("raw", "kill -KILL $$").stdin(Stdio::null()).output().unwrap();
    assert!(text(&killed.stdout).starts_with("web1 | FAILED | rc=137"), "{}", said(&killed));
    fs::remove_dir_all(&ansible.home).unwrap();
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let ansible = Ansible::new(program, &world, closed.port());
    let lost = ansible.command("raw", "true").stdin(Stdio::null()).output().unwrap();
    assert!(text(&lost.stdout).contains("web1 | UNREACHABLE!"), "{}", said(&lost));
}
