//! The files of a log, and their lines.
#![expect(
    clippy::disallowed_methods,
    reason = "the audit's threads, those that start processes, and programs that serve nobody"
)]

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufRead, Read as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::fs::StatVfs;

/// Returns the name of the file with this number.
pub(super) fn name(number: u64) -> String {
    format!("audit-{number:08}.jsonl")
}

/// Returns the number in a file's name.
fn number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?.parse().ok()?;
    (self::name(number) == name).then_some(number)
}

/// Returns the log's files in a folder, oldest first; ignores other names.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(number) = path.file_name().and_then(|name| number(name.to_str()?)) {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}

/// Creates the folder, with access for its owner alone.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Opens a file that is used for its lock, and creates it if it is missing.
pub(super) fn mark(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Creates a file for appending.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}

/// Opens a file for reading.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

/// Returns the time when a file was last written to.
pub(super) fn changed(path: &Path) -> io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

/// Returns whether a path leads to this open file.
///
/// # Errors
/// If that can't be determined.
pub(super) fn lies_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the room on the disk of a folder.
pub(super) fn room(folder: &Path) -> io::Result<StatVfs> {
    Ok(rustix::fs::statvfs(folder)?)
}

/// Syncs the entries of the folder to disk.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The way in which a line ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LineEnd {
    /// The line ended with its newline, which is not in the buffer.
    Whole,
    /// The file ended within the line.
    Torn,
    /// The line is longer than the limit, and only its beginning was read.
    TooLong,
    /// No line followed: the file had ended.
    File,
}

/// Reads the next line into `line`, or continues a torn one.
pub(super) fn next_line(
    reader: &mut impl BufRead,
    line: &mut Vec<u8>,
    limit: usize,
) -> io::Result<LineEnd> {
    let room = (limit + 1).saturating_sub(line.len());
    reader.by_ref().take(room as u64).read_until(b'\n', line)?;
    Ok(match line.last() {
        Some(b'\n') => {
            line.pop();
            LineEnd::Whole
        }
        _ if line.len() > limit => LineEnd::TooLong,
        Some(_) => LineEnd::Torn,
        None => LineEnd::File,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_one_by_one_and_not_past_the_limit() {
        let mut reader = &b"one\n\nlonger than\ntorn"[..];
        let mut next = || {
            let mut line = Vec::new();
            let ended = next_line(&mut reader, &mut line, 6).unwrap();
            (ended, String::from_utf8(line).unwrap())
        };
        assert_eq!(next(), (LineEnd::Whole, "one".to_owned()));
        assert_eq!(next(), (LineEnd::Whole, String::new()));
        assert_eq!(next(), (LineEnd::TooLong, "longer ".to_owned()));
        assert_eq!(next(), (LineEnd::Whole, "than".to_owned()));
        assert_eq!(next(), (LineEnd::Torn, "torn".to_owned()));
        assert_eq!(next(), (LineEnd::File, String::new()));
    }

    #[test]
    fn only_our_own_names_are_files_of_the_log() {
        assert_eq!(number(&name(7)), Some(7));
        assert_eq!(number(&name(123_456_789)), Some(123_456_789));
        for other in ["audit-7.jsonl", "audit-+0000007.jsonl", "audit-00000007.jsonl.gz", "lock"] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
