//! The file that would be executed: what it is, and who could put another in its place.
//!
//! A rule judges a path, and the kernel executes the file at that path a moment later. They are the
//! same if only root and the user that the program runs as can change the file, the folders on the
//! way to it, and, for a script, the same of its interpreter. The whole way is checked: the targets
//! of links, and the folders that contain the links (`look/walk.rs`).

use std::{
    any::Any,
    borrow::Cow,
    ffi::OsStr,
    fs::File,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

/// The number of bytes at the beginning of a file by which the kernel decides how to execute it
/// (execve(2)).
pub(super) const HEAD: usize = 256;

/// A program as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// The program's path without symbolic links.
    pub path: PathBuf,
    /// The way in which others could put another in its place, if there is one.
    pub writable: Option<Writable>,
    /// The digest of the file, if it was asked for and the file is ELF.
    pub digest: Option<Digest>,
}

/// The reason why the program that was judged need not be the one that runs.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum Writable {
    /// Others may write to the file or a folder.
    #[error("{what} {path:?} can be changed by {whom}")]
    By {
        /// The kind: `the file` or `the folder`.
        what: Cow<'static, str>,
        /// The path.
        #[serde(with = "as_bytes")]
        path: PathBuf,
        /// The users that may write to it.
        whom: String,
    },
    /// The program that would run can't be determined.
    #[error("{path:?} does not determine what runs: {why}")]
    Open {
        /// The path that leaves it open.
        #[serde(with = "as_bytes")]
        path: PathBuf,
        /// The reason.
        why: Cow<'static, str>,
    },
    /// A path can't be examined.
    #[error("{path:?} cannot be examined: {error}")]
    Unknown {
        /// The path.
        #[serde(with = "as_bytes")]
        path: PathBuf,
        /// The error, in the system's words.
        error: String,
    },
}

/// The digest of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Digest {
    /// The text: `sha256:` and 64 hexadecimal digits.
    pub text: Arc<str>,
    /// The copy that was digested, if one was wanted.
    pub copy: Option<Sealed>,
}

/// An open program, which is executed by its descriptor: a copy in memory, which nobody can change
/// (memfd_create(2)), or the server's own.
#[derive(Clone, Debug)]
pub struct Sealed {
    file: Arc<File>,
    /// The share of the memory budget, held as long as the copy.
    _held: Option<Arc<dyn Any + Send + Sync>>,
}

impl Sealed {
    /// Wraps a sealed file, with the share of the memory budget for it.
    pub(super) fn new(file: File, held: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        Self { file: Arc::new(file), _held: held }
    }

    /// Returns a descriptor of the program, to execute it by.
    ///
    /// # Errors
    /// If the server has none left.
    pub fn descriptor(&self) -> io::Result<std::os::fd::OwnedFd> {
        self.file.try_clone().map(Into::into)
    }

    /// Returns a path by which a child of this process can execute it.
    pub fn path(&self) -> PathBuf {
        use std::os::fd::AsRawFd as _;
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}

/// The server's own program, opened when the server started: whatever takes its place on the disk,
/// a process of this one is of the same version as the server.
#[derive(Clone, Debug)]
pub struct OwnProgram {
    /// The path at which it was.
    pub path: PathBuf,
    /// The open file.
    pub file: Sealed,
}

impl PartialEq for Sealed {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }
}

impl Eq for Sealed {}

/// The `#!` line of a script, as the kernel reads it (execve(2), "Interpreter scripts").
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Script {
    pub(super) interpreter: PathBuf,
    /// The rest of the line, as one argument.
    pub(super) argument: Vec<u8>,
}

impl Script {
    /// Reads the line from the first bytes of a file. Returns `None` if the file is not a script.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let line = head.strip_prefix(b"#!")?.split(|byte| b"\n\0".contains(byte)).next()?;
        let line = line.trim_ascii();
        let end = line.iter().position(|byte| b" \t".contains(byte)).unwrap_or(line.len());
        let (interpreter, argument) = line.split_at(end);
        let interpreter = Path::new(OsStr::from_bytes(interpreter)).to_owned();
        Some(Self { interpreter, argument: argument.trim_ascii().to_vec() })
    }
}

pub(super) fn is_elf(head: &[u8]) -> bool {
    head.starts_with(b"\x7fELF")
}

pub(super) fn is_env(path: &Path) -> bool {
    path.file_name() == Some(OsStr::new("env"))
}

/// Returns the program that the argument of a `#!` line tells env(1) to start, or the reason why
/// that can't be determined.
pub(super) fn word_of_env(argument: &[u8]) -> Result<&Path, &'static str> {
    let mut words = argument.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let first = match words.next() {
        Some(b"-S") => words.next(),
        Some(first) => Some(first.strip_prefix(b"-S").unwrap_or(first)),
        None => None,
    };
    let name = first.ok_or("env is given no program")?;
    let special = |byte: &u8| b"=\\'\"$".contains(byte);
    if name.starts_with(b"-") || name.iter().any(special) {
        return Err("env is given more than a program");
    }
    Ok(Path::new(OsStr::from_bytes(name)))
}

/// Paths as raw bytes, for serde.
pub(super) mod as_bytes {
    use std::{
        ffi::OsString,
        path::{Path, PathBuf},
    };

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        OsString::deserialize(from).map(PathBuf::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_script_is_read_as_the_kernel_does() {
        let read = |head: &[u8]| Script::parse(head).map(|s| (s.interpreter, s.argument));
        let sh = || PathBuf::from("/bin/sh");
        assert_eq!(read(b"#!/bin/sh\necho"), Some((sh(), vec![])));
        assert_eq!(read(b"#! \t/bin/sh  -e -x \n"), Some((sh(), b"-e -x".to_vec())));
        assert_eq!(read(b"#!/bin/sh\0rest"), Some((sh(), vec![])));
        assert_eq!(read(b"#!"), Some((PathBuf::new(), vec![])));
        assert_eq!(read(b"echo"), None);
        assert_eq!(read(b""), None);
    }

    #[test]
    fn what_env_starts_is_told_or_not() {
        assert_eq!(word_of_env(b"python3"), Ok(Path::new("python3")));
        assert_eq!(word_of_env(b"-S python3 -u"), Ok(Path::new("python3")));
        assert_eq!(word_of_env(b"-Spython3"), Ok(Path::new("python3")));
        for open in [&b""[..], b"-S", b"-i sh", b"A=b sh", b"-S 'sh'"] {
            assert!(word_of_env(open).is_err(), "{open:?}");
        }
    }
}
