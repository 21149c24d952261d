//! The names in a folder, a bounded number at a time.

use std::{mem::MaybeUninit, os::fd::AsFd};

use rustix::{
    fs::{RawDir, SeekFrom},
    io::Errno,
};

/// The bytes of entries that one system call returns.
const BUFFER: usize = 32 * 1024;

/// Some names of a folder.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Without `.` and `..`, sorted from the last to the first.
    pub(crate) names: Vec<Vec<u8>>,
    /// Where to go on, if these are not all.
    pub(crate) next: Option<u64>,
}

/// Reads names of a folder, from a place that an earlier reading returned, or 0. Nobody else may read by a descriptor
/// that shares its place with this one: names would be skipped.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn names(folder: impl AsFd, from: u64, most: usize) -> Result<Names, Errno> {
    rustix::fs::seek(&folder, SeekFrom::Start(from))?;
    let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
    let mut entries = RawDir::new(folder, &mut buffer);
    let mut found = Names::default();
    let mut place = from;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if found.names.len() == most {
            found.next = Some(place);
            break;
        }
        place = entry.next_entry_cookie();
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            found.names.push(name.to_vec());
        }
    }
    found.names.sort_unstable_by(|one, other| other.cmp(one));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_folder_is_read_in_parts_and_each_name_once() {
        let folder = tempfile::tempdir().expect("a folder");
        for number in 0..1_000 {
            File::create(folder.path().join(number.to_string())).expect("a file");
        }
        let open = File::open(folder.path()).expect("opened");
        let (mut all, mut from) = (Vec::new(), Some(0));
        while let Some(place) = from {
            let found = names(&open, place, 64).expect("names");
            assert!(found.names.len() <= 64);
            all.extend(found.names);
            from = found.next;
        }
        all.sort();
        let mut expected: Vec<_> =
            (0..1_000).map(|number| number.to_string().into_bytes()).collect();
        expected.sort();
        assert_eq!(all, expected);
    }
}
