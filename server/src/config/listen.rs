//! Where a server listens, as flags and `server.toml` say it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use rcmd_protocol::limits::PORT;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest path of a Unix socket, in bytes. The kernel takes 107 (unix(7)); the socket is made under a longer
/// name in the same folder first.
const LONGEST_PATH: usize = 96;
/// The word for the sockets of the service manager.
const FROM_MANAGER: &str = "fd";
/// The beginning of the path of a Unix socket.
const UNIX: &str = "unix:";

/// A place to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and a port of TCP; port 0 takes one that is free.
    Tcp(SocketAddr),
    /// The absolute path of a Unix socket.
    Unix(PathBuf),
    /// The sockets that the service manager passes to the server (sd_listen_fds(3)).
    FromManager,
}

/// The source of the places to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenSource {
    /// Neither the command line nor `server.toml` names any.
    Default,
    /// The setting `listen` in `server.toml`.
    File,
    /// The option `--listen`.
    Flag,
}

impl FromStr for ListenAddress {
    type Err = String;

    /// Reads `ADDR:PORT`, `unix:PATH` or `fd`. The error says what is wrong and what to write.
    fn from_str(typed: &str) -> Result<Self, String> {
        if typed == FROM_MANAGER {
            return Ok(Self::FromManager);
        }
        if let Some(path) = typed.strip_prefix(UNIX) {
            return unix_path(path).map(Self::Unix);
        }
        if let Ok(address) = typed.parse() {
            return Ok(Self::Tcp(address));
        }
        let bare = typed.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Err(format!("the port is missing; write {}", SocketAddr::new(address, PORT)));
        }
        let port = typed.trim_start_matches(['*', ':']);
        Err(match port.parse::<u16>() {
            Ok(port) => format!(
                "the address is missing; write 127.0.0.1:{port} for clients on this machine only, or \
                 0.0.0.0:{port} for all"
            ),
            Err(_) => format!(
                "host names are not looked up; write an IP address, as in 127.0.0.1:{PORT}, or unix:PATH"
            ),
        })
    }
}

fn unix_path(text: &str) -> Result<PathBuf, String> {
    let wrong = |why: &str| Err(format!("{why}; write unix:PATH, as in unix:/run/rcmd/rcmd.sock"));
    let path = Path::new(text);
    if !path.is_absolute() {
        return wrong("the path of a Unix socket must be absolute");
    }
    if text.len() > LONGEST_PATH {
        return wrong("the path of a Unix socket has at most 96 bytes");
    }
    if text.contains(char::is_control) {
        return wrong("the path of a Unix socket has no control characters");
    }
    if text.ends_with('/') || path.file_name().is_none() {
        return wrong("the path of a Unix socket ends in its name");
    }
    Ok(path.to_owned())
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
            Self::FromManager => f.write_str(FROM_MANAGER),
        }
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_place_is_read_and_written_back() {
        for (text, place) in [
            ("[::1]:7", ListenAddress::Tcp("[::1]:7".parse().unwrap())),
            ("0.0.0.0:7263", ListenAddress::Tcp("0.0.0.0:7263".parse().unwrap())),
            ("unix:/run/rcmd/a b.sock", ListenAddress::Unix("/run/rcmd/a b.sock".into())),
            ("fd", ListenAddress::FromManager),
        ] {
            let read: ListenAddress = text.parse().unwrap();
            assert_eq!(read, place);
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn a_place_that_is_not_whole_says_what_to_write() {
        let long = format!("unix:/{}", "a".repeat(LONGEST_PATH));
        for (typed, write) in [
            ("7263", "0.0.0.0:7263 for all"),
            (":7263", "127.0.0.1:7263 for clients on this machine"),
            ("*:80", "0.0.0.0:80 for all"),
            ("10.0.0.1", "write 10.0.0.1:7263"),
            ("::1", "write [::1]:7263"),
            ("[::1]", "write [::1]:7263"),
            ("localhost:7263", "an IP address, as in 127.0.0.1:7263"),
            ("", "an IP address, as in 127.0.0.1:7263"),
            ("FD", "an IP address"),
            ("unix:", "must be absolute"),
            ("unix:run/x", "must be absolute"),
            ("unix:/", "ends in its name"),
            ("unix:/run/", "ends in its name"),
            ("unix:/run/..", "ends in its name"),
            ("unix:/run/\u{1b}", "no control characters"),
            (long.as_str(), "at most 96 bytes"),
        ] {
            let said = typed.parse::<ListenAddress>().unwrap_err();
            assert!(said.contains(write), "{typed}: {said}");
        }
    }
}
