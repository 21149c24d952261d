//! Starting a process by clone3(2), without the C library between clone and exec.
//!
//! The child shares the server's memory until it executes (CLONE_VM), which avoids a copy of the
//! page tables, and the server continues meanwhile. Only where its user could look into that memory
//! ([`is_exposed`]), it gets a copy. Therefore the child must allocate nothing, take no lock, and
//! call nothing that does. All it needs is in an [`Image`], with a stack of its own. It makes
//! system calls without the C library, whose set*id functions would signal all threads of the
//! server.
//!
//! A pipe that closes at the exec reports the result. Its end is the moment from which the child no
//! longer needs the image, and the bytes before it report where the start failed. A child that
//! waits too long for a file system is killed; if it can't be, the image is kept until the child is
//! gone ([`keep`]).
#![allow(unsafe_code)]

mod child;
mod clone;
mod image;
mod inheritance;
mod places;
mod stage;
mod stuck;
mod syscall;

use std::{io, sync::Arc};

use nix::{
    libc,
    sys::signal::{SigSet, SigmaskHow},
};
use rustix::{
    fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    io::fcntl_dupfd_cloexec,
    process::Pid,
};
use tokio::{io::AsyncReadExt as _, net::unix::pipe};

pub use self::inheritance::Inheritance;
pub(super) use self::{
    clone::has_clone3,
    image::Image,
    places::{PATIENCE, PLACES, Place, Places},
    stage::{Failed, Seen, Stage},
    stuck::{collect, keep},
};
use self::{
    clone::{clone, clone3},
    image::Given,
    stage::LONGEST,
};
use super::{
    io::report,
    plan::{Folder, Handed, Plan},
    proc_fs,
};

/// The pipe on which a child reports the result of its start.
pub(super) type Report = pipe::Receiver;

/// A prepared start.
pub(super) struct Launch {
    image: Image,
    /// The descriptors for the child; the server's own copies are closed once the child has them.
    _given: Held,
    report: Report,
}

/// The descriptors for a child, in the server.
struct Held {
    _fds: [OwnedFd; 3],
    _sealed: Option<OwnedFd>,
    _folder: Option<Folder>,
    _report: OwnedFd,
    _handed: Vec<OwnedFd>,
}

/// A child that was made, and may not have executed its program yet.
pub(super) struct Cloned {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    pub(super) image: Arc<Image>,
    pub(super) report: Report,
}

impl Launch {
    /// Prepares the start of a plan, for a child with this standard input, output and error, and
    /// with the process's end of a socket, if the plan has something to be handed over.
    ///
    /// # Errors
    /// If a string contains a NUL, or no descriptor is left.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O.
    pub(super) fn new(plan: &Plan, fds: [OwnedFd; 3], socket: Option<OwnedFd>) -> io::Result<Self> {
        let (report, told) = report()?;
        let handed = handed(plan, socket)?;
        // A descriptor that the child still needs must not have a number that another is handed
        // over under.
        let told = above(told, handed.len())?;
        let sealed = plan.sealed.as_ref().map(|sealed| sealed.descriptor()).transpose()?;
        let sealed = sealed.map(|sealed| above(sealed, handed.len())).transpose()?;
        // What is handed over has no other folder than the one that its path names.
        let folder = plan.folder.clone().filter(|_| handed.is_empty());
        let given = Given {
            fds: fds.each_ref().map(|fd| fd.as_raw_fd()),
            sealed: sealed.as_ref().map(|sealed| sealed.as_raw_fd()),
            folder: folder.as_ref().map(Folder::number),
            report: told.as_raw_fd(),
            handed: handed.iter().map(|fd| fd.as_raw_fd()).collect(),
        };
        let image = Image::new(plan, given)?;
        let _given =
            Held { _fds: fds, _sealed: sealed, _folder: folder, _report: told, _handed: handed };
        Ok(Self { image, _given, report })
    }

    /// Makes the child, in a cgroup if one is given. Takes some ten microseconds, and does not wait
    /// for the child.
    ///
    /// # Errors
    /// The reason why there is none.
    pub(super) fn start(self, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
        let Self { mut image, _given, report } = self;
        image.own_memory =
            image.credentials.as_ref().is_some_and(|user| !user.uid.is_root()) && is_exposed();
        let image = Arc::new(image);
        let mut pidfd: RawFd = -1;
        // Signals are blocked, because a handler of the server's would run in the child.
        let mask = SigSet::all()
            .thread_swap_mask(SigmaskHow::SIG_SETMASK)
            .unwrap_or_else(|_| SigSet::empty());
        // SAFETY: the image is returned to the caller, who keeps it until the report has ended.
        let cloned = unsafe { clone3(&image, cgroup, &mut pidfd) };
        // Some container profiles answer like a kernel without clone3. The older call knows no
        // cgroup, and keeps handlers, which the child resets itself.
        let cloned = match cloned {
            Err(error) if cgroup.is_none() && error.raw_os_error() == Some(libc::ENOSYS) => {
                // SAFETY: as above.
                unsafe { clone(&image, &mut pidfd) }
            }
            cloned => cloned,
        };
        let _ = mask.thread_set_mask();
        let pid = cloned?;
        // SAFETY: the kernel has put a new descriptor there, which nothing else refers to.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        Ok(Cloned { pid, pidfd, image, report })
    }
}

/// Returns what a child is handed over, in the order of its numbers there, each with a number in the
/// server that is above those.
fn handed(plan: &Plan, socket: Option<OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    let (Some(handed), Some(socket)) = (&plan.handed, socket) else { return Ok(Vec::new()) };
    let count = 1 + handed.folders.len();
    if handed.folders.len() > Handed::FOLDERS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let folders = handed.folders.iter().map(|folder| duplicate_above(folder.as_fd(), count));
    [duplicate_above(socket.as_fd(), count)].into_iter().chain(folders).collect()
}

/// Returns a descriptor under a number above those under which so many are handed over.
fn above(descriptor: OwnedFd, count: usize) -> io::Result<OwnedFd> {
    match count {
        0 => Ok(descriptor),
        count => duplicate_above(descriptor.as_fd(), count),
    }
}

fn duplicate_above(descriptor: BorrowedFd<'_>, count: usize) -> io::Result<OwnedFd> {
    let count = RawFd::try_from(count).map_err(io::Error::other)?;
    Ok(fcntl_dupfd_cloexec(descriptor, Handed::SOCKET + count)?)
}

/// Returns whether the kernel lets a user look into a process that has changed to that user
/// (`fs.suid_dumpable` is 1, proc_sys_fs(5)): then no such process may share the server's memory. A
/// setting that can't be read counts as 1.
pub(super) fn is_exposed() -> bool {
    proc_fs::read("sys/fs/suid_dumpable").map_or(true, |value| value.trim() == "1")
}

/// Waits until a child executes its program or has ended, and returns the failure, if it failed.
/// The child is then no longer in the server's memory. Bytes beyond the longest valid report are
/// dropped.
///
/// # Errors
/// If the runtime shuts down.
///
/// # Cancel safety
/// Not cancel safe: what was read so far is lost.
pub(super) async fn told(report: &mut Report) -> io::Result<Option<Failed>> {
    let (mut told, mut piece) = (Vec::new(), [0; LONGEST]);
    loop {
        let count = report.read(&mut piece).await?;
        if count == 0 {
            return Ok((!told.is_empty()).then(|| Failed::parse(&told)));
        }
        told.extend(piece.iter().take(count.min(LONGEST - told.len())));
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write as _};

    use super::*;

    #[tokio::test]
    async fn what_a_child_tells_is_read_to_its_end_and_kept_as_far_as_it_may_tell() {
        let numbers = [Stage::Exec as i32, libc::ENOENT, 0].map(i32::to_ne_bytes).concat();
        let head = [&b"#!/x\n"[..], &[b'y'; stage::HEAD]].concat();
        let longest = [&numbers[..], &head[..stage::HEAD]].concat();
        assert_eq!(longest.len(), LONGEST);
        for more in [0, 1, 10 * LONGEST] {
            let (mut report, told_by) = report().unwrap();
            let told_to = [&longest[..], &vec![b'z'; more]].concat();
            // A write of more than a pipe holds would wait for its reader.
            File::from(told_by).write_all(&told_to).unwrap();
            let failed = told(&mut report).await.unwrap().unwrap();
            assert_eq!(failed.error.raw_os_error(), Some(libc::ENOENT), "{more}");
            let head = head[..stage::HEAD].to_vec();
            assert_eq!(failed.seen, Seen::new(None, head), "{more}");
        }
    }
}
