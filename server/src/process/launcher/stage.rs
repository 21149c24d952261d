//! The stages at which a start can fail, and how a child reports them.

use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use nix::libc;

/// The number of bytes of a program that are checked for the line that names an interpreter: as
/// many as the kernel reads (BINPRM_BUF_SIZE).
pub(super) const HEAD: usize = 256;
/// The maximum size of a report in bytes: three numbers, and the beginning of the program.
pub(super) const LONGEST: usize = 3 * size_of::<i32>() + HEAD;

/// The stage at which a child failed before it executed its program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub(in crate::process) enum Stage {
    /// Making the child.
    Clone = 1,
    /// Taking a session and a group of its own.
    Session,
    /// Setting the child's three descriptors.
    Descriptors,
    /// Joining a session keyring of its own.
    Keyring,
    /// Giving up capabilities, and setting no_new_privs.
    Privileges,
    /// Setting the supplementary groups, setgroups(2).
    Groups,
    /// Changing to the account's group, setresgid(2).
    Group,
    /// Changing to the account's user, setresuid(2).
    User,
    /// Checking that the child can't become root again.
    Regained,
    /// Entering the working folder.
    Folder,
    /// Executing the program, execve(2).
    Exec,
}

impl Stage {
    const ALL: [Self; 11] = [
        Self::Clone,
        Self::Session,
        Self::Descriptors,
        Self::Keyring,
        Self::Privileges,
        Self::Groups,
        Self::Group,
        Self::User,
        Self::Regained,
        Self::Folder,
        Self::Exec,
    ];
}

/// The failure of a start, after which there is no process.
#[derive(Debug)]
pub(in crate::process) struct Failed {
    pub(in crate::process) stage: Stage,
    pub(in crate::process) error: io::Error,
    pub(in crate::process) seen: Seen,
}

/// The findings of a child about a program that it could not execute, as the user and in the folder
/// of the command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::process) struct Seen {
    /// The error number if the file itself can't be executed (access(2)); `None` if it can.
    pub(in crate::process) obstacle: Option<i32>,
    /// The first bytes of the program, as far as the user may read it.
    head: Vec<u8>,
}

impl Failed {
    /// Returns the failure of a child that was not made.
    pub(in crate::process) fn at_clone(error: io::Error) -> Self {
        Self { stage: Stage::Clone, error, seen: Seen::default() }
    }

    /// Parses the report of a child: stage, error and obstacle as numbers, then the head of its
    /// program.
    pub(super) fn parse(told: &[u8]) -> Self {
        let mut rest = told;
        let mut number = || {
            let (first, after) = rest.split_first_chunk()?;
            rest = after;
            Some(i32::from_ne_bytes(*first))
        };
        let (stage, errno, obstacle) = (number(), number(), number());
        let stage = Stage::ALL.into_iter().find(|known| Some(*known as i32) == stage);
        Self {
            stage: stage.unwrap_or(Stage::Clone),
            // A child that was killed during its report has reported nothing.
            error: io::Error::from_raw_os_error(errno.unwrap_or(libc::EINTR)),
            seen: Seen { obstacle: obstacle.filter(|errno| *errno != 0), head: rest.to_vec() },
        }
    }
}

impl Seen {
    /// The number of first bytes of a program that are kept: as many as the kernel reads
    /// (BINPRM_BUF_SIZE, execve(2)).
    pub(in crate::process) const HEAD: u64 = 256;

    /// Makes the findings from the result of access(2) and the first bytes of the program.
    pub(in crate::process) fn new(obstacle: Option<i32>, head: Vec<u8>) -> Self {
        Self { obstacle, head }
    }

    /// Returns the interpreter that a script names (execve(2), "Interpreter scripts").
    pub(in crate::process) fn interpreter(&self) -> Option<PathBuf> {
        let line = self.head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
        let name = line.trim_ascii_start().split(|byte| matches!(byte, b' ' | b'\t')).next()?;
        Some(Path::new(OsStr::from_bytes(name)).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(numbers: [i32; 3], head: &[u8]) -> Vec<u8> {
        [&numbers.map(i32::to_ne_bytes).concat(), head].concat()
    }

    #[test]
    fn what_a_child_tells_is_read_back() {
        let failed = Failed::parse(&told([Stage::Exec as i32, libc::EACCES, 0], b"#! /a/b -c\nx"));
        assert_eq!(failed.stage, Stage::Exec);
        assert_eq!(failed.error.raw_os_error(), Some(libc::EACCES));
        assert_eq!(failed.seen.obstacle, None);
        assert_eq!(failed.seen.interpreter(), Some(PathBuf::from("/a/b")));
        let failed = Failed::parse(&told([Stage::Folder as i32, libc::ENOENT, libc::EPERM], b""));
        assert_eq!((failed.stage, failed.seen.obstacle), (Stage::Folder, Some(libc::EPERM)));
        assert_eq!(failed.seen.interpreter(), None);
    }

    #[test]
    fn what_is_cut_short_or_no_stage_is_a_failure_all_the_same() {
        let whole = told([Stage::Exec as i32, libc::ENOENT, 0], b"#!/x");
        for cut in 1..12 {
            assert_ne!(Failed::parse(&whole[..cut]).error.raw_os_error(), Some(0), "{cut}");
        }
        assert_eq!(Failed::parse(&told([99, libc::EIO, 0], b"")).stage, Stage::Clone);
    }
}
