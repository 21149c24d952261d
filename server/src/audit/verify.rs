//! Verification of the whole log: finding what was changed, deleted, moved or cut off.

use std::{
    fmt,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcmd_certs::signature::{Signature, VerifyingKey};
use rcmd_protocol::ids::AuditHead;
use sha2::{Digest as _, Sha256};

use super::{
    chain::{self, GENESIS, LINE_LIMIT, LongLine},
    files::{self, LineEnd},
    record::{Event, Previous, Stub, Torn},
    walk::{CheckedLine, LineError, Walk},
};

/// The time of one wait for a running server to finish a line.
const PATIENCE: Duration = Duration::from_millis(10);
/// The number of such waits, after which a line is considered torn.
const TRIES: usize = 20;

/// The expectations that a log is checked against.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The keys that checkpoints may be signed with. If there are none, signatures need not be by a
    /// known key.
    pub keys: Vec<VerifyingKey>,
    /// A head of the log that a client was sent.
    pub head: Option<AuditHead>,
}

/// A summary of a log without faults.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Verified {
    /// The number of files.
    pub files: usize,
    /// The number of records.
    pub records: u64,
    /// The number of checkpoints.
    pub checkpoints: u64,
    /// The number of the last record that one of the given keys has signed.
    pub signed: Option<u64>,
    /// The number of commands without an end: they run, or the next start of the server will record
    /// their end.
    pub running: usize,
    /// The bytes after the last whole line, as a kill or a power cut leaves them.
    pub torn: u64,
    /// The last record.
    pub head: Option<AuditHead>,
}

/// The first fault in a log.
#[derive(Debug)]
pub struct AuditFinding {
    /// The file.
    pub file: String,
    /// The number of the line, from 1; 0 for the file as a whole.
    pub line: u64,
    /// The fault.
    pub what: Defect,
}

/// A fault of a log.
#[derive(Debug, thiserror::Error)]
pub enum Defect {
    /// A line does not follow from the one before it.
    #[error("edited: {0}")]
    Edited(LineError),
    /// Records are missing.
    #[error("deleted: records {from} to {to} are missing")]
    Deleted {
        /// The number of the first.
        from: u64,
        /// The number of the last.
        to: u64,
    },
    /// Records are in another order, or twice in the log.
    #[error("moved: record {found} is where record {expected} should be")]
    Moved {
        /// The number of the record that is there.
        found: u64,
        /// The number of the record that belongs there.
        expected: u64,
    },
    /// A file does not continue where the one before it ends.
    #[error("cut: {0}")]
    Seam(String),
    /// A start without an end, or the other way round.
    #[error("starts and ends: {0}")]
    Pairing(String),
    /// A checkpoint was not signed by the key that it names.
    #[error("forged: the checkpoint's signature does not fit the records before it")]
    Signature,
    /// No checkpoint was signed by one of the given keys.
    #[error(
        "unsigned: no checkpoint is of this host's key; name the certificate that it had with --cert FILE"
    )]
    Unsigned,
    /// The files before the first are missing.
    #[error("deleted: the records up to {0} with record {1} are missing, and no record says why")]
    Beginning(String, u64),
    /// The log ends before a record that a client was sent.
    #[error("cut: the log ends with record {ends}, and record {kept} was written once")]
    Cut {
        /// The number of the last record.
        ends: u64,
        /// The number of the record that the client was sent.
        kept: u64,
    },
    /// A record is not the one that a client was sent.
    #[error("rewritten: record {0} is not the one that was written then")]
    Rewritten(u64),
    /// The record that a client was sent is older than the log.
    #[error("record {0} is older than this log; it can't be compared")]
    TooOld(u64),
    /// There is no log.
    #[error("there is no audit in this folder")]
    Nothing,
    /// The log can't be read.
    #[error("can't be read: {0}")]
    Io(io::Error),
}

impl fmt::Display for AuditFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}:{line}: {}", self.file, self.what),
        }
    }
}

/// Verifies the log in a folder.
///
/// # Errors
/// The first fault.
pub fn verify(folder: &Path, against: &Expected) -> Result<Verified, Box<AuditFinding>> {
    let shown = |path: &Path| path.display().to_string();
    let io = |path: PathBuf| {
        move |error| Box::new(AuditFinding { file: shown(&path), line: 0, what: Defect::Io(error) })
    };
    let listed = files::list(folder).map_err(io(folder.to_owned()))?;
    let files = listed.into_iter().map(|(number, path)| {
        let file = files::open(&path).map(|file| BufReader::with_capacity(1 << 16, file));
        (files::name(number), file)
    });
    follow(files, against, PATIENCE)
}

/// Verifies a log from readers, oldest first, each with its file's name. In the last file, it waits
/// for the rest of a line, each time for `patience`, because a server may be writing it.
///
/// # Errors
/// The first fault.
pub fn follow<R: BufRead>(
    files: impl IntoIterator<Item = (String, io::Result<R>)>,
    against: &Expected,
    patience: Duration,
) -> Result<Verified, Box<AuditFinding>> {
    let mut follower = Follower::new(against);
    let mut files = files.into_iter().peekable();
    while let Some((name, reader)) = files.next() {
        follower.place = (name, 0);
        let mut reader = reader.map_err(|error| follower.finding(Defect::Io(error)))?;
        let last = files.peek().is_none();
        follower.file(&mut reader, last.then_some(patience))?;
    }
    follower.end()
}

struct Follower<'a> {
    against: &'a Expected,
    walk: Walk,
    done: Verified,
    /// The current file and line.
    place: (String, u64),
    /// The file that the first one records to have been before it, until its deletion is found
    /// recorded.
    unexplained: Option<Previous>,
    kept_seen: bool,
}

impl<'a> Follower<'a> {
    fn new(against: &'a Expected) -> Self {
        Self {
            against,
            walk: Walk::default(),
            done: Verified::default(),
            place: (String::new(), 0),
            unexplained: None,
            kept_seen: false,
        }
    }

    fn finding(&self, what: Defect) -> Box<AuditFinding> {
        let (file, line) = self.place.clone();
        Box::new(AuditFinding { file, line, what })
    }

    fn file(
        &mut self,
        reader: &mut impl BufRead,
        patience: Option<Duration>,
    ) -> Result<(), Box<AuditFinding>> {
        self.walk.enter(&self.place.0);
        self.done.files += 1;
        let mut line = Vec::new();
        loop {
            line.clear();
            self.place.1 += 1;
            let mut ended = files::next_line(reader, &mut line, LINE_LIMIT);
            let mut tries = patience.map_or(0, |_| TRIES);
            while matches!(ended, Ok(LineEnd::Torn)) && tries > 0 {
                std::thread::park_timeout(patience.unwrap_or_default());
                ended = files::next_line(reader, &mut line, LINE_LIMIT);
                tries -= 1;
            }
            match ended.map_err(|error| self.finding(Defect::Io(error)))? {
                LineEnd::Whole => {
                    let before = self.walk.head;
                    let step = self.walk.line(&line);
                    self.step(step, before, reader)?;
                }
                LineEnd::TooLong => {
                    let previous = self.walk.head.unwrap_or(GENESIS).hash;
                    let long = LongLine::read(&line, reader, &previous)
                        .map_err(|error| self.finding(Defect::Io(error)))?;
                    if !long.is_whole {
                        self.tear(long.bytes, &long.sha256);
                        return Ok(());
                    }
                    let before = self.walk.head;
                    let step = self.walk.long_line(&line, &long);
                    self.step(step, before, reader)?;
                }
                LineEnd::Torn => {
                    self.tear(line.len() as u64, &Sha256::digest(&line));
                    return Ok(());
                }
                LineEnd::File => return Ok(()),
            }
        }
    }

    fn tear(&mut self, bytes: u64, sha256: &[u8]) {
        self.done.torn = bytes;
        self.walk.tear(Torn { bytes, sha256: hex::encode(sha256) });
    }

    /// Counts a line that follows `before`, or returns its fault.
    fn step(
        &mut self,
        step: Result<CheckedLine, LineError>,
        before: Option<AuditHead>,
        rest: &mut impl BufRead,
    ) -> Result<(), Box<AuditFinding>> {
        let step = match step {
            Ok(step) => step,
            Err(wrong) => {
                let what = self.what(wrong, rest);
                return Err(self.finding(what));
            }
        };
        if before.is_none() {
            self.unexplained = self.walk.before().cloned();
        }
        self.done.records += 1;
        self.done.torn = 0;
        self.take(&step, before.unwrap_or(GENESIS)).map_err(|what| self.finding(what))
    }

    fn take(&mut self, step: &CheckedLine, before: AuditHead) -> Result<(), Defect> {
        if let Some(kept) = self.against.head.filter(|kept| kept.seq == step.head.seq) {
            if kept != step.head {
                return Err(Defect::Rewritten(kept.seq));
            }
            self.kept_seen = true;
        }
        match &step.event {
            Some(Event::Checkpoint { key, scheme, signature }) => {
                let decode = |text: &str| STANDARD.decode(text).map_err(|_| Defect::Signature);
                let key = VerifyingKey::from_bytes(decode(key)?);
                let seal = Signature { scheme: *scheme, signature: decode(signature)? };
                if !key.verifies(&seal, &chain::checkpoint(&before)) {
                    return Err(Defect::Signature);
                }
                self.done.checkpoints += 1;
                if self.against.keys.contains(&key) {
                    self.done.signed = Some(before.seq);
                }
            }
            Some(Event::Removed { file, last_seq, last_hash }) => {
                let explains = |before: &Previous| {
                    (&before.file, before.seq, &before.hash) == (file, *last_seq, last_hash)
                };
                self.unexplained = self.unexplained.take().filter(|before| !explains(before));
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the fault that a line shows which does not follow: the record that is missing here
    /// may be later in the file.
    fn what(&self, wrong: LineError, rest: &mut impl BufRead) -> Defect {
        match wrong {
            LineError::Number { found, expected } if found > expected => {
                let mut line = Vec::new();
                while matches!(files::next_line(rest, &mut line, LINE_LIMIT), Ok(LineEnd::Whole)) {
                    let stub = serde_json::from_slice::<Stub>(&line);
                    if stub.is_ok_and(|stub| stub.seq == expected) {
                        return Defect::Moved { found, expected };
                    }
                    line.clear();
                }
                Defect::Deleted { from: expected, to: found - 1 }
            }
            LineError::Number { found, expected } => Defect::Moved { found, expected },
            LineError::Opening(what) => Defect::Seam(what),
            LineError::Pairing(what) => Defect::Pairing(what),
            wrong => Defect::Edited(wrong),
        }
    }

    fn end(mut self) -> Result<Verified, Box<AuditFinding>> {
        let Some(head) = self.walk.head else {
            return Err(self.finding(Defect::Nothing));
        };
        if let Some(Previous { file, seq, .. }) = self.unexplained.take() {
            return Err(self.finding(Defect::Beginning(file, seq)));
        }
        match self.against.head {
            Some(kept) if kept.seq > head.seq => {
                return Err(self.finding(Defect::Cut { ends: head.seq, kept: kept.seq }));
            }
            Some(kept) if !self.kept_seen => return Err(self.finding(Defect::TooOld(kept.seq))),
            _ => {}
        }
        if !self.against.keys.is_empty() && self.done.signed.is_none() {
            return Err(self.finding(Defect::Unsigned));
        }
        self.done.running = self.walk.running.len();
        self.done.head = Some(head);
        Ok(self.done)
    }
}
