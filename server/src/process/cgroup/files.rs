//! The files of a cgroup: what lives in it, what is below it.
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

/// The attribute that marks the folder of a daemon.
pub(super) const LEFT: &str = "user.rcmd.left";

/// Makes a cgroup.
pub(super) fn make(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

/// Returns whether there is such a cgroup, or file of one.
pub(super) fn exists(path: &Path) -> bool {
    path.exists()
}

/// Checks that cgroups may be made below one.
///
/// # Errors
/// Why not.
pub(super) fn writable(path: &Path) -> rustix::io::Result<()> {
    access(path, Access::WRITE_OK)
}

/// Opens a cgroup's folder.
pub(super) fn folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// Opens the file that tells when a cgroup becomes empty.
pub(super) fn events(path: &Path) -> io::Result<File> {
    File::open(path.join("cgroup.events"))
}

/// Writes to a file of a cgroup.
pub(super) fn write(path: &Path, file: &str, value: &str) -> io::Result<()> {
    fs::write(path.join(file), value)
}

/// Reads a file of a cgroup; what can't be read is empty.
pub(super) fn read(path: &Path, file: &str) -> String {
    fs::read_to_string(path.join(file)).unwrap_or_default()
}

/// Returns whether anything lives in a cgroup or below it. One that is gone holds nothing.
pub(super) fn is_busy(path: &Path) -> bool {
    // It is short, and looked at after each command: one read instead of the four of a whole file.
    let mut text = [0; 128];
    let events = events(path).and_then(|mut file| {
        let length = file.read(&mut text)?;
        Ok(text.get(..length).unwrap_or_default())
    });
    events.is_ok_and(|events| events.split(|&byte| byte == b'\n').any(|l| l == b"populated 1"))
}

/// Returns whether it has cgroups below it: the kernel counts a folder's folders in its links.
pub(super) fn has_folders(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.nlink() > 2)
}

/// Returns the pids of what lives in a cgroup and below it.
pub(super) fn processes(path: &Path) -> Vec<RawPid> {
    let list = read(path, "cgroup.procs");
    let mut all: Vec<RawPid> = list.lines().filter_map(|line| line.parse().ok()).collect();
    if has_folders(path) {
        all.extend(folders(path).iter().flat_map(|below| processes(below)));
    }
    all
}

/// Returns the cgroups right below one.
pub(super) fn folders(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let folders =
        entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

/// Removes a cgroup and those below it, as far as nothing lives there.
pub(super) fn remove(path: &Path) {
    if has_folders(path) {
        folders(path).iter().for_each(|below| remove(below));
    }
    let _ = fs::remove_dir(path);
}
