//! What is copied from one place to another: one large file, or a tree of small ones, the same bytes each time.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};

/// The files of one folder of a tree.
const FOLDER: u64 = 100;
/// The parts of a large file that differ between two versions: together they are 1 percent of it.
const PARTS: u64 = 20;
/// The bytes that are made or compared at once.
const PIECE: u64 = 1 << 20;
/// The time of the files of version 0, in seconds since 1970.
const TIME: u64 = 1_700_000_000;

/// Some files below a folder. Two versions of them differ in 1 percent: a large file in 20 parts of it, a tree in each
/// hundredth of its files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Corpus {
    files: u64,
    /// Bytes of each file.
    size: u64,
}

impl Corpus {
    pub(crate) fn one(size: u64) -> Self {
        Self { files: 1, size }
    }

    pub(crate) fn many(files: u64, size: u64) -> Self {
        Self { files, size }
    }

    pub(crate) fn is_tree(self) -> bool {
        self.files > 1
    }

    /// Returns what a program is told to copy: the one file, or the folder of the tree.
    pub(crate) fn named(self, root: &Path) -> PathBuf {
        if self.is_tree() { root.to_owned() } else { self.file(root, 0) }
    }

    /// Makes all files in version 0.
    ///
    /// # Errors
    ///
    /// When the disk does not take them.
    pub(crate) fn make(self, root: &Path) -> Result<()> {
        fs::create_dir(root).with_context(|| format!("can't make {}", root.display()))?;
        for index in 0..self.files {
            let path = self.file(root, index);
            if self.is_tree() && index % FOLDER == 0 {
                fs::create_dir(path.parent().context("a file is in a folder")?)?;
            }
            let file = File::create_new(&path)?;
            for at in (0..self.size).step_by(PIECE as usize) {
                file.write_all_at(&content(0, index, at, PIECE.min(self.size - at)), at)?;
            }
            file.set_modified(time(0))?;
        }
        // A folder has the time of what was last made in it, until all is.
        let folders = self.files.div_ceil(FOLDER);
        for folder in (0..folders).filter(|_| self.is_tree()) {
            File::open(folder_of(root, folder))?.set_modified(time(0))?;
        }
        File::open(root)?.set_modified(time(0))?;
        Ok(())
    }

    /// Gives the part of the files that differs between versions the content and the time of this one.
    ///
    /// # Errors
    ///
    /// When the disk does not take it.
    pub(crate) fn set_version(self, root: &Path, version: u8) -> Result<()> {
        for (index, parts) in self.changing() {
            let file = OpenOptions::new().write(true).open(self.file(root, index))?;
            for (at, length) in parts {
                file.write_all_at(&content(version, index, at, length), at)?;
            }
            file.set_modified(time(version))?;
        }
        Ok(())
    }

    /// Checks that all files are there with their size, and that those that differ between versions are of this one.
    ///
    /// # Errors
    ///
    /// The first file that is not as it should be.
    pub(crate) fn check(self, root: &Path, version: u8) -> Result<()> {
        for index in 0..self.files {
            let path = self.file(root, index);
            let found = path.metadata().with_context(|| format!("no {}", path.display()))?.len();
            ensure!(found == self.size, "{} has {found} of {} bytes", path.display(), self.size);
        }
        for (index, parts) in self.changing() {
            let path = self.file(root, index);
            let file = File::open(&path)?;
            for (at, length) in parts {
                let mut found = vec![0; length as usize];
                file.read_exact_at(&mut found, at)?;
                let is_same = found == content(version, index, at, length);
                ensure!(is_same, "{} is not of version {version}", path.display());
            }
        }
        Ok(())
    }

    /// Returns the files that differ between versions, each with where its parts begin and how long they are.
    fn changing(self) -> Vec<(u64, Vec<(u64, u64)>)> {
        if self.is_tree() {
            let files = (0..self.files).step_by(100);
            return files.map(|index| (index, vec![(0, self.size)])).collect();
        }
        let length = (self.size / (100 * PARTS)).max(1);
        let part = |number| (self.size / PARTS * number, length);
        vec![(0, (0..PARTS).map(part).collect())]
    }

    fn file(self, root: &Path, index: u64) -> PathBuf {
        let folder = if self.is_tree() { folder_of(root, index / FOLDER) } else { root.to_owned() };
        folder.join(format!("file{index}"))
    }
}

fn folder_of(root: &Path, number: u64) -> PathBuf {
    root.join(format!("folder{number}"))
}

fn time(version: u8) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(TIME + u64::from(version))
}

/// Returns bytes of a file, which nothing compresses and which stand nowhere else.
fn content(version: u8, index: u64, at: u64, length: u64) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[version]).update(&index.to_be_bytes());
    let mut bytes = vec![0; length as usize];
    let mut reader = hasher.finalize_xof();
    reader.set_position(at);
    reader.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_differs_in_one_percent_and_is_told_from_another() {
        for corpus in [Corpus::one(3 << 20), Corpus::many(201, 100)] {
            let folder = tempfile::tempdir().unwrap();
            let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
            corpus.make(&old).unwrap();
            corpus.make(&new).unwrap();
            corpus.set_version(&new, 1).unwrap();
            corpus.check(&old, 0).unwrap();
            corpus.check(&new, 1).unwrap();
            assert!(corpus.check(&old, 1).is_err() && corpus.check(&new, 0).is_err());
            let bytes = |root: &Path| {
                let all =
                    (0..corpus.files).map(|index| fs::read(corpus.file(root, index)).unwrap());
                all.collect::<Vec<_>>().concat()
            };
            let (one, other) = (bytes(&old), bytes(&new));
            let differing = one.iter().zip(&other).filter(|(one, other)| one != other).count();
            // One byte in 256 of what differs is the same all the same.
            let percent = differing as f64 * 100.0 / one.len() as f64;
            assert!((0.9..1.6).contains(&percent), "{percent}");
            corpus.set_version(&new, 0).unwrap();
            assert_eq!(bytes(&new), one);
        }
    }

    #[test]
    fn what_is_missing_or_short_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (corpus, root) = (Corpus::many(3, 10), folder.path().join("root"));
        corpus.make(&root).unwrap();
        fs::write(corpus.file(&root, 1), "short").unwrap();
        assert!(corpus.check(&root, 0).unwrap_err().to_string().contains("file1 has 5 of 10"));
        fs::remove_file(corpus.file(&root, 1)).unwrap();
        assert!(corpus.check(&root, 0).unwrap_err().to_string().contains("file1"));
    }
}
