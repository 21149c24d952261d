//! A local user who has a mount namespace, and lets a path that was permitted lead into it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcmd_tests::{World, require, skip};

use crate::ends::Peer;

/// A process in a user and a mount namespace of its own.
struct Foreign(Child);

impl Foreign {
    /// Starts one that sees one folder where this host has another.
    fn with(seen: &Path, at: &Path) -> Self {
        let line = "mount --bind \"$1\" \"$2\" && echo ready && read end";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", line, "sh"]);
        command.args([seen, at]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        Self(child)
    }

    /// A path of it as every process can reach it.
    fn reach(&self, path: &Path) -> PathBuf {
        let root = format!("/proc/{}/root", self.0.id());
        Path::new(&root).join(path.strip_prefix("/").unwrap())
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_a_user_mounted_elsewhere_is_not_taken_for_what_has_that_path_here() {
    require!(skip::need_user_namespace());
    let place = tempfile::tempdir().unwrap();
    let here = place.path().canonicalize().unwrap();
    let path = |name: &str| here.join(name);
    for folder in ["real", "real/sub", "secret", "secret/sub"] {
        fs::create_dir(path(folder)).unwrap();
    }
    fs::write(path("secret/key"), b"key").unwrap();
    fs::write(path("f"), b"content").unwrap();
    let rules = r#"permit (principal, action in [Action::"read", Action::"write"], resource)
        when { context.path == "{}/real" || context.path like "{}/real/*" };"#;
    let mut world = World::builder().prepare();
    let rules = rules.replace("{}", here.to_str().unwrap());
    fs::write(world.dir().join("policy.cedar"), rules).unwrap();
    world.start_server();
    let peer = Peer::of(&world);
    peer.push(&path("f"), &path("real")).complete();
    let foreign = Foreign::with(&path("secret"), &path("real"));
    // The attack is there: this path is that of a folder that is permitted, and leads to the other.
    let reached = foreign.reach(&path("real"));
    assert!(reached.join("key").exists());
    let opened = File::open(&reached).unwrap();
    let told = fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd())).unwrap();
    assert_eq!(told, path("real"));
    symlink(&reached, path("drop")).unwrap();
    symlink(reached.parent().unwrap(), path("above")).unwrap();
    for to in ["drop", "drop/", "drop/new", "drop/sub", "above/real", "above/real/sub/new"] {
        let ended = peer.push(&path("f"), &path(to));
        assert_eq!(ended.refusal(), "unsafe_path", "{to}: {:?}", ended.report);
    }
    let into = path("into");
    fs::create_dir(&into).unwrap();
    for from in ["drop", "drop/", "drop/key", "drop/sub", "above/real/key"] {
        let ended = peer.fetch(&[&path(from)], &into);
        assert_eq!(ended.refusal(), "unsafe_path", "{from}: {:?}", ended.report);
    }
    // A pattern tells no name of it.
    for from in ["drop/*", "drop/k*", "above/*/key"] {
        let ended = peer.fetch(&[&path(from)], &into);
        assert_eq!(ended.refusal(), "no_such_file", "{from}: {:?}", ended.report);
    }
    assert_eq!(fs::read_dir(&into).unwrap().count(), 0);
    assert_eq!(fs::read_dir(path("secret")).unwrap().count(), 2);
    assert_eq!(fs::read_dir(path("secret/sub")).unwrap().count(), 0);
    peer.fetch(&[&path("real/f")], &into).complete();
}
