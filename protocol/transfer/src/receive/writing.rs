//! The file that a content is written to, and what is copied to it from the one that it replaces.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use rustix::io::Errno;

use super::{pending::Pending, target::Target};
use crate::{
    facts::{FileFacts, PLAIN},
    failure::{Failure, FailureKind},
    limits,
};

/// A file that is being written.
pub(super) struct Writing {
    pub(super) pending: Pending,
    /// The file that it replaces, once a part of that is copied.
    pub(super) old: Option<File>,
    pub(super) target: Target,
    pub(super) digest: blake3::Hasher,
    /// The file is shorter than what has come, since that ended with a hole.
    pub(super) ends_in_hole: bool,
}

impl Writing {
    /// Takes content that comes.
    pub(super) fn take(&mut self, content: &[u8], at: u64) -> Result<(), Failure> {
        self.digest.update(content);
        self.ends_in_hole = false;
        self.target.write(content, at)
    }

    /// Takes content from the file that is there. What counts for the digest is what has been written.
    pub(super) fn copy(
        &mut self,
        old: &File,
        offset: u64,
        length: u64,
        at: u64,
    ) -> Result<(), Failure> {
        let copied = copy_range(old, offset, length, self.target.file(), at)?;
        let most = usize::try_from(length).unwrap_or(usize::MAX).min(limits::DATA);
        let mut room = vec![0; most];
        let mut done = 0;
        while done < length {
            let (from, end) = match done < copied {
                true => (None, copied),
                false => (Some(old), length),
            };
            let most = usize::try_from(end - done).unwrap_or(usize::MAX).min(room.len());
            let room = room.get_mut(..most).unwrap_or_default();
            match from {
                None => {
                    let read = self.target.file().read_exact_at(room, at + done);
                    read.map_err(|error| Failure::of_io(&error, "read what was copied"))?;
                    self.digest.update(room);
                }
                Some(old) => {
                    read_old(old, room, offset + done)?;
                    self.take(room, at + done)?;
                }
            }
            done += u64::try_from(most).unwrap_or(length);
        }
        self.ends_in_hole = false;
        Ok(())
    }
}

/// Copies a range of one file to another, without reading it where the system can. Returns how much it could.
fn copy_range(from: &File, offset: u64, length: u64, to: &File, at: u64) -> Result<u64, Failure> {
    let (mut from_at, mut to_at) = (offset, at);
    loop {
        let copied = from_at - offset;
        let left = usize::try_from(length - copied).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(copied);
        }
        match rustix::fs::copy_file_range(from, Some(&mut from_at), to, Some(&mut to_at), left) {
            Ok(0) => return Err(changed("the file that is there became shorter")),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
                return Err(Failure::of(error, "write it"));
            }
            // On other file systems it is read and written; if that fails too, it says why.
            Err(_) => return Ok(copied),
        }
    }
}

/// Reads a range of the file that is there.
fn read_old(file: &File, room: &mut [u8], at: u64) -> Result<(), Failure> {
    file.read_exact_at(room, at).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => changed("the file that is there became shorter"),
        _ => Failure::of_io(&error, "read what is there"),
    })
}

fn changed(message: &str) -> Failure {
    Failure::new(FailureKind::Changed, message)
}

/// Returns the permission bits for a file's content.
pub(super) fn mode_of_file(
    announced: u32,
    found: Option<&FileFacts>,
    is_set: bool,
    umask: u32,
) -> u32 {
    match found {
        _ if is_set => announced & PLAIN,
        Some(found) => found.mode & PLAIN,
        None => announced & 0o777 & !umask,
    }
}
