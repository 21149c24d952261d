//! The log of idempotency keys that callers chose: `server/keys.jsonl`, with one line when a key is
//! used and one when its command has ended.
//!
//! A line is synced before its command starts, so that a used key stays known if the server is
//! killed. Lines that arrive together are synced together. The number of an identity's keys is
//! limited, and the file is rewritten when most of its lines are obsolete, so that neither grows
//! without bound.

mod file;
mod line;
mod records;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rcmd_certs::clock;
use rcmd_protocol::{
    frame::Exit,
    ids::{JobId, Key, RequestDigest},
    outcome::{ErrorKind, WireError},
};
use tokio::sync::{mpsc, oneshot};

use file::KeyFile;
use line::{Line, Record};
use records::Records;

/// The time in milliseconds for which a key returns the result of its command: 7 days.
pub(crate) const KEPT_MS: u64 = 7 * 24 * 3600 * 1000;
/// The time in milliseconds for which a key is known, to report that it has expired: 8 weeks, or
/// until the identity has used up its number of keys.
const KNOWN_MS: u64 = 8 * KEPT_MS;
/// The maximum number of appends that wait for the disk. Each is a command of its own, of which an
/// identity has a bounded number, and all that wait are written at once.
const QUEUE: usize = 1024;

/// The state of a key.
#[derive(Clone, Debug)]
pub(crate) enum KeyState {
    /// The key's command has ended.
    Ended {
        /// The ID of the job.
        job: JobId,
        /// The exit of the command.
        exit: Box<Exit>,
    },
    /// The command was started, or was about to be, by a server that is gone.
    Lost,
    /// The key was used too long ago.
    Expired,
    /// The key was used for another request.
    Conflict,
}

#[derive(Debug)]
pub(crate) struct IdempotencyLog {
    records: Arc<Mutex<Records>>,
    appends: mpsc::Sender<Append>,
}

#[derive(Debug)]
struct Append {
    user: String,
    key: Key,
    record: Record,
    done: oneshot::Sender<io::Result<()>>,
}

/// A place among an identity's keys; given back when dropped.
struct Place<'a> {
    log: &'a IdempotencyLog,
    user: &'a str,
}

/// The reason why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdempotencyError {
    /// The file can't be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// A line is not a record of a key.
    #[error(
        "{}:{line}: this is not a record of a key ({error}); to continue without the keys in the file, move it away",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// The fault in it.
        error: String,
    },
}

impl IdempotencyLog {
    /// Reads the file, drops the records that are too old, and prepares to append.
    ///
    /// A last line without its newline was left by a crash. It never took effect and is dropped.
    ///
    /// # Errors
    /// If the file can't be read, rewritten or understood.
    pub(crate) fn open(path: &Path) -> Result<Self, IdempotencyError> {
        let failed = |error| IdempotencyError::Io { path: path.to_owned(), error };
        let mut records = file::read(path)?;
        records.forget_before(clock::now_ms().saturating_sub(KNOWN_MS));
        let file = KeyFile::begin(path, &records.all()).map_err(failed)?;
        let records = Arc::new(Mutex::new(records));
        let (appends, queue) = mpsc::channel(QUEUE);
        let known = Arc::clone(&records);
        std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || write(file, queue, &known))
            .map_err(failed)?;
        Ok(Self { records, appends })
    }

    fn records<T>(&self, act: impl FnOnce(&mut Records) -> T) -> T {
        act(&mut self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the state of a key whose job is not in memory.
    pub(crate) fn find(&self, user: &str, key: Key, digest: RequestDigest) -> Option<KeyState> {
        let record = self.records(|records| records.get(user, key))?;
        let age = clock::now_ms().saturating_sub(record.at);
        Some(if age >= KEPT_MS {
            KeyState::Expired
        } else if record.digest != digest {
            KeyState::Conflict
        } else {
            match &record.end {
                Some(exit) => KeyState::Ended { job: record.job.clone(), exit: exit.clone() },
                None => KeyState::Lost,
            }
        })
    }

    /// Records that a key is used, of which the identity may have `limit`. Returns when the record
    /// is on disk.
    ///
    /// # Errors
    /// `busy`, if the identity has as many and none has expired; `resources`, if the record can't
    /// be written. Nothing may start then.
    pub(crate) async fn begin(
        &self,
        user: &str,
        limit: usize,
        key: Key,
        digest: RequestDigest,
        job: &JobId,
    ) -> Result<(), WireError> {
        let _place = self.place(user, limit)?;
        let record = Record { digest, job: job.clone(), at: clock::now_ms(), end: None };
        self.append(user, key, record).await.map_err(|error| {
            WireError::new(ErrorKind::Resources, format!("the key cannot be recorded: {error}"))
                .hint("Nothing ran; free space for server/keys.jsonl on the host.")
        })
    }

    /// Takes a place among an identity's keys, while a key is being recorded.
    fn place<'a>(&'a self, user: &'a str, limit: usize) -> Result<Place<'a>, WireError> {
        let now = clock::now_ms();
        let taken = self.records(|records| records.take_place(user, limit, now, KEPT_MS));
        let free_in = match taken {
            Ok(()) => return Ok(Place { log: self, user }),
            Err(free_in) => free_in,
        };
        let why =
            format!("this identity has {limit} keys here already, and each is kept for 7 days");
        Err(WireError::new(ErrorKind::Busy, why)
            .hint(
                "Nothing ran; leave --key out, or raise `keys` under [limits.peer] in server.toml.",
            )
            .retry_after_ms(free_in))
    }

    /// Records how the command of a key has ended. If that can't be written, the key's result is
    /// `unknown` after a restart, as if the server had been killed before.
    pub(crate) async fn end(&self, user: &str, key: Key, exit: &Exit) {
        let Some(known) = self.records(|records| records.get(user, key)) else { return };
        let record = Record { end: Some(Box::new(exit.clone())), ..(*known).clone() };
        if let Err(error) = self.append(user, key, record).await {
            tracing::warn!(%error, "the end of a key can't be written down");
        }
    }

    async fn append(&self, user: &str, key: Key, record: Record) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        let gone = |_| io::Error::other("the thread that writes keys has ended");
        let append = Append { user: user.to_owned(), key, record, done };
        self.appends.send(append).await.map_err(|_| gone(()))?;
        written.await.map_err(|_| gone(()))?
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.log.records(|records| records.give_back(self.user));
    }
}

/// Appends lines, and syncs once for all that wait. Written records are inserted into `records`
/// here, so that a rewritten file lacks nothing that was promised.
fn write(mut file: KeyFile, mut queue: mpsc::Receiver<Append>, records: &Mutex<Records>) {
    let known = || records.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some(first) = queue.blocking_recv() {
        let mut batch = vec![first];
        while let Ok(next) = queue.try_recv() {
            batch.push(next);
        }
        let lines =
            batch.iter().map(|Append { user, key, record, .. }| Line::of(user, *key, record));
        let written = file.append(lines, || known().all()).map_err(|error| error.kind());
        for Append { user, key, record, done } in batch {
            // An end is known even if it is not on disk: it has happened.
            if written.is_ok() || record.end.is_some() {
                known().insert(&user, key, record);
            }
            let _ = done.send(written.map_err(io::Error::from));
        }
        // The lock is not held while the file calls for all records.
        let live = known().count();
        if let Err(error) = file.compact(live, || known().all()) {
            tracing::warn!(%error, "the file of keys can't be rewritten and continues to grow");
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
        log.begin("a", 9, ended, digest("1"), &job).await.unwrap();
        log.end("a", ended, &exit()).await;
        log.begin("a", 9, lost, digest("1"), &job).await.unwrap();
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
        log.begin("a", 9, key, digest("1"), &JobId::random().unwrap()).await.unwrap();
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
        log.begin("a", 9, Key::from_text(b"k"), digest("1"), &JobId::random().unwrap())
            .await
            .unwrap();
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

    /// Begins and ends `count` keys under which nothing runs, many at a time.
    async fn come_and_go(log: &Arc<IdempotencyLog>, from: usize, count: usize) {
        let mut all = tokio::task::JoinSet::new();
        for number in from..from + count {
            let log = Arc::clone(log);
            all.spawn(async move {
                let key = Key::from_text(number.to_string().as_bytes());
                let job = JobId::random().unwrap();
                log.begin("a", 10_000, key, digest("1"), &job).await.unwrap();
                let failure = WireError::new(ErrorKind::NotFound, "no");
                log.end("a", key, &Exit::not_started(failure, 2)).await;
            });
        }
        while all.join_next().await.is_some() {}
    }

    fn lines(path: &Path) -> usize {
        std::fs::read_to_string(path).unwrap().lines().count()
    }

    #[tokio::test]
    async fn the_file_grows_with_what_is_known_and_not_with_what_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.jsonl");
        let log = Arc::new(IdempotencyLog::open(&path).unwrap());
        let (stays, job) = (Key::from_text(b"stays"), JobId::random().unwrap());
        log.begin("a", 10_000, stays, digest("1"), &job).await.unwrap();
        for batch in 0..2 {
            come_and_go(&log, batch * 700, 700).await;
        }
        assert!(lines(&path) < 1800, "{} lines", lines(&path));
        let again = IdempotencyLog::open(&path).unwrap();
        assert_eq!(lines(&path), 1);
        for log in [&*log, &again] {
            assert!(matches!(log.find("a", stays, digest("1")), Some(KeyState::Lost)));
        }
    }

    #[tokio::test]
    async fn what_waits_is_written_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.jsonl");
        let log = Arc::new(IdempotencyLog::open(&path).unwrap());
        // Thousands of syncs, one after the other, would take minutes on a slow disk.
        let one = std::time::Instant::now();
        come_and_go(&log, 0, 1).await;
        let one = one.elapsed().max(std::time::Duration::from_millis(50));
        let all = std::time::Instant::now();
        come_and_go(&log, 1, 500).await;
        assert!(all.elapsed() < 100 * one, "{:?} for one, {:?} for 500", one, all.elapsed());
    }

    #[tokio::test]
    async fn at_its_number_an_identity_is_told_when_to_come_again_and_another_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let log = IdempotencyLog::open(&dir.path().join("keys.jsonl")).unwrap();
        let job = JobId::random().unwrap();
        let key = |name: &str| Key::from_text(name.as_bytes());
        for name in ["1", "2"] {
            log.begin("a", 2, key(name), digest("1"), &job).await.unwrap();
        }
        let full = log.begin("a", 2, key("3"), digest("1"), &job).await.unwrap_err();
        assert_eq!(full.kind, ErrorKind::Busy);
        assert!(full.retry_after_ms.unwrap() > KEPT_MS - 60_000, "{full:?}");
        log.begin("b", 2, key("3"), digest("1"), &job).await.unwrap();
        // A command that did not start takes no place.
        let failure = WireError::new(ErrorKind::NotFound, "no");
        log.end("a", key("2"), &Exit::not_started(failure, 2)).await;
        log.begin("a", 2, key("3"), digest("1"), &job).await.unwrap();
        assert!(log.find("a", key("1"), digest("1")).is_some());
    }
}
