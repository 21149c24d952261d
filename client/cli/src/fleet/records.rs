//! Records of runs, so that a run can be resumed, and told of later.
//!
//! A record is a file `DIR/runs/ID.jsonl` of this user alone, where DIR is the folder of certificates: a
//! start is known by its key to one identity. Lines are only ever added to it. First come what was asked
//! for and the targets; then, for each target, a line before its start is sent and one at its end. The
//! last 100 are kept. A lock on the file says that a process still writes it.
//!
//! | module | holds |
//! | --- | --- |
//! | `folder` | the folder: names, rights, locks, what is removed |
//! | `read` | lines to what is known of a run |
//! | `line` | the lines |
//! | `result` | results as lines have them |
//! | `stage` | how far a target is |
//! | `id` | names of runs |
//!
//! # Durability
//! A line is written before what it tells of is done, and never synced. What was written outlives this
//! process. If the machine goes down, the last lines may be lost; a start whose line is lost is sent
//! again under the same key, which starts at most once.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcmd_certs::files::shown;
use rcmd_client::hosts::HostTarget;
use rcmd_client::{ErrorKind, Report, WireError};
use rcmd_protocol::ids::{Key, RequestDigest};

use crate::arguments::words::CommandSpec;

mod folder;
mod id;
mod line;
mod read;
mod result;
mod stage;

use folder::Folder;
pub(crate) use id::RunId;
pub(crate) use line::Bytes;
use line::Line;
pub(crate) use stage::Stage;

/// The runs that are kept.
pub(crate) const KEPT: usize = 100;

/// The longest line that is read, in bytes: a command line that the kernel takes (`ARG_MAX`, execve(2)) of
/// the bytes that JSON makes longest.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

/// The largest record, in bytes. A run over 100,000 hosts has some 100 MiB.
const LARGEST: u64 = 512 * 1024 * 1024;

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The command as it was typed, with its templates.
    pub(crate) command: CommandSpec,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) cwd: Option<OsString>,
    /// True if braces in command, environment and folder are templates.
    pub(crate) templates: bool,
    /// The user that commands run as, whatever the inventory says; none if the inventory decides.
    pub(crate) user: Option<OsString>,
    pub(crate) timeout: Option<Duration>,
    /// A lock that each command needs, and how long it waits for the lock.
    pub(crate) lock: Option<(String, Duration)>,
    pub(crate) key: Option<OsString>,
    /// True if each command was sent the standard input of the run, which is not kept.
    pub(crate) input: bool,
    /// The hosts, in the order of the set.
    pub(crate) targets: Arc<[HostTarget]>,
}

/// All that is known of a run.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) id: RunId,
    /// The time at which it began, in milliseconds since 1970.
    pub(crate) began: u64,
    pub(crate) plan: Plan,
    /// The state of each target, in the order of the plan.
    pub(crate) states: Vec<TargetState>,
    /// The times at which it was resumed, likewise, the first one in front.
    pub(crate) resumed: Vec<u64>,
}

/// The state of a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TargetState {
    /// The number of starts that were sent, each under another key.
    pub(crate) attempt: u32,
    /// The last of these starts, if its line was written.
    pub(crate) sent: Option<Sent>,
    /// The end of the command; none while it runs, or when nobody has seen its end.
    pub(crate) end: Option<Box<Report>>,
}

/// A start that was sent, by which its command can be taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The number of the start among those of the target, from 1.
    pub(crate) attempt: u32,
    pub(crate) key: Key,
    pub(crate) generation: u64,
    pub(crate) digest: RequestDigest,
    /// The time at which the start was sent, in milliseconds since 1970.
    pub(crate) at: u64,
}

/// A record of which somebody looks what is in it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) recorded: Recorded,
    /// True if a process still writes the record.
    pub(crate) running: bool,
}

/// A record that this process writes, and no other one.
#[derive(Debug)]
pub(crate) struct Record {
    id: RunId,
    file: File,
    /// Bytes of whole lines.
    length: u64,
    /// True if half a line stands at the end, behind which nothing could be read.
    broken: bool,
    /// The beginning of the keys of all targets.
    base: Vec<u8>,
    targets: Arc<[HostTarget]>,
    /// The number of starts that were sent of each target.
    attempts: Vec<u32>,
}

impl Record {
    /// Makes the record of a run that begins, in the folder of certificates, and removes the oldest ones
    /// past [`KEPT`].
    ///
    /// # Errors
    /// Kind `local_io` when it can't be written. The run can't be resumed then.
    pub(crate) fn create(dir: &Path, plan: &Plan) -> Result<Self, WireError> {
        let now = now();
        let (folder, id, file) = Folder::make(dir)
            .and_then(|folder| {
                folder.prune(KEPT.saturating_sub(1))?;
                let (id, file) = folder.create(now)?;
                Ok((folder, id, file))
            })
            .map_err(|failure| failure.hint(UNRECORDED))?;
        match write_plan(&file, id, now, plan) {
            Ok(length) => Ok(Self::new(id, file, length, plan, vec![0; plan.targets.len()])),
            Err(error) => {
                folder.remove(id);
                let path = shown(&folder.path_of(id));
                let message = format!("cannot write {path}: {error}");
                Err(WireError::new(ErrorKind::LocalIo, message).hint(UNRECORDED))
            }
        }
    }

    /// Takes up the record of an earlier run, `last` for the last one: no other process does then.
    ///
    /// # Errors
    /// Kind `usage` when there is none of this name, another process writes it, it is not this user's
    /// alone, or is damaged.
    pub(crate) fn open(dir: &Path, which: &str) -> Result<(Self, Recorded), WireError> {
        let (folder, id) = find(dir, which)?;
        let file = folder.take(id)?;
        let (recorded, length) = read::read(&file, &folder.path_of(id), Some(id))?;
        // A line that was cut off tells of nothing that was done; behind it nothing could be read.
        file.set_len(length).map_err(|error| {
            let message = format!("cannot write {}: {error}", shown(&folder.path_of(id)));
            WireError::new(ErrorKind::LocalIo, message).hint(UNRECORDED)
        })?;
        let attempts = recorded.states.iter().map(|state| state.attempt).collect();
        Ok((Self::new(id, file, length, &recorded.plan, attempts), recorded))
    }

    fn new(id: RunId, file: File, length: u64, plan: &Plan, attempts: Vec<u32>) -> Self {
        let base = match &plan.key {
            Some(key) => key.as_bytes().to_vec(),
            None => id.to_string().into_bytes(),
        };
        let targets = Arc::clone(&plan.targets);
        Self { id, file, length, broken: false, base, targets, attempts }
    }

    /// Returns the name of the run.
    pub(crate) fn id(&self) -> RunId {
        self.id
    }

    /// Returns the text whose hash is the key of a target's start, the first being attempt 1. A key
    /// starts at most once, so that each further attempt has another one.
    pub(crate) fn key_text(&self, index: usize, attempt: u32) -> Vec<u8> {
        let name = self.targets.get(index).map_or("", |target| &target.name);
        let mut text = [&self.base[..], b"\n", name.as_bytes()].concat();
        if attempt > 1 {
            text.extend_from_slice(format!("\n{attempt}").as_bytes());
        }
        text
    }

    /// Records that a start is about to be sent. Only then may it be.
    ///
    /// # Errors
    /// A failure when it can't be written: the command could not be taken up by a resume.
    pub(crate) fn sending(
        &mut self,
        index: usize,
        attempt: u32,
        key: Key,
        generation: u64,
        digest: RequestDigest,
    ) -> io::Result<()> {
        if let Some(last) = self.attempts.get_mut(index) {
            *last = attempt.max(*last);
        }
        let sent = Sent { attempt, key, generation, digest, at: now() };
        self.append(&Line::sent(index, &sent))
    }

    /// Records how a target ended.
    ///
    /// # Errors
    /// A failure when it can't be written: a resume would ask the host again.
    pub(crate) fn ended(&mut self, index: usize, report: &Report) -> io::Result<()> {
        let attempt = self.attempts.get(index).copied().unwrap_or_default();
        self.append(&Line::end(index, attempt, now(), report))
    }

    /// Records that the run is resumed.
    ///
    /// # Errors
    /// A failure when it can't be written: neither could the lines that follow.
    pub(crate) fn resumed(&mut self) -> io::Result<()> {
        self.append(&Line::resumed(now()))
    }

    fn append(&mut self, line: &Line<&Report>) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier line could not be written"));
        }
        let line = line.to_bytes()?;
        let length = grown(self.length, &line)?;
        match self.file.write_all(&line) {
            Ok(()) => self.length = length,
            Err(error) => {
                self.broken = self.file.set_len(self.length).is_err();
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The hint for a run that has no record.
const UNRECORDED: &str = "The run goes on without a record: it can't be resumed, and `rcmd-client runs` does not show it.";

/// Writes the first lines and returns how many bytes they are.
fn write_plan(file: &File, id: RunId, began: u64, plan: &Plan) -> io::Result<u64> {
    let mut out = BufWriter::new(file);
    let mut length = 0;
    for line in line::plan(id, began, plan) {
        let line = line.to_bytes()?;
        length = grown(length, &line)?;
        out.write_all(&line)?;
    }
    out.flush()?;
    Ok(length)
}

/// Returns the length of a record that grows by a line.
fn grown(length: u64, line: &[u8]) -> io::Result<u64> {
    let length = length.saturating_add(line.len() as u64);
    if length > LARGEST || line.len() as u64 > LONGEST_LINE {
        let why = format!("a record has at most {} MiB", LARGEST >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(length)
}

/// Returns a record's folder and name.
fn find(dir: &Path, which: &str) -> Result<(Folder, RunId), WireError> {
    let folder = Folder::find(dir)?;
    if which == "last" {
        let last = folder.ids()?.pop();
        return last.map(|id| (folder, id)).ok_or_else(|| none_in(dir));
    }
    match RunId::parse(which) {
        Some(id) => Ok((folder, id)),
        None => Err(WireError::new(ErrorKind::Usage, format!("`{which}` is the name of no run"))
            .hint("`rcmd-client runs` lists their names; `last` is the last one.")),
    }
}

/// Returns what is said where nothing is recorded.
pub(crate) fn none_in(dir: &Path) -> WireError {
    let message = format!("no run over many hosts is recorded in {}", shown(&dir.join("runs")));
    WireError::new(ErrorKind::Usage, message).hint(
        "Runs over a set of hosts are recorded in the folder of --dir; if yours used another folder, name it with --dir.",
    )
}

/// Returns the names of the runs that are recorded, the last one at the end.
///
/// # Errors
/// A failure when the folder can't be read, or is not this user's alone.
pub(crate) fn names(dir: &Path) -> Result<Vec<RunId>, WireError> {
    Folder::find(dir)?.ids()
}

/// Looks what a record has, `last` for the last one.
///
/// # Errors
/// The failures of [`Record::open`], but another process may write the record.
pub(crate) fn look(dir: &Path, which: &str) -> Result<Seen, WireError> {
    let (folder, id) = find(dir, which)?;
    let (file, running) = folder.look(id)?;
    let (recorded, _) = read::read(&file, &folder.path_of(id), Some(id))?;
    Ok(Seen { recorded, running })
}

/// Reads a file as if it were a record, whoever has it, and returns what it has.
///
/// # Errors
/// A failure that says what is wrong with it, and where.
pub(crate) fn read_any(path: &Path) -> Result<Recorded, WireError> {
    read::read(&folder::open_any(path)?, path, None).map(|(recorded, _)| recorded)
}

/// Returns the time in milliseconds since 1970; 0 for a clock before that.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
