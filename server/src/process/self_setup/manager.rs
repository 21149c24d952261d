//! What a service manager passes to the process that it starts: sockets that listen (sd_listen_fds(3)), where it
//! wants to be told of the service's state, and how often (sd_notify(3), sd_watchdog_enabled(3)).
#![allow(unsafe_code)]

use std::{env, ffi::OsString, io, time::Duration};

use rustix::{
    fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    io::{Errno, fcntl_getfd},
};

/// The first descriptor that is passed (sd_listen_fds(3)).
const FIRST: RawFd = 3;
/// The maximum number of sockets that are taken, as of addresses in the configuration.
const MOST: usize = 1000;
/// The variables by which a service manager speaks to a service. They are for this process alone.
const VARIABLES: [&str; 6] = [
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// What the service manager passed to this process.
#[derive(Debug, Default)]
pub struct FromManager {
    /// The sockets, in their order.
    pub sockets: Vec<PassedSocket>,
    /// The address of the socket where the manager wants to be told of the server's state.
    pub notify: Option<OsString>,
    /// The time within which the manager wants to hear that the server is well.
    pub watchdog: Option<Duration>,
}

/// A socket that the service manager passed on.
#[derive(Debug)]
pub struct PassedSocket {
    /// The name that the manager gave it (`FileDescriptorName=`); may be empty.
    pub name: String,
    /// The descriptor.
    pub fd: OwnedFd,
}

/// Takes what the service manager passed to this process, and removes its variables from the environment, so that
/// nothing that is started later takes it for its own.
///
/// # Errors
/// If the variables and the descriptors do not fit together.
pub(super) fn take() -> io::Result<FromManager> {
    let told = Told::read(std::process::id(), |name| env::var_os(name))
        .map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
    for name in VARIABLES {
        // SAFETY: the process has no second thread yet.
        unsafe { env::remove_var(name) };
    }
    let mut sockets = Vec::new();
    for (fd, name) in (FIRST..).zip(told.names) {
        // SAFETY: the borrow ends with the call, which fails if the descriptor is not open.
        let open = fcntl_getfd(unsafe { BorrowedFd::borrow_raw(fd) });
        if open == Err(Errno::BADF) {
            let why = format!("LISTEN_FDS counts the descriptor {fd}, which is not open");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        // SAFETY: the descriptor is open, and nothing in this process owns it: it was there before the program began,
        // for the taker of these variables, which are gone now.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        sockets.push(PassedSocket { name, fd });
    }
    Ok(FromManager { sockets, notify: told.notify, watchdog: told.watchdog })
}

/// What the variables say.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    /// The names of the descriptors, one for each.
    names: Vec<String>,
    notify: Option<OsString>,
    watchdog: Option<Duration>,
}

impl Told {
    fn read(pid: u32, variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, String> {
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        // Variables for another process, such as one that forked us, are not for this one.
        let is_ours = |name| text(name).is_some_and(|text| text.parse() == Ok(pid));
        let mut names = Vec::new();
        if is_ours("LISTEN_PID") {
            let typed = text("LISTEN_FDS").unwrap_or_default();
            let count: usize = typed
                .parse()
                .ok()
                .filter(|&count| count <= MOST)
                .ok_or_else(|| format!("LISTEN_FDS is {typed:?}, not a number up to {MOST}"))?;
            let given = text("LISTEN_FDNAMES").unwrap_or_default();
            names = given.split(':').map(str::to_owned).take(count).collect();
            names.resize(count, String::new());
        }
        let watched = variable("WATCHDOG_PID").is_none() || is_ours("WATCHDOG_PID");
        let watchdog = text("WATCHDOG_USEC")
            .filter(|_| watched)
            .and_then(|text| text.parse().ok())
            .filter(|&microseconds| microseconds > 0)
            .map(Duration::from_micros);
        let notify = variable("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        Ok(Self { names, notify, watchdog })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(variables: &[(&str, &str)]) -> Result<Told, String> {
        Told::read(7, |name| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn sockets_are_ours_only_if_the_process_number_is() {
        let named = |pid, count, names| {
            told(&[("LISTEN_PID", pid), ("LISTEN_FDS", count), ("LISTEN_FDNAMES", names)])
        };
        assert_eq!(named("7", "2", "a:b").unwrap().names, ["a", "b"]);
        assert_eq!(named("7", "3", "a").unwrap().names, ["a", "", ""]);
        assert_eq!(named("7", "1", "a:b:c").unwrap().names, ["a"]);
        assert_eq!(named("7", "0", "").unwrap().names.len(), 0);
        assert_eq!(named("8", "2", "a:b").unwrap().names.len(), 0);
        assert_eq!(told(&[("LISTEN_FDS", "2")]).unwrap().names.len(), 0);
    }

    #[test]
    fn a_count_that_is_none_or_too_high_is_refused() {
        for count in ["", "x", "-1", "1001", "99999999999999999999"] {
            let said = told(&[("LISTEN_PID", "7"), ("LISTEN_FDS", count)]).unwrap_err();
            assert!(said.contains("not a number up to 1000"), "{said}");
        }
    }

    #[test]
    fn the_watchdog_is_ours_unless_it_names_another_process() {
        let watchdog = |variables: &[_]| told(variables).unwrap().watchdog;
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "1000000")]), second);
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", "7")]), second);
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", "8")]), None);
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "0")]), None);
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "soon")]), None);
        assert_eq!(told(&[("NOTIFY_SOCKET", "")]).unwrap().notify, None);
        assert_eq!(told(&[("NOTIFY_SOCKET", "@x")]).unwrap().notify, Some("@x".into()));
    }
}
