//! Trees, and what they are.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, SeekFrom, Timespec, Timestamps, seek, utimensat};

/// Sets the permission bits of a file or folder, and a time with a fraction.
pub(crate) fn set(path: &Path, mode: u32, seconds: i64) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let time = Timespec { tv_sec: seconds, tv_nsec: 123_456_789 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::empty()).unwrap();
}

/// Makes a tree with what trees have: modes, times, links, hard links, empty folders and files, holes, odd names.
pub(crate) fn fill(root: &Path) {
    let path = |name: &[u8]| root.join(std::ffi::OsStr::from_bytes(name));
    for folder in [&b"sub"[..], b"sub/empty", b"odd \xff\n'\"$x"] {
        fs::create_dir_all(path(folder)).unwrap();
    }
    fs::write(path(b"a"), b"content").unwrap();
    fs::write(path(b"none"), b"").unwrap();
    fs::write(path(b".hidden"), b"hidden").unwrap();
    fs::write(path(b"sub/large"), vec![b'x'; 3_000_000]).unwrap();
    fs::write(path(b"odd \xff\n'\"$x/-rf"), b"odd").unwrap();
    fs::write(path(&[b'n'; 255]), b"long").unwrap();
    fs::hard_link(path(b"a"), path(b"sub/same")).unwrap();
    symlink("sub/large", path(b"to-large")).unwrap();
    symlink("/nowhere", path(b"nowhere")).unwrap();
    let sparse = fs::File::create(path(b"sparse")).unwrap();
    sparse.set_len(50_000_000).unwrap();
    set(&path(b"a"), 0o640, 1_600_000_000);
    set(&path(b"none"), 0o400, 1_600_000_001);
    set(&path(b"sub/large"), 0o755, 1_600_000_002);
    set(&path(b"sub/empty"), 0o700, 1_600_000_003);
    set(&path(b"sub"), 0o750, 1_600_000_004);
}

/// Returns what a tree is: each path with its kind, mode, time, content and where it has data, or target, and the first of
/// its names.
pub(crate) fn describe(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut first = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    let mut entries = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                folders.push(path.clone());
            }
            entries.push(path);
        }
    }
    entries.sort();
    for path in entries {
        let facts = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(root).unwrap();
        let what = if facts.is_dir() {
            "folder".to_owned()
        } else if facts.is_symlink() {
            let time = (facts.mtime(), facts.mtime_nsec());
            lines.push(format!("{name:?} {time:?} -> {:?}", fs::read_link(&path).unwrap()));
            continue;
        } else {
            let same = first.entry((facts.dev(), facts.ino())).or_insert_with(|| name.to_owned());
            let digest = blake3::hash(&fs::read(&path).unwrap()).to_hex();
            let (size, names, data) = (facts.len(), facts.nlink(), data(&path));
            format!("{size} {data:?} {names} {} as {same:?}", &digest[..16])
        };
        let (mode, seconds, nanos) = (facts.mode() & 0o7777, facts.mtime(), facts.mtime_nsec());
        lines.push(format!("{name:?} {mode:o} {seconds}.{nanos} {what}"));
    }
    lines
}

/// Returns where the data of a file begins and ends; between them are holes.
fn data(path: &Path) -> Vec<(u64, u64)> {
    let file = fs::File::open(path).unwrap();
    let (mut found, mut at) = (Vec::new(), 0);
    while let Ok(begin) = seek(&file, SeekFrom::Data(at)) {
        at = seek(&file, SeekFrom::Hole(begin)).unwrap();
        found.push((begin, at));
    }
    found
}
