//! Files on disk: bounded reads, private keys that stay private, and writes that are whole or not
//! there.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use crate::text::printable;

/// The largest file that is read, in bytes. A whole bundle of public authorities has 220 KiB.
pub const MAX_FILE: u64 = 1024 * 1024;

/// A file or folder that could not be used. The message names the path and, where one exists, the
/// command that mends it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Nothing is there.
    #[error("{} does not exist", shown(.0))]
    Missing(PathBuf),
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", shown(path))]
    Io {
        /// What was tried: `read`, `write`, `create`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A folder, device, pipe or socket where a file should be.
    #[error("{} is not a regular file", shown(.0))]
    NotRegular(PathBuf),
    /// Larger than a file of its kind can be.
    #[error("{} is larger than {limit} bytes; a file of its kind is not", shown(path))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bytes that it may have.
        limit: u64,
    },
    /// A private key that others can read, or a folder of keys that others can enter.
    #[error(
        "others may use {} (mode {mode:04o}); keep it to yourself: chmod {remedy} {}",
        shown(path),
        shown(path)
    )]
    TooOpen {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The permission bits that it should have, as `chmod` takes them.
        remedy: &'static str,
    },
    /// A file that decides whom to trust, and that anybody may change.
    #[error("anybody may change {} (mode {mode:04o}): chmod o-w {}", shown(path), shown(path))]
    WorldWritable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A private key that belongs to somebody else.
    #[error("{} belongs to uid {owner}, not to you (uid {own}) or root", shown(path))]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The uid of this process.
        own: u32,
    },
    /// A file that is there already and was not to be replaced.
    #[error("{} exists already", shown(.0))]
    Exists(PathBuf),
}

impl FileError {
    /// Returns whether the file is simply not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_))
    }

    /// Returns what turns an error of the system into [`FileError::Io`], for what was being done.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::NotFound if action == "read" => Self::Missing(path.to_owned()),
            io::ErrorKind::AlreadyExists => Self::Exists(path.to_owned()),
            _ => Self::Io { action, path: path.to_owned(), source },
        }
    }
}

/// Returns a path made safe to print.
pub fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// Reads a public file, such as a certificate. Symbolic links are followed: `certbot` and
/// Kubernetes lay certificates out so.
///
/// # Errors
/// [`FileError`] if it is missing, unreadable, no regular file, larger than [`MAX_FILE`], or
/// writable by anybody.
pub fn read_public(path: &Path) -> Result<Vec<u8>, FileError> {
    read_public_up_to(path, MAX_FILE)
}

/// Reads a public file that may have `limit` bytes.
///
/// # Errors
/// As [`read_public`], with this limit.
pub fn read_public_up_to(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    read_checked(path, limit, |metadata| {
        let mode = metadata.mode() & 0o7777;
        if mode & 0o002 != 0 {
            return Err(FileError::WorldWritable { path: path.to_owned(), mode });
        }
        Ok(())
    })
}

/// Reads a private key.
///
/// # Errors
/// As [`read_public`]; also if anybody but its owner may read or write it, or if its owner is
/// neither this process's user nor root.
pub fn read_private(path: &Path) -> Result<Vec<u8>, FileError> {
    read_checked(path, MAX_FILE, |metadata| {
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(FileError::TooOpen { path: path.to_owned(), mode, remedy: "600" });
        }
        let own = rustix::process::geteuid().as_raw();
        let owner = metadata.uid();
        if owner != own && owner != 0 {
            return Err(FileError::Owner { path: path.to_owned(), owner, own });
        }
        Ok(())
    })
}

/// Opens a file. The checks are made on the open descriptor, so what was checked is what is read.
fn read_checked(
    path: &Path,
    limit: u64,
    check: impl FnOnce(&fs::Metadata) -> Result<(), FileError>,
) -> Result<Vec<u8>, FileError> {
    let file = OpenOptions::new()
        .read(true)
        // A named pipe without a writer would block the open.
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed())
        .open(path)
        .map_err(FileError::io("read", path))?;
    let metadata = file.metadata().map_err(FileError::io("read", path))?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular(path.to_owned()));
    }
    check(&metadata)?;
    // What the file says of its size is believed up to the limit, and spares reads in small steps.
    let size = usize::try_from(metadata.len().min(limit)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(size + 1);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(FileError::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// Makes `dir` a folder that only its owner may enter, with its parents if they are missing.
///
/// # Errors
/// [`FileError`] if it cannot be made, or is there already and open to others.
pub fn create_private_dir(dir: &Path) -> Result<(), FileError> {
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        // 0755 also under a careless umask: who may write here may exchange ca.pem.
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .map_err(FileError::io("create", parent))?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(FileError::io("create", dir)(error));
        }
        _ => {}
    }
    let metadata = fs::symlink_metadata(dir).map_err(FileError::io("read", dir))?;
    if !metadata.is_dir() {
        let source = io::Error::from(io::ErrorKind::NotADirectory);
        return Err(FileError::Io { action: "write into", path: dir.to_owned(), source });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FileError::TooOpen { path: dir.to_owned(), mode, remedy: "700" });
    }
    Ok(())
}

/// What to do with a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it, and fail.
    Keep,
    /// Replace it.
    Replace,
}

/// One file that is about to be written.
#[derive(Clone, Copy, Debug)]
pub struct NewFile<'a> {
    /// Where.
    pub path: &'a Path,
    /// What.
    pub bytes: &'a [u8],
    /// Whether only its owner may read it (0600), or everybody (0644).
    pub private: bool,
}

/// Writes files so that each is whole or not there, also after a crash: into a temporary file
/// beside it, synced, renamed, the folder synced. All the temporary files are complete before the
/// first rename, so that a full disk leaves nothing half done.
///
/// # Errors
/// [`FileError`] naming the file that could not be written; [`FileError::Exists`] for one that was
/// to be kept. Files before it in the slice may have been written by then.
pub fn write_all(files: &[NewFile<'_>], existing: Existing) -> Result<(), FileError> {
    if existing == Existing::Keep {
        // The rename checks again; this one is here so that usually nothing at all is written.
        if let Some(file) = files.iter().find(|file| file.path.symlink_metadata().is_ok()) {
            return Err(FileError::Exists(file.path.to_owned()));
        }
    }
    let mut ready = Vec::new();
    for file in files {
        ready.push((file.path, prepare(file).map_err(FileError::io("write", file.path))?));
    }
    for (path, temporary) in ready {
        let renamed = match existing {
            Existing::Keep => temporary.persist_noclobber(path),
            Existing::Replace => temporary.persist(path),
        };
        renamed.map_err(|error| FileError::io("write", path)(error.error))?;
        File::open(folder(path))
            .and_then(|folder| folder.sync_all())
            .map_err(FileError::io("write", path))?;
    }
    Ok(())
}

fn prepare(file: &NewFile<'_>) -> io::Result<tempfile::NamedTempFile> {
    let mode = if file.private { 0o600 } else { 0o644 };
    let mut temporary = tempfile::Builder::new()
        .prefix(".rcmd-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder(file.path))?;
    temporary.write_all(file.bytes)?;
    // Set on the open file: the mode at creation is subject to the umask.
    temporary.as_file().set_permissions(Permissions::from_mode(mode))?;
    temporary.as_file().sync_all()?;
    Ok(temporary)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn private(path: &Path) -> NewFile<'_> {
        NewFile { path, bytes: b"secret", private: true }
    }

    #[test]
    fn keys_are_0600_in_0700_folders() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        create_private_dir(&dir).unwrap();
        let path = dir.join("key.pem");
        write_all(&[private(&path)], Existing::Keep).unwrap();
        assert_eq!((mode(&dir), mode(&path)), (0o700, 0o600));
        assert_eq!(read_private(&path).unwrap(), b"secret");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "a temporary file was left");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_remedy() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("key.pem");
        write_all(&[private(&path)], Existing::Keep).unwrap();
        for open in [0o640, 0o604, 0o620, 0o602, 0o610] {
            fs::set_permissions(&path, Permissions::from_mode(open)).unwrap();
            let message = read_private(&path).unwrap_err().to_string();
            assert!(message.contains(&format!("chmod 600 {}", path.display())), "{message}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(read_private(&path).is_ok());
    }

    #[test]
    fn a_trust_file_that_anybody_can_change_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("ca.pem");
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o646)).unwrap();
        assert!(matches!(read_public(&path), Err(FileError::WorldWritable { .. })));
    }

    #[test]
    fn an_existing_file_is_kept_unless_forced() {
        let root = tempfile::tempdir().unwrap();
        let (first, second) = (root.path().join("new"), root.path().join("old"));
        fs::write(&second, "old").unwrap();
        let files = [private(&first), private(&second)];
        assert!(matches!(write_all(&files, Existing::Keep), Err(FileError::Exists(_))));
        assert!(!first.exists() && fs::read(&second).unwrap() == b"old");
        write_all(&files, Existing::Replace).unwrap();
        assert_eq!(fs::read(&second).unwrap(), b"secret");
    }

    #[test]
    fn a_pipe_a_folder_and_a_device_are_refused_without_waiting() {
        let root = tempfile::tempdir().unwrap();
        let pipe = root.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        for path in [pipe.as_path(), root.path(), Path::new("/dev/zero")] {
            assert!(matches!(read_private(path), Err(FileError::NotRegular(_))), "{path:?}");
        }
    }

    #[test]
    fn an_endless_file_is_not_read_to_its_end() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("sparse");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(read_public(&path), Err(FileError::TooLarge { limit: MAX_FILE, .. })));
    }

    #[test]
    fn a_missing_file_says_so() {
        let error = read_public(Path::new("/nonexistent/ca.pem")).unwrap_err();
        assert!(error.is_missing());
        assert_eq!(error.to_string(), "/nonexistent/ca.pem does not exist");
    }
}
