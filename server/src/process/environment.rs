//! The environment of a command: made from nothing, never inherited.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    sync::LazyLock,
};

use super::account::Account;

/// The variable with the job's ID, by which its processes can be found.
pub const JOB: &str = "RCMD_JOB";
/// The variable with the peer that asked for the command.
pub const PEER: &str = "RCMD_PEER";

/// The names and values of variables, each name once.
pub type Environment = Vec<(OsString, OsString)>;

/// The sources of a command's environment.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The account that the command runs as, for `HOME`, `USER`, `LOGNAME` and `SHELL`.
    pub account: &'a Account,
    /// The value of `PATH`, from the configuration.
    pub path: &'a str,
    /// The value of `RCMD_JOB`.
    pub job: &'a str,
    /// The value of `RCMD_PEER`.
    pub peer: &'a str,
    /// The request's settings, each `NAME=VALUE`. They override all others, and the last one of a
    /// name counts.
    pub request: &'a [Vec<u8>],
}

/// The reason why an environment can't be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The setting is not a `NAME=VALUE` without NUL.
    #[error("{0:?} is not NAME=VALUE")]
    NoSetting(OsString),
    /// The name is reserved for the server.
    #[error("only the server sets the environment variable {0:?}")]
    Reserved(OsString),
}

/// Returns the language and the time zone of the server's own environment, which never changes.
pub(super) fn inherited() -> &'static Environment {
    static INHERITED: LazyLock<Environment> =
        LazyLock::new(|| std::env::vars_os().filter(|(name, _)| is_locale(name)).collect());
    &INHERITED
}

/// Makes the environment of a command. `inherited` is the server's own, of which only the language
/// and the time zone are passed on.
///
/// # Errors
/// If a setting of the request is not `NAME=VALUE`, or its name is reserved: `RCMD_*`, and those by
/// which the service manager communicates with the server (sd_notify(3), sd_listen_fds(3)).
pub fn build(
    sources: &Sources<'_>,
    inherited: &Environment,
) -> Result<Environment, EnvironmentError> {
    let account = sources.account;
    let mut environment: Environment = Vec::new();
    let mut set = |name: &OsStr, value: OsString| match environment
        .iter_mut()
        .find(|(known, _)| known == name)
    {
        Some((_, old)) => *old = value,
        None => environment.push((name.to_owned(), value)),
    };
    set(OsStr::new(JOB), sources.job.into());
    set(OsStr::new(PEER), sources.peer.into());
    set(OsStr::new("HOME"), account.home.clone().into());
    set(OsStr::new("USER"), account.name.clone());
    set(OsStr::new("LOGNAME"), account.name.clone());
    set(OsStr::new("SHELL"), account.shell.clone().into());
    set(OsStr::new("PATH"), sources.path.into());
    for (name, value) in inherited {
        if is_locale(name) {
            set(name, value.clone());
        }
    }
    for setting in sources.request {
        let (name, value) = split(setting)?;
        if is_reserved(name) {
            return Err(EnvironmentError::Reserved(OsStr::from_bytes(name).to_owned()));
        }
        set(OsStr::from_bytes(name), OsString::from_vec(value.to_owned()));
    }
    Ok(environment)
}

/// Returns the value of a variable.
pub fn get<'a>(environment: &'a Environment, name: &str) -> Option<&'a OsStr> {
    environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
}

fn split(setting: &[u8]) -> Result<(&[u8], &[u8]), EnvironmentError> {
    let no_setting = || EnvironmentError::NoSetting(OsStr::from_bytes(setting).to_owned());
    let at = setting.iter().position(|&byte| byte == b'=').ok_or_else(no_setting)?;
    let (name, value) = setting.split_at(at);
    if name.is_empty() || setting.contains(&0) {
        return Err(no_setting());
    }
    Ok((name, value.strip_prefix(b"=").unwrap_or(value)))
}

fn is_locale(name: &OsStr) -> bool {
    name == "LANG" || name == "TZ" || name.as_bytes().starts_with(b"LC_")
}

fn is_reserved(name: &[u8]) -> bool {
    name.starts_with(b"RCMD_") || name.starts_with(b"LISTEN_") || name == b"NOTIFY_SOCKET"
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::process::ids::{Gid, Uid};

    fn account() -> Account {
        Account {
            name: "ada".into(),
            uid: Uid::from_raw(1000),
            gid: Gid::from_raw(1000),
            home: PathBuf::from("/home/ada"),
            shell: PathBuf::from("/bin/sh"),
            credentials: None,
        }
    }

    fn built(
        inherited: &[(&str, &str)],
        request: &[&[u8]],
    ) -> Result<Environment, EnvironmentError> {
        let request: Vec<_> = request.iter().map(|setting| setting.to_vec()).collect();
        let account = account();
        let sources = Sources {
            account: &account,
            path: "/usr/bin:/bin",
            job: "j1",
            peer: "user:ada",
            request: &request,
        };
        let inherited = inherited.iter().map(|&(name, value)| (name.into(), value.into()));
        build(&sources, &inherited.collect())
    }

    fn pairs(environment: &Environment) -> Vec<(&str, &str)> {
        let text = |text: &'_ OsString| text.to_str().unwrap().to_owned().leak() as &str;
        environment.iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn only_language_and_time_zone_come_from_the_server() {
        let inherited = [
            ("LANG", "C.UTF-8"),
            ("LC_ALL", "C"),
            ("TZ", "UTC"),
            ("LISTEN_FDS", "1"),
            ("LD_PRELOAD", "x.so"),
            ("NOTIFY_SOCKET", "/run/notify"),
            ("RCMD_DIR", "/etc/rcmd"),
            ("PATH", "/nowhere"),
            ("HOME", "/root"),
        ];
        let environment = built(&inherited, &[]).unwrap();
        assert_eq!(
            pairs(&environment),
            [
                ("RCMD_JOB", "j1"),
                ("RCMD_PEER", "user:ada"),
                ("HOME", "/home/ada"),
                ("USER", "ada"),
                ("LOGNAME", "ada"),
                ("SHELL", "/bin/sh"),
                ("PATH", "/usr/bin:/bin"),
                ("LANG", "C.UTF-8"),
                ("LC_ALL", "C"),
                ("TZ", "UTC"),
            ]
        );
    }

    #[test]
    fn the_request_wins_and_its_last_word_counts() {
        let request: [&[u8]; 5] = [b"LANG=de", b"PATH=/a", b"X=1", b"X=2=3", b"EMPTY="];
        let environment = built(&[("LANG", "C")], &request).unwrap();
        assert_eq!(get(&environment, "LANG").unwrap(), "de");
        assert_eq!(get(&environment, "PATH").unwrap(), "/a");
        assert_eq!(get(&environment, "X").unwrap(), "2=3");
        assert_eq!(get(&environment, "EMPTY").unwrap(), "");
        assert_eq!(environment.iter().filter(|(name, _)| name == "X").count(), 1);
    }

    #[test]
    fn values_are_bytes() {
        let environment = built(&[], &[b"B=\xff\n\xfe"]).unwrap();
        assert_eq!(get(&environment, "B").unwrap().as_bytes(), b"\xff\n\xfe");
    }

    #[test]
    fn what_is_the_servers_own_can_not_be_set() {
        let reserved: [&[u8]; 4] =
            [b"RCMD_JOB=other", b"RCMD_ANYTHING=1", b"LISTEN_PID=1", b"NOTIFY_SOCKET=@x"];
        for setting in reserved {
            let error = built(&[], &[setting]).unwrap_err();
            assert!(matches!(error, EnvironmentError::Reserved(_)), "{error}");
        }
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        let malformed: [&[u8]; 4] = [b"", b"NAME", b"=value", b"A=b\0c"];
        for setting in malformed {
            let error = built(&[], &[setting]).unwrap_err();
            assert!(matches!(error, EnvironmentError::NoSetting(_)), "{error}");
        }
    }
}
