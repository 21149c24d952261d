//! The log of idempotency keys that callers chose: `server/keys.jsonl`, with one line when a key is used
//! and one when its command has ended.
//!
//! A line is synced before its command starts, so a used key stays known, whatever kills the server.
//! Lines that come together are synced together.

mod line;

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rcmd_protocol::{
    frame::Exit,
    ids::{JobId, Key, RequestDigest},
    outcome::{ErrorKind, WireError},
};
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use line::{End, Line, Record};

/// Milliseconds for which a key returns the result of its command: 7 days.
pub(crate) const KEPT_MS: u64 = 7 * 24 * 3600 * 1000;
/// Milliseconds for which a key is known at all, to report that it has expired: 8 weeks.
const KNOWN_MS: u64 = 8 * KEPT_MS;
/// Maximum size of the file when it is read, in bytes; it is rewritten at each start.
const FILE_LIMIT: u64 = 1 << 30;
/// Maximum number of appends that wait for the disk.
const QUEUE: usize = 1024;

/// What is known of a key.
#[derive(Clone, Debug)]
pub(crate) enum KeyState {
    /// Its command has ended.
    Ended {
        /// The job.
        job: JobId,
        /// How it ended.
        exit: Box<Exit>,
    },
    /// Its command was started, or was about to be, by a server that is gone.
    Lost,
    /// It was used too long ago.
    Expired,
    /// It stands for another request.
    Conflict,
}

/// The log of idempotency keys.
#[derive(Debug)]
pub(crate) struct IdempotencyLog {
    records: Arc<Mutex<HashMap<(String, Key), Record>>>,
    appends: mpsc::Sender<Append>,
}

#[derive(Debug)]
struct Append {
    line: Vec<u8>,
    done: oneshot::Sender<io::Result<()>>,
}

/// The reason why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdempotencyError {
    /// The file can't be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// A line that is not one of ours.
    #[error(
        "{}:{line}: this is no record of a key ({error}); move the file away to go on without the keys in it",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong with it.
        error: String,
    },
}

impl IdempotencyLog {
    /// Reads the file, drops what is too old, and prepares to append.
    ///
    /// A last line without its newline was left by a crash; it never took effect and is dropped.
    ///
    /// # Errors
    /// When the file can't be read, rewritten or understood.
    pub(crate) fn open(path: &Path) -> Result<Self, IdempotencyError> {
        let failed = |error| IdempotencyError::Io { path: path.to_owned(), error };
        let mut records = read(path)?;
        let oldest = clock::now_ms().saturating_sub(KNOWN_MS);
        records.retain(|_, record| record.at >= oldest);
        let file = rewrite(path, &records).map_err(failed)?;
        let (appends, queue) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || write(file, queue))
            .map_err(failed)?;
        Ok(Self { records: Arc::new(Mutex::new(records)), appends })
    }

    fn records<T>(&self, act: impl FnOnce(&mut HashMap<(String, Key), Record>) -> T) -> T {
        act(&mut self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns what is known of a key whose job is not in memory.
    pub(crate) fn find(&self, user: &str, key: Key, digest: RequestDigest) -> Option<KeyState> {
        let record = self.records(|records| records.get(&(user.to_owned(), key)).cloned())?;
        if record.end.as_ref().is_some_and(End::did_not_start) {
            return None;
        }
        let age = clock::now_ms().saturating_sub(record.at);
        Some(if age >= KEPT_MS {
            KeyState::Expired
        } else if record.digest != digest {
            KeyState::Conflict
        } else {
            match record.end.as_ref().and_then(End::to_exit) {
                Some(exit) => KeyState::Ended { job: record.job, exit: Box::new(exit) },
                None => KeyState::Lost,
            }
        })
    }

    /// Records that a key is used; returns when the record is on disk.
    ///
    /// # Errors
    /// `resources` when it can't be written; then nothing may start.
    pub(crate) async fn begin(
        &self,
        user: &str,
        key: Key,
        digest: RequestDigest,
        job: &JobId,
    ) -> Result<(), WireError> {
        let record = Record { digest, job: job.clone(), at: clock::now_ms(), end: None };
        self.append(user, key, record).await.map_err(|error| {
            WireError::new(ErrorKind::Resources, format!("the key can't be written down: {error}"))
                .hint("Nothing ran; free space for server/keys.jsonl on the host.")
        })
    }

    /// Records how the command of a key has ended. When that fails, the key's result is `unknown` after a
    /// restart, as if the server had been killed before.
    pub(crate) async fn end(&self, user: &str, key: Key, exit: &Exit) {
        let known = self.records(|records| records.get(&(user.to_owned(), key)).cloned());
        let Some(mut record) = known else { return };
        record.end = Some(End::of(exit));
        if let Err(error) = self.append(user, key, record).await {
            tracing::warn!(%error, "the end of a key can't be written down");
        }
    }

    async fn append(&self, user: &str, key: Key, record: Record) -> io::Result<()> {
        let line = Line::of(user, key, &record).to_bytes();
        let (done, written) = oneshot::channel();
        let gone = |_| io::Error::other("the thread that writes keys has ended");
        self.appends.send(Append { line, done }).await.map_err(|_| gone(()))?;
        written.await.map_err(|_| gone(()))??;
        self.records(|records| records.insert((user.to_owned(), key), record));
        Ok(())
    }
}

fn read(path: &Path) -> Result<HashMap<(String, Key), Record>, IdempotencyError> {
    let failed = |error| IdempotencyError::Io { path: path.to_owned(), error };
    let mut text = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(error) => return Err(failed(error)),
        Ok(file) => {
            let size = file.take(FILE_LIMIT + 1).read_to_end(&mut text).map_err(failed)?;
            if size as u64 > FILE_LIMIT {
                return Err(failed(io::Error::other("the file is larger than 1 GiB")));
            }
        }
    }
    let mut records = HashMap::new();
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let lines = text.get(..whole).unwrap_or_default().split(|&byte| byte == b'\n');
    for (number, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
        let (user, key, record) = Line::parse(line).map_err(|error| IdempotencyError::Line {
            path: path.to_owned(),
            line: number + 1,
            error,
        })?;
        records.insert((user, key), record);
    }
    Ok(records)
}

/// Writes the records into a new file, which replaces the old one.
fn rewrite(path: &Path, records: &HashMap<(String, Key), Record>) -> io::Result<File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new().prefix(".keys").tempfile_in(folder)?;
    for ((user, key), record) in records {
        new.write_all(&Line::of(user, *key, record).to_bytes())?;
    }
    new.as_file().sync_all()?;
    new.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()?;
    OpenOptions::new().append(true).mode(0o600).open(path)
}

/// Appends lines, and syncs once for all that wait. After a failure nothing more is written: it is not
/// known what a failed sync has lost (fsync(2)).
fn write(mut file: File, mut queue: mpsc::Receiver<Append>) {
    let mut failed: Option<io::ErrorKind> = None;
    while let Some(first) = queue.blocking_recv() {
        let mut batch = vec![first];
        while let Ok(next) = queue.try_recv() {
            batch.push(next);
        }
        let lines: Vec<u8> = batch.iter().flat_map(|append| append.line.iter().copied()).collect();
        if failed.is_none() {
            let written = file.write_all(&lines).and_then(|()| file.sync_data());
            failed = written.err().map(|error| error.kind());
        }
        for append in batch {
            let _ = append.done.send(failed.map_or(Ok(()), |kind| Err(kind.into())));
        }
    }
}

#[cfg(test)]
mod tests {
    use rcmd_protocol::frame::StreamTotal;

    use super::*;

    fn digest(word: &str) -> RequestDigest {
        RequestDigest::from_hex(&format!("{word:0>64}")).unwrap()
    }

    fn exit() -> Exit {
        let stdout = StreamTotal { bytes: 5, digest: None };
        Exit::exited(3, 2).with_output(stdout, StreamTotal::default()).with_times(Some(1), Some(1))
    }

    #[tokio::test]
    async fn a_key_is_known_after_a_restart_with_its_end_or_without() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.jsonl");
        let (ended, lost) = (Key::from_text(b"ended"), Key::from_text(b"lost"));
        let job = JobId::random().unwrap();
        let log = IdempotencyLog::open(&path).unwrap();
        log.begin("a", ended, digest("1"), &job).await.unwrap();
        log.end("a", ended, &exit()).await;
        log.begin("a", lost, digest("1"), &job).await.unwrap();
        for log in [log, IdempotencyLog::open(&path).unwrap()] {
            match log.find("a", ended, digest("1")) {
                Some(KeyState::Ended { job: found, exit: end }) => {
                    assert_eq!((found, *end), (job.clone(), exit()));
                }
                found => panic!("{found:?}"),
            }
            assert!(matches!(log.find("a", lost, digest("1")), Some(KeyState::Lost)));
            assert!(matches!(log.find("a", lost, digest("2")), Some(KeyState::Conflict)));
            assert!(log.find("b", lost, digest("1")).is_none());
        }
    }

    #[tokio::test]
    async fn a_key_under_which_nothing_ran_is_free_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.jsonl");
        let log = IdempotencyLog::open(&path).unwrap();
        let key = Key::from_text(b"k");
        log.begin("a", key, digest("1"), &JobId::random().unwrap()).await.unwrap();
        let failure = WireError::new(ErrorKind::NotFound, "no");
        log.end("a", key, &Exit::not_started(failure, 2)).await;
        for log in [log, IdempotencyLog::open(&path).unwrap()] {
            assert!(log.find("a", key, digest("1")).is_none());
            assert!(log.find("a", key, digest("2")).is_none());
        }
    }

    #[tokio::test]
    async fn a_torn_last_line_is_dropped_and_a_bad_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.jsonl");
        let log = IdempotencyLog::open(&path).unwrap();
        log.begin("a", Key::from_text(b"k"), digest("1"), &JobId::random().unwrap()).await.unwrap();
        drop(log);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let log = IdempotencyLog::open(&path).unwrap();
            assert!(log.find("a", Key::from_text(b"k"), digest("1")).is_none());
        }
        std::fs::write(&path, [&whole[..], b"{}\n"].concat()).unwrap();
        let error = IdempotencyLog::open(&path).unwrap_err().to_string();
        assert!(error.contains("keys.jsonl:2:"), "{error}");
    }
}
