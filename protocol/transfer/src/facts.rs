//! What the system says of a file.

mod accounts;
pub(crate) mod acl;
pub(crate) mod attributes;

pub use accounts::AccountNames;
pub(crate) use accounts::Table;
pub(crate) use attributes::Attributes;

use std::os::fd::AsFd;

use rustix::{
    fs::{
        AtFlags, FileType, RawMode, SeekFrom, Statx, StatxFlags, Timespec, Timestamps, UTIME_OMIT,
    },
    io::Errno,
};

/// The bits of a mode that new content or a new folder may have: all but setuid and setgid.
pub(crate) const PLAIN: u32 = 0o1777;

/// The setuid and setgid bits.
pub(crate) const SET_ID: u32 = 0o6000;

/// The sticky bit: in such a folder everybody renames and removes their own entries alone, but for the folder's owner.
pub(crate) const STICKY: u32 = 0o1000;
/// The bits by which others than its owner may write in a folder.
pub(crate) const OTHERS_WRITE: u32 = 0o022;

/// What the system is asked for.
const ASKED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::MNT_ID);

/// A time of a file: seconds since 1970 and nanoseconds after them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

impl Time {
    /// Returns whether files with these times may be the same. The first two seconds of 1970 are no times, but what
    /// tools write that make the same archive twice.
    pub(crate) fn is_same(self, other: Self) -> bool {
        self.equals(other) && !matches!(self.seconds, 0 | 1)
    }

    /// Returns whether these are the same time. Where one has no fraction of a second, as on a coarse file system,
    /// whole seconds count.
    pub(crate) fn equals(self, other: Self) -> bool {
        let is_coarse = self.nanoseconds == 0 || other.nanoseconds == 0;
        self.seconds == other.seconds && (is_coarse || self.nanoseconds == other.nanoseconds)
    }

    /// Returns what sets this time and leaves that of the last access alone.
    pub(crate) fn timestamps(self) -> Timestamps {
        Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: self.seconds, tv_nsec: self.nanoseconds.into() },
        }
    }
}

/// Which file it is, on this host, for as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    device: (u32, u32),
    inode: u64,
}

impl FileId {
    /// Returns its number in its file system.
    pub(crate) fn inode(self) -> u64 {
        self.inode
    }
}

/// What kind of thing a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    File,
    Folder,
    Link,
    /// A device, a pipe or a socket.
    Special,
}

/// What the system says of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileFacts {
    pub(crate) sort: Sort,
    /// The permission bits, with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) size: u64,
    /// The bytes that it takes on its disk.
    pub(crate) stored: u64,
    pub(crate) time: Time,
    /// When anything of it was changed last, which nobody can set.
    pub(crate) changed: Time,
    pub(crate) id: FileId,
    pub(crate) names: u32,
    /// The number of the mount that it is on, where the system says that.
    mount: Option<u64>,
}

impl FileFacts {
    /// Returns the facts of an open file.
    pub(crate) fn of(file: impl AsFd) -> Result<Self, Errno> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::statx(file, c"", flags, ASKED).map(|found| Self::read(&found))
    }

    /// Returns the facts of a name in a folder. A link is not followed, nor is anything mounted by asking.
    pub(crate) fn at(folder: impl AsFd, name: &[u8]) -> Result<Self, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        rustix::fs::statx(folder, name, flags, ASKED).map(|found| Self::read(&found))
    }

    /// Returns whether it is on the mount that another is on. Where the system does not say, the device counts.
    pub(crate) fn is_on_mount_of(&self, other: &Self) -> bool {
        match (self.mount, other.mount) {
            (Some(own), Some(other)) => own == other,
            _ => self.id.device == other.id.device,
        }
    }

    fn read(found: &Statx) -> Self {
        let mode = RawMode::from(found.stx_mode);
        let sort = match FileType::from_raw_mode(mode) {
            FileType::RegularFile => Sort::File,
            FileType::Directory => Sort::Folder,
            FileType::Symlink => Sort::Link,
            _ => Sort::Special,
        };
        let has_mount = found.stx_mask & StatxFlags::MNT_ID.bits() != 0;
        Self {
            sort,
            mode: mode & 0o7777,
            owner: (found.stx_uid, found.stx_gid),
            size: found.stx_size,
            stored: found.stx_blocks.saturating_mul(512),
            time: Time { seconds: found.stx_mtime.tv_sec, nanoseconds: found.stx_mtime.tv_nsec },
            changed: Time { seconds: found.stx_ctime.tv_sec, nanoseconds: found.stx_ctime.tv_nsec },
            id: FileId { device: (found.stx_dev_major, found.stx_dev_minor), inode: found.stx_ino },
            names: found.stx_nlink,
            mount: has_mount.then_some(found.stx_mnt_id),
        }
    }
}

/// Returns where the next data of an open file begins and ends, up to its size. Before it is a hole.
pub(crate) fn next_data(file: impl AsFd, at: u64, size: u64) -> Result<(u64, u64), Errno> {
    match rustix::fs::seek(&file, SeekFrom::Data(at)) {
        Ok(begin) => {
            let end = rustix::fs::seek(&file, SeekFrom::Hole(begin))?;
            Ok((begin.min(size), end.min(size)))
        }
        // No data up to the end.
        Err(Errno::NXIO) => Ok((size, size)),
        // A file system that knows no holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok((at, size)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_compared_as_finely_as_both_have_them() {
        let time = |seconds, nanoseconds| Time { seconds, nanoseconds };
        assert!(time(1_700_000_000, 5).is_same(time(1_700_000_000, 5)));
        assert!(!time(1_700_000_000, 5).is_same(time(1_700_000_000, 6)));
        assert!(time(1_700_000_000, 0).is_same(time(1_700_000_000, 6)));
        assert!(!time(1_700_000_000, 0).is_same(time(1_700_000_001, 0)));
        assert!(!time(0, 0).is_same(time(0, 0)) && !time(1, 0).is_same(time(1, 0)));
        assert!(time(-1, 7).is_same(time(-1, 7)));
    }
}
