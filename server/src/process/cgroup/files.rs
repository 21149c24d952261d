//! The files of a cgroup: the processes in it, and the cgroups below it.
#![expect(
    clippy::disallowed_methods,
    reason = "any thread, since the kernel answers by itself; environments are for the threads `marks`"
)]

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fd::OwnedFd,
    fs::{Access, Mode, OFlags, access, open},
    process::RawPid,
};

/// The attribute that marks the cgroup of a daemon.
pub(super) const LEFT: &str = "user.rcmd.left";

pub(super) fn make(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

/// Returns whether a cgroup, or a file of one, exists.
pub(super) fn exists(path: &Path) -> bool {
    path.exists()
}

/// Checks that cgroups may be made below this one.
///
/// # Errors
/// The reason why not.
pub(super) fn writable(path: &Path) -> rustix::io::Result<()> {
    access(path, Access::WRITE_OK)
}

/// Opens a cgroup's folder.
pub(super) fn folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// Opens the file that reports when a cgroup becomes empty.
pub(super) fn events(path: &Path) -> io::Result<File> {
    File::open(path.join("cgroup.events"))
}

pub(super) fn write(path: &Path, file: &str, value: &str) -> io::Result<()> {
    fs::write(path.join(file), value)
}

/// Reads a file of a cgroup. Returns an empty string if it can't be read.
pub(super) fn read(path: &Path, file: &str) -> String {
    fs::read_to_string(path.join(file)).unwrap_or_default()
}

/// Returns whether any process lives in a cgroup or below it. None does if the cgroup is gone.
pub(super) fn is_busy(path: &Path) -> bool {
    // The file is short and read after each command, so one read call is made instead of the four
    // for a whole file.
    let mut text = [0; 128];
    let events = events(path).and_then(|mut file| {
        let length = file.read(&mut text)?;
        Ok(text.get(..length).unwrap_or_default())
    });
    events.is_ok_and(|events| events.split(|&byte| byte == b'\n').any(|l| l == b"populated 1"))
}

/// Returns whether there are cgroups below it: the kernel counts a folder's subfolders in its
/// links.
pub(super) fn has_folders(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.nlink() > 2)
}

/// Returns the process IDs in a cgroup and below it.
pub(super) fn processes(path: &Path) -> Vec<RawPid> {
    let list = read(path, "cgroup.procs");
    let mut all: Vec<RawPid> = list.lines().filter_map(|line| line.parse().ok()).collect();
    if has_folders(path) {
        all.extend(folders(path).iter().flat_map(|below| processes(below)));
    }
    all
}

/// Returns the cgroups directly below this one.
pub(super) fn folders(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let folders =
        entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

/// Removes a cgroup and those below it, except where processes live.
pub(super) fn remove(path: &Path) {
    if has_folders(path) {
        folders(path).iter().for_each(|below| remove(below));
    }
    let _ = fs::remove_dir(path);
}
