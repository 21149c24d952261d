//! The observer of a transfer in its process: it asks the server for each folder and for each file that
//! is a root, and counts.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::BorrowedFd,
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            net::UnixStream,
        },
    },
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
    /// The path on the host of a folder that may be made, until one is entered.
    made: Option<Vec<u8>>,
    pub(super) counts: Counts,
}

impl Asker {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket, way: Vec::new(), made: None, counts: Counts::default() }
    }

    /// Gives the server the account of the transfer.
    ///
    /// # Errors
    /// If the server does not take it.
    pub(super) fn tell(&mut self, digest: Option<[u8; 32]>) -> io::Result<()> {
        message::tell_totals(&mut self.socket, &message::Totals::of(&self.counts, digest))
    }

    fn ask(&mut self, path: &[u8], folder: BorrowedFd<'_>) -> io::Result<bool> {
        let there = self.place_of(path, folder, None)?;
        // What was just permitted to be made has been judged, unless it is elsewhere by now.
        let is_judged = self.made.take().is_some_and(|made| made == there);
        let may = is_judged || message::may_enter(&mut self.socket, &there)?;
        if may {
            self.way.push((path.to_vec(), there));
        }
        Ok(may)
    }

    fn ask_to_make(&mut self, path: &[u8], above: BorrowedFd<'_>, name: &[u8]) -> io::Result<bool> {
        let there = self.place_of(path, above, Some(name))?;
        let may = message::may_enter(&mut self.socket, &there)?;
        self.made = may.then_some(there);
        Ok(may)
    }

    /// Returns the path on the host of a folder, or of a name in it, which is that of the transfer's
    /// path. The kernel tells only those that are not too long; any other lies in one that was asked
    /// for before.
    fn place_of(
        &mut self,
        path: &[u8],
        folder: BorrowedFd<'_>,
        name: Option<&[u8]>,
    ) -> io::Result<Vec<u8>> {
        while self.way.last().is_some_and(|(above, _)| below(above, path).is_none()) {
            self.way.pop();
        }
        match path_of(folder) {
            Ok(there) => Ok(match name {
                Some(name) => there.join(OsStr::from_bytes(name)).into_os_string().into_vec(),
                None => there.into_os_string().into_vec(),
            }),
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

    fn may_make(&mut self, path: &[u8], above: BorrowedFd<'_>, name: &[u8]) -> bool {
        self.ask_to_make(path, above, name).unwrap_or(false)
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
    use std::{
        fs::{self, File},
        io::{Read as _, Write as _},
        os::fd::AsFd as _,
        thread,
    };

    use super::*;

    #[test]
    fn what_lies_below_a_folder_is_known_by_whole_names() {
        assert_eq!(below(b"a", b"a/b/c"), Some(&b"b/c"[..]));
        assert_eq!(below(b"a", b"ab/c"), None);
        assert_eq!(below(b"a/b", b"a/c"), None);
        assert_eq!(below(b"a", b"a"), None);
    }

    #[test]
    fn a_folder_is_judged_before_it_is_made_and_again_only_where_it_is_another() {
        let place = tempfile::tempdir().unwrap();
        let above = File::open(place.path()).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || {
            let mut asked = Vec::new();
            let mut head = [0; 5];
            while theirs.read_exact(&mut head).is_ok() {
                let [kind, length @ ..] = head;
                let mut path = vec![0; u32::from_le_bytes(length) as usize];
                theirs.read_exact(&mut path).unwrap();
                let name = path.rsplit(|byte| *byte == b'/').next().unwrap().to_vec();
                theirs.write_all(&[u8::from(name != b"no")]).unwrap();
                asked.push((kind, String::from_utf8(name).unwrap()));
            }
            asked
        });
        let mut asker = Asker::new(ours);
        let mut make = |name: &str, entered: &str| {
            let may = asker.may_make(name.as_bytes(), above.as_fd(), name.as_bytes());
            if may {
                fs::create_dir_all(place.path().join(entered)).unwrap();
                let made = File::open(place.path().join(entered)).unwrap();
                assert!(asker.may_enter(name.as_bytes(), made.as_fd()));
            }
            may
        };
        assert!(make("a", "a") && !make("no", "no") && make("b", "other"));
        assert!(make("c", "c"));
        drop(asker);
        let asked: Vec<_> = server.join().unwrap().into_iter().map(|(_, name)| name).collect();
        assert_eq!(asked, ["a", "no", "b", "other", "c"]);
    }
}
