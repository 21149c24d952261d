//! The accounts that commands run as.
#![expect(
    clippy::disallowed_methods,
    reason = "a helper, the main thread before it serves, and programs that serve nobody"
)]

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use nix::unistd::{User, getegid, geteuid};
use rcmd_protocol::outcome::ErrorKind;
use serde::{Deserialize, Serialize};

use super::{
    ids::{Gid, Uid},
    plan::Credentials,
};

/// An account of this host, as passwd(5) has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Account {
    /// The account's name; its user ID in decimal if it has no entry.
    pub name: OsString,
    /// The account's user ID.
    pub uid: Uid,
    /// The ID of the account's primary group.
    pub gid: Gid,
    /// The home folder; `/` if the account has no entry.
    #[serde(with = "super::program::as_bytes")]
    pub home: PathBuf,
    /// The shell; `/bin/sh` if the account has no entry.
    #[serde(with = "super::program::as_bytes")]
    pub shell: PathBuf,
    /// The credentials that a process must assume to run as it; `None` if the server runs as it
    /// already.
    pub credentials: Option<Credentials>,
}

/// The reason why commands can't run as an account.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum AccountError {
    /// The name service knows no such user.
    #[error("there is no user {0:?} on this host")]
    Unknown(OsString),
    /// The account's password is locked.
    #[error("the account {0:?} is locked")]
    Locked(OsString),
    /// The account has expired.
    #[error("the account {0:?} has expired")]
    Expired(OsString),
    /// The password has expired, or must be changed at the next login.
    #[error("the password of the account {0:?} has expired and must be changed first")]
    PasswordExpired(OsString),
    /// The host lets only root in.
    #[error("only root may log in at present: {} exists", .0.display())]
    NoLogins(PathBuf),
    /// The account's shell refuses logins, and a shell line was asked for.
    #[error("the account {name:?} has no login: its shell is {shell:?}")]
    NoShell {
        /// The name of the account.
        name: OsString,
        /// The shell of the account.
        #[serde(with = "super::program::as_bytes")]
        shell: PathBuf,
    },
    /// The server can't change to another user.
    #[error("the server runs as user {own} and cannot change to {name:?}")]
    NotRoot {
        /// The name of the account.
        name: OsString,
        /// The user ID of the server.
        own: Uid,
    },
    /// The name service failed.
    #[error("the account {name:?} cannot be looked up: {error}")]
    Failed {
        /// The name of the account.
        name: OsString,
        /// The error, in the system's words.
        error: String,
    },
    /// The name service answers too slowly.
    #[error("the host's name service did not answer in time")]
    Slow,
}

impl AccountError {
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::Slow => ErrorKind::Busy,
            Self::Failed { .. } => ErrorKind::Resources,
            _ => ErrorKind::NoSuchUser,
        }
    }

    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "Check the name with `getent passwd NAME` on the host.",
            Self::Locked(_) => "`usermod --unlock NAME` on the host unlocks it.",
            Self::Expired(_) | Self::PasswordExpired(_) => {
                "`chage --list NAME` on the host shows its dates."
            }
            Self::NoLogins(_) => {
                "The host is starting, stopping or under maintenance: try again later."
            }
            Self::NoShell { .. } => "Run a program of its own, without a shell, with --exec.",
            Self::NotRoot { .. } => "Leave --user out, or run the server as root.",
            Self::Failed { .. } => "Try `getent passwd NAME` on the host.",
            Self::Slow => "Try again later, or check the directory service of the host.",
        }
    }
}

const SHELL: &str = "/bin/sh";

impl Account {
    /// Returns the server's own account. Asks the name service, which may be slow: call this once.
    ///
    /// An account without an entry, as in containers, is not an error: it gets the defaults.
    pub fn current() -> Self {
        let (uid, gid) = (geteuid(), getegid());
        let entry = User::from_uid(uid).ok().flatten();
        Self::of(uid.into(), gid.into(), entry)
    }

    pub(super) fn of(uid: Uid, gid: Gid, entry: Option<User>) -> Self {
        let (name, home, shell) = match entry {
            Some(user) => (user.name, user.dir, user.shell),
            None => (uid.to_string(), PathBuf::new(), PathBuf::new()),
        };
        Self {
            name: name.into(),
            uid,
            gid,
            home: absolute_or(home, "/"),
            shell: absolute_or(shell, SHELL),
            credentials: None,
        }
    }

    /// Returns the shell that runs its lines.
    ///
    /// # Errors
    /// If that shell refuses logins (nologin(8), false(1)).
    pub fn login_shell(&self) -> Result<&Path, AccountError> {
        let refuses = ["nologin", "false"].map(OsStr::new);
        match self.shell.file_name() {
            Some(name) if refuses.contains(&name) => {
                Err(AccountError::NoShell { name: self.name.clone(), shell: self.shell.clone() })
            }
            _ => Ok(&self.shell),
        }
    }
}

/// The fields of shadow(5) for an account: days since 1970 and numbers of days, -1 for an empty
/// field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shadow {
    /// True if the password begins with `!`; `*` alone only means that no password matches.
    pub(super) locked: bool,
    /// The day on which the password was last changed; 0 if it must be at the next login.
    pub(super) changed: i64,
    /// The number of days for which the password is valid.
    pub(super) max: i64,
    /// The first day on which the account may not be used.
    pub(super) expires: i64,
}

impl Shadow {
    /// Checks that the account may be used on this day, by the fields of shadow(5) that OpenSSH and
    /// the account step of pam_unix(8) read, without asking PAM.
    ///
    /// # Errors
    /// The reason why it may not be used.
    pub(super) fn check(&self, name: &OsStr, today: i64) -> Result<(), AccountError> {
        let age = today.saturating_sub(self.changed);
        let is_old = self.changed > 0 && self.max >= 0 && age > self.max;
        if self.locked {
            return Err(AccountError::Locked(name.to_owned()));
        }
        // 0 is a day as well, though long past: `chage -E 0` disables an account.
        if self.expires >= 0 && today >= self.expires {
            return Err(AccountError::Expired(name.to_owned()));
        }
        if self.changed == 0 || is_old {
            return Err(AccountError::PasswordExpired(name.to_owned()));
        }
        Ok(())
    }
}

/// The files by which a host lets only root in (pam_nologin(8)).
const NO_LOGINS: [&str; 2] = ["/run/nologin", "/etc/nologin"];

/// Checks that the host lets this user in.
///
/// # Errors
/// [`AccountError::NoLogins`] while the host lets only root in.
pub(super) fn check_logins(uid: Uid) -> Result<(), AccountError> {
    let mut files = NO_LOGINS.iter().map(Path::new);
    match files.find(|file| !uid.is_root() && file.symlink_metadata().is_ok()) {
        Some(file) => Err(AccountError::NoLogins(file.to_owned())),
        None => Ok(()),
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
        let account = Account::of(Uid::from_raw(4_242), Gid::from_raw(7), None);
        assert_eq!(account.name, "4242");
        assert_eq!((account.uid.as_raw(), account.gid.as_raw()), (4_242, 7));
        assert_eq!(account.home, Path::new("/"));
        assert_eq!(account.shell, Path::new("/bin/sh"));
    }

    #[test]
    fn a_shell_that_lets_nobody_in_runs_no_lines() {
        let mut account = Account::of(Uid::from_raw(1), Gid::from_raw(1), None);
        for shell in ["/usr/sbin/nologin", "/bin/false"] {
            account.shell = shell.into();
            assert!(account.login_shell().unwrap_err().to_string().contains(shell));
        }
        account.shell = "/bin/bash".into();
        assert_eq!(account.login_shell().unwrap(), Path::new("/bin/bash"));
    }

    /// The fields of an account without a fault.
    const GOOD: Shadow = Shadow { locked: false, changed: 20_000, max: 99_999, expires: -1 };

    fn on(day: i64, shadow: Shadow) -> &'static str {
        match shadow.check(OsStr::new("x"), day) {
            Ok(()) => "good",
            Err(AccountError::Locked(_)) => "locked",
            Err(AccountError::Expired(_)) => "expired",
            Err(AccountError::PasswordExpired(_)) => "password expired",
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn an_account_expires_on_its_day_and_not_without_one() {
        assert_eq!(on(20_500, GOOD), "good");
        assert_eq!(on(20_499, Shadow { expires: 20_500, ..GOOD }), "good");
        for expires in [20_500, 20_499, 1, 0] {
            assert_eq!(on(20_500, Shadow { expires, ..GOOD }), "expired", "{expires}");
        }
        assert_eq!(on(20_500, Shadow { locked: true, ..GOOD }), "locked");
    }

    #[test]
    fn a_password_that_must_be_changed_keeps_an_account_out() {
        for (changed, max, expected) in [
            (0, 99_999, "password expired"),
            (0, -1, "password expired"),
            (20_000, 499, "password expired"),
            (20_000, 500, "good"),
            (20_000, 0, "password expired"),
            (20_000, -1, "good"),
            (-1, 30, "good"),
            (20_501, 0, "good"),
        ] {
            let shadow = Shadow { changed, max, ..GOOD };
            assert_eq!(on(20_500, shadow), expected, "changed {changed}, max {max}");
        }
    }

    #[test]
    fn the_servers_own_account_is_complete() {
        let account = Account::current();
        assert_eq!(account.uid, geteuid().into());
        assert!(account.home.is_absolute() && account.shell.is_absolute());
        assert!(!account.name.is_empty());
    }
}
