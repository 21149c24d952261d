//! The folder of records: who may use it, which are there, and who writes one.
#![expect(clippy::disallowed_methods, reason = "programs that serve nobody")]

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rcmd_certs::files::{FileError, shown};
use rcmd_client::{ErrorKind, WireError};
use rcmd_protocol::ids::Key;
use rustix::event::{Timespec, poll};
use rustix::fs::OFlags;

use super::id::RunId;

/// The end of a record's name.
const ENDING: &str = ".jsonl";

/// Tries to find a name that is not taken, and a lock that is free. Whoever looks at a record holds its lock
/// for as long as a look takes.
const TRIES: usize = 20;

/// The time between two tries at a lock.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// A folder of records that nobody else may use, or that is not there.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Finds the folder of records in a client's folder, and makes it if it is missing.
    ///
    /// # Errors
    /// A failure when the folder can't be made, or somebody else may use it.
    pub(super) fn make(dir: &Path) -> Result<Self, WireError> {
        // In another's folder it would lock that one out.
        let found = fs::metadata(dir).map_err(FileError::io("read", dir)).map_err(failed)?;
        check_owner(dir, &found)?;
        let path = dir.join("runs");
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(failed(FileError::io("create", &path)(error)))
            }
            _ => Self::find(dir),
        }
    }

    /// Finds the folder of records; one that is not there has none.
    ///
    /// # Errors
    /// A failure when somebody else may use the folder.
    pub(super) fn find(dir: &Path) -> Result<Self, WireError> {
        let path = dir.join("runs");
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(FileError::io("read", &path)(error))),
            Ok(found) if !found.is_dir() => {
                let source = io::Error::from(io::ErrorKind::NotADirectory);
                return Err(failed(FileError::io("read", &path)(source)));
            }
            Ok(found) => check_private(&path, &found, "700")?,
        }
        Ok(Self { path })
    }

    /// Returns where a record is.
    pub(super) fn path_of(&self, id: RunId) -> PathBuf {
        self.path.join(format!("{id}{ENDING}"))
    }

    /// Returns the names of the records, the last one at the end.
    ///
    /// # Errors
    /// A failure when the folder can't be read.
    pub(super) fn ids(&self) -> Result<Vec<RunId>, WireError> {
        let unread = |error| failed(FileError::io("read", &self.path)(error));
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(unread)?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry.map_err(unread)?.file_name();
            ids.extend(name.to_str().and_then(|name| RunId::parse(name.strip_suffix(ENDING)?)));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Makes an empty record that begins now, in milliseconds since 1970, and takes its lock.
    ///
    /// # Errors
    /// A failure when the record can't be made.
    pub(super) fn create(&self, now: u64) -> Result<(RunId, File), WireError> {
        let mut last = self.ids()?.pop();
        let mut tries = 0;
        loop {
            let id = RunId::next(last, now, random().map_err(no_random)?);
            let path = self.path_of(id);
            match open(&path, OpenOptions::new().read(true).append(true).create_new(true)) {
                Ok(file) => match lock(&file) {
                    Ok(true) => return Ok((id, file)),
                    Ok(false) => return Err(in_use(id)),
                    Err(error) => {
                        self.remove(id);
                        return Err(unlocked(&path, &error));
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < TRIES => {
                    (tries, last) = (tries + 1, Some(id));
                }
                Err(error) => return Err(failed(FileError::io("create", &path)(error))),
            }
        }
    }

    /// Opens a record to read it and to add to it, and takes its lock.
    ///
    /// # Errors
    /// A failure when the record is not there, another process has it, or it is not this user's alone.
    pub(super) fn take(&self, id: RunId) -> Result<File, WireError> {
        let file = self.open(id, OpenOptions::new().read(true).append(true))?;
        let taken = lock(&file).map_err(|error| unlocked(&self.path_of(id), &error))?;
        if !taken {
            return Err(in_use(id));
        }
        // It may have been removed between the two.
        let found = file.metadata().map_err(FileError::io("read", &self.path_of(id)));
        if found.map_err(failed)?.nlink() == 0 {
            return Err(missing(id));
        }
        Ok(file)
    }

    /// Opens a record to read it, and returns whether a process writes it.
    ///
    /// # Errors
    /// A failure when the record is not there, or is not this user's alone.
    pub(super) fn look(&self, id: RunId) -> Result<(File, bool), WireError> {
        let file = self.open(id, OpenOptions::new().read(true))?;
        let running = match file.try_lock_shared() {
            Ok(()) => {
                // It is given back at once, or with the file.
                let _ = file.unlock();
                false
            }
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(error)) => return Err(unlocked(&self.path_of(id), &error)),
        };
        Ok((file, running))
    }

    /// Removes the oldest records past `kept`, but none that a process writes.
    ///
    /// # Errors
    /// A failure when the folder can't be read. A record that can't be removed stays.
    pub(super) fn prune(&self, kept: usize) -> Result<(), WireError> {
        let ids = self.ids()?;
        for id in ids.iter().take(ids.len().saturating_sub(kept)) {
            // The lock is held until it is gone, so that nobody takes it up meanwhile.
            if let Ok(file) = self.open(*id, OpenOptions::new().read(true))
                && file.try_lock().is_ok()
            {
                self.remove(*id);
            }
        }
        Ok(())
    }

    /// Removes a record, if it can be.
    pub(super) fn remove(&self, id: RunId) {
        // The next run tries again.
        let _ = fs::remove_file(self.path_of(id));
    }

    fn open(&self, id: RunId, how: &mut OpenOptions) -> Result<File, WireError> {
        let path = self.path_of(id);
        let file =
            open(&path, how).map_err(FileError::io("read", &path)).map_err(|error| match error
                .is_missing()
            {
                true => missing(id),
                false => failed(error),
            })?;
        let found = file.metadata().map_err(FileError::io("read", &path)).map_err(failed)?;
        if !found.is_file() {
            return Err(failed(FileError::NotRegular(path)));
        }
        check_private(&path, &found, "600")?;
        Ok(file)
    }
}

/// Opens a regular file to read it, whoever has it.
///
/// # Errors
/// A failure when it can't be read.
pub(super) fn open_any(path: &Path) -> Result<File, WireError> {
    let file = open(path, OpenOptions::new().read(true));
    file.map_err(FileError::io("read", path)).map_err(failed)
}

/// Opens a file of this user alone, but neither by a link nor by waiting for whoever has the other end.
fn open(path: &Path, how: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    how.mode(0o600).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Takes the lock of a record. Returns false when another process keeps it.
fn lock(file: &File) -> io::Result<bool> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {
                // It fails by a signal alone, and then the next try comes sooner.
                let _ = poll(&mut [], Some(&PAUSE));
            }
        }
    }
    Ok(false)
}

fn random() -> io::Result<u32> {
    let key = Key::random()?;
    Ok(key.as_bytes().first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)))
}

/// Checks that a file or a folder is this user's or root's, and that nobody else may use it.
fn check_private(path: &Path, found: &Metadata, remedy: &'static str) -> Result<(), WireError> {
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(failed(FileError::TooOpen { path: path.to_owned(), mode, remedy }));
    }
    check_owner(path, found)
}

fn check_owner(path: &Path, found: &Metadata) -> Result<(), WireError> {
    let (own, owner) = (rustix::process::geteuid().as_raw(), found.uid());
    if owner == own || owner == 0 {
        return Ok(());
    }
    Err(failed(FileError::Owner { path: path.to_owned(), owner, own }))
}

fn failed(error: FileError) -> WireError {
    let hint = match error {
        FileError::TooOpen { .. } | FileError::Owner { .. } => {
            "DIR, DIR/runs and the records in it must belong to you or root, and nobody else may use the \
             records: correct owner and mode, as with `chmod -R go= DIR/runs`."
        }
        _ => {
            "Check that you may use DIR/runs, where runs are recorded, and that its disk has room."
        }
    };
    WireError::new(ErrorKind::LocalIo, error.to_string()).hint(hint)
}

fn missing(id: RunId) -> WireError {
    WireError::new(ErrorKind::Usage, format!("no run {id} is recorded"))
        .hint("`rcmd-client runs` lists those that are: the last 100.")
}

fn in_use(id: RunId) -> WireError {
    WireError::new(ErrorKind::Usage, format!("the run {id} still goes on, in another process"))
        .hint(format!(
            "Wait until the run ends, or end it by Ctrl-C where it was started; \
             `rcmd-client runs show {id}` shows its state."
        ))
}

fn unlocked(path: &Path, error: &io::Error) -> WireError {
    let message = format!("cannot lock {}: {error}", shown(path));
    WireError::new(ErrorKind::LocalIo, message).hint(
        "Put DIR on a file system with locks (flock(2)), which records need, or name another DIR with \
         --dir.",
    )
}

fn no_random(error: io::Error) -> WireError {
    let message = format!("the operating system gave no random numbers: {error}");
    WireError::new(ErrorKind::Resources, message).hint("Nothing ran; try again.")
}
