//! Locks: names that one command on the host holds at a time, whatever its identity.
//!
//! ```text
//!              free, or its turn has come                 the lock file is ours, and no
//!                                                         process of the last job lives
//!  LockWaiter ---------------------------> LockTurn ------------------------------> LockGuard
//! ```
//!
//! A guard lives as long as its command, and as long as the command's tree if somebody ended that.
//! It is released when dropped, so no way of ending forgets it. A lock file on disk protects it
//! when the server is killed: see `locks/lock_file.rs`.

mod lock_file;
mod lock_queue;

use std::{
    collections::HashMap,
    path::PathBuf,
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
    time::{Instant, sleep, timeout_at},
};
use tracing::warn;

use crate::process::Processes;
use lock_file::{LockFile, Probe};
use lock_queue::LockQueue;

/// Time for the processes of a job whose server was killed to die.
const REMAINS: Duration = Duration::from_secs(5);
/// Time between two looks at a lock that another server holds, which does not announce its release.
const ELSEWHERE: Duration = Duration::from_millis(100);
/// The locks of a server.
#[derive(Debug)]
pub(crate) struct Locks {
    folder: PathBuf,
    processes: Processes,
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
    /// The longest time that the server lets it wait, if it wanted to wait for longer.
    cut_to: Option<Duration>,
    turn: oneshot::Receiver<LockTurn>,
}

/// The turn to take the lock, among the jobs of this server; passed to the next when dropped.
#[derive(Debug)]
struct LockTurn {
    locks: Arc<Locks>,
    name: String,
}

/// A lock that is held; see [`LockGuard::release`] for what dropping it means.
#[derive(Debug)]
pub(crate) struct LockGuard {
    file: LockFile,
    // Dropped last: the next job may look for the file at once.
    _turn: LockTurn,
}

impl Locks {
    /// Makes locks whose files are in this folder.
    pub(crate) fn new(folder: PathBuf, processes: Processes) -> Self {
        Self { folder, processes, held: Mutex::default() }
    }

    fn held<T>(&self, act: impl FnOnce(&mut HashMap<String, Held>) -> T) -> T {
        act(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Enters the queue for a lock, in which nobody waits for longer than `longest`.
    ///
    /// # Errors
    /// `busy` when it is held and the start does not want to wait.
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
                // The receiver is still here, so this can't fail.
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
    /// Returns how many jobs were to have the lock before this one when it entered the queue.
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
    /// `busy` when it was not free in time, or a process of its last holder can't be killed;
    /// `resources` when its file can't be written.
    pub(crate) async fn acquire(mut self) -> Result<LockGuard, WireError> {
        let Ok(Ok(turn)) = timeout_at(self.until, &mut self.turn).await else {
            return Err(self.locks.held(|held| match held.get(&self.name) {
                Some(held) => self.explain(held.busy(&self.name, &self.holder.who)),
                None => self.explain(busy(&self.name, "was not free in time")),
            }));
        };
        let file = self.take_file().await?;
        Ok(LockGuard { file, _turn: turn })
    }

    /// Takes the lock's file and writes the job's name into it, when no process of the last job
    /// lives.
    async fn take_file(&self) -> Result<LockFile, WireError> {
        let mut file = loop {
            // Small files in our own folder, and nothing is synced: this does not block the
            // runtime.
            match LockFile::take(&self.locks.folder, &self.name)
                .map_err(|error| self.failed(&error))?
            {
                Probe::Free(file) => break file,
                Probe::Left(file, job) => {
                    warn!(lock = %self.name, %job, "killing what a killed server left of its holder");
                    if !self.locks.processes.kill_remains(job.as_str(), REMAINS).await {
                        return Err(busy(
                            &self.name,
                            "has processes of its last holder, which can't be killed",
                        ));
                    }
                    break file;
                }
                Probe::Elsewhere if Instant::now() >= self.until => {
                    return Err(busy(&self.name, "is held by a command of another server"));
                }
                Probe::Elsewhere => sleep(ELSEWHERE).await,
            }
        };
        file.write(&self.holder.job).map_err(|error| self.failed(&error))?;
        Ok(file)
    }

    /// Returns the failure in words that name the host's limit, if that and not the client's wish ended the wait.
    fn explain(&self, failure: WireError) -> WireError {
        let Some(longest) = self.cut_to else { return failure };
        let longest = humantime::format_duration(longest);
        failure.hint(format!(
            "Nothing ran; no command waits for a lock longer than {longest} here: `lock_wait` in server.toml."
        ))
    }

    fn failed(&self, error: &std::io::Error) -> WireError {
        let folder = shown(&self.locks.folder);
        let message = format!("the lock {} can't be marked in {folder}: {error}", self.name);
        WireError::new(ErrorKind::Resources, message)
            .hint("Nothing ran; look for room and rights there on the host.")
    }
}

impl Drop for LockWaiter {
    fn drop(&mut self) {
        // Leaves the queue before the receiver is gone; a turn that came passes on by being
        // dropped.
        self.locks.held(|held| {
            if let Some(held) = held.get_mut(&self.name) {
                let own = |queued: &Queued| queued.holder.job == self.holder.job;
                held.queue.retain(self.holder.who.user(), |queued| !own(queued));
            }
        });
    }
}

impl LockGuard {
    /// Releases the lock after the job's last process is gone. A guard that is dropped instead
    /// leaves the job's name in the file, and the next job first kills the processes that may be
    /// left.
    pub(crate) fn release(self) {
        self.file.clear();
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
            // A waiter that has just left passes the turn on by dropping it here.
            let _ = grant.send(Self { locks: Arc::clone(&self.locks), name: self.name.clone() });
        }
    }
}

impl Held {
    /// Returns the failure of a start that can't have the lock. It names the holder to the holder's
    /// own identity and to members of its groups.
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
