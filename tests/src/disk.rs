//! Disks that are no good: one so small that it is soon full, one that stands still.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::skip;
use crate::wait::eventually;

/// A small tmpfs, gone when it is dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many KiB at a folder, which is made if there is none.
    ///
    /// # Errors
    ///
    /// The error names what is missing on this machine.
    ///
    /// # Panics
    ///
    /// When the folder can't be made.
    pub fn mount(at: &Path, kib: u64) -> Result<Self, String> {
        skip::need_root()?;
        fs::create_dir_all(at).expect("a folder of our own");
        let options = format!("size={kib}k,mode=700");
        let mut mount = Command::new(skip::need_tool("mount")?);
        match mount.args(["-t", "tmpfs", "-o", &options, "rcmd"]).arg(at).output() {
            Ok(done) if done.status.success() => Ok(Self(at.to_owned())),
            _ => Err("the right to mount".to_owned()),
        }
    }

    /// Takes all of its room. What is left in the last page of a file is less than a page.
    ///
    /// # Panics
    ///
    /// When it does not become full.
    pub fn fill(&self) {
        let mut filler = fs::File::create(self.filler()).expect("a disk with room");
        let piece = [0; 1024];
        let full = (0..1 << 20).any(|_| filler.write_all(&piece).is_err());
        assert!(full, "it is larger than a small disk is");
    }

    /// Frees what [`SmallDisk::fill`] took.
    ///
    /// # Panics
    ///
    /// When it has taken nothing.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("what fills it");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The source of a library that takes the place of the calls that write to a file and open one, and
/// waits while the file of `RCMD_TEST_STALL` holds a part of that file's path. While it waits, it
/// makes a file beside that one.
const STALLED: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int stands_still(const char *path) {
    char part[256];
    int fd = syscall(SYS_openat, AT_FDCWD, getenv("RCMD_TEST_STALL"), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t size = syscall(SYS_read, fd, part, sizeof part - 1);
    syscall(SYS_close, fd);
    if (size <= 0) return 0;
    part[size] = 0;
    return strstr(path, part) != NULL;
}

static void wait_for(const char *path) {
    char seen[4096];
    while (stands_still(path)) {
        snprintf(seen, sizeof seen, "%s.seen", getenv("RCMD_TEST_STALL"));
        int fd = syscall(SYS_openat, AT_FDCWD, seen, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        if (fd >= 0) syscall(SYS_close, fd);
        usleep(10000);
    }
}

ssize_t write(int fd, const void *bytes, size_t size) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        wait_for(path);
    }
    return syscall(SYS_write, fd, bytes, size);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int mode = va_arg(more, int);
    va_end(more);
    wait_for(path);
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
"#;

/// A disk that answers nothing for a while, as a program sees it that loads [`StalledDisk::library`].
#[derive(Debug)]
pub struct StalledDisk(TempDir);

impl StalledDisk {
    /// Makes one that answers.
    ///
    /// # Errors
    ///
    /// The error names what is missing on this machine.
    ///
    /// # Panics
    ///
    /// When what stands for it can't be made.
    pub fn new() -> Result<Self, String> {
        let cc = skip::need_tool("cc")?;
        let disk = Self(tempfile::tempdir().expect("a folder for temporary files"));
        let source = disk.0.path().join("stalled.c");
        fs::write(&source, STALLED).expect("a folder of our own");
        let mut compile = Command::new(cc);
        let compiled = compile.args(["-shared", "-fPIC", "-o"]).arg(disk.library()).arg(&source);
        assert!(compiled.status().is_ok_and(|status| status.success()));
        Ok(disk)
    }

    /// Returns the path of the library to be loaded (`LD_PRELOAD`).
    #[must_use]
    pub fn library(&self) -> PathBuf {
        self.0.path().join("stalled.so")
    }

    /// Returns the path that `RCMD_TEST_STALL` is to have.
    #[must_use]
    pub fn part(&self) -> PathBuf {
        self.0.path().join("part")
    }

    /// Stops files from answering whose path contains this.
    ///
    /// # Panics
    ///
    /// When that can't be written down.
    pub fn stop(&self, part: &str) {
        let new = self.0.path().join("new");
        fs::write(&new, part).and_then(|()| fs::rename(new, self.part())).expect("a folder");
    }

    /// Waits until somebody waits for it.
    ///
    /// # Panics
    ///
    /// When nobody does.
    pub fn await_waiting(&self) {
        let seen = self.0.path().join("part.seen");
        eventually("somebody waits for the disk", || seen.exists());
    }

    /// Lets all files answer again.
    ///
    /// # Panics
    ///
    /// When they did.
    pub fn go_on(&self) {
        fs::remove_file(self.part()).expect("a disk that stands still");
    }
}
