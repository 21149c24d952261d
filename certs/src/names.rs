//! The names that users, groups and hosts may have.
//!
//! Names go into certificates, logs, policies and paths. The allowed characters have no special meaning in
//! any of those, so that a name is the same text everywhere.

use std::{fmt, net::IpAddr};

use rustls_pki_types::DnsName;
use serde::{Deserialize, Serialize};

use crate::text::printable;

mod pattern;

pub use pattern::{BadPattern, MAX_NAMES, Pattern};

/// The longest user or group name, in bytes.
pub const MAX_NAME: usize = 64;

/// The reason why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A user's or group's name has characters that names do not have.
    #[error(
        "`{}` cannot be the name of a {kind}: use 1 to {MAX_NAME} of A-Z a-z 0-9 . _ @ + -, \
         the first a letter, a digit or _",
        printable(name)
    )]
    Name {
        /// The kind of name: `user` or `group`.
        kind: &'static str,
        /// The name as given.
        name: String,
    },
    /// A host is neither a DNS name nor an IP address.
    #[error(
        "`{}` is neither a DNS name nor an IP address: write it without a scheme, port or \
         brackets, as in web1.example.org or 192.0.2.7",
        printable(name)
    )]
    Host {
        /// The name as given.
        name: String,
    },
}

/// Checks a user's name.
///
/// # Errors
/// [`NameError::Name`] unless it is 1 to [`MAX_NAME`] of `A-Z a-z 0-9 . _ @ + -`, beginning with a
/// letter, a digit or `_`.
pub fn check_user(name: &str) -> Result<(), NameError> {
    check(name, "user")
}

/// Checks a group's name, by the rules of [`check_user`].
///
/// # Errors
/// As [`check_user`].
pub fn check_group(name: &str) -> Result<(), NameError> {
    check(name, "group")
}

fn check(name: &str, kind: &'static str) -> Result<(), NameError> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
    let first = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let fits = name.len() <= MAX_NAME
        && name.as_bytes().first().is_some_and(first)
        && name.bytes().all(inner);
    if fits { Ok(()) } else { Err(NameError::Name { kind, name: name.to_owned() }) }
}

/// The kind of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A host that is reached by its names.
    Server,
    /// A user.
    Client,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
        })
    }
}

/// A name that a server is reached by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostName {
    /// A DNS name in lower case (RFC 1123, RFC 5890 for the `xn--` form).
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl HostName {
    /// Reads a DNS name or an IP address. A `*.` in front makes a wildcard of one label.
    ///
    /// # Errors
    /// [`NameError::Host`] if it is neither.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if let Ok(address) = name.parse() {
            return Ok(Self::Ip(address));
        }
        let bare = name.strip_prefix("*.").unwrap_or(name);
        // Four numbers that are no address, as in 192.0.2.300, would pass as a DNS name.
        let numeric = bare.rsplit('.').next().is_some_and(|last| last.parse::<u64>().is_ok());
        if numeric || bare.ends_with('.') || DnsName::try_from(bare).is_err() {
            return Err(NameError::Host { name: name.to_owned() });
        }
        Ok(Self::Dns(name.to_ascii_lowercase()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass() {
        for name in ["alice", "a", "deploy-bot", "alice@example.org", "_apt", "R2.D2", "c++"] {
            assert_eq!(check_user(name), Ok(()), "{name}");
        }
        assert_eq!(check_user(&"a".repeat(MAX_NAME)), Ok(()));
    }

    #[test]
    fn names_that_mean_something_elsewhere_are_refused() {
        let long = "a".repeat(MAX_NAME + 1);
        for name in [
            "", ".", "..", "-n", "@a", "a/b", "a b", "a\0", "a\n", "a%41", "zoë", "a:b", "a*",
            &long,
        ] {
            assert!(check_user(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_refusal_prints_no_control_byte() {
        let message = check_group("\u{1b}[2J").unwrap_err().to_string();
        assert!(!message.contains('\u{1b}') && message.contains("group"), "{message}");
    }

    #[test]
    fn hosts_are_dns_names_or_addresses() {
        assert_eq!(HostName::parse("Web1.Example"), Ok(HostName::Dns("web1.example".into())));
        assert_eq!(HostName::parse("*.example.org"), Ok(HostName::Dns("*.example.org".into())));
        assert!(matches!(HostName::parse("192.0.2.7"), Ok(HostName::Ip(_))));
        assert!(matches!(HostName::parse("::1"), Ok(HostName::Ip(_))));
        for name in [
            "",
            "a b",
            "[::1]",
            "host:22",
            "https://host",
            "192.0.2.300",
            "a..b",
            "-a",
            "host.",
            "*",
            "*.*.a",
            "a\0b",
            "käse.de",
        ] {
            assert!(HostName::parse(name).is_err(), "{name:?}");
        }
    }
}
