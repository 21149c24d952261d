//! A command's own cgroup (cgroups(7), version 2): what is started in it stays in it, whatever it does,
//! so that its tree is known exactly and ends at one word.
//!
//! A command starts in its cgroup (CLONE_INTO_CGROUP) and is never moved there, which would take
//! milliseconds. Folders that are empty again serve the next command: a fresh one costs more than the
//! start itself. One in which a daemon of a command that ended by itself lives on is left to it, and
//! marked, so that no server takes it for the remains of another.
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

/// Empty folders that are kept; more commands than these begin at once rarely.
const KEPT: usize = 256;
/// Time after which a kill gives up: what has not died by then waits in the kernel.
const PATIENCE: Duration = Duration::from_secs(5);

/// The server's own part of the hierarchy.
#[derive(Debug)]
pub(super) struct Cgroups {
    base: PathBuf,
    /// Locked (flock(2)) for as long as the server lives.
    _lock: OwnedFd,
    limits: Vec<(&'static str, String)>,
    next: AtomicU64,
    empty: Mutex<Vec<PathBuf>>,
    /// Folders that daemons live in.
    left: Mutex<Vec<PathBuf>>,
}

/// The cgroup of one command, until it is released.
#[derive(Debug)]
pub(super) struct Lease {
    path: PathBuf,
    /// Set once it was killed. The kernel compares how often a cgroup was killed with how often that of
    /// the parent was, and ends what starts in one that was killed more often (seen on Linux 6.18):
    /// such a folder never serves again.
    killed: AtomicBool,
    all: Arc<Cgroups>,
}

/// Returns the cgroup below which the server would make its own. Makes none.
///
/// # Errors
/// Those of [`Cgroups::new`], except what only the attempt shows.
pub(super) fn probe(limits: &TreeLimits) -> io::Result<PathBuf> {
    let parent = parent()?;
    files::writable(&parent)
        .map_err(|error| io::Error::new(error.kind(), format!("{parent:?}: {error}")))?;
    check_limits(limits, &parent, &place::controllers(&parent))?;
    Ok(parent)
}

fn parent() -> io::Result<PathBuf> {
    if !launcher::has_clone3() {
        return Err(io::Error::other("clone3 is not there, or not allowed (seccomp)"));
    }
    place::own()
}

/// A limit that is written down and not kept is worse than none.
fn check_limits(limits: &TreeLimits, parent: &Path, there: &place::Controllers) -> io::Result<()> {
    let missing = limits.missing(there);
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    Err(io::Error::other(format!("{parent:?} has no controller for [limits.tree]: {missing}")))
}

impl Cgroups {
    /// Makes the server a part of its own, under its own cgroup, and ends what earlier servers left.
    ///
    /// # Errors
    /// Why there is none: no version 2, none that can be written to, a kernel before 5.14.
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

    /// A cgroup for one command, empty, with a descriptor of it to start a process in.
    ///
    /// # Errors
    /// When none can be made, as at the limit of a parent, or the server has no descriptor left.
    pub(super) fn lease(self: &Arc<Self>) -> io::Result<(Lease, OwnedFd)> {
        let leased = |path, folder| {
            (Lease { path, killed: AtomicBool::new(false), all: Arc::clone(self) }, folder)
        };
        let kept = lock(&self.empty).pop();
        if let Some(path) = kept {
            match folder(&path) {
                Ok(folder) => return Ok(leased(path, folder)),
                // Somebody has removed it.
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

    /// Where it is.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// The limits that each command's cgroup gets: file and content.
    pub(super) fn limits(&self) -> &[(&'static str, String)] {
        &self.limits
    }

    /// Takes back the folders of daemons that have ended.
    pub(super) fn collect(&self) {
        let left = std::mem::take(&mut *lock(&self.left));
        let (busy, empty): (Vec<_>, Vec<_>) = left.into_iter().partition(|path| is_busy(path));
        lock(&self.left).extend(busy);
        empty.iter().for_each(|path| files::remove(path));
    }

    fn take_back(&self, path: PathBuf, killed: bool) {
        if is_busy(&path) {
            // What can't be marked is ended by the next server.
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
    /// Kills all that lives in it, at once. It blocks for what there is to kill: 7 ms of 200. Returns
    /// how many processes there were.
    ///
    /// # Errors
    /// The pids of those that live in it, when the kernel refuses.
    pub(super) fn kill(&self) -> Result<usize, Vec<RawPid>> {
        let living = processes(&self.path);
        self.killed.store(true, Ordering::Relaxed);
        match files::write(&self.path, "cgroup.kill", "1") {
            Ok(()) => Ok(living.len()),
            Err(_) => Err(living),
        }
    }

    /// Waits until nothing lives in it any more, for up to 5 s. Returns the pids of what still does.
    pub(super) async fn emptied(&self) -> Vec<RawPid> {
        let emptied = async {
            let events = files::events(&self.path)?;
            // SAFETY: a File always gives the same descriptor and keeps it open as long as it lives.
            let events = unsafe { AsyncFd::register_with_interest(events, Interest::PRIORITY) }?;
            // Each change makes it ready anew; the look comes after the registration.
            while is_busy(&self.path) {
                events.ready(Interest::PRIORITY).await?.clear_ready();
            }
            io::Result::Ok(())
        };
        match timeout(PATIENCE, emptied).await {
            Ok(Ok(())) => Vec::new(),
            // Without a descriptor to wait by, what is seen now is what can be said.
            Ok(Err(_)) | Err(_) => processes(&self.path),
        }
    }

    /// Sends SIGTERM to each process in it outside of one group.
    pub(super) fn terminate(&self, group: Pid) {
        let held: Vec<_> = processes(&self.path)
            .into_iter()
            .filter_map(Pid::from_raw)
            .filter_map(|pid| Some((pid, pidfd_open(pid, PidfdFlags::empty()).ok()?)))
            .collect();
        // Whatever has the pid of one that was held is now in here too.
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
