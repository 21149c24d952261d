//! Locks: names that one command on the host holds at a time, whatever its identity.
//!
//! ```text
//!              free, or its turn has come                 the lock file is ours, and no
//!                                                         process of the last job lives
//!  LockWaiter ---------------------------> LockTurn ------------------------------> LockGuard
//! ```
//!
//! A guard lives as long as its command, or as long as the command's tree if somebody ended the
//! command. Dropping it releases the lock, so that no path forgets it. A lock file on disk protects
//! the lock if the server is killed: see `locks/lock_file.rs`. One thread makes and removes the
//! files, in the order of the calls: a disk that hangs delays only the commands that want a lock.

mod lock_file;
mod lock_queue;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rcmd_certs::{Identity, files::shown};
use rcmd_protocol::{
    frame::Lock,
    ids::JobId,
    outcome::{ErrorKind, WireError},
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::warn;

use crate::{process::Processes, workers::Workers};
use lock_file::{LockFile, Probe};
use lock_queue::LockQueue;

/// The time that the processes of a job whose server was killed have to die.
const REMAINS: Duration = Duration::from_secs(5);
/// The time between two looks at a lock that another server holds, which does not announce its
/// release.
const ELSEWHERE: Duration = Duration::from_millis(100);
/// The time that the disk has to make or remove a lock's file.
const DISK: Duration = Duration::from_secs(5);

/// The locks of a server.
#[derive(Debug)]
pub(crate) struct Locks {
    folder: PathBuf,
    processes: Processes,
    /// The thread that makes and removes the files.
    files: Workers,
    held: Mutex<HashMap<String, Held>>,
}

#[derive(Debug)]
struct Held {
    holder: Holder,
    since: Instant,
    queue: LockQueue<Queued>,
}

#[derive(Debug)]
struct Queued {
    holder: Holder,
    grant: oneshot::Sender<LockTurn>,
}

/// The identity and the job that hold a lock or wait for it.
#[derive(Clone, Debug)]
struct Holder {
    who: Identity,
    job: JobId,
}

/// A job's place in the queue for a lock, or at its head.
#[derive(Debug)]
pub(crate) struct LockWaiter {
    locks: Arc<Locks>,
    name: String,
    holder: Holder,
    position: usize,
    until: Instant,
    /// The longest time that the server lets the job wait, if the job wanted to wait longer.
    cut_to: Option<Duration>,
    turn: oneshot::Receiver<LockTurn>,
}

/// The turn, among the jobs of this server, to take the lock; passed to the next job when dropped.
#[derive(Debug)]
struct LockTurn {
    locks: Arc<Locks>,
    name: String,
}

/// A held lock; [`LockGuard::release`] describes how dropping it differs.
#[derive(Debug)]
pub(crate) struct LockGuard {
    /// `None` after the release. The turn is dropped last, since the next job may look at the file
    /// at once.
    held: Option<(LockFile, LockTurn)>,
    files: Workers,
}

/// The result of trying to take a lock's file.
enum Taken {
    /// The file is taken, and the job's ID is written into it.
    Ours(Claim),
    /// The file is taken; this job held the lock when its server was killed.
    Left(LockFile, JobId),
    /// Another server holds the lock.
    Elsewhere,
}

/// A file with the ID of a job of which nothing has run. It is removed when this is dropped.
struct Claim {
    file: Option<LockFile>,
    files: Workers,
}

impl Locks {
    /// Makes locks whose files are in this folder, and starts the thread for them.
    ///
    /// # Errors
    /// If the host can't start a thread.
    pub(crate) fn new(folder: PathBuf, processes: Processes) -> io::Result<Self> {
        let files = Workers::start("locks", 1)?;
        Ok(Self { folder, processes, files, held: Mutex::default() })
    }

    fn held<T>(&self, act: impl FnOnce(&mut HashMap<String, Held>) -> T) -> T {
        act(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Enters the queue for a lock, in which no job waits longer than `longest`.
    ///
    /// # Errors
    /// `busy`, if the lock is held and the start does not want to wait.
    pub(crate) fn enqueue(
        self: &Arc<Self>,
        lock: &Lock,
        who: &Identity,
        job: &JobId,
        longest: Duration,
    ) -> Result<LockWaiter, WireError> {
        let (grant, turn) = oneshot::channel();
        let holder = Holder { who: who.clone(), job: job.clone() };
        let position = self.held(|held| match held.get_mut(&lock.name) {
            Some(held) if lock.wait_ms == 0 => Err(held.busy(&lock.name, who)),
            Some(held) => Ok(held.queue.push(who.user(), Queued { holder: holder.clone(), grant })),
            None => {
                let (holder, since) = (holder.clone(), Instant::now());
                held.insert(lock.name.clone(), Held { holder, since, queue: LockQueue::default() });
                // The receiver still exists, so this can't fail.
                let _ = grant.send(LockTurn { locks: Arc::clone(self), name: lock.name.clone() });
                Ok(0)
            }
        })?;
        let wanted = Duration::from_millis(lock.wait_ms);
        let (until, cut_to) =
            (Instant::now() + wanted.min(longest), (wanted > longest).then_some(longest));
        let (locks, name) = (Arc::clone(self), lock.name.clone());
        Ok(LockWaiter { locks, name, holder, position, until, cut_to, turn })
    }
}

impl LockWaiter {
    /// Returns how many jobs were before this one when it entered the queue.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Returns whether another job holds the lock.
    pub(crate) fn must_wait(&self) -> bool {
        self.turn.is_empty()
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// `busy`, if it was not free in time, or a process of its last holder can't be killed;
    /// `resources`, if its file can't be written.
    pub(crate) async fn acquire(mut self) -> Result<LockGuard, WireError> {
        let Ok(Ok(turn)) = timeout_at(self.until, &mut self.turn).await else {
            return Err(self.locks.held(|held| match held.get(&self.name) {
                Some(held) => self.explain(held.busy(&self.name, &self.holder.who)),
                None => self.explain(busy(&self.name, "was not free in time")),
            }));
        };
        let mut claim = self.take_file().await?;
        let held = claim.file.take().map(|file| (file, turn));
        Ok(LockGuard { held, files: self.locks.files.clone() })
    }

    /// Takes the lock's file once no process of the last job lives, and writes the job's ID into
    /// it.
    async fn take_file(&self) -> Result<Claim, WireError> {
        let (locks, job) = (&self.locks, &self.holder.job);
        loop {
            let (files, folder) = (locks.files.clone(), locks.folder.clone());
            let (name, own) = (self.name.clone(), job.clone());
            match self.on_disk(move || take(files, &folder, &name, &own)).await? {
                Taken::Ours(claim) => return Ok(claim),
                Taken::Left(file, left) => {
                    warn!(lock = %self.name, job = %left, "killing what a killed server left of its holder");
                    if !locks.processes.kill_remains(left.as_str(), REMAINS).await {
                        return Err(busy(
                            &self.name,
                            "has processes of its last holder that cannot be killed",
                        ));
                    }
                    let (files, own) = (locks.files.clone(), job.clone());
                    return self.on_disk(move || Claim::mark(files, file, &own)).await;
                }
                Taken::Elsewhere if Instant::now() >= self.until => {
                    return Err(busy(&self.name, "is held by a command of another server"));
                }
                Taken::Elsewhere => sleep(ELSEWHERE).await,
            }
        }
    }

    /// Runs `act` on the thread for files and returns its result.
    async fn on_disk<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, WireError> {
        let done = timeout(DISK, self.locks.files.run_if_awaited(act)).await;
        let done = done.unwrap_or_else(|_| Some(Err(io::ErrorKind::TimedOut.into())));
        let gone = || Err(io::Error::other("the thread for it has failed"));
        done.unwrap_or_else(gone).map_err(|error| self.failed(&error))
    }

    /// Adds the host's limit to a failure, if that limit and not the client's wish ended the wait.
    fn explain(&self, failure: WireError) -> WireError {
        let Some(longest) = self.cut_to else { return failure };
        let longest = humantime::format_duration(longest);
        failure.hint(format!(
            "Nothing ran; no command waits for a lock longer than {longest} here: `lock_wait` in server.toml."
        ))
    }

    fn failed(&self, error: &io::Error) -> WireError {
        let folder = shown(&self.locks.folder);
        let message = format!("the lock {} cannot be recorded in {folder}: {error}", self.name);
        WireError::new(ErrorKind::Resources, message)
            .hint("Nothing ran; check free space and permissions of that folder on the host.")
    }
}

impl Drop for LockWaiter {
    fn drop(&mut self) {
        // The place is given up before the receiver is dropped; a turn that has arrived passes on
        // by being dropped.
        self.locks.held(|held| {
            if let Some(held) = held.get_mut(&self.name) {
                let own = |queued: &Queued| queued.holder.job == self.holder.job;
                held.queue.retain(self.holder.who.user(), |queued| !own(queued));
            }
        });
    }
}

/// Takes the file of a lock for a job, and writes the job's ID into it unless it contains another.
fn take(files: Workers, folder: &Path, name: &str, job: &JobId) -> io::Result<Taken> {
    Ok(match LockFile::take(folder, name)? {
        Probe::Free(file) => Taken::Ours(Claim::mark(files, file, job)?),
        Probe::Left(file, left) => Taken::Left(file, left),
        Probe::Elsewhere => Taken::Elsewhere,
    })
}

impl Claim {
    /// Writes the job's ID into a file that was taken.
    fn mark(files: Workers, mut file: LockFile, job: &JobId) -> io::Result<Self> {
        let written = file.write(job);
        let claim = Self { file: Some(file), files };
        written.map(|()| claim)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            self.files.submit(move || file.clear());
        }
    }
}

impl LockGuard {
    /// Releases the lock, after the job's last process has ended. A guard that is dropped instead
    /// leaves the job's ID in the file, and the next job first kills the processes that may be
    /// left.
    ///
    /// # Cancel safety
    /// The lock is released all the same.
    pub(crate) async fn release(mut self) {
        let Some((file, turn)) = self.held.take() else { return };
        let released = self.files.run(move || {
            file.clear();
            drop(turn);
        });
        // If the disk hangs, the file is removed when it responds again.
        let _ = timeout(DISK, released).await;
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.files.submit(move || drop(held));
        }
    }
}

impl Drop for LockTurn {
    fn drop(&mut self) {
        let next = self.locks.held(|held| {
            let queued = held.get_mut(&self.name).and_then(|held| {
                let Queued { holder, grant } = held.queue.pop()?;
                (held.holder, held.since) = (holder, Instant::now());
                Some(grant)
            });
            if queued.is_none() {
                held.remove(&self.name);
            }
            queued
        });
        if let Some(grant) = next {
            // If the waiter has just left, the turn passes on by being dropped here.
            let _ = grant.send(Self { locks: Arc::clone(&self.locks), name: self.name.clone() });
        }
    }
}

impl Held {
    /// Returns the failure of a start that can't have the lock. It names the holder only to the
    /// holder's own identity and to members of its groups.
    fn busy(&self, name: &str, asker: &Identity) -> WireError {
        let Holder { who, job } = &self.holder;
        let share = |group| who.groups().contains(group);
        let holder = match who.user() == asker.user() || asker.groups().iter().any(share) {
            true => format!("{}, job {job}", who.user()),
            false => "another identity".to_owned(),
        };
        let since = humantime::format_duration(Duration::from_secs(self.since.elapsed().as_secs()));
        busy(name, &format!("is held by {holder}, for {since}"))
    }
}

fn busy(name: &str, why: &str) -> WireError {
    WireError::new(ErrorKind::Busy, format!("the lock {name} {why}"))
        .hint("Nothing ran; --lock-wait DURATION waits until it is free.")
}
