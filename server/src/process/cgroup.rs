//! A cgroup of each command's own (cgroups(7), version 2): a process that is started in it stays in
//! it, whatever it does, so that the tree of the command is known exactly and is killed by one
//! write.
//!
//! A command starts in its cgroup (CLONE_INTO_CGROUP) and is never moved there, which would take
//! milliseconds. Empty cgroups are used for later commands, because making one costs more than the
//! start itself. A cgroup in which a daemon lives on, after its command ended by itself, is left to
//! the daemon and marked, so that no later server takes it for the remains of a killed one.
#![allow(unsafe_code)]

mod files;
mod place;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::{
    fd::OwnedFd,
    fs::{XattrFlags, setxattr},
    process::{Pid, PidfdFlags, RawPid, Signal, getpgid, pidfd_open, pidfd_send_signal},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::timeout,
};

use self::files::{LEFT, folder, has_folders, is_busy, processes};
use super::launcher;
pub use place::TreeLimits;

/// The number of empty cgroups that are kept; more commands than these rarely begin at once.
const KEPT: usize = 256;
/// The time after which a kill gives up: a process that has not died by then waits in the kernel.
const PATIENCE: Duration = Duration::from_secs(5);

/// The part of the hierarchy of cgroups that is the server's own.
#[derive(Debug)]
pub(super) struct Cgroups {
    base: PathBuf,
    /// The lock (flock(2)) on the folder, held as long as the server lives.
    _lock: OwnedFd,
    limits: Vec<(&'static str, String)>,
    next: AtomicU64,
    empty: Mutex<Vec<PathBuf>>,
    /// The cgroups in which daemons live on.
    left: Mutex<Vec<PathBuf>>,
}

/// The cgroup of one command, until it is released.
#[derive(Debug)]
pub(super) struct Lease {
    path: PathBuf,
    /// True once the cgroup was killed. The kernel compares the number of times that a cgroup was
    /// killed with that of its parent, and kills a process that starts in one with the higher
    /// number (seen on Linux 6.18), so a killed cgroup is never used again.
    killed: AtomicBool,
    all: Arc<Cgroups>,
}

/// Returns the cgroup below which the server would make its own. Makes nothing.
///
/// # Errors
/// As for [`Cgroups::new`], except for errors that only the attempt would show.
pub(super) fn probe(limits: &TreeLimits) -> io::Result<PathBuf> {
    let parent = parent()?;
    files::writable(&parent)
        .map_err(|error| io::Error::new(error.kind(), format!("{parent:?}: {error}")))?;
    check_limits(limits, &parent, &place::controllers(&parent))?;
    Ok(parent)
}

fn parent() -> io::Result<PathBuf> {
    if !launcher::has_clone3() {
        return Err(io::Error::other("clone3 does not exist here, or is not allowed (seccomp)"));
    }
    place::own()
}

/// Checks that the limits can be enforced: one that is configured and not enforced is worse than
/// none.
fn check_limits(limits: &TreeLimits, parent: &Path, there: &place::Controllers) -> io::Result<()> {
    let missing = limits.missing(there);
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    Err(io::Error::other(format!("{parent:?} has no controller for [limits.tree]: {missing}")))
}

impl Cgroups {
    /// Makes the server's own part below its own cgroup, and kills what earlier servers left there.
    ///
    /// # Errors
    /// The reason why there can be none: no cgroups of version 2, none that can be written to, or a
    /// kernel before 5.14.
    pub(super) fn new(limits: &TreeLimits) -> io::Result<Self> {
        let parent = parent()?;
        place::clear(&parent);
        let (base, lock) = place::make(&parent)?;
        let refuse = |why| {
            files::remove(&base);
            Err(why)
        };
        if !files::exists(&base.join("cgroup.kill")) {
            let why = "the kernel has no cgroup.kill, which came with Linux 5.14";
            return refuse(io::Error::other(why));
        }
        if let Err(why) = check_limits(limits, &parent, &place::enable(&parent, &base, limits)) {
            return refuse(why);
        }
        Ok(Self {
            limits: limits.files(),
            base,
            _lock: lock,
            next: AtomicU64::new(0),
            empty: Mutex::default(),
            left: Mutex::default(),
        })
    }

    /// Returns an empty cgroup for one command, with a descriptor of it to start a process in.
    ///
    /// # Errors
    /// If none can be made, as at the limit of a parent, or the server has no descriptor left.
    pub(super) fn lease(self: &Arc<Self>) -> io::Result<(Lease, OwnedFd)> {
        let leased = |path, folder| {
            (Lease { path, killed: AtomicBool::new(false), all: Arc::clone(self) }, folder)
        };
        let kept = lock(&self.empty).pop();
        if let Some(path) = kept {
            match folder(&path) {
                Ok(folder) => return Ok(leased(path, folder)),
                // Another process has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    lock(&self.empty).push(path);
                    return Err(error);
                }
            }
        }
        let path = self.fresh()?;
        match folder(&path) {
            Ok(folder) => Ok(leased(path, folder)),
            Err(error) => {
                files::remove(&path);
                Err(error)
            }
        }
    }

    fn fresh(&self) -> io::Result<PathBuf> {
        let path = self.base.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        files::make(&path)?;
        for (file, value) in &self.limits {
            if let Err(error) = files::write(&path, file, value) {
                files::remove(&path);
                return Err(io::Error::new(error.kind(), format!("{file}: {error}")));
            }
        }
        Ok(path)
    }

    /// Returns the folder that contains the commands' cgroups.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// Returns the limits that each command's cgroup gets: file and content.
    pub(super) fn limits(&self) -> &[(&'static str, String)] {
        &self.limits
    }

    /// Removes the cgroups of daemons that have ended.
    pub(super) fn collect(&self) {
        let left = std::mem::take(&mut *lock(&self.left));
        let (busy, empty): (Vec<_>, Vec<_>) = left.into_iter().partition(|path| is_busy(path));
        lock(&self.left).extend(busy);
        empty.iter().for_each(|path| files::remove(path));
    }

    fn take_back(&self, path: PathBuf, killed: bool) {
        if is_busy(&path) {
            // If it can't be marked, the next server kills what lives in it.
            let _ = setxattr(&path, LEFT, b"1", XattrFlags::empty());
            lock(&self.left).push(path);
        } else if killed || has_folders(&path) || lock(&self.empty).len() >= KEPT {
            files::remove(&path);
        } else {
            lock(&self.empty).push(path);
        }
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        files::remove(&self.base);
    }
}

impl Lease {
    /// Kills all processes in it at once. Blocks in proportion to their number: 7 ms for 200.
    /// Returns the number of processes.
    ///
    /// # Errors
    /// The process IDs of those that live in it, if the kernel refuses.
    pub(super) fn kill(&self) -> Result<usize, Vec<RawPid>> {
        let living = processes(&self.path);
        self.killed.store(true, Ordering::Relaxed);
        match files::write(&self.path, "cgroup.kill", "1") {
            Ok(()) => Ok(living.len()),
            Err(_) => Err(living),
        }
    }

    /// Waits up to 5 s until nothing lives in it. Returns the process IDs of those that still do.
    pub(super) async fn emptied(&self) -> Vec<RawPid> {
        let emptied = async {
            let events = files::events(&self.path)?;
            // SAFETY: a File always gives the same descriptor and keeps it open as long as it lives.
            let events = unsafe { AsyncFd::register_with_interest(events, Interest::PRIORITY) }?;
            // Each change makes it ready again; the first look comes after the registration.
            while is_busy(&self.path) {
                events.ready(Interest::PRIORITY).await?.clear_ready();
            }
            io::Result::Ok(())
        };
        match timeout(PATIENCE, emptied).await {
            Ok(Ok(())) => Vec::new(),
            // Without a descriptor to wait for, the processes that are there now are returned.
            Ok(Err(_)) | Err(_) => processes(&self.path),
        }
    }

    /// Sends SIGTERM to each process in it outside the process group `group`.
    pub(super) fn terminate(&self, group: Pid) {
        let held: Vec<_> = processes(&self.path)
            .into_iter()
            .filter_map(Pid::from_raw)
            .filter_map(|pid| Some((pid, pidfd_open(pid, PidfdFlags::empty()).ok()?)))
            .collect();
        // A process that has a held process ID now is in here too.
        let now = processes(&self.path);
        for (pid, pidfd) in held {
            if now.contains(&pid.as_raw_pid()) && getpgid(Some(pid)) != Ok(group) {
                let _ = pidfd_send_signal(&pidfd, Signal::TERM);
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let killed = self.killed.load(Ordering::Relaxed);
        self.all.take_back(std::mem::take(&mut self.path), killed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
