//! File systems in user space (FUSE) as a local user could mount them: one that serves an empty folder, and
//! two that answer nobody.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// Bytes that a request may have.
const REQUEST: usize = 1 << 20;
/// Bytes of a request's header, and of an answer's (fuse(4), `linux/fuse.h`).
const HEADER: usize = 40;
const ANSWER: usize = 16;

const GETATTR: u32 = 3;
const FORGET: u32 = 2;
const STATFS: u32 = 17;
const INIT: u32 = 26;
const BATCH_FORGET: u32 = 42;
const NO_SUCH_CALL: i32 = 38;

/// The behaviour of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// A file system that is an empty folder.
    Empty,
    /// A file system that takes no request: a process that waits for it can be killed.
    Deaf,
    /// A file system that takes requests and answers none: a process that waits for it can't even
    /// be killed.
    Mute,
}

/// A file system that is mounted until this is dropped.
#[derive(Debug)]
pub struct FuseMount {
    path: PathBuf,
    serving: Option<JoinHandle<()>>,
}

impl FuseMount {
    /// Mounts one at a folder, as the user of this number would. For everybody, if it is root; else for
    /// that user alone: not even root may look into it.
    ///
    /// # Errors
    ///
    /// The error names what is missing, as for [`crate::skip::skip`].
    pub fn at(path: &Path, uid: u32, manner: Manner) -> Result<Self, String> {
        crate::skip::need_root()?;
        let missing = |error: io::Error| format!("FUSE ({error})");
        let device = File::options().read(true).write(true).open("/dev/fuse").map_err(missing)?;
        let mut options =
            format!("fd={},rootmode=40755,user_id={uid},group_id={uid}", device.as_raw_fd());
        if uid == 0 {
            options.push_str(",allow_other");
        }
        let options = CString::new(options).map_err(|error| missing(error.into()))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("rcmd-test", path, "fuse", flags, options.as_c_str())
            .map_err(|errno| missing(errno.into()))?;
        let serving = std::thread::spawn(move || match manner {
            // The device is held, and nothing more.
            Manner::Deaf => wait_for_abort(&device.into()),
            Manner::Empty | Manner::Mute => _ = serve(device, uid, manner),
        });
        Ok(Self { path: path.to_owned(), serving: Some(serving) })
    }
}

impl Drop for FuseMount {
    fn drop(&mut self) {
        // Whoever waits for it gets an error now.
        let _ = unmount(&self.path, UnmountFlags::FORCE);
        let _ = unmount(&self.path, UnmountFlags::DETACH);
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

/// Waits until the connection is aborted, which the device tells by an error.
fn wait_for_abort(device: &OwnedFd) {
    use rustix::event::{PollFd, PollFlags, poll};
    loop {
        let mut polled = [PollFd::new(device, PollFlags::empty())];
        match poll(&mut polled, None) {
            Err(rustix::io::Errno::INTR) => {}
            _ => return,
        }
    }
}

fn serve(mut device: File, uid: u32, manner: Manner) -> io::Result<()> {
    let mut request = vec![0; REQUEST];
    loop {
        let length = match device.read(&mut request) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // It was called off before it was read.
            Err(error) if error.raw_os_error() == Some(2) => continue,
            read => read?,
        };
        let header = request[..length].first_chunk::<HEADER>().ok_or(io::ErrorKind::InvalidData)?;
        let opcode = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
        let unique = &header[8..16];
        let (error, body) = match opcode {
            FORGET | BATCH_FORGET => continue,
            INIT => (0, init()),
            _ if manner == Manner::Mute => continue,
            GETATTR => (0, attributes(uid)),
            STATFS => (0, vec![0; 80]),
            1 => (-2, Vec::new()),
            _ => (-NO_SUCH_CALL, Vec::new()),
        };
        let length = u32::try_from(ANSWER + body.len()).map_err(io::Error::other)?;
        let answer = [&length.to_ne_bytes()[..], &i32::to_ne_bytes(error), unique, &body].concat();
        device.write_all(&answer)?;
    }
}

/// Returns `struct fuse_init_out` of version 7.31.
fn init() -> Vec<u8> {
    let mut body = Vec::new();
    for number in [7_u32, 31, 0, 0, 0, 1 << 16, 1] {
        body.extend(number.to_ne_bytes());
    }
    body.resize(64, 0);
    body
}

/// Returns `struct fuse_attr_out` of a folder of this user's.
fn attributes(uid: u32) -> Vec<u8> {
    // For how long it is good: not at all.
    let mut body = vec![0; 16];
    for number in [1_u64, 0, 0, 0, 0, 0] {
        body.extend(number.to_ne_bytes());
    }
    for number in [0_u32, 0, 0, 0o40_755, 2, uid, uid, 0, 4096, 0] {
        body.extend(number.to_ne_bytes());
    }
    body
}
