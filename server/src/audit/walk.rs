//! A walk along a log, which checks each line against the one before it.

use std::collections::BTreeSet;

use rcmd_protocol::ids::AuditHead;

use super::{
    chain::{self, GENESIS, LongLine},
    record::{Event, Lifecycle, Previous, Stub, Torn},
};

/// The fault of a line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LineError {
    /// The line is not a record.
    #[error("this is not a record: {0}")]
    Form(String),
    /// The record's number is not the next one.
    #[error("record {found} is where record {expected} should be")]
    Number {
        /// The number of the record.
        found: u64,
        /// The number that it should have.
        expected: u64,
    },
    /// The hash does not match the line and the one before it.
    #[error("record {0} was changed, or the record before it was inserted")]
    Hash(u64),
    /// A file does not continue where the one before it ends.
    #[error("{0}")]
    Opening(String),
    /// The starts and ends of commands do not match, or the server starts or stops before all have
    /// ended.
    #[error("{0}")]
    Pairing(String),
}

/// A line that was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct CheckedLine {
    pub(super) head: AuditHead,
    pub(super) time: String,
    /// The event, if this version knows its kind.
    pub(super) event: Option<Event>,
}

/// The position in a log.
#[derive(Clone, Debug, Default)]
pub(super) struct Walk {
    /// The last record, once there was one.
    pub(super) head: Option<AuditHead>,
    /// The commands without an end.
    pub(super) running: BTreeSet<String>,
    /// The current file.
    file: String,
    /// The bytes after the file's last whole line.
    torn: Option<Torn>,
    /// True if the next line is the file's first.
    first: bool,
    /// The end of the file before the first one, as that records it.
    before: Option<Previous>,
}

impl Walk {
    /// Begins the next file.
    pub(super) fn enter(&mut self, file: &str) {
        file.clone_into(&mut self.file);
        self.first = true;
    }

    /// Notes the bytes after the last whole line of the file.
    pub(super) fn tear(&mut self, torn: Torn) {
        self.torn = Some(torn);
    }

    /// Returns the end of the file before the first one, as that records it.
    pub(super) fn before(&self) -> Option<&Previous> {
        self.before.as_ref()
    }

    /// Checks a line without its newline. An error leaves the position unchanged.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<CheckedLine, LineError> {
        let form = |error: serde_json::Error| LineError::Form(error.to_string());
        let (body, hash) = chain::open(line)
            .ok_or_else(|| LineError::Form("it does not end in a hash".to_owned()))?;
        let stub: Stub = serde_json::from_slice(line).map_err(form)?;
        let event: Option<Event> = serde_json::from_slice(line).ok();
        let fits = |head: &AuditHead| {
            Some(stub.seq) == head.seq.checked_add(1) && chain::link(&head.hash, body) == hash
        };
        if self.first {
            self.opening(&stub, event.as_ref(), fits)?;
        } else {
            let head = self.head.unwrap_or(GENESIS);
            if Some(stub.seq) != head.seq.checked_add(1) {
                let expected = head.seq.saturating_add(1);
                return Err(LineError::Number { found: stub.seq, expected });
            }
            if !fits(&head) {
                return Err(LineError::Hash(stub.seq));
            }
            if matches!(event, Some(Event::Open { .. })) {
                let wrong = "a file begins here, in the middle of another".to_owned();
                return Err(LineError::Opening(wrong));
            }
        }
        if let Some(event) = &event {
            self.pair(event)?;
        }
        let head = AuditHead { seq: stub.seq, hash };
        self.head = Some(head);
        (self.first, self.torn) = (false, None);
        Ok(CheckedLine { head, time: stub.time, event })
    }

    /// Checks a line that was too long to be kept and begins with `start`. An error leaves the
    /// position unchanged. Only attempts were ever that long, so no command starts or ends with it.
    pub(super) fn long_line(
        &mut self,
        start: &[u8],
        line: &LongLine,
    ) -> Result<CheckedLine, LineError> {
        let Some(Stub { seq, time }) = Stub::at(start) else {
            return Err(LineError::Form("it does not begin as one".to_owned()));
        };
        let head = self.head.unwrap_or(GENESIS);
        if self.first {
            let wrong = "the file does not begin with its first record".to_owned();
            return Err(LineError::Opening(wrong));
        }
        if Some(seq) != head.seq.checked_add(1) {
            return Err(LineError::Number { found: seq, expected: head.seq.saturating_add(1) });
        }
        let hash = line.link().ok_or(LineError::Hash(seq))?;
        let head = AuditHead { seq, hash };
        self.head = Some(head);
        Ok(CheckedLine { head, time, event: None })
    }

    /// Checks the first line of a file, which records the end of the file before.
    fn opening(
        &mut self,
        stub: &Stub,
        event: Option<&Event>,
        fits: impl Fn(&AuditHead) -> bool,
    ) -> Result<(), LineError> {
        let Some(Event::Open { previous, running, .. }) = event else {
            return Err(match self.head {
                Some(head) if fits(&head) => {
                    LineError::Opening("the file's first record is missing or moved".to_owned())
                }
                _ => LineError::Opening("the file does not begin with its first record".to_owned()),
            });
        };
        let stated = match previous {
            None => Some(GENESIS),
            Some(Previous { seq, hash, .. }) => AuditHead::parse(&format!("{seq}:{hash}")),
        };
        if !stated.is_some_and(|stated| fits(&stated)) {
            return Err(LineError::Hash(stub.seq));
        }
        match (self.head, previous) {
            (None, None) => {}
            (None, Some(previous)) => {
                self.before = Some(previous.clone());
                self.running = running.iter().cloned().collect();
            }
            (Some(head), _) if stated != Some(head) => {
                let (ends, begins) = (head.seq, stub.seq);
                return Err(LineError::Opening(format!(
                    "this file begins with record {begins}, and the one before it ends with \
                     {ends}{}: records between them are missing, or others were inserted",
                    if ends.checked_add(1) == Some(begins) { " in another form" } else { "" }
                )));
            }
            (Some(_), previous) => {
                if previous.as_ref().and_then(|previous| previous.torn.clone()) != self.torn {
                    return Err(LineError::Opening(
                        "the bytes after the last record of the file before have changed since \
                         this file began"
                            .to_owned(),
                    ));
                }
            }
        }
        let same = running.len() == self.running.len()
            && running.iter().all(|job| self.running.contains(job));
        if !same {
            return Err(LineError::Pairing("the list of running commands is another".to_owned()));
        }
        Ok(())
    }

    fn pair(&mut self, event: &Event) -> Result<(), LineError> {
        let wrong = |what: String| Err(LineError::Pairing(what));
        match event {
            Event::Start { job, .. } if !self.running.insert(job.clone()) => {
                wrong(format!("job {job} starts a second time"))
            }
            Event::End(end) if !self.running.remove(&end.job) => {
                wrong(format!("job {} ends without a start", end.job))
            }
            Event::Server { state, .. } if !self.running.is_empty() => {
                let state = match state {
                    Lifecycle::Started => "started",
                    Lifecycle::Stopped => "stopped",
                };
                let count = self.running.len();
                wrong(format!("the server has {state}, and {count} commands have no end"))
            }
            _ => Ok(()),
        }
    }
}
