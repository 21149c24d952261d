//! Transfers by an account that is not root.

use std::{os::unix::fs::chown, path::Path, thread};

use rcmd_transfer::TransferOptions;
use rustix::{
    fs::{Gid, Uid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use crate::ends::{Ended, named, source, transfer};
use crate::tree::set_mode;

/// Returns whether these tests may be several accounts, and says so if not.
pub(crate) fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: needs root");
    }
    is_root
}

/// Transfers as an account that is not root, in one group besides its own.
pub(crate) fn as_account(options: &TransferOptions, from: &Path, to: &Path) -> Ended {
    let transfer = || {
        let (user, group) = (Uid::from_raw(1_234), Gid::from_raw(4_321));
        set_thread_groups(&[Gid::from_raw(77)]).unwrap();
        set_thread_res_gid(group, group, group).unwrap();
        set_thread_res_uid(user, user, user).unwrap();
        transfer(options, vec![source(from)], named(to))
    };
    thread::scope(|scope| scope.spawn(transfer).join().unwrap())
}

/// A place in which the account of [`as_account`] may write.
pub(crate) fn open_place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    chown(place.path(), Some(1_234), Some(4_321)).unwrap();
    set_mode(place.path(), 0o755);
    place
}
