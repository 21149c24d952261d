//! Trees of files: made by a seed, and written down so that two can be compared.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::Path,
};

use rustix::fs::{AtFlags, CWD, SeekFrom, Timespec, Timestamps};

/// A generator of numbers, which has the same ones for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.roll(u64::MAX).to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// Sets the time of a file, a folder or a link.
pub(crate) fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Returns the permission bits of what stands there, also of a link.
pub(crate) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn make_pipe(path: &Path) {
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

/// Fills a folder with a tree of whatever there is: odd names, links, holes, empty folders.
pub(crate) fn fill(folder: &Path, seed: u64) {
    let mut dice = Dice::new(seed);
    fs::create_dir_all(folder).unwrap();
    let mut folders = vec![folder.to_owned()];
    let names: [&[u8]; 10] = [
        b"plain",
        b".hidden",
        b"with blank",
        b"new\nline",
        b"\xff\xfe",
        b"-rf",
        b"q'\"",
        b"$HOME",
        b"r[1].txt",
        b"esc\x1b[2K",
    ];
    for (number, name) in names.iter().enumerate().take(8) {
        let above = folders[dice.roll(folders.len() as u64) as usize].clone();
        let name = [name, format!("{number}").as_bytes()].concat();
        let path = above.join(std::ffi::OsStr::from_bytes(&name));
        fs::create_dir(&path).unwrap();
        folders.push(path);
    }
    let mut files = Vec::new();
    for number in 0..40 {
        let above = &folders[dice.roll(folders.len() as u64) as usize];
        let name = [names[number % names.len()], format!(".f{number}").as_bytes()].concat();
        let path = above.join(std::ffi::OsStr::from_bytes(&name));
        let size = [0, 1, 100, 4_096, 70_000, 300_000, 1_500_000][dice.roll(7) as usize];
        fs::write(&path, dice.bytes(size)).unwrap();
        set_mode(&path, [0o644, 0o600, 0o755, 0o444][dice.roll(4) as usize]);
        let seconds = 1_000_000_000 + dice.roll(700_000_000) as i64;
        set_time(&path, seconds, dice.roll(1_000_000_000) as i64);
        files.push(path);
    }
    for number in 0..5 {
        let above = &folders[dice.roll(folders.len() as u64) as usize];
        let target = ["/nowhere", ".", "../..", "plain", "a b"][number];
        let path = above.join(format!("link{number}"));
        symlink(target, &path).unwrap();
        set_time(&path, 1_200_000_000, 5);
        let first = &files[dice.roll(files.len() as u64) as usize];
        fs::hard_link(first, above.join(format!("again{number}"))).unwrap();
    }
    let sparse = File::create(folder.join("sparse")).unwrap();
    sparse.set_len(10 << 20).unwrap();
    sparse.write_all_at(&dice.bytes(8_192), 1 << 20).unwrap();
    sparse.write_all_at(&dice.bytes(4_096), 5 << 20).unwrap();
    set_time(&folder.join("sparse"), 1_300_000_000, 7);
    let longest = folder.join("l".repeat(255));
    fs::write(&longest, b"long").unwrap();
    for (number, path) in folders.iter().enumerate().rev() {
        set_mode(path, [0o755, 0o750, 0o700, 0o1777][number % 4]);
        set_time(path, 1_400_000_000 + number as i64, number as i64);
    }
}

/// Writes a tree down, a line for each entry: kind, mode, time, size, holes, digest, target, and which names are of one
/// file.
pub(crate) fn describe(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut linked = HashMap::new();
    describe_folder(folder, folder, &mut linked, &mut lines);
    lines
}

fn describe_folder(
    top: &Path,
    folder: &Path,
    linked: &mut HashMap<u64, String>,
    lines: &mut Vec<String>,
) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, facts) = (entry.path(), entry.path().symlink_metadata().unwrap());
        let name = format!("{:?}", path.strip_prefix(top).unwrap());
        let time = (facts.mtime(), facts.mtime_nsec());
        let common = format!("{name} {:o} {time:?}", facts.mode());
        if facts.is_dir() {
            lines.push(common);
            describe_folder(top, &path, linked, lines);
        } else if facts.is_symlink() {
            lines.push(format!("{common} -> {:?}", fs::read_link(&path).unwrap()));
        } else if facts.is_file() {
            let first = linked.entry(facts.ino()).or_insert(name).clone();
            let digest = blake3::hash(&fs::read(&path).unwrap()).to_hex();
            let size = facts.len();
            let holes = holes(&path);
            lines.push(format!("{common} {size} {holes:?} {digest} {} {first}", facts.nlink()));
        } else {
            lines.push(format!("{common} special"));
        }
    }
}

/// Returns where the data of a file begins and ends.
pub(crate) fn holes(path: &Path) -> Vec<(u64, u64)> {
    let file = File::open(path).unwrap();
    let mut found = Vec::new();
    let mut at = 0;
    while let Ok(begin) = rustix::fs::seek(&file, SeekFrom::Data(at)) {
        at = rustix::fs::seek(&file, SeekFrom::Hole(begin)).unwrap();
        found.push((begin, at));
    }
    found
}

/// Returns the names in a folder that are those of partial files, wherever below it.
pub(crate) fn partials(folder: &Path) -> Vec<String> {
    describe(folder).into_iter().filter(|line| line.contains(".rcmd-part-")).collect()
}
