//! The inside of folders that are deleted: it is counted first, and removed when all is well.

use std::{
    io::Write,
    os::fd::{AsFd as _, OwnedFd},
    rc::Rc,
    sync::Arc,
};

use rustix::io::Errno;

use super::{Receiver, target};
use crate::{
    beneath::Folder,
    facts::{FileFacts, Sort},
    failure::{Failure, FailureKind, TransferError},
    limits, list, name,
    report::{FileAction, FileKind},
};

/// A folder that is deleted.
pub(super) struct Doomed {
    pub(super) above: Rc<Folder>,
    pub(super) name: Vec<u8>,
    /// What it was when it was looked at.
    pub(super) facts: FileFacts,
    /// Its path for the rules.
    pub(super) for_rules: Vec<u8>,
    /// Its path for events.
    pub(super) path: Vec<u8>,
}

/// An entry of a folder that is deleted.
enum Below {
    Folder(Doomed),
    Other,
}

/// A deleted folder that is gone through.
struct Level {
    doomed: Doomed,
    folder: Rc<Folder>,
    /// The names that were not looked at yet.
    names: Vec<Vec<u8>>,
    /// Where the reading of the folder goes on after these.
    next: Option<u64>,
    /// It could not be read to its end.
    stays: bool,
}

impl<W: Write> Receiver<'_, W> {
    /// Goes through a folder that is deleted. Returns how many entries it has that are not spared; with `removes`
    /// they are removed. Returns nothing if the folder cannot or may not be gone through, which has been told then: it
    /// has to stay.
    pub(super) fn walk_doomed(
        &mut self,
        doomed: Doomed,
        removes: bool,
    ) -> Result<Option<u64>, TransferError> {
        let mut levels = Vec::new();
        let mut count: u64 = 0;
        let mut held: usize = 0;
        self.begin_doomed(doomed, removes, &mut levels)?;
        while let Some(level) = levels.last_mut() {
            if let Some(name) = level.names.pop() {
                held = held.saturating_sub(1);
                if let Some(below) = self.meet_doomed(level, &name, removes)? {
                    count = count.saturating_add(1);
                    if let Below::Folder(doomed) = below {
                        self.begin_doomed(doomed, removes, &mut levels)?;
                    }
                }
            } else if let Some(from) = level.next.take() {
                let room = limits::LISTED.saturating_sub(held).max(limits::LISTED_AT_LEAST);
                match self.listed(&level.folder, from, room) {
                    Ok((_, found)) => {
                        held += found.names.len();
                        (level.names, level.next) = (found.names, found.next);
                    }
                    Err(failure) => {
                        level.stays = true;
                        let path = level.doomed.path.clone();
                        self.keep_doomed(path, FileKind::Folder, failure)?;
                    }
                }
            } else if let Some(Level { doomed, stays, .. }) = levels.pop() {
                if levels.is_empty() {
                    return Ok((!stays).then_some(count));
                }
                if removes && !stays {
                    self.remove_doomed(&doomed.above, &doomed.name, Sort::Folder, doomed.path)?;
                }
            }
            if self.deletions.is_over {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Begins with a folder, if it may be gone through.
    fn begin_doomed(
        &mut self,
        doomed: Doomed,
        removes: bool,
        levels: &mut Vec<Level>,
    ) -> Result<(), TransferError> {
        match self.enter_doomed(&doomed, removes) {
            Ok(folder) => {
                let (names, next, stays) = (Vec::new(), Some(0), false);
                levels.push(Level { doomed, folder, names, next, stays });
                Ok(())
            }
            Err(failure) => self.keep_doomed(doomed.path, FileKind::Folder, failure),
        }
    }

    /// Meets an entry of a folder that is deleted. Returns nothing if it stays.
    fn meet_doomed(
        &mut self,
        level: &Level,
        name: &[u8],
        removes: bool,
    ) -> Result<Option<Below>, TransferError> {
        let path = joined(&level.doomed.path, name);
        let looked = self.folders.open(&level.folder).and_then(|open| {
            FileFacts::at(&open, name).map_err(|error| Failure::of(error, "look at it"))
        });
        let facts = match looked {
            Ok(facts) => facts,
            Err(failure) => {
                self.keep_doomed(path, FileKind::Other, failure)?;
                return Ok(None);
            }
        };
        let for_rules = joined(&level.doomed.for_rules, name);
        let is_folder = facts.sort == Sort::Folder;
        if name::is_partial(name) || self.options.rules.excludes(&for_rules, is_folder) {
            return Ok(None);
        }
        if let Err(failure) = check_mount(&facts, &level.doomed.facts) {
            self.keep_doomed(path, FileKind::Other, failure)?;
            return Ok(None);
        }
        if is_folder {
            let (above, name) = (Rc::clone(&level.folder), name.to_vec());
            return Ok(Some(Below::Folder(Doomed { above, name, facts, for_rules, path })));
        }
        if removes {
            self.remove_doomed(&level.folder, name, facts.sort, path)?;
        }
        Ok(Some(Below::Other))
    }

    fn remove_doomed(
        &mut self,
        above: &Rc<Folder>,
        name: &[u8],
        sort: Sort,
        path: Vec<u8>,
    ) -> Result<(), TransferError> {
        match self.folders.open(above) {
            Ok(open) => self.unlink(&open, name, sort, path),
            Err(failure) => self.keep_doomed(path, FileKind::Other, failure),
        }
    }

    /// Opens a folder that is deleted, if it may be entered.
    fn enter_doomed(&mut self, doomed: &Doomed, removes: bool) -> Result<Rc<Folder>, Failure> {
        let folder = self.folders.enter(&doomed.above, &doomed.name)?;
        if folder.depth() > limits::DEPTH {
            let text = format!("it lies deeper than {} folders", limits::DEPTH);
            return Err(Failure::new(FailureKind::TooBig, text));
        }
        let open = self.folders.open(&folder)?;
        let facts = FileFacts::of(&open).map_err(|error| Failure::of(error, "look at it"))?;
        check_mount(&facts, &doomed.facts)?;
        if facts.id != doomed.facts.id {
            return Err(Failure::new(FailureKind::Changed, "another folder took its place"));
        }
        self.tally.may_enter(&doomed.path, open.as_fd())?;
        if removes
            && !self.options.dry_run
            && self.account != 0
            && facts.mode & 0o700 != 0o700
            && facts.owner.0 == self.account
        {
            target::set_mode(&open, facts.mode | 0o700)?;
            self.folders.close(&folder);
        }
        Ok(folder)
    }

    /// Reports an entry that is not deleted, which withholds all deletion if none has begun. What is gone by itself is
    /// no failure.
    fn keep_doomed(
        &mut self,
        path: Vec<u8>,
        kind: FileKind,
        failure: Failure,
    ) -> Result<(), TransferError> {
        if failure.kind == FailureKind::NoSuchFile {
            return Ok(());
        }
        self.tell(path, kind, FileAction::Failed, Some(failure))
    }

    /// Reads names of a folder, as many as there is room for, and returns it with them.
    pub(super) fn listed(
        &mut self,
        folder: &Rc<Folder>,
        from: u64,
        room: usize,
    ) -> Result<(Arc<OwnedFd>, list::Names), Failure> {
        let open = self.folders.open(folder)?;
        let most = room.min(limits::LISTED_AT_LEAST * 64);
        let found = list::names(&open, from, most).map_err(|error| match error {
            // It is one of `O_PATH`, as what may not be read is opened.
            Errno::BADF => Errno::ACCESS,
            other => other,
        });
        Ok((open, found.map_err(|error| Failure::of(error, "read the folder"))?))
    }
}

/// Checks that nothing is mounted at an entry of a folder: what another file system holds is not deleted with a tree.
///
/// # Errors
/// `exists`.
pub(super) fn check_mount(facts: &FileFacts, above: &FileFacts) -> Result<(), Failure> {
    if facts.is_on_mount_of(above) {
        return Ok(());
    }
    let text = "something is mounted there, which is not deleted; leave it out, or unmount it";
    Err(Failure::new(FailureKind::Exists, text))
}

fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    [path, name].join(&b'/')
}
