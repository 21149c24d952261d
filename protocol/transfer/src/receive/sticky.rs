//! Files and folders that others have put where everybody makes files, in the place of one that is to come.

use std::os::fd::OwnedFd;

use crate::{
    facts::{FileFacts, OTHERS_WRITE, STICKY, Sort},
    failure::{Failure, FailureKind},
};

/// Checks that a file or folder which is there was not put there by somebody else, in a folder for everybody. A file that
/// is replaced keeps its owner, so that whoever made it first would own what comes, and the owner of a folder has what
/// comes into it. The kernel keeps
/// programs from opening such a file to write (`fs.protected_regular`), but not from replacing it.
///
/// # Errors
/// `permission`.
pub(super) fn check(folder: &OwnedFd, found: &FileFacts, account: u32) -> Result<(), Failure> {
    if !matches!(found.sort, Sort::File | Sort::Folder) || found.owner.0 == account {
        return Ok(());
    }
    let above = FileFacts::of(folder);
    let above = above.map_err(|error| Failure::of(error, "look at the folder"))?;
    if !is_planted(found, &above) {
        return Ok(());
    }
    let text = "what stands there is somebody else's, in a folder where everybody makes files; it would stay \
                theirs. Remove it, or choose another name";
    Err(Failure::new(FailureKind::Permission, text))
}

/// Returns whether a file that is another account's may have been put there by anybody: the folder is sticky, others
/// may write in it, and the file is not of the folder's owner, who may do anything there.
fn is_planted(found: &FileFacts, above: &FileFacts) -> bool {
    above.mode & STICKY != 0 && above.mode & OTHERS_WRITE != 0 && found.owner.0 != above.owner.0
}

/// Returns whether others than an account and root may give what is in a folder other names.
pub(super) fn is_shared(folder: &FileFacts, account: u32) -> bool {
    let is_others = folder.owner.0 != account && folder.owner.0 != 0;
    is_others || folder.mode & OTHERS_WRITE != 0 && folder.mode & STICKY == 0
}

#[cfg(test)]
mod tests {
    use rustix::fs::CWD;

    use super::*;

    #[test]
    fn a_file_is_planted_in_a_sticky_folder_of_others_that_more_may_write() {
        let known = FileFacts::at(CWD, b"/").unwrap();
        let facts = |owner, mode| {
            let mut facts = known;
            (facts.owner, facts.mode) = ((owner, 7), mode);
            facts
        };
        for (folder, mode, is) in [
            (0, 0o1777, true),
            (0, 0o1770, true),
            (0, 0o1702, true),
            (0, 0o3720, true),
            // The folder's owner may put anything there in any case.
            (1_000, 0o1777, false),
            (0, 0o1755, false),
            (0, 0o1700, false),
            (0, 0o777, false),
        ] {
            let above = facts(folder, mode);
            assert_eq!(is_planted(&facts(1_000, 0o666), &above), is, "{folder} {mode:o}");
        }
    }

    #[test]
    fn a_folder_is_shared_if_others_may_rename_what_is_in_it() {
        let mut facts = FileFacts::at(CWD, b"/").unwrap();
        for (owner, mode, is) in [
            (1_000, 0o755, false),
            (0, 0o755, false),
            (0, 0o1777, false),
            (0, 0o777, true),
            (0, 0o775, true),
            (1_000, 0o702, true),
            (2_000, 0o755, true),
            (2_000, 0o1777, true),
        ] {
            (facts.owner, facts.mode) = ((owner, 7), mode);
            assert_eq!(is_shared(&facts, 1_000), is, "{owner} {mode:o}");
        }
    }
}
