//! The observer of a transfer in its process: it asks the server for each folder and for each file that
//! is a root, and counts.

use std::{
    io,
    os::{fd::BorrowedFd, unix::ffi::OsStrExt as _, unix::net::UnixStream},
};

use rcmd_transfer::{Counts, FileEvent, Observer};
use rustix::io::Errno;

use super::message;
use crate::process::look::path_of;

/// Asks the server for what a transfer enters and reads.
#[derive(Debug)]
pub(super) struct Asker {
    socket: UnixStream,
    /// The folders on the way to the last one that was asked for: each its path for the transfer, and
    /// that on the host.
    way: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) counts: Counts,
}

impl Asker {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket, way: Vec::new(), counts: Counts::default() }
    }

    /// Gives the server the account of the transfer.
    ///
    /// # Errors
    /// If the server does not take it.
    pub(super) fn tell(&mut self, digest: Option<[u8; 32]>) -> io::Result<()> {
        message::tell_totals(&mut self.socket, &message::Totals::of(&self.counts, digest))
    }

    fn ask(&mut self, path: &[u8], folder: BorrowedFd<'_>) -> io::Result<bool> {
        let there = self.place_of(path, folder)?;
        let may = message::may_enter(&mut self.socket, &there)?;
        if may {
            self.way.push((path.to_vec(), there));
        }
        Ok(may)
    }

    /// Returns the path of a folder on the host. The kernel tells only those that are not too long;
    /// any other lies in one that was asked for before.
    fn place_of(&mut self, path: &[u8], folder: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
        while self.way.last().is_some_and(|(above, _)| below(above, path).is_none()) {
            self.way.pop();
        }
        match path_of(folder) {
            Ok(there) => Ok(there.as_os_str().as_bytes().to_vec()),
            Err(Errno::NAMETOOLONG) => {
                let above = self.way.last();
                let there = above.and_then(|(above, there)| {
                    Some([there.as_slice(), b"/", below(above, path)?].concat())
                });
                there.ok_or_else(|| Errno::NAMETOOLONG.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns the part of a path below a folder on its way.
fn below<'a>(above: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    path.strip_prefix(above)?.strip_prefix(b"/")
}

impl Observer for Asker {
    fn file(&mut self, event: &FileEvent<'_>) {
        self.counts.record(event);
    }

    fn may_enter(&mut self, path: &[u8], folder: BorrowedFd<'_>) -> bool {
        // Without an answer nothing is permitted.
        self.ask(path, folder).unwrap_or(false)
    }

    fn may_read(&mut self, _: &[u8], file: BorrowedFd<'_>, size: u64) -> bool {
        let there = path_of(file).map_err(io::Error::from);
        let asked = there.and_then(|there| {
            message::may_read(&mut self.socket, there.as_os_str().as_bytes(), size)
        });
        asked.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_a_folder_is_known_by_whole_names() {
        assert_eq!(below(b"a", b"a/b/c"), Some(&b"b/c"[..]));
        assert_eq!(below(b"a", b"ab/c"), None);
        assert_eq!(below(b"a/b", b"a/c"), None);
        assert_eq!(below(b"a", b"a"), None);
    }
}
