//! The files of a cgroup: what lives in it, what is below it.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::process::RawPid;

/// The attribute that marks the folder of a daemon.
pub(super) const LEFT: &str = "user.rcmd.left";

/// Returns whether anything lives in a cgroup or below it. One that is gone holds nothing.
pub(super) fn is_busy(path: &Path) -> bool {
    // It is short, and looked at after each command: one read instead of the four of a whole file.
    let mut events = [0; 128];
    let events = File::open(path.join("cgroup.events")).and_then(|mut file| {
        let length = file.read(&mut events)?;
        Ok(events.get(..length).unwrap_or_default())
    });
    events.is_ok_and(|events| events.split(|&byte| byte == b'\n').any(|l| l == b"populated 1"))
}

/// Returns whether it has cgroups below it: the kernel counts a folder's folders in its links.
pub(super) fn has_folders(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.nlink() > 2)
}

/// Returns the pids of what lives in a cgroup and below it.
pub(super) fn processes(path: &Path) -> Vec<RawPid> {
    let list = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
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
