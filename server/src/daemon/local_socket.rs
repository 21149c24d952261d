//! Unix sockets that the server listens on, as they stand in the file system.
//!
//! A socket is made under another name, and gets its own when it listens and has its mode. One that was left by a
//! killed server is replaced, in one step; one that somebody answers on, and anything else of that name, is not.
#![expect(
    clippy::disallowed_methods,
    reason = "the main thread, before the program serves and after; programs that serve nobody"
)]

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::net::UnixListener,
    path::Path,
};

use rustix::{
    fd::OwnedFd,
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, chmodat, openat, renameat_with, statat,
        unlinkat,
    },
    io::Errno,
};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::control::{FileId, SocketFile};

/// The mode of a socket: as with a port of TCP, whoever reaches it may connect, and TLS shows who that is. The folder
/// that it stands in can keep others out.
const MODE: Mode = Mode::from_raw_mode(0o666);
/// How often the making begins again because the file of that name went or came meanwhile.
const ATTEMPTS: usize = 4;

/// Listens on a Unix socket of this absolute path.
///
/// # Errors
/// If somebody listens there, another file has this name, or the folder is missing or not ours to change.
pub(super) fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path has no name"));
    };
    let opened =
        openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| {
                io::Error::new(error.kind(), format!("the folder {folder:?}: {error}"))
            })?;
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let first = OsString::from(format!(".{}", hex::encode(random)));
    let listener = UnixListener::bind(folder.join(&first))?;
    let placed = chmodat(&opened, &first, MODE, AtFlags::empty())
        .map_err(io::Error::from)
        .and_then(|()| FileId::at(&opened, &first))
        .and_then(|made| place(&opened, &first, path, name).map(|()| made));
    match placed {
        Ok(made) => Ok((listener, SocketFile::new(opened, name, made))),
        Err(error) => {
            let _ = unlinkat(&opened, &first, AtFlags::empty());
            Err(error)
        }
    }
}

/// Renames the socket `first` to `name`.
fn place(folder: &OwnedFd, first: &OsStr, path: &Path, name: &OsStr) -> io::Result<()> {
    let in_use = |why: &str| Err(io::Error::new(io::ErrorKind::AddrInUse, why.to_owned()));
    for _ in 0..ATTEMPTS {
        match renameat_with(folder, first, folder, name, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let old = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        if FileType::from_raw_mode(old.st_mode) != FileType::Socket {
            return in_use("there is a file of this name, which is no socket");
        }
        if old.st_uid != rustix::process::geteuid().as_raw() {
            return in_use("there is a socket of this name, of another account");
        }
        match answers(path) {
            Ok(true) => return in_use("somebody listens on the socket of this name"),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        match renameat_with(folder, first, folder, name, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        }
        // What stood under the name is `first` now. If another server was faster, it gets its name back.
        if FileId::at(folder, first)? == FileId::from(&old) {
            return Ok(unlinkat(folder, first, AtFlags::empty())?);
        }
        renameat_with(folder, first, folder, name, RenameFlags::EXCHANGE)?;
    }
    in_use("the name is given to other sockets again and again")
}

/// Returns whether anybody listens on a socket. Does not wait.
fn answers(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        // Its queue of connections is full.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{fs::PermissionsExt as _, net::UnixStream},
    };

    use super::*;

    fn names(folder: &Path) -> Vec<OsString> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_socket_has_its_mode_and_leaves_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (listener, socket) = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o666);
        UnixStream::connect(&path).unwrap();
        assert_eq!(names(dir.path()), ["s"]);
        drop((listener, socket));
        assert_eq!(names(dir.path()).len(), 0);
    }

    #[test]
    fn a_socket_that_somebody_answers_on_and_another_file_are_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _first = bind(&path).unwrap();
        let error = bind(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("somebody listens"), "{error}");
        UnixStream::connect(&path).unwrap();

        let file = dir.path().join("f");
        fs::write(&file, "kept").unwrap();
        assert!(bind(&file).unwrap_err().to_string().contains("is no socket"));
        let link = dir.path().join("l");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(bind(&link).unwrap_err().to_string().contains("is no socket"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
        assert_eq!(names(dir.path()).len(), 3);
        let error = bind(&dir.path().join("missing/s")).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
    }

    #[test]
    fn what_a_killed_server_left_is_replaced_and_who_is_late_removes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (listener, left) = bind(&path).unwrap();
        drop(listener);
        let _second = bind(&path).unwrap();
        assert_eq!(names(dir.path()), ["s"]);
        drop(left);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn of_two_servers_that_start_at_once_one_gets_the_name() {
        for _ in 0..50 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("s");
            let (listener, left) = bind(&path).unwrap();
            drop(listener);
            let bound: Vec<_> = std::thread::scope(|scope| {
                let both = [0, 1].map(|_| scope.spawn(|| bind(&path)));
                both.into_iter().filter_map(|one| one.join().unwrap().ok()).collect()
            });
            assert_eq!(bound.len(), 1);
            UnixStream::connect(&path).unwrap();
            assert_eq!(names(dir.path()), ["s"]);
            drop(left);
        }
    }
}
