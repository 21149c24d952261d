//! The mounts of local file systems, on which nothing waits for a file server or for a user's
//! program.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Seek as _},
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::process::proc_fs;

/// The file systems that the kernel serves by itself (filesystems(5)).
const LOCAL: [&str; 18] = [
    "bcachefs", "btrfs", "devtmpfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "iso9660",
    "overlay", "ramfs", "rootfs", "squashfs", "tmpfs", "vfat", "xfs", "zfs",
];

/// The mount points of local file systems, as they are now.
#[derive(Debug)]
pub(super) struct Mounts(Mutex<Table>);

#[derive(Debug)]
struct Table {
    /// The file `/proc/self/mountinfo`, whose changes poll(2) reports (proc_pid_mountinfo(5)).
    file: File,
    local: HashSet<PathBuf>,
}

impl Mounts {
    /// Reads the table of mounts.
    ///
    /// # Errors
    /// If `/proc` does not provide it.
    pub(super) fn read() -> io::Result<Self> {
        let mut file = proc_fs::open("self/mountinfo")?;
        let local = local(&mut file)?;
        Ok(Self(Mutex::new(Table { file, local })))
    }

    /// Returns whether the topmost mount at this path, which has no links, is a local file system.
    pub(super) fn is_local(&self, path: &Path) -> bool {
        let Table { file, local: known } =
            &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changes = [PollFd::new(file, PollFlags::PRI | PollFlags::ERR)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut changes, Some(&now)) != Ok(0) {
            *known = local(file).unwrap_or_default();
        }
        known.contains(path)
    }
}

fn local(file: &mut File) -> io::Result<HashSet<PathBuf>> {
    let mut text = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut text)?;
    Ok(parse(&text))
}

/// Returns the mount points whose topmost mount is a local one.
fn parse(text: &[u8]) -> HashSet<PathBuf> {
    let mut local = HashSet::new();
    for line in text.split(|&byte| byte == b'\n') {
        let mut fields = line.split(|&byte| byte == b' ');
        let Some(point) = fields.by_ref().nth(4).map(unescaped) else { continue };
        // Optional fields end with a hyphen, after which the type follows.
        let kind = fields.by_ref().skip_while(|field| *field != b"-").nth(1);
        if kind.is_some_and(|kind| LOCAL.iter().any(|local| local.as_bytes() == kind)) {
            local.insert(point);
        } else {
            // A later mount covers those before it.
            local.remove(&point);
        }
    }
    local
}

/// Decodes a field, in which blanks, newlines and backslashes are written as `\` and three octal
/// digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let escape = after.first_chunk::<3>().filter(|_| first == b'\\');
        let octal = escape.and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_mounts_are_told_from_those_that_may_wait() {
        let text = b"27 1 254:0 / / rw - ext4 /dev/vda rw\n\
            40 27 0:40 / /home/a\\040b rw,nosuid shared:7 master:1 - tmpfs x rw\n\
            41 27 0:41 / /mnt/sshfs rw - fuse.sshfs x rw\n\
            42 27 0:42 / /srv rw - nfs4 h:/x rw\n\
            43 27 0:43 / /over rw - ext4 /dev/vdb rw\n\
            44 43 0:44 / /over rw - autofs x rw\n\
            45 44 0:45 / /under rw - cifs x rw\n\
            46 45 0:46 / /under rw - xfs /dev/vdc rw\n\
            nonsense\n";
        let local = parse(text);
        let expected = ["/", "/home/a b", "/under"].map(PathBuf::from);
        assert_eq!(local, HashSet::from(expected));
    }

    #[test]
    fn this_host_s_root_is_seen() {
        let mounts = Mounts::read().unwrap();
        assert!(!mounts.is_local(Path::new("/proc")));
        assert!(!mounts.is_local(Path::new("/no/mount/point")));
    }
}
