//! What a path with patterns means: the paths of all that is there and fits.
#![expect(
    clippy::disallowed_methods,
    reason = "a thread `files` or `digests`, a helper, and programs that serve nobody"
)]

use std::collections::VecDeque;

use rcmd_transfer::{Failure, FailureKind, is_pattern, matches, open_typed};
use rustix::{
    fd::BorrowedFd,
    fs::{Dir, FileType, OFlags, fstat},
};

/// Returns the paths that a path with patterns means, sorted name by name.
///
/// # Errors
/// `too_big`, if there are more than `most`.
pub(super) fn expand(
    start: BorrowedFd<'_>,
    path: &[u8],
    most: usize,
) -> Result<Vec<Vec<u8>>, Failure> {
    let root = if path.starts_with(b"/") { b"/".to_vec() } else { Vec::new() };
    let ends_in_folder = path.ends_with(b"/");
    let mut names: VecDeque<&[u8]> =
        path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    let mut found = vec![root];
    while let Some(name) = names.pop_front() {
        let mut next = Vec::new();
        for above in found {
            let beneath = |name: &[u8]| {
                let between: &[u8] =
                    if above.is_empty() || above.ends_with(b"/") { b"" } else { b"/" };
                [above.as_slice(), between, name].concat()
            };
            if !is_pattern(name) {
                next.push(beneath(name));
                continue;
            }
            for one in listed(start, &above, name, most.saturating_sub(next.len()))? {
                next.push(beneath(&one));
            }
        }
        found = next;
    }
    // A name behind a pattern need not be there.
    found.retain(|path| kind_at(start, path, OFlags::NOFOLLOW).is_some());
    if ends_in_folder {
        let is_folder =
            |path: &Vec<u8>| kind_at(start, path, OFlags::empty()) == Some(FileType::Directory);
        found.retain(is_folder);
        found.iter_mut().for_each(|path| path.push(b'/'));
    }
    Ok(found)
}

/// Returns what stands at a path; `None` if it can't be found. With `NOFOLLOW` among the flags a link
/// at its end is not followed.
pub(super) fn kind_at(start: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Option<FileType> {
    let stat = open_typed(start, path, OFlags::PATH | flags).and_then(fstat).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}

/// Returns the names in a folder that a pattern means, sorted. A folder that can't be read has none.
fn listed(
    start: BorrowedFd<'_>,
    folder: &[u8],
    pattern: &[u8],
    room: usize,
) -> Result<Vec<Vec<u8>>, Failure> {
    let folder: &[u8] = if folder.is_empty() { b"." } else { folder };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
    let opened = open_typed(start, folder, flags);
    let Ok(entries) = opened.and_then(Dir::new) else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        let Ok(entry) = entry else { break };
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") || !matches(pattern, name) {
            continue;
        }
        if names.len() >= room {
            let text = "it means more files and folders than a transfer may have";
            return Err(Failure::new(FailureKind::TooBig, text));
        }
        names.push(name.to_vec());
    }
    names.sort_unstable();
    Ok(names)
}
