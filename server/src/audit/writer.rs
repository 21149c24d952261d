//! The file that is written, and what to do when it can't be.

use std::{
    collections::{BTreeSet, VecDeque},
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rcmd_certs::signature::Signer;
use rcmd_protocol::ids::AuditHead;

use super::{
    chain, files,
    journal::Journal,
    record::{Event, Opening, Previous, Record},
    recover::Recovered,
    text::write_json,
};

/// Owns the file. Whoever has the lock writes a line at once: that takes a few microseconds, less than
/// handing it to a thread would.
#[derive(Debug)]
pub(super) struct Writer {
    folder: PathBuf,
    file: Arc<File>,
    number: u64,
    /// Bytes of whole lines in the file.
    size: u64,
    head: AuditHead,
    running: BTreeSet<String>,
    /// Ends that there was no room for. Bounded: without room nothing starts.
    late: VecDeque<Event>,
    /// Records that were not written for want of room, and why. Nothing came of what they speak of.
    missed: u64,
    why: String,
    /// Why this file must not be written any more.
    broken: Option<String>,
    signer: Signer,
    unsigned: u64,
    journal: Option<Journal>,
    line: Vec<u8>,
}

impl Writer {
    /// Begins a file behind what was recovered, ends what the server before this one left without an
    /// end, and says that a server runs.
    pub(super) fn begin(
        folder: &Path,
        recovered: Recovered,
        signer: Signer,
        journal: Option<Journal>,
    ) -> io::Result<Self> {
        let Recovered { number, head, previous, running, .. } = recovered;
        let file = Arc::new(files::create(&folder.join(files::name(number)))?);
        let mut writer = Self {
            folder: folder.to_owned(),
            file,
            number,
            size: 0,
            head,
            running,
            late: VecDeque::new(),
            missed: 0,
            why: String::new(),
            broken: None,
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

    /// Writes ends for all that has none.
    pub(super) fn end_all(&mut self, message: &str) -> io::Result<()> {
        for job in self.running.clone() {
            self.write(&Event::lost(job, message))?;
        }
        Ok(())
    }

    /// Writes an event down; when this returns, the kernel has it.
    ///
    /// # Errors
    /// Why not; then what it speaks of must not happen.
    pub(super) fn note(&mut self, event: &Event) -> Result<AuditHead, String> {
        self.catch_up().and_then(|()| self.write(event)).map_err(|error| {
            self.missed += 1;
            self.why = error.to_string();
            self.why.clone()
        })
    }

    /// The same for what has happened already and can't be refused: it is kept until there is room.
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

    /// Whether something waits for room.
    pub(super) fn is_behind(&self) -> bool {
        !self.late.is_empty() || self.missed > 0
    }

    fn write(&mut self, event: &Event) -> io::Result<AuditHead> {
        if let Some(reason) = &self.broken {
            return Err(io::Error::other(reason.clone()));
        }
        let seq = self.head.seq + 1;
        let time = format!("{:.6}", Timestamp::now());
        self.line.clear();
        write_json(&Record { seq, time: &time, event }, &mut self.line)?;
        let hash = chain::close(&self.head.hash, &mut self.line);
        if let Err(error) = (&*self.file).write_all(&self.line) {
            // What was written of the line goes: the next one must begin where this one did.
            if let Err(cut) = self.file.set_len(self.size) {
                self.broken = Some(format!("{error}; and the part can't be removed: {cut}"));
            }
            return Err(error);
        }
        self.size += self.line.len() as u64;
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
        // So that the new key vouches for what the old one did.
        self.unsigned += 1;
    }

    /// Goes on in another file. Gives the one before.
    pub(super) fn rotate(&mut self, reason: Opening) -> io::Result<Arc<File>> {
        if reason == Opening::Rotation {
            self.catch_up()?;
            self.sign()?;
        }
        let previous = Previous {
            file: files::name(self.number),
            seq: self.head.seq,
            hash: hex::encode(self.head.hash),
            torn: None,
        };
        let path = self.folder.join(files::name(self.number + 1));
        let new = Arc::new(files::create(&path)?);
        let old = (std::mem::replace(&mut self.file, new), self.size, self.broken.take());
        (self.size, self.number) = (0, self.number + 1);
        match self.open(reason, Some(previous)) {
            Ok(_) => Ok(old.0),
            Err(error) => {
                (self.file, self.size, self.broken) = old;
                self.number -= 1;
                // If it stays, the next attempt says so.
                let _ = std::fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Writes nothing into this file any more, for this reason.
    pub(super) fn give_up(&mut self, reason: String) {
        self.broken = Some(reason);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn head(&self) -> AuditHead {
        self.head
    }

    pub(super) fn unsigned(&self) -> u64 {
        self.unsigned
    }
}
