//! A file system of its own, so small that it is soon full.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skip;

/// A small tmpfs, gone when it is dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many KiB at a folder, which is made if there is none.
    ///
    /// # Errors
    ///
    /// What is missing on this machine.
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
