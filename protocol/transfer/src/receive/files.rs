//! Files as they are announced: what is there in their place, and whether their content is wanted.

use std::{io::Write, rc::Rc};

use rustix::io::Errno;

use super::{Outcome, Pending, Receiver, links::Linked, partial, place::Place, target, wants_time};
use crate::{
    facts::{FileFacts, PLAIN, SET_ID, Sort, Time},
    failure::{Failure, FailureKind, TransferError},
    report::{FileAction, FileEvent, FileKind, FileNotes},
};

/// What was announced of a file.
pub(super) struct Announced {
    pub(super) mode: u32,
    pub(super) time: Time,
    pub(super) size: u64,
    pub(super) digest: Option<[u8; 32]>,
}

/// What an announced file takes.
enum Verdict {
    Settled(FileAction, FileNotes),
    Wanted(Option<FileFacts>, FileNotes),
}

impl<W: Write> Receiver<'_, W> {
    pub(super) fn on_file(
        &mut self,
        announced: &Announced,
        has_more_names: bool,
        name: &[u8],
    ) -> Result<(), TransferError> {
        let index = self.number(announced.size)?;
        self.files += 1;
        let place = self.place()?;
        let mut has_name = name.to_vec();
        let verdict = self.name_for(&place, name, false).and_then(|name| {
            has_name = name;
            self.judge_file(&place, announced, &has_name)
        });
        let name = has_name;
        let (found, notes) = match verdict {
            Ok(Verdict::Wanted(found, notes)) if !self.options.dry_run => (found, notes),
            other => {
                let outcome = match other {
                    Ok(Verdict::Settled(action, notes)) => Outcome::done(action, notes),
                    Ok(Verdict::Wanted(found, notes)) => {
                        let is_new = found.is_none();
                        let action =
                            if is_new { FileAction::Created } else { FileAction::Replaced };
                        Outcome { bytes: announced.size, ..Outcome::done(action, notes) }
                    }
                    Err(failure) => Outcome::failed(failure),
                };
                if has_more_names {
                    let linked = match &outcome.failure {
                        Some(failure) => Linked::Failed(failure.kind),
                        None => self.linked_at(&place, &name),
                    };
                    self.link_later(index, linked)?;
                }
                return self.settle(index, &place.path(&name), FileKind::File, outcome);
            }
        };
        if has_more_names {
            self.link_later(index, Linked::Waiting)?;
        }
        place.hold();
        let pending = Pending {
            known: 0,
            place,
            name,
            found,
            notes,
            has_more_names,
            links: Vec::new(),
            offer: None,
        };
        self.want(index, announced.size, pending)
    }

    /// Compares a file with what is there.
    fn judge_file(
        &mut self,
        place: &Rc<Place>,
        announced: &Announced,
        name: &[u8],
    ) -> Result<Verdict, Failure> {
        let dropped =
            FileNotes::default().with_if(announced.mode & SET_ID != 0, FileNotes::SET_ID_DROPPED);
        let Some(folder) = self.folder_of(place)? else {
            return Ok(Verdict::Wanted(None, dropped));
        };
        if announced.size > self.limits.file_bytes {
            let text = format!("it has more than {} bytes", self.limits.file_bytes);
            return Err(Failure::new(FailureKind::TooBig, text));
        }
        let open = self.folders.open(&folder)?;
        let found = match FileFacts::at(&open, name) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(Verdict::Wanted(None, dropped)),
            Err(error) => return Err(Failure::of(error, "look at what is there")),
        };
        target::replaceable(found.sort)?;
        if found.sort == Sort::Link {
            // The link itself is replaced; it has no owner or mode that a file would keep.
            return Ok(Verdict::Wanted(None, dropped.with(FileNotes::CONTENT)));
        }
        if self.options.update && found.time > announced.time {
            return Ok(Verdict::Settled(FileAction::Skipped, FileNotes::default()));
        }
        let mut notes = FileNotes::default()
            .with_if(found.size != announced.size, FileNotes::SIZE)
            .with_if(!found.time.equals(announced.time), FileNotes::TIME);
        let is_same = found.size == announced.size
            && match &announced.digest {
                Some(digest) => partial::digest_of(&open, name, &found)? == Some(*digest),
                None => found.time.is_same(announced.time),
            };
        if !is_same {
            notes = notes.with_if(announced.digest.is_some(), FileNotes::CONTENT).with(dropped);
            notes = notes.with_if(found.mode & SET_ID != 0, FileNotes::SET_ID_DROPPED);
            return Ok(Verdict::Wanted(Some(found), notes));
        }
        let (mode, time) = (announced.mode & PLAIN, announced.time);
        let has_mode = !self.options.preserve || found.mode & PLAIN == mode;
        let has_time = !wants_time(&self.options, found.time, time);
        if has_mode && has_time {
            return Ok(Verdict::Settled(FileAction::Unchanged, FileNotes::default()));
        }
        notes = notes.with_if(!has_mode, FileNotes::MODE);
        if !self.options.dry_run {
            let file = target::open_entry(&open, name);
            let file = file.map_err(|error| Failure::of(error, "open what is there"))?;
            if !FileFacts::of(&file).is_ok_and(|now| now.id == found.id) {
                return Err(Failure::new(FailureKind::Changed, "another file took its place"));
            }
            if !has_time {
                target::set_times(&file, &time.timestamps())?;
            }
            if !has_mode {
                target::set_mode(&file, mode)?;
            }
        }
        Ok(Verdict::Settled(FileAction::Adjusted, notes))
    }

    pub(super) fn on_miss(&mut self, failure: Failure, name: &[u8]) -> Result<(), TransferError> {
        let place = self.place()?;
        self.check_entries()?;
        self.tally.met(0);
        self.remember(&place, name);
        let has_vanished = failure.kind == FailureKind::Vanished;
        let action = if has_vanished { FileAction::Vanished } else { FileAction::Failed };
        let path = place.path(name);
        self.record(&FileEvent {
            path: &path,
            kind: FileKind::Other,
            action,
            bytes: 0,
            digest: None,
            notes: FileNotes::default(),
            failure: Some(&failure),
        })
    }
}
