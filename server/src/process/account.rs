//! The account that commands run as.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use nix::unistd::{Uid, User, getegid, geteuid};

/// An account of this host, as passwd(5) has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its name; the number in decimal when it has no entry.
    pub name: OsString,
    /// Its number.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its home folder, `/` without an entry.
    pub home: PathBuf,
    /// Its shell, `/bin/sh` without one.
    pub shell: PathBuf,
}

const SHELL: &str = "/bin/sh";

impl Account {
    /// The server's own account. It asks the name service, which may be a slow one: call it once.
    ///
    /// An account without an entry, as containers have it, is no error: it gets the defaults.
    pub fn current() -> Self {
        let (uid, gid) = (geteuid(), getegid().as_raw());
        let entry = User::from_uid(uid).ok().flatten();
        Self::of(uid, gid, entry)
    }

    fn of(uid: Uid, gid: u32, entry: Option<User>) -> Self {
        let (name, home, shell) = match entry {
            Some(user) => (user.name, user.dir, user.shell),
            None => (uid.to_string(), PathBuf::new(), PathBuf::new()),
        };
        Self {
            name: name.into(),
            uid: uid.as_raw(),
            gid,
            home: absolute_or(home, "/"),
            shell: absolute_or(shell, SHELL),
        }
    }
}

fn absolute_or(path: PathBuf, default: &str) -> PathBuf {
    if path.is_absolute() { path } else { Path::new(default).to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_without_an_entry_gets_the_defaults() {
        let account = Account::of(Uid::from_raw(4_242), 7, None);
        assert_eq!(account.name, "4242");
        assert_eq!((account.uid, account.gid), (4_242, 7));
        assert_eq!(account.home, Path::new("/"));
        assert_eq!(account.shell, Path::new("/bin/sh"));
    }

    #[test]
    fn the_servers_own_account_is_complete() {
        let account = Account::current();
        assert_eq!(account.uid, geteuid().as_raw());
        assert!(account.home.is_absolute() && account.shell.is_absolute());
        assert!(!account.name.is_empty());
    }
}
