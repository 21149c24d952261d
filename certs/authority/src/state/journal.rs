//! The journal: a line of JSON for everything that the authority signed, on disk before it is sent.
//!
//! A line is written and synced before the transaction that it belongs to is committed, and the commit comes
//! before anything signed is sent. If the process is killed between the two, a line may name a certificate
//! that was never sent; the next start adds a line that records this. The opposite, a certificate without a
//! line, cannot occur.
#![expect(
    clippy::disallowed_methods,
    reason = "the authority's thread, and programs that serve nobody"
)]

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rcmd_certs::{clock::date, files::shown, fingerprint::Fingerprint, names::Kind, pem::Der};
use serde::{Deserialize, Serialize};

use super::records::Step;

/// The bytes of the end that are read at the start: some hundred lines. If the last line is longer, as that
/// of a revocation of thousands of certificates may be, all of it is read.
const TAIL: u64 = 256 * 1024;

/// The error that the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", shown(path))]
pub struct JournalError {
    path: PathBuf,
    source: io::Error,
}

/// A line of the journal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line {
    /// The time, RFC 3339 in UTC.
    pub at: String,
    #[serde(flatten)]
    pub event: Event,
}

/// An event in the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event {
    /// A certificate was signed.
    Certificate {
        serial: String,
        kind: CertificateKind,
        names: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        groups: Vec<String>,
        key: Fingerprint,
        issuer: Fingerprint,
        not_after: String,
        /// `token ID`, `renewal`, `command`, `break-glass` or `listener`.
        by: String,
        certificate: Der,
    },
    /// Revocation lists were signed.
    Lists { number: u64, revoked: usize, next_update: String },
    /// The certificate of the line before was never sent.
    Void { serial: String },
    /// A token was made; its secret is not recorded.
    Token {
        id: String,
        kind: Kind,
        names: String,
        groups: Vec<String>,
        uses: u32,
        expires_at: String,
    },
    /// A rotation went on to this step, from one root to the other.
    Rotation { step: Step, from: Fingerprint, to: Fingerprint },
    /// The authority was restored from a backup of that time; the lines after this one are later than the restore.
    Restored { made_at: String },
    /// Members or tokens were revoked.
    Revoked { what: String, reason: String, serials: Vec<String> },
}

/// The kind of holder of a certificate in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CertificateKind {
    /// A server.
    Server,
    /// A client.
    Client,
    /// The authority's own listener.
    Authority,
}

impl From<Kind> for CertificateKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Server => Self::Server,
            Kind::Client => Self::Client,
        }
    }
}

/// The journal's file. It is opened for each line, so that it may be moved away at any time.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
}

impl Journal {
    /// Opens the journal and removes an unfinished last line. Returns the last lines.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Line>), JournalError> {
        let journal = Self { path: path.to_owned() };
        let tail = journal.repair().map_err(|source| journal.failed(source))?;
        Ok((journal, tail))
    }

    /// Adds a line and waits until it is on disk.
    pub(super) fn add(&self, now: i64, event: Event) -> Result<(), JournalError> {
        self.write(now, event).map_err(|source| self.failed(source))
    }

    fn write(&self, now: i64, event: Event) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(&Line { at: date(now), event })?;
        bytes.push(b'\n');
        let mut file = self.file()?;
        let new = file.metadata()?.len() == 0;
        file.write_all(&bytes)?;
        file.sync_data()?;
        if new {
            // The name of a new file is on disk only after this.
            sync_folder(&self.path)?;
        }
        Ok(())
    }

    fn file(&self) -> io::Result<File> {
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&self.path)
    }

    fn repair(&self) -> io::Result<Vec<Line>> {
        let mut file = match OpenOptions::new().read(true).write(true).open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        let (start, tail) = read_tail(&mut file, length)?;
        let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole < tail.len() {
            // An unfinished line was not synced either, so nothing of it was sent.
            let file = OpenOptions::new().write(true).open(&self.path)?;
            file.set_len(start + u64::try_from(whole).unwrap_or_default())?;
            file.sync_data()?;
        }
        // The first may be part of a line, and an older version may have written other lines.
        let lines = tail.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n');
        Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }

    fn failed(&self, source: io::Error) -> JournalError {
        JournalError { path: self.path.clone(), source }
    }
}

/// Reads the end of a file of this length, with at least the whole of its last line, finished or not. Returns
/// the offset at which that begins, and its bytes.
fn read_tail(file: &mut File, length: u64) -> io::Result<(u64, Vec<u8>)> {
    let mut size = TAIL;
    loop {
        let start = length.saturating_sub(size);
        file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        file.take(length - start).read_to_end(&mut tail)?;
        let before_last = tail.split_last().map_or(&[][..], |(_, rest)| rest);
        if start == 0 || before_last.contains(&b'\n') {
            return Ok((start, tail));
        }
        size = size.saturating_mul(2);
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn void(serial: &str) -> Event {
        Event::Void { serial: serial.to_owned() }
    }

    #[test]
    fn a_line_that_was_not_finished_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("journal.jsonl");
        let (journal, tail) = Journal::open(&path).unwrap();
        assert!(tail.is_empty());
        journal.add(0, void("01")).unwrap();
        journal.add(1, void("02")).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..whole.len() / 2 {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let (journal, mut tail) = Journal::open(&path).unwrap();
            let last = tail.pop().unwrap();
            assert_eq!(last.at, "1970-01-01T00:00:00Z");
            assert!(matches!(last.event, Event::Void { serial } if serial == "01"));
            journal.add(1, void("02")).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn a_line_longer_than_what_is_read_first_is_whole_or_removed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("journal.jsonl");
        let (journal, _) = Journal::open(&path).unwrap();
        journal.add(0, void("01")).unwrap();
        let first = std::fs::read(&path).unwrap();
        let serials = vec!["f".repeat(40); 20_000];
        journal.add(1, Event::Revoked { what: "x".into(), reason: "r".into(), serials }).unwrap();
        let whole = std::fs::read(&path).unwrap();
        assert!((whole.len() - first.len()) as u64 > 2 * TAIL);
        let (_, tail) = Journal::open(&path).unwrap();
        assert!(matches!(&tail[..], [.., Line { event: Event::Revoked { .. }, .. }]), "{tail:?}");
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        for cut in [1, 1000, TAIL as usize, whole.len() - first.len() - 1] {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let (_, tail) = Journal::open(&path).unwrap();
            assert!(matches!(&tail[..], [Line { event: Event::Void { .. }, .. }]), "{cut}");
            assert_eq!(std::fs::read(&path).unwrap(), first, "{cut}");
        }
    }

    #[test]
    fn a_certificate_s_line_has_the_form_that_it_always_had() {
        let text = r#"{"at":"1970-01-01T00:00:00Z","event":"certificate","serial":"01","kind":"KIND","names":["web1"],"key":"KEY","issuer":"KEY","not_after":"1970-01-01T00:00:09Z","by":"renewal","certificate":"MAA="}"#;
        let key = Fingerprint::of_key(b"").to_string();
        for (kind, word) in [
            (Kind::Server.into(), "server"),
            (Kind::Client.into(), "client"),
            (CertificateKind::Authority, "authority"),
        ] {
            let text = text.replace("KIND", word).replace("KEY", &key);
            let line: Line = serde_json::from_str(&text).unwrap();
            assert!(matches!(&line.event, Event::Certificate { kind: read, .. } if *read == kind));
            assert_eq!(serde_json::to_string(&line).unwrap(), text);
        }
    }

    #[test]
    fn it_may_be_moved_away_at_any_time() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("journal.jsonl");
        let (journal, _) = Journal::open(&path).unwrap();
        journal.add(0, void("01")).unwrap();
        std::fs::rename(&path, root.path().join("old")).unwrap();
        journal.add(0, void("02")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    }
}
