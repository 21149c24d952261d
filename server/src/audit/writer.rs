//! The writer of the log's files, and its behaviour when it can't write.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs::File,
    io::{self, Write as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rcmd_certs::signature::Signer;
use rcmd_protocol::ids::AuditHead;
use tracing::{error, warn};

use super::{
    chain::{self, LINE_LIMIT},
    files,
    journal::Journal,
    place::Place,
    record::{Event, Opening, Previous, Record},
    recover::Recovered,
    text::write_json,
};

/// The starts that were refused and are not recorded yet, counted by peer.
pub(super) type TurnedAway = Mutex<BTreeMap<String, u64>>;

/// The writer of the log.
#[derive(Debug)]
pub(super) struct Writer {
    place: Place,
    current: LogFile,
    head: AuditHead,
    running: BTreeSet<String>,
    /// The events that have happened and for which there was no room. Bounded, because nothing
    /// starts without room.
    late: VecDeque<Event>,
    /// The number of records for which there was no room; nothing that they announced has happened.
    missed: u64,
    /// The error of the last of them.
    why: String,
    /// True once it was logged that nothing can be written.
    is_failing: bool,
    /// The number of the last record of a lost file, until the syncer has taken it.
    lost: Option<u64>,
    /// True once it was logged that the current file is lost, while there is no other yet.
    is_lost: bool,
    signer: Signer,
    unsigned: u64,
    journal: Option<Journal>,
    line: Vec<u8>,
}

/// The file that lines are appended to.
#[derive(Debug)]
struct LogFile {
    file: Arc<File>,
    number: u64,
    /// The bytes of whole lines in the file.
    size: u64,
    /// The reason why nothing more may be written into this file.
    broken: Option<String>,
}

impl LogFile {
    fn create(folder: &Path, number: u64) -> io::Result<Self> {
        let file = Arc::new(files::create(&folder.join(files::name(number)))?);
        Ok(Self { file, number, size: 0, broken: None })
    }

    fn check(&self) -> io::Result<()> {
        match &self.broken {
            Some(reason) => Err(io::Error::other(reason.clone())),
            None => Ok(()),
        }
    }

    /// Appends a whole line, or nothing of it.
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if let Err(error) = (&*self.file).write_all(line) {
            // The next line must begin where this one did.
            if let Err(cut) = self.file.set_len(self.size) {
                self.broken = Some(format!("{error}; and the part can't be removed: {cut}"));
            }
            return Err(error);
        }
        self.size += line.len() as u64;
        Ok(())
    }
}

impl Writer {
    /// Begins a new file after what was recovered, and writes an end for each command that the last
    /// server left without one.
    pub(super) fn begin(
        place: Place,
        recovered: Recovered,
        signer: Signer,
        journal: Option<Journal>,
    ) -> io::Result<Self> {
        let Recovered { number, head, previous, running, .. } = recovered;
        let mut writer = Self {
            current: LogFile::create(place.folder(), number)?,
            place,
            head,
            running,
            late: VecDeque::new(),
            missed: 0,
            why: String::new(),
            is_failing: false,
            lost: None,
            is_lost: false,
            signer,
            unsigned: 0,
            journal,
            line: Vec::with_capacity(4096),
        };
        writer.open(Opening::Start, previous)?;
        writer.end_all("the server was killed before it had ended")?;
        Ok(writer)
    }

    fn open(&mut self, reason: Opening, previous: Option<Previous>) -> io::Result<AuditHead> {
        let running = self.running.iter().cloned().collect();
        self.write(&Event::Open { reason, previous, running })
    }

    /// Writes an end for each command that has none.
    pub(super) fn end_all(&mut self, message: &str) -> io::Result<()> {
        for job in self.running.clone() {
            self.write(&Event::lost(job, message))?;
        }
        Ok(())
    }

    /// Writes an event. When this returns, the kernel has it.
    ///
    /// # Errors
    /// The reason why it was not written; what the event announces must not happen then.
    pub(super) fn note(&mut self, event: &Event) -> Result<AuditHead, String> {
        self.catch_up().and_then(|()| self.write(event)).map_err(|error| {
            self.missed += 1;
            self.why = error.to_string();
            self.why.clone()
        })
    }

    /// Writes an event that has happened already and can't be refused. If there is no room, keeps
    /// it until there is and returns `None`.
    pub(super) fn note_late(&mut self, event: Event) -> Option<AuditHead> {
        let written = self.catch_up().and_then(|()| self.write(&event)).ok();
        if written.is_none() {
            self.late.push_back(event);
        }
        written
    }

    /// Writes what could not be written before.
    pub(super) fn catch_up(&mut self) -> io::Result<()> {
        while let Some(event) = self.late.pop_front() {
            if let Err(error) = self.write(&event) {
                self.late.push_front(event);
                return Err(error);
            }
        }
        if self.missed > 0 {
            self.write(&Event::Gap { missed: self.missed, reason: self.why.clone() })?;
            self.missed = 0;
        }
        Ok(())
    }

    /// Records how many starts were refused.
    pub(super) fn sum_up(&mut self, turned_away: &TurnedAway) -> io::Result<()> {
        // Not locked during the write, so that threads that count do not wait for the disk.
        let counted = || turned_away.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let Some((peer, count)) = counted().pop_first() else { return Ok(()) };
            if let Err(error) = self.write(&Event::TurnedAway { peer: peer.clone(), count }) {
                *counted().entry(peer).or_default() += count;
                return Err(error);
            }
        }
    }

    /// Writes the end of a job whose start was written, as [`Writer::note_late`] does.
    pub(super) fn note_end(&mut self, job: &str, event: Event) -> Option<AuditHead> {
        if self.running.contains(job) { self.note_late(event) } else { None }
    }

    /// Returns whether something waits for room.
    pub(super) fn is_behind(&self) -> bool {
        !self.late.is_empty() || self.missed > 0
    }

    fn write(&mut self, event: &Event) -> io::Result<AuditHead> {
        let written = self.append(event);
        match &written {
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                error!(%error, "audit: it can't be written; nothing is started until it can be");
            }
            // A file that follows a failed sync has not been synced yet.
            Ok(_) if !matches!(event, Event::Open { reason: Opening::SyncFailed, .. }) => {
                self.works();
            }
            _ => {}
        }
        written
    }

    /// Notes that the log can be written.
    pub(super) fn works(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            warn!("audit: it can be written again");
        }
    }

    fn append(&mut self, event: &Event) -> io::Result<AuditHead> {
        self.current.check()?;
        let seq = self.head.seq + 1;
        let time = format!("{:.6}", Timestamp::now());
        self.line.clear();
        write_json(&Record { seq, time: &time, event }, &mut self.line)?;
        let hash = chain::close(&self.head.hash, &mut self.line);
        if self.line.len() > LINE_LIMIT {
            let wrong = format!("a record of {} bytes is more than can be read", self.line.len());
            return Err(io::Error::other(wrong));
        }
        self.current.append(&self.line)?;
        self.head = AuditHead { seq, hash };
        self.unsigned += 1;
        match event {
            Event::Start { job, .. } => {
                self.running.insert(job.clone());
            }
            Event::End(end) => {
                self.running.remove(&end.job);
            }
            _ => {}
        }
        if let Some(journal) = &self.journal {
            journal.send(self.line.trim_ascii_end(), event, seq);
        }
        Ok(self.head)
    }

    /// Signs all lines so far, if there are new ones.
    pub(super) fn sign(&mut self) -> io::Result<()> {
        if self.unsigned == 0 {
            return Ok(());
        }
        let signature =
            self.signer.sign(&chain::checkpoint(&self.head)).map_err(io::Error::other)?;
        self.write(&Event::Checkpoint {
            key: STANDARD.encode(self.signer.public().as_bytes()),
            scheme: signature.scheme,
            signature: STANDARD.encode(signature.signature),
        })?;
        self.unsigned = 0;
        Ok(())
    }

    /// Signs with another key from now on.
    pub(super) fn replace_signer(&mut self, signer: Signer) {
        self.signer = signer;
        // The new key signs also what the old one has signed.
        self.unsigned += 1;
    }

    /// Continues in a new file. Returns the one before.
    pub(super) fn rotate(&mut self) -> io::Result<Arc<File>> {
        self.catch_up()?;
        self.sign()?;
        self.go_on(Opening::Rotation, self.current.number + 1)
    }

    fn go_on(&mut self, reason: Opening, number: u64) -> io::Result<Arc<File>> {
        let previous = Previous {
            file: files::name(self.current.number),
            seq: self.head.seq,
            hash: hex::encode(self.head.hash),
            torn: None,
        };
        let next = LogFile::create(self.place.folder(), number)?;
        let old = std::mem::replace(&mut self.current, next);
        match self.open(reason, Some(previous)) {
            Ok(_) => Ok(old.file),
            Err(error) => {
                let next = std::mem::replace(&mut self.current, old);
                // If the file stays, the next attempt fails and reports that.
                let _ = files::remove(&self.place.folder().join(files::name(next.number)));
                Err(error)
            }
        }
    }

    /// Checks that the log is still in its place, and continues in another file if it is not.
    /// Nothing more is written until there is another file, which each call tries to begin.
    pub(super) fn keep_place(&mut self) {
        let Err(error) = self.check_place() else { return };
        let is_news = !std::mem::replace(&mut self.is_lost, true);
        if is_news {
            error!(%error, "audit: written records were removed; `rcmd-server audit verify` will report that");
        }
        if let Err(error) = self.begin_elsewhere() {
            if is_news {
                error!(%error, "audit: no new file can be made; nothing is started until one can");
            }
            self.give_up(error.to_string());
        }
    }

    fn check_place(&self) -> io::Result<()> {
        self.place.check()?;
        self.place.check_file(&self.current.file, &files::name(self.current.number))
    }

    /// Continues in another file, because nothing more may be written to the current one.
    pub(super) fn begin_elsewhere(&mut self) -> io::Result<()> {
        if self.check_place().is_ok() {
            return self.go_on(Opening::SyncFailed, self.current.number + 1).map(drop);
        }
        if self.place.check().is_err() {
            self.place = Place::take(self.place.folder()).map_err(io::Error::other)?;
        }
        let listed = files::list(self.place.folder())?;
        let last = listed.last().map_or(0, |(number, _)| *number).max(self.current.number);
        let lost = self.head.seq;
        self.go_on(Opening::Lost, last + 1)?;
        (self.lost, self.is_lost) = (Some(lost), false);
        Ok(())
    }

    /// Returns the number of the last record of a lost file, once.
    pub(super) fn take_lost(&mut self) -> Option<u64> {
        self.lost.take()
    }

    /// Shows other programs whether the log can be written.
    pub(super) fn show_standing(&mut self) {
        self.place.show(self.is_failing);
    }

    /// Stops writing to the current file, for this reason.
    pub(super) fn give_up(&mut self, reason: String) {
        self.current.broken = Some(reason);
        self.is_failing = true;
    }

    pub(super) fn is_failing(&self) -> bool {
        self.is_failing
    }

    pub(super) fn is_broken(&self) -> bool {
        self.current.broken.is_some()
    }

    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.current.file)
    }

    pub(super) fn number(&self) -> u64 {
        self.current.number
    }

    pub(super) fn size(&self) -> u64 {
        self.current.size
    }

    pub(super) fn head(&self) -> AuditHead {
        self.head
    }

    pub(super) fn unsigned(&self) -> u64 {
        self.unsigned
    }
}
