//! A file system whose program may be looked at and read, and whose execution is not answered until a
//! test says so: by FUSE, without a library. Whoever executes it waits in the kernel, where not even
//! SIGKILL ends it (fuse(4)).

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use crate::world::own_folder;

const PROGRAM: &[u8] = b"#!/bin/sh\nsleep 0.3\necho executed\n";
/// The nodes: the folder, and the program in it.
const FOLDER: u64 = 1;
const FILE: u64 = 2;
/// The flag of an open for execution (`__FMODE_EXEC`, include/linux/fs.h).
const EXECUTION: u32 = 0x20;

/// The file system, mounted as long as this lives.
#[derive(Debug)]
pub struct HangingPrograms {
    folder: TempDir,
    device: File,
    /// The requests for an execution that were not answered.
    waiting: Arc<Mutex<Vec<u64>>>,
    thread: Option<JoinHandle<()>>,
}

impl HangingPrograms {
    /// Mounts it, in a folder that nobody but root can change.
    ///
    /// # Errors
    ///
    /// The error names what is missing.
    pub fn mount() -> Result<Self, String> {
        crate::skip::need_root()?;
        let folder = own_folder();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("a folder");
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let device = device.map_err(|_| "/dev/fuse".to_owned())?;
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions",
            device.as_raw_fd()
        );
        let options = CString::new(options).expect("no NUL");
        mount("rcmd-tests", folder.path(), "fuse", MountFlags::empty(), options.as_c_str())
            .map_err(|_| "a mount of FUSE".to_owned())?;
        let waiting: Arc<Mutex<Vec<u64>>> = Arc::default();
        let (own, noted) = (device.try_clone().expect("a descriptor"), Arc::clone(&waiting));
        let thread = std::thread::spawn(move || serve(&own, &noted));
        Ok(Self { folder, device, waiting, thread: Some(thread) })
    }

    /// Returns the path of the program: a script that prints `executed`, after a while.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.folder.path().join("program")
    }

    /// Returns the number of executions that are not answered yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.lock().expect("no panic").len()
    }

    /// Lets all that wait execute it.
    pub fn answer(&self) {
        for unique in self.waiting.lock().expect("no panic").drain(..) {
            respond(&self.device, unique, Ok(vec![0; 16]));
        }
    }
}

impl Drop for HangingPrograms {
    fn drop(&mut self) {
        // All that waits for it fails now.
        let _ = unmount(self.folder.path(), UnmountFlags::FORCE | UnmountFlags::DETACH);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Answers requests until the file system is gone. What is not answered waits.
fn serve(mut device: &File, waiting: &Mutex<Vec<u64>>) {
    let mut request = vec![0; 1 << 20];
    while let Ok(length) = device.read(&mut request) {
        let request = &request[..length];
        let word = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().expect("four"));
        let long = |at: usize| u64::from_le_bytes(request[at..at + 8].try_into().expect("eight"));
        let (operation, unique, node) = (word(4), long(8), long(16));
        let body = 40;
        let answer = match operation {
            // LOOKUP
            1 if &request[body..length - 1] == b"program" => Ok(entry()),
            1 => Err(2),
            // FORGET, INTERRUPT, BATCH_FORGET: nobody waits for an answer.
            2 | 36 | 42 => continue,
            // GETATTR
            3 => Ok([vec![0; 16], attributes(node)].concat()),
            // OPEN
            14 if word(body) & EXECUTION != 0 => {
                waiting.lock().expect("no panic").push(unique);
                continue;
            }
            14 | 27 => Ok(vec![0; 16]),
            // READ
            15 => {
                let from = usize::try_from(long(body + 8)).unwrap_or(usize::MAX).min(PROGRAM.len());
                Ok(PROGRAM[from..].to_vec())
            }
            // RELEASE, READDIR, RELEASEDIR
            18 | 28 | 29 => Ok(Vec::new()),
            // INIT
            26 => Ok(init()),
            _ => Err(38),
        };
        respond(device, unique, answer);
    }
}

fn respond(mut device: &File, unique: u64, answer: Result<Vec<u8>, i32>) {
    let (error, answer) = match answer {
        Ok(answer) => (0_i32, answer),
        Err(errno) => (-errno, Vec::new()),
    };
    let size = u32::try_from(16 + answer.len()).expect("short");
    let head = [&size.to_le_bytes()[..], &error.to_le_bytes(), &unique.to_le_bytes()].concat();
    // Whoever asked may be gone.
    let _ = device.write(&[head, answer].concat());
}

/// Returns `struct fuse_init_out` of 7.31, before which nothing of this differs.
fn init() -> Vec<u8> {
    let mut answer = vec![0; 64];
    answer[0..4].copy_from_slice(&7_u32.to_le_bytes());
    answer[4..8].copy_from_slice(&31_u32.to_le_bytes());
    answer[20..24].copy_from_slice(&4096_u32.to_le_bytes());
    answer
}

/// Returns `struct fuse_entry_out`: it may not be kept, so that each look is a request.
fn entry() -> Vec<u8> {
    [FILE.to_le_bytes().to_vec(), vec![0; 32], attributes(FILE)].concat()
}

/// Returns `struct fuse_attr`, of root.
fn attributes(node: u64) -> Vec<u8> {
    let (mode, size) = match node {
        FOLDER => (0o40_755_u32, 0),
        _ => (0o100_755, PROGRAM.len() as u64),
    };
    let mut answer = vec![0; 88];
    for (at, value) in [(0, node), (8, size)] {
        answer[at..at + 8].copy_from_slice(&u64::to_le_bytes(value));
    }
    for (at, value) in [(60, mode), (64, 1), (80, 4096)] {
        answer[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
    }
    answer
}
