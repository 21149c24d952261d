//! Whom commands run as.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::PathBuf};

use nix::unistd::{Uid, User};

/// The account that commands run as: the server's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// The name in passwd, else the number.
    pub name: OsString,
    /// Where commands start.
    pub home: PathBuf,
    /// What runs a shell line.
    pub shell: PathBuf,
}

impl Account {
    /// Looks the server's own account up, once: passwd may be served over a network.
    pub fn current() -> Self {
        let uid = Uid::effective();
        match User::from_uid(uid) {
            Ok(Some(user)) => Self {
                name: OsString::from_vec(user.name.into_bytes()),
                home: user.dir,
                shell: if user.shell.as_os_str().is_empty() { "/bin/sh".into() } else { user.shell },
            },
            Ok(None) | Err(_) => Self {
                name: uid.to_string().into(),
                home: "/".into(),
                shell: "/bin/sh".into(),
            },
        }
    }
}
