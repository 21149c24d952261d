//! The file of a lock: it exists while the lock is held, locked by the server and with the job's ID
//! in it.
//!
//! A server that is killed releases its lock on the file (flock(2)) and leaves the job's ID in it.
//! So the next server to take the file knows a job whose end nobody saw. Nothing is synced, because
//! no job survives a power cut.
#![expect(clippy::disallowed_methods, reason = "the thread `locks`")]

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rcmd_protocol::ids::JobId;
use sha2::{Digest as _, Sha256};

/// The file of a lock, locked by this server.
#[derive(Debug)]
pub(super) struct LockFile {
    path: PathBuf,
    file: File,
}

/// The result of trying to take a lock's file.
#[derive(Debug)]
pub(super) enum Probe {
    /// No server holds the lock.
    Free(LockFile),
    /// This job held the lock when its server was killed.
    Left(LockFile, JobId),
    /// Another server holds the lock.
    Elsewhere,
}

impl LockFile {
    /// Takes the file of this lock if no server has it. Never waits.
    ///
    /// # Errors
    /// If the file can't be made or read.
    pub(super) fn take(folder: &Path, name: &str) -> io::Result<Probe> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // The name of a lock may contain characters that a file's name may not.
        let path = folder.join(hex::encode(Sha256::digest(name)));
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let mut file = options.open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(Probe::Elsewhere),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // The last holder may have removed the file meanwhile, and another may be in its place.
            if !is_same(&file, &path)? {
                continue;
            }
            let mut text = String::new();
            let _ = (&mut file).take(64).read_to_string(&mut text)?;
            let lock_file = Self { path, file };
            // An ID that was not fully written belongs to a job that has not begun.
            return Ok(match text.strip_suffix('\n').and_then(JobId::parse) {
                Some(job) => Probe::Left(lock_file, job),
                None => Probe::Free(lock_file),
            });
        }
    }

    /// Writes the holder's ID. To be called before any process of the job runs.
    ///
    /// # Errors
    /// If it can't be written.
    pub(super) fn write(&mut self, job: &JobId) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(format!("{job}\n").as_bytes())
    }

    /// Removes the file. To be called when no process of the job is left; otherwise the job's ID
    /// must stay.
    pub(super) fn clear(self) {
        // If the file can't be removed, the next holder only looks for a job that has ended.
        let _ = fs::remove_file(&self.path);
    }
}

fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(folder: &Path) -> LockFile {
        match LockFile::take(folder, "../a/b").unwrap() {
            Probe::Free(lock_file) => lock_file,
            found => panic!("{found:?}"),
        }
    }

    #[test]
    fn one_has_it_at_a_time_and_leaves_nothing_when_it_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("locks");
        let mut lock_file = free(&folder);
        lock_file.write(&JobId::random().unwrap()).unwrap();
        assert!(matches!(LockFile::take(&folder, "../a/b").unwrap(), Probe::Elsewhere));
        assert!(matches!(LockFile::take(&folder, "c").unwrap(), Probe::Free(_)));
        lock_file.clear();
        free(&folder).clear();
        // The second lock was never released, and nothing was written in its file.
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_job_that_was_not_seen_to_end_is_named_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let job = JobId::random().unwrap();
        let mut lock_file = free(dir.path());
        lock_file.write(&job).unwrap();
        drop(lock_file);
        for _ in 0..2 {
            match LockFile::take(dir.path(), "../a/b").unwrap() {
                Probe::Left(_, left) => assert_eq!(left, job),
                found => panic!("{found:?}"),
            }
        }
    }

    #[test]
    fn a_file_that_was_removed_under_its_lock_is_not_taken_for_the_one_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let lock_file = free(dir.path());
        fs::remove_file(&lock_file.path).unwrap();
        let next = free(dir.path());
        assert!(!is_same(&lock_file.file, &lock_file.path).unwrap());
        assert!(is_same(&next.file, &next.path).unwrap());
    }
}
