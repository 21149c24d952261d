//! The address of a server.

use std::{
    fmt,
    net::{Ipv6Addr, SocketAddr},
    path::Path,
    str::FromStr,
};

use rcmd_protocol::limits::PORT;

/// The longest DNS name, in bytes (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 253;

/// The beginning of the address of a Unix socket, before its path.
pub(crate) const UNIX: &str = "unix:";

/// A host and its port: `NAME`, `NAME:PORT`, `ADDRESS`, `ADDRESS:PORT`, `[V6]` or `[V6]:PORT`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Target {
    /// A name or an address; an IPv6 address has no brackets. `unix:PATH` is a Unix socket of this machine, which
    /// only `hosts.toml` can name, and has no port.
    pub host: String,
    /// The port; 7263 by default.
    pub port: u16,
    /// The name that the certificate must have; `host` by default.
    pub certificate: Option<String>,
    /// The name in results and messages; host and port by default.
    pub name: Option<String>,
}

/// A family of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl AddressFamily {
    /// Returns whether an address belongs to this family.
    pub(crate) fn has(self, address: &SocketAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

impl fmt::Display for AddressFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The error of a text that is not a valid host.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text:?} is not a valid host ({why}); write NAME, NAME:PORT, ADDRESS or [V6]:PORT")]
pub struct InvalidTarget {
    text: String,
    why: &'static str,
}

impl InvalidTarget {
    /// Returns the invalid text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Target {
    /// The default port.
    pub const PORT: u16 = PORT;

    /// Returns the name that the certificate must have.
    #[must_use]
    pub fn certificate_name(&self) -> &str {
        self.certificate.as_deref().unwrap_or(&self.host)
    }

    /// Returns the path of the Unix socket by which the host is reached, if it is reached by one.
    #[must_use]
    pub fn socket_path(&self) -> Option<&Path> {
        self.host.strip_prefix(UNIX).map(Path::new)
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let invalid = |why| InvalidTarget { text: text.to_owned(), why };
        if text.is_empty() {
            return Err(invalid("it is empty"));
        }
        // A zone names a link of this machine (RFC 4007), which no certificate contains.
        let zone = text.trim_start_matches('[').split_once('%').map(|(address, _)| address);
        if zone.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()) {
            return Err(invalid("an address with a zone, such as %eth0, is not supported"));
        }
        if text.contains('@') {
            return Err(invalid("it names a user"));
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or(invalid("a bracket is not closed"))?;
            host.parse::<Ipv6Addr>().map_err(|_| invalid("not an IPv6 address in the brackets"))?;
            match rest {
                "" => (host, None),
                _ => (
                    host,
                    Some(rest.strip_prefix(':').ok_or(invalid("there is text after the bracket"))?),
                ),
            }
        } else if text.parse::<Ipv6Addr>().is_ok() {
            (text, None)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        // No characters with a meaning for a shell or in options: scripts can then print and pass on the
        // names of hosts without harm.
        let odd = |c: char| !c.is_alphanumeric() && !matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty()
            || host.len() > LONGEST_NAME
            || host.starts_with('-')
            || host.contains(odd)
        {
            return Err(invalid("not a host name"));
        }
        let port = match port.map(str::parse) {
            None => PORT,
            Some(Ok(port)) if port > 0 => port,
            Some(_) => return Err(invalid("a port is a number from 1 to 65535")),
        };
        Ok(Self { host: host.to_owned(), port, certificate: None, name: None })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            return f.write_str(name);
        }
        match (self.host.contains(':'), self.port) {
            (_, PORT) => f.write_str(&self.host),
            (false, port) => write!(f, "{}:{port}", self.host),
            (true, port) => write!(f, "[{}]:{port}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_host_is_read_and_written_back() {
        for (text, host, port) in [
            ("web1", "web1", PORT),
            ("web1:22", "web1", 22),
            ("10.0.0.7", "10.0.0.7", PORT),
            ("10.0.0.7:9000", "10.0.0.7", 9000),
            ("::1", "::1", PORT),
            ("[::1]:9000", "::1", 9000),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.host.as_str(), target.port), (host, port));
            assert_eq!(target.to_string(), text);
        }
        let bracketed: Target = "[::1]".parse().unwrap();
        assert_eq!(bracketed.to_string(), "::1");
    }

    #[test]
    fn a_zone_a_user_and_nothing_are_refused_by_name() {
        for (text, why) in [
            ("fe80::1%eth0", "a zone"),
            ("[fe80::1%2]", "a zone"),
            ("[fe80::1%eth0]:7263", "a zone"),
            ("root@web1", "a user"),
            ("", "empty"),
        ] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused_with_the_reason() {
        for text in [
            "",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a:b",
            "[::1",
            "[a]:1",
            "[::1]x",
            "a b",
            "u@h",
            "a/b",
            "-oProxyCommand=id",
            "-v",
            "--help",
            "-1.2.3.4:22",
            "$(id)",
            "`id`",
            "a;id",
            "a|id",
            "a&",
            "'a'",
            "a%h",
            "a\n",
            "a\u{1b}",
        ] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains("write NAME"), "{text}: {error}");
        }
        assert!("a".repeat(254).parse::<Target>().is_err());
    }
}
