//! The file of keys: read line by line, appended to and synced, rewritten when it has grown.
#![expect(
    clippy::disallowed_methods,
    reason = "the thread `keys`, and the main thread before it serves"
)]

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    IdempotencyError,
    line::Line,
    records::{Records, Whole},
};

/// The maximum bytes of a line when it is read: twice the size of the longest message of a failure
/// with all of it escaped.
pub(super) const LINE: u64 = 64 * 1024;
/// The number of lines that a file may have beyond twice the number of records.
const SPARE: usize = 1024;
/// The time between two attempts after a failure.
const AGAIN: Duration = Duration::from_secs(1);

/// The file of keys. After a failed sync, it is unknown what of the file is on disk (fsync(2)), so
/// the next lines go into a new file.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    file: Option<File>,
    lines: usize,
    /// The number of lines before which the file is not rewritten again.
    compact_at: usize,
    /// The time of the next attempt after a failure, and the error of the last.
    failed: Option<(Instant, io::ErrorKind)>,
}

impl KeyFile {
    /// Writes the records into a new file, which replaces the old one, and keeps it open for
    /// appending.
    ///
    /// # Errors
    /// If that fails; the old file is then as it was.
    pub(super) fn begin(path: &Path, records: &[Whole]) -> io::Result<Self> {
        let file = Some(rewrite(path, records)?);
        let lines = records.len();
        Ok(Self { path: path.to_owned(), file, lines, compact_at: 0, failed: None })
    }

    /// Appends lines and syncs them. After a failure, a new file begins with the records that
    /// `known` returns.
    ///
    /// # Errors
    /// If they can't be written; then none of them counts.
    pub(super) fn append(
        &mut self,
        lines: impl ExactSizeIterator<Item = Line>,
        known: impl FnOnce() -> Vec<Whole>,
    ) -> io::Result<()> {
        if self.file.is_none() {
            if let Some((at, kind)) = self.failed
                && Instant::now() < at
            {
                return Err(kind.into());
            }
            match Self::begin(&self.path, &known()) {
                Ok(new) => *self = new,
                Err(error) => return Err(self.failed(error)),
            }
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let count = lines.len();
        let bytes: Vec<u8> = lines.flat_map(|line| line.to_bytes()).collect();
        if let Err(error) = file.write_all(&bytes).and_then(|()| file.sync_data()) {
            self.file = None;
            return Err(self.failed(error));
        }
        self.lines += count;
        Ok(())
    }

    fn failed(&mut self, error: io::Error) -> io::Error {
        self.failed = Some((Instant::now() + AGAIN, error.kind()));
        error
    }

    /// Rewrites the file if most of its lines are obsolete; `live` is the number of records.
    ///
    /// # Errors
    /// If that fails; the file is then used as it is.
    pub(super) fn compact(
        &mut self,
        live: usize,
        known: impl FnOnce() -> Vec<Whole>,
    ) -> io::Result<()> {
        if self.file.is_none() || self.lines < (2 * live + SPARE).max(self.compact_at) {
            return Ok(());
        }
        // If this fails, it is not tried again with each line.
        self.compact_at = self.lines + SPARE;
        *self = Self::begin(&self.path, &known())?;
        Ok(())
    }
}

/// Reads the records of a file. Returns none if there is no file.
///
/// # Errors
/// If the file can't be read, or a line is not a record of a key.
pub(super) fn read(path: &Path) -> Result<Records, IdempotencyError> {
    let failed = |error| IdempotencyError::Io { path: path.to_owned(), error };
    let mut records = Records::default();
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(records),
        file => BufReader::new(file.map_err(failed)?),
    };
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let size = file.by_ref().take(LINE).read_until(b'\n', &mut line).map_err(failed)?;
        let wrong = |error| IdempotencyError::Line { path: path.to_owned(), line: number, error };
        let Some(text) = line.strip_suffix(b"\n") else {
            if size as u64 == LINE {
                return Err(wrong("it is too long".to_owned()));
            }
            break;
        };
        if !text.is_empty() {
            let (user, key, record) = Line::parse(text).map_err(wrong)?;
            records.insert(&user, key, record);
        }
    }
    Ok(records)
}

/// Writes the records into a new file, which replaces the old one.
fn rewrite(path: &Path, records: &[Whole]) -> io::Result<File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new().prefix(".keys").tempfile_in(folder)?;
    let mut out = io::BufWriter::new(new.as_file_mut());
    for (user, key, record) in records {
        out.write_all(&Line::of(user, *key, record).to_bytes())?;
    }
    out.flush()?;
    drop(out);
    new.as_file().sync_all()?;
    new.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()?;
    OpenOptions::new().append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use rcmd_protocol::{
        frame::Exit,
        ids::{JobId, Key, RequestDigest},
        outcome::{ErrorKind, WireError},
    };

    use super::*;
    use crate::job::idempotency::line::Record;

    const USER: &str = "a";

    fn record(end: Option<Exit>) -> Record {
        let digest = RequestDigest::from_hex(&"0".repeat(64)).unwrap();
        Record { digest, job: JobId::random().unwrap(), at: 1, end: end.map(Box::new) }
    }

    fn line(key: &str, end: Option<Exit>) -> Line {
        Line::of(USER, Key::from_text(key.as_bytes()), &record(end))
    }

    #[test]
    fn a_line_at_its_worst_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.jsonl");
        let mut file = KeyFile::begin(&path, &[]).unwrap();
        // Each byte of a message, which is cut at its limit, becomes six.
        let failure = WireError::new(ErrorKind::Lost, "\u{1}".repeat(1 << 20));
        let exit = Exit::unknown(failure, 1);
        let longest = "u".repeat(1000);
        let line = Line::of(&longest, Key::from_text(b"k"), &record(Some(exit)));
        assert!((line.to_bytes().len() as u64) < LINE / 2);
        file.append([line].into_iter(), Vec::new).unwrap();
        assert_eq!(read(&path).unwrap().count(), 1);
        std::fs::write(&path, vec![b'x'; LINE as usize + 1]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("too long"));
    }

    #[test]
    fn after_a_failure_a_new_file_begins_with_what_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.jsonl");
        let mut file = KeyFile::begin(&path, &[]).unwrap();
        file.file = Some(File::open("/dev/full").unwrap());
        file.append([line("lost", None)].into_iter(), Vec::new).unwrap_err();
        // Not at once: a full disk stays full for a while.
        file.append([line("lost too", None)].into_iter(), Vec::new).unwrap_err();
        file.failed = None;
        let known = || vec![(USER.into(), Key::from_text(b"known"), record(None).into())];
        file.append([line("new", None)].into_iter(), known).unwrap();
        let records = read(&path).unwrap();
        let has = |key: &str| records.get(USER, Key::from_text(key.as_bytes())).is_some();
        assert_eq!(["known", "new", "lost"].map(has), [true, true, false]);
    }
}
