//! Files as they are announced: what is there in their place, and whether their content is wanted.

use std::{io::Write, rc::Rc};

use rustix::io::Errno;

use super::{
    Receiver,
    links::{Linked, Named, Original},
    metadata::{Wanted, sets_modes},
    partial,
    pending::{Outcome, Pending},
    place::Place,
    sticky, target, wants_time,
};
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
    /// It is there, and this is the file.
    Settled(FileAction, FileNotes, Original),
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
        let wanted = self.metadata.wanted();
        self.files += 1;
        let place = self.place()?;
        let mut has_name = name.to_vec();
        let verdict = self.name_for(&place, name, false).and_then(|name| {
            has_name = name;
            let wanted = wanted?;
            let verdict = self.judge_file(&place, announced, &has_name, &wanted)?;
            if let Verdict::Wanted(found, _) = &verdict {
                // What is written over is somebody's already.
                let now = found.filter(|_| self.options.in_place).map(|found| found.owner);
                self.metadata.check_owner(wanted.owner, now)?;
                if self.options.dry_run {
                    self.judge_entry(&place, &has_name, found.as_ref())?;
                    self.judge_owner(found.as_ref(), wanted.owner)?;
                    self.judge_room(&place, announced.size, found.as_ref())?;
                }
            }
            Ok((verdict, wanted))
        });
        let name = has_name;
        let (verdict, wanted) = match verdict {
            Ok((verdict, wanted)) => (Ok(verdict), wanted),
            Err(failure) => (Err(failure), Wanted::default()),
        };
        let (found, notes) = match verdict {
            Ok(Verdict::Wanted(found, notes)) => (found, notes),
            Ok(Verdict::Settled(action, notes, original)) => {
                if has_more_names {
                    let original = Some(original);
                    let file = Named { place: Rc::clone(&place), name: name.clone(), original };
                    self.link_later(index, Linked::There(file))?;
                }
                let outcome = Outcome::done(action, notes);
                return self.settle(index, &place.path(&name), FileKind::File, outcome);
            }
            Err(failure) => {
                if has_more_names {
                    self.link_later(index, Linked::Failed(failure.kind))?;
                }
                let outcome = Outcome::failed(failure);
                return self.settle(index, &place.path(&name), FileKind::File, outcome);
            }
        };
        if has_more_names {
            self.link_later(index, Linked::Waiting)?;
        }
        place.hold();
        let pending = Pending {
            place,
            name,
            found,
            notes,
            has_more_names,
            wanted,
            links: Vec::new(),
            offer: None,
            known: 0,
        };
        self.want(index, announced.size, pending)
    }

    /// Compares a file with what is there.
    fn judge_file(
        &mut self,
        place: &Rc<Place>,
        announced: &Announced,
        name: &[u8],
        wanted: &Wanted,
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
        self.count_found(place);
        target::replaceable(found.sort)?;
        sticky::check(&open, &found, self.account)?;
        if found.sort == Sort::Link {
            // The link itself is replaced; it has no owner or mode that a file would keep.
            return Ok(Verdict::Wanted(None, dropped.with(FileNotes::CONTENT)));
        }
        if self.options.update && found.time > announced.time {
            let original = Original::not_shown(&found);
            return Ok(Verdict::Settled(FileAction::Skipped, FileNotes::default(), original));
        }
        let mut notes = FileNotes::default()
            .with_if(found.size != announced.size, FileNotes::SIZE)
            .with_if(!found.time.equals(announced.time), FileNotes::TIME);
        let is_same = found.size == announced.size
            && match &announced.digest {
                Some(digest) => {
                    let there = partial::digest_of(&open, name, &found, &self.cancel)?;
                    there == Some(*digest)
                }
                None => found.time.is_same(announced.time),
            };
        if !is_same {
            notes = notes.with_if(announced.digest.is_some(), FileNotes::CONTENT).with(dropped);
            notes = notes.with_if(found.mode & SET_ID != 0, FileNotes::SET_ID_DROPPED);
            return Ok(Verdict::Wanted(Some(found), notes));
        }
        // What was compared is the file that was found; by now another may have its name.
        let mut original = match announced.digest {
            Some(_) => Original::shown(&found),
            None => Original::not_shown(&found),
        };
        let (mode, time) = (announced.mode & PLAIN, announced.time);
        let sets_mode = sets_modes(&self.options);
        let has_mode = !sets_mode || found.mode & PLAIN == mode;
        let has_time = !wants_time(&self.options, found.time, time);
        let lacking = self.lacking(&open, name, &found, wanted)?;
        let has_rest = lacking == FileNotes::default();
        if has_mode && has_time && has_rest {
            return Ok(Verdict::Settled(FileAction::Unchanged, FileNotes::default(), original));
        }
        self.metadata.check_owner(wanted.owner, Some(found.owner))?;
        notes = notes.with_if(!has_mode, FileNotes::MODE).with(lacking);
        if self.options.dry_run {
            self.judge_own(&found)?;
        } else {
            let file = target::open_entry(&open, name);
            let file = file.map_err(|error| Failure::of(error, "open what is there"))?;
            let now = FileFacts::of(&file).ok().filter(|now| now.id == found.id);
            let Some(now) = now else {
                return Err(Failure::new(FailureKind::Changed, "another file took its place"));
            };
            let is_shown = original.is_shown(&now);
            if !has_time {
                target::set_times(&file, &time.timestamps())?;
            }
            if !has_mode || !has_rest {
                self.equip(&file, wanted, sets_mode.then_some(mode))?;
            }
            original.follow(is_shown, &file);
        }
        Ok(Verdict::Settled(FileAction::Adjusted, notes, original))
    }

    pub(super) fn on_miss(&mut self, failure: Failure, name: &[u8]) -> Result<(), TransferError> {
        let place = self.place()?;
        self.check_entries()?;
        self.tally.met(0);
        self.remember(&place, name);
        let path = place.path(name);
        self.record(&FileEvent::missed(&path, &failure))
    }
}
