//! The place of the server's cgroups: finding it, making it, clearing what earlier servers left.

use std::{
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    fs::{FlockOperation, flock, getxattr},
};
use serde::Deserialize;

use super::files::{self, LEFT, folders, is_busy, remove};
use crate::{process::proc_fs, units::Size};

/// The prefix of the folder of one server; the rest of the name is random.
const PREFIX: &str = "rcmd-";
/// The leaf that the server moves itself to if its own cgroup must hand out controllers.
const LEAF: &str = "server";
/// The time that the remains of an earlier server have to end.
const PATIENCE: Duration = Duration::from_secs(5);
/// The period in microseconds over which `cpu` is counted, the kernel's default.
const PERIOD: u64 = 100_000;
/// The least quota in microseconds that the kernel accepts.
const LEAST: u64 = 1000;

/// The limits on what a command and all that comes of it may use together, from `[limits.tree]`.
/// Each needs a controller of the server's cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TreeLimits {
    /// The maximum memory; beyond it, the kernel kills processes of the command.
    pub memory: Option<Size>,
    /// The maximum processor time, in percent of one processor.
    pub cpu: Option<u64>,
    /// The maximum number of processes and threads.
    pub processes: Option<u64>,
}

/// The controllers by which a cgroup can be limited.
pub(super) type Controllers = Vec<String>;

impl TreeLimits {
    /// Returns the controller, the file and the content of each limit that is set.
    fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, String)> + use<> {
        let memory = self.memory.map(|Size(bytes)| ("memory", "memory.max", bytes.to_string()));
        let cpu = self.cpu.map(|percent| {
            let quota = percent.saturating_mul(PERIOD / 100).max(LEAST);
            ("cpu", "cpu.max", format!("{quota} {PERIOD}"))
        });
        let count = self.processes.map(|count| ("pids", "pids.max", count.to_string()));
        [memory, cpu, count].into_iter().flatten()
    }

    /// Returns the controllers that the limits need and that are not enabled.
    pub(super) fn missing(&self, enabled: &Controllers) -> Vec<&'static str> {
        let needed = self.all().map(|(controller, ..)| controller);
        needed.filter(|needed| !enabled.iter().any(|enabled| enabled == needed)).collect()
    }

    /// Returns the files that are written in each command's cgroup, with their content.
    pub(super) fn files(&self) -> Vec<(&'static str, String)> {
        self.all().map(|(_, file, value)| (file, value)).collect()
    }
}

/// Returns the folder of the server's own cgroup.
pub(super) fn own() -> io::Result<PathBuf> {
    let none = || io::Error::other("no cgroup of version 2 is mounted");
    let mounts = proc_fs::read("self/mountinfo")?;
    let (root, mount) = mounts.lines().find_map(mount).ok_or_else(none)?;
    let cgroups = proc_fs::read("self/cgroup")?;
    let own = cgroups.lines().find_map(|line| line.strip_prefix("0::")).ok_or_else(none)?;
    let below = Path::new(own).strip_prefix(&root).map_err(|_| {
        io::Error::other(format!("the server's cgroup {own:?} lies outside of what is mounted"))
    })?;
    let own = mount.join(below);
    // If the server was moved to its leaf before, its cgroups are beside the leaf.
    match own.file_name() == Some(LEAF.as_ref()) {
        true => Ok(own.parent().unwrap_or(&own).to_owned()),
        false => Ok(own),
    }
}

/// Returns the root and the mount point of a line of mountinfo (proc_pid_mountinfo(5)), if the
/// mount is of version 2.
fn mount(line: &str) -> Option<(PathBuf, PathBuf)> {
    let (mount, kind) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, at) = (fields.next()?, fields.next()?);
    kind.starts_with("cgroup2 ").then(|| (unescaped(root), unescaped(at)))
}

/// Returns a path of mountinfo, in which blanks and backslashes are written as `\040` and the like.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| first == b'\\');
        let octal = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(byte.unwrap_or(first));
        rest = after.get(if byte.is_some() { 3 } else { 0 }..).unwrap_or_default();
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))
}

/// Makes the folder of this server, and locks it.
pub(super) fn make(parent: &Path) -> io::Result<(PathBuf, OwnedFd)> {
    // Before it is locked, another server may take it for a leftover and remove it.
    for _ in 0..16 {
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(io::Error::other)?;
        let path = parent.join(format!("{PREFIX}{}", hex::encode(name)));
        files::make(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("{path:?}: {error}")))?;
        if let Some(lock) = lock(&path).filter(|_| files::exists(&path)) {
            return Ok((path, lock));
        }
    }
    Err(io::Error::other(format!("{parent:?}: folders made there disappear")))
}

/// Locks the folder of a server, unless a living server has locked it.
fn lock(path: &Path) -> Option<OwnedFd> {
    let folder = files::folder(path).ok()?;
    flock(&folder, FlockOperation::NonBlockingLockExclusive).ok().map(|()| folder)
}

/// Kills and removes what servers that are gone have left, except for daemons.
pub(super) fn clear(parent: &Path) {
    let theirs = folders(parent).into_iter().filter(|path| {
        path.file_name().is_some_and(|name| name.as_bytes().starts_with(PREFIX.as_bytes()))
    });
    for base in theirs {
        let Some(_lock) = lock(&base) else { continue };
        for path in folders(&base) {
            let is_daemon = getxattr(&path, LEFT, &mut [0_u8; 1]).is_ok();
            if !is_daemon && is_busy(&path) {
                let _ = files::write(&path, "cgroup.kill", "1");
                wait_until_empty(&path);
            }
        }
        remove(&base);
    }
}

fn wait_until_empty(path: &Path) {
    let until = Instant::now() + PATIENCE;
    let Ok(events) = files::events(path) else { return };
    while is_busy(path) && Instant::now() < until {
        let pause = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        let _ = poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&pause));
    }
}

/// Returns the controllers that a cgroup could hand out.
pub(super) fn controllers(path: &Path) -> Controllers {
    list(path, "cgroup.controllers")
}

fn list(path: &Path, file: &str) -> Controllers {
    let list = files::read(path, file);
    list.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Enables the controllers of the limits for the cgroups below `base`. Returns those that are
/// enabled.
pub(super) fn enable(parent: &Path, base: &Path, limits: &TreeLimits) -> Controllers {
    let there = controllers(parent);
    let wanted: Vec<_> = limits
        .all()
        .map(|(controller, ..)| controller)
        .filter(|wanted| there.iter().any(|there| there == wanted))
        .map(|controller| format!("+{controller}"))
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let wanted = wanted.join(" ");
    let control = |path: &Path| files::write(path, "cgroup.subtree_control", &wanted);
    // A cgroup with processes of its own can't hand out controllers, except for the root cgroup.
    if control(parent).is_err() {
        let leaf = parent.join(LEAF);
        let _ = files::make(&leaf);
        let moved = files::write(&leaf, "cgroup.procs", &std::process::id().to_string());
        if moved.and_then(|()| control(parent)).is_err() {
            return Vec::new();
        }
    }
    match control(base) {
        Ok(()) => list(base, "cgroup.subtree_control"),
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_whatever_its_name() {
        let line = r"41 31 0:38 /a /sys/fs/my\040cgroup rw,relatime shared:5 - cgroup2 cgroup2 rw";
        let (root, at) = mount(line).unwrap();
        assert_eq!((root, at), (PathBuf::from("/a"), PathBuf::from("/sys/fs/my cgroup")));
        assert_eq!(mount("37 31 0:34 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw"), None);
        assert_eq!(mount("37 31"), None);
        assert_eq!(unescaped(r"\04"), PathBuf::from(r"\04"));
    }

    #[test]
    fn limits_are_the_files_of_their_controllers() {
        let limits = "memory = \"1 GiB\"\ncpu = 150\nprocesses = 64";
        let limits: TreeLimits = toml::from_str(limits).unwrap();
        assert_eq!(
            limits.files(),
            [
                ("memory.max", "1073741824".to_owned()),
                ("cpu.max", "150000 100000".to_owned()),
                ("pids.max", "64".to_owned())
            ]
        );
        let all: Controllers = vec!["cpu".into(), "memory".into(), "pids".into()];
        assert_eq!(limits.missing(&all), [""; 0]);
        assert_eq!(limits.missing(&vec!["pids".to_owned()]), ["memory", "cpu"]);
        assert_eq!(TreeLimits::default().files(), []);
    }
}
