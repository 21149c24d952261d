//! Accounts by name, through the system's own look-up (getpwnam(3), nsswitch.conf(5)), so that
//! accounts of LDAP or sssd are found as everywhere else on the host.
//!
//! A directory service may answer late or never, and its library runs in the process that asks.
//! Therefore the server has a helper ask ([`Looks`](super::Looks)).
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, OsStr, c_char},
    io, mem, ptr,
    time::{SystemTime, UNIX_EPOCH},
};

use nix::{
    errno::Errno,
    libc,
    unistd::{User, geteuid, getgrouplist},
};

use super::{
    account::{Account, AccountError, Shadow, check_logins},
    plan::Credentials,
};

/// The size in bytes of the buffer for an entry of shadow(5); its password is a hash of limited
/// length.
const ENTRY: usize = 16 << 10;
const DAY: u64 = 24 * 60 * 60;

impl Account {
    /// Returns the account of this name, if commands may run as it. Asks the name service, which
    /// may be slow, so this must not be called on a worker of the runtime.
    ///
    /// The server's own account, under its own name, is the one that commands run as in any case,
    /// and is not looked up in shadow(5). Another name with the same user ID is another account.
    ///
    /// # Errors
    /// If there is none, it may not be used, or the server, which is not root, can't become it.
    pub fn find(name: &OsStr) -> Result<Self, AccountError> {
        let unknown = || AccountError::Unknown(name.to_owned());
        let failed = |error: io::Error| AccountError::Failed {
            name: name.to_owned(),
            error: error.to_string(),
        };
        let text = name.to_str().ok_or_else(unknown)?;
        let user = User::from_name(text).map_err(|errno| failed(errno.into()))?;
        let user = user.ok_or_else(unknown)?;
        let own = geteuid();
        let is_own = || {
            let entry = User::from_uid(own).ok().flatten();
            entry.is_some_and(|entry| entry.name == user.name)
        };
        if user.uid == own && is_own() {
            return Ok(Self::of(user.uid.into(), user.gid.into(), Some(user)));
        }
        if user.uid != own && !own.is_root() {
            return Err(AccountError::NotRoot { name: name.to_owned(), own: own.into() });
        }
        let c_name = CString::new(text).map_err(|_| unknown())?;
        // Only root can read shadow(5).
        if own.is_root()
            && let Some(shadow) = shadow(&c_name).map_err(failed)?
        {
            shadow.check(name, today())?;
        }
        check_logins(user.uid.into())?;
        if user.uid == own {
            return Ok(Self::of(user.uid.into(), user.gid.into(), Some(user)));
        }
        let groups = getgrouplist(&c_name, user.gid).map_err(|errno| failed(errno.into()))?;
        let credentials = Credentials {
            uid: user.uid.into(),
            gid: user.gid.into(),
            groups: groups.into_iter().map(Into::into).collect(),
        };
        let account = Self::of(credentials.uid, credentials.gid, Some(user));
        Ok(Self { credentials: Some(credentials), ..account })
    }
}

/// Returns the number of days since 1970, the unit of shadow(5).
fn today() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs() / DAY).unwrap_or(i64::MAX))
}

/// Returns the entry of shadow(5), if there is one: most accounts of a directory have none.
fn shadow(name: &CStr) -> io::Result<Option<Shadow>> {
    let mut buffer: Vec<c_char> = vec![0; ENTRY];
    let mut found = ptr::null_mut();
    // SAFETY: all zeroes is a valid spwd: null pointers and numbers.
    let mut entry: libc::spwd = unsafe { mem::zeroed() };
    // SAFETY: the name ends with NUL; entry, buffer and result may be written, the buffer to its length.
    let answer = unsafe {
        libc::getspnam_r(name.as_ptr(), &mut entry, buffer.as_mut_ptr(), buffer.len(), &mut found)
    };
    match Errno::from_raw(answer) {
        // A missing entry is a success without a result, or one of these errors (getspnam(3),
        // getpwnam(3)).
        _ if answer == 0 && found.is_null() => Ok(None),
        Errno::ENOENT | Errno::ESRCH => Ok(None),
        _ if answer == 0 && !entry.sp_pwdp.is_null() => {
            // SAFETY: the entry was found, so that its password is a string in the buffer.
            let password = unsafe { CStr::from_ptr(entry.sp_pwdp) };
            let locked = password.to_bytes().starts_with(b"!");
            let libc::spwd { sp_lstchg: changed, sp_max: max, sp_expire: expires, .. } = entry;
            Ok(Some(Shadow { locked, changed, max, expires }))
        }
        _ if answer == 0 => Ok(None),
        errno => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn who_does_not_exist_is_unknown() {
        for name in ["no-such-user-here", "", "a:b", "../root"] {
            let error = Account::find(OsStr::new(name)).unwrap_err();
            assert!(matches!(error, AccountError::Unknown(_)), "{error}");
        }
        let bytes = OsStr::from_bytes(b"\xff");
        assert!(matches!(Account::find(bytes), Err(AccountError::Unknown(_))));
    }
}
