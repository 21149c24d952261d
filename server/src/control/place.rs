//! The file of the local socket.
//!
//! It appears under its name at once, whole: with its mode, and with a server behind it. The server that
//! has the lock beside it is the only one that makes or replaces it.
#![expect(
    clippy::disallowed_methods,
    reason = "the main thread, before the program serves and after; programs that serve nobody"
)]

use std::{
    ffi::OsString,
    fs::{DirBuilder, File, TryLockError},
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{fs::DirBuilderExt as _, net::UnixListener},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, Stat, statat},
    path::Arg,
};
use socket2::{Domain, SockAddr, Socket, Type};

/// The name of the socket.
pub(super) const SOCKET: &str = "control.sock";
/// The name of the socket until it listens.
const NEW: &str = "control.sock.new";
/// The name of the file that is locked by the server that has the socket.
const LOCK: &str = "control.lock";
/// The connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// The reason why there is no local socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// Another server has it.
    #[error(
        "another server uses {}; give each server a folder of its own, by --dir or by `run` under \
         [paths] in server.toml", .0.display()
    )]
    Taken(PathBuf),
    /// It can't be made.
    #[error("cannot make {}: {error}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
}

/// The local socket of this server; its file is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    _file: SocketFile,
    _lock: File,
}

/// The file of a socket of ours, which is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    folder: OwnedFd,
    name: OsString,
    own: FileId,
}

/// The device and the inode of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileId(u64, u64);

impl From<&Stat> for FileId {
    fn from(stat: &Stat) -> Self {
        Self(stat.st_dev, stat.st_ino)
    }
}

impl FileId {
    /// Returns the file that a name in a folder stands for. A link is one itself.
    ///
    /// # Errors
    /// Fails when there is none.
    pub(crate) fn at(folder: &OwnedFd, name: impl Arg) -> io::Result<Self> {
        Ok(Self::from(&statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }
}

impl SocketFile {
    /// Returns the file `own`, which has the name `name` in a folder.
    pub(crate) fn new(folder: OwnedFd, name: impl Into<OsString>, own: FileId) -> Self {
        Self { folder, name: name.into(), own }
    }
}

impl ControlSocket {
    /// Makes the socket in the folder `run`, which is created if it is missing, and replaces one that
    /// an earlier server left.
    ///
    /// # Errors
    /// If another server has the socket, or it can't be made.
    pub(crate) fn bind(run: &Path) -> Result<(Self, UnixListener), ControlError> {
        let path = run.join(SOCKET);
        let failed = |error| ControlError::Io { path: path.clone(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(run).map_err(failed)?;
        let folder = open_folder(run).map_err(failed)?;
        let lock = lock(&folder).map_err(failed)?.ok_or(ControlError::Taken(path.clone()))?;
        let (listener, own) = listen(&folder).map_err(failed)?;
        Ok((Self { _file: SocketFile::new(folder, SOCKET, own), _lock: lock }, listener))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A successor may have put its own in the place. What remains is replaced at the next start.
        if FileId::at(&self.folder, &self.name).is_ok_and(|found| found == self.own) {
            let _ = rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty());
        }
    }
}

/// Opens the folder of a socket, for [`short_path`].
pub(super) fn open_folder(folder: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(folder, flags, Mode::empty())?)
}

/// Returns a short path of a file in a folder, however long the folder's name is: a socket's path has
/// at most 107 bytes (unix(7)).
pub(super) fn short_path(folder: &OwnedFd, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))
}

/// Takes the lock; `None` if another server has it. The kernel releases it with the process.
fn lock(folder: &OwnedFd) -> io::Result<Option<File>> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = File::from(rustix::fs::openat(folder, LOCK, flags, Mode::from_raw_mode(0o600))?);
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Listens on a socket under another name, and gives it its own.
fn listen(folder: &OwnedFd) -> io::Result<(UnixListener, FileId)> {
    match rustix::fs::unlinkat(folder, NEW, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(short_path(folder, NEW))?)?;
    // Nobody can connect before it listens.
    rustix::fs::chmodat(folder, NEW, Mode::from_raw_mode(0o600), AtFlags::empty())?;
    let own = FileId::at(folder, NEW)?;
    socket.listen(BACKLOG)?;
    rustix::fs::renameat(folder, NEW, folder, SOCKET)?;
    Ok((socket.into(), own))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{fs::PermissionsExt as _, net::UnixStream},
    };

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn one_server_has_the_socket_and_takes_it_along() {
        let dir = tempfile::tempdir().unwrap();
        // Longer than a socket's path may be.
        let run = dir.path().join("r".repeat(150));
        let (one, listener) = ControlSocket::bind(&run).unwrap();
        let mode = fs::metadata(run.join(SOCKET)).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, names(&run).len()), (0o600, 2));
        assert!(matches!(ControlSocket::bind(&run), Err(ControlError::Taken(_))));
        UnixStream::connect(short_path(&open_folder(&run).unwrap(), SOCKET)).unwrap();
        drop((one, listener));
        assert_eq!(names(&run), [LOCK]);
    }

    #[test]
    fn what_a_killed_server_left_is_replaced_and_what_a_successor_made_stays() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path();
        drop(UnixListener::bind(run.join(SOCKET)).unwrap());
        drop(UnixListener::bind(run.join(NEW)).unwrap());
        let (old, _listener) = ControlSocket::bind(run).unwrap();
        UnixStream::connect(run.join(SOCKET)).unwrap();
        fs::remove_file(run.join(SOCKET)).unwrap();
        let _successor = UnixListener::bind(run.join(SOCKET)).unwrap();
        drop(old);
        UnixStream::connect(run.join(SOCKET)).unwrap();
    }

    #[test]
    fn a_folder_that_can_not_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = ControlSocket::bind(&file.join("run")).unwrap_err().to_string();
        assert!(error.contains("file/run/control.sock"), "{error}");
        // A link in the place of the lock leads nowhere else.
        std::os::unix::fs::symlink(&file, dir.path().join(LOCK)).unwrap();
        assert!(ControlSocket::bind(dir.path()).is_err());
    }
}
