//! Where files come from and where they go: `PATH`, `HOST:PATH`, `HOST:PORT:PATH` and `-`. Nothing is looked up here.

use std::ffi::{OsStr, OsString};
use std::net::Ipv6Addr;
use std::os::unix::ffi::OsStrExt as _;

use rcmd_client::hosts::is_expression;
use rcmd_protocol::outcome::{ErrorKind, WireError};

/// Schemes of addresses that other programs take.
const SCHEMES: [&str; 9] = ["ssh", "scp", "sftp", "rsync", "http", "https", "ftp", "file", "rcmd"];

/// One side of a transfer, as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A path of this machine.
    Local(Vec<u8>),
    /// Standard input or standard output: `-`.
    Standard,
    /// A path of a host, or of each host of a set.
    Remote(RemotePlace),
}

/// A path of a host, or of each host of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemotePlace {
    /// The host, with its port if it has one, or an expression.
    pub(crate) hosts: String,
    /// The path, which is not empty: the home is `.`.
    pub(crate) path: Vec<u8>,
    /// How a file is written whose name begins with what was taken for a port.
    pub(crate) instead_of_port: Option<String>,
}

/// Paths that mean standard input. What they lead to is another file each time.
const INPUTS: [&[u8]; 3] = [b"/dev/stdin", b"/dev/fd/0", b"/proc/self/fd/0"];

/// Paths that mean standard output. A file that it was directed to would be replaced by another.
const OUTPUTS: [&[u8]; 3] = [b"/dev/stdout", b"/dev/fd/1", b"/proc/self/fd/1"];

impl Place {
    /// Returns the stream that a path of this machine means, if it is one of these, else the place itself.
    fn or_stream(self, paths: &[&[u8]]) -> Self {
        match self {
            Self::Local(path) if paths.contains(&&*path) => Self::Standard,
            place => place,
        }
    }

    /// Reads one side.
    ///
    /// # Errors
    /// A usage error, with advice: it is empty, or what stands before the colon is no host.
    pub(crate) fn read(typed: &OsStr) -> Result<Self, WireError> {
        let bytes = typed.as_bytes();
        match bytes {
            b"" => Err(usage("a path is empty").hint(
                "A shell variable that is not set is an empty word; this folder is written `.`.",
            )),
            b"-" => Ok(Self::Standard),
            _ => match split(bytes) {
                None => Ok(Self::Local(bytes.to_vec())),
                Some((host, path)) => RemotePlace::read(bytes, host, path).map(Self::Remote),
            },
        }
    }
}

/// Splits a text at its first colon outside brackets, unless a slash stands before that: then it is a path.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut in_brackets = false;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'[' => in_brackets = true,
            b']' => in_brackets = false,
            b'/' if !in_brackets => return None,
            b':' if !in_brackets => {
                let (host, rest) = bytes.split_at_checked(at)?;
                return Some((host, rest.get(1..)?));
            }
            _ => {}
        }
    }
    None
}

impl RemotePlace {
    fn read(whole: &[u8], host: &[u8], rest: &[u8]) -> Result<Self, WireError> {
        let shown = String::from_utf8_lossy(whole);
        if let Some((address, path)) = bare_address(whole) {
            return Err(usage(&format!("`{shown}` has an IPv6 address without brackets"))
                .hint(format!("Write `[{address}]:{}`.", String::from_utf8_lossy(path))));
        }
        let local = || format!("A file of this machine with that name is written `./{shown}`.");
        let host = match std::str::from_utf8(host) {
            Ok("") => return Err(usage(&format!("`{shown}` names no host")).hint(local())),
            Ok(host) => host,
            Err(_) => {
                return Err(
                    usage(&format!("`{shown}` names a host that is not text")).hint(local())
                );
            }
        };
        if rest.starts_with(b"//") && SCHEMES.contains(&host) {
            return Err(usage(&format!("`{shown}` is an address of another program"))
                .hint("Write HOST:PATH, as in `web1:/srv/site`."));
        }
        // The `@` of a group begins its part; text before an `@` is a user.
        let mut parts = host.split([',', '!', '&', '^']);
        let user =
            parts.find_map(|part| part.split_once('@').filter(|(before, _)| !before.is_empty()));
        if let Some((user, named)) = user {
            return Err(usage(&format!("`{shown}` names a user")).hint(format!(
                "Name the user with -l: `rcmd-client cp -l {user} ... {named}:{}`.",
                String::from_utf8_lossy(rest)
            )));
        }
        if is_list_of_ports(rest) {
            let rest = String::from_utf8_lossy(rest);
            return Err(usage(&format!("`{shown}` has ports in a set of hosts")).hint(format!(
                "HOST ends at the first colon, and was read as `{host}`. hosts.toml says at which port a host is \
                 reached; a file of that name is written `{host}:./{rest}`."
            )));
        }
        let Some((digits, path)) = port(rest) else {
            let path = or_home(rest);
            let (hosts, path) = (host.to_owned(), path.to_vec());
            return Ok(Self { hosts, path, instead_of_port: None });
        };
        let file = format!("{host}:./{}", String::from_utf8_lossy(rest));
        let instead =
            format!("`{digits}` was read as a port; a file of that name is written `{file}`.");
        if host.contains(['@', ',', '!', '&', '^', '*', '?']) {
            return Err(usage(&format!("`{shown}` has one port for several hosts"))
                .hint(format!("hosts.toml says at which port a host is reached. {instead}")));
        }
        if !digits.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(usage(&format!("`{digits}` in `{shown}` is no port"))
                .hint(format!("A port is a number from 1 to 65535; a file is written `{file}`.")));
        }
        let path = or_home(path);
        Ok(Self {
            hosts: format!("{host}:{digits}"),
            path: path.to_vec(),
            instead_of_port: Some(instead),
        })
    }
}

/// Returns a path of a host, in which the home is `.`.
fn or_home(path: &[u8]) -> &[u8] {
    if matches!(path, b"" | b"~") { &b"."[..] } else { path }
}

/// Returns an IPv6 address without brackets that a text begins with, and the path behind it.
fn bare_address(whole: &[u8]) -> Option<(&str, &[u8])> {
    let colons = whole.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at);
    let cut = |at: usize| {
        let (address, path) = whole.split_at_checked(at)?;
        let address = std::str::from_utf8(address).ok()?;
        address.parse::<Ipv6Addr>().ok()?;
        Some((address, path.get(1..)?))
    };
    // No address is longer, so that a long name costs nothing.
    colons.take_while(|at| *at < 64).filter_map(cut).last()
}

/// Returns whether a text begins with digits, a comma and one more host, as `7001,web2:7002:/x` does.
fn is_list_of_ports(rest: &[u8]) -> bool {
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).filter(|at| *at > 0);
    let behind = end.and_then(|at| rest.get(at..)).and_then(|behind| behind.strip_prefix(b","));
    behind.is_some_and(|behind| behind.contains(&b':'))
}

/// Returns the digits of a port and the path behind them, if a text begins with digits and a colon.
fn port(rest: &[u8]) -> Option<(&str, &[u8])> {
    let at = rest.iter().position(|byte| !byte.is_ascii_digit()).filter(|at| *at > 0)?;
    let (digits, path) = rest.split_at_checked(at)?;
    Some((std::str::from_utf8(digits).ok()?, path.strip_prefix(b":")?))
}

/// Both sides of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sides {
    /// From this machine to a host, or to each of a set.
    Push { sources: LocalSources, to: RemotePlace },
    /// From a host, or from each of a set, to this machine.
    Fetch { from: RemotePlace, paths: Vec<Vec<u8>>, to: LocalTarget },
}

/// What is sent from this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LocalSources {
    Paths(Vec<Vec<u8>>),
    /// What comes from standard input, as a file.
    Standard,
}

/// Where what is fetched goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LocalTarget {
    Path(Vec<u8>),
    /// Standard output, for one file.
    Standard,
}

impl Sides {
    /// Reads the words of a command line, of which the last is the destination.
    ///
    /// # Errors
    /// A usage error, with what to type instead.
    pub(crate) fn read(words: &[OsString]) -> Result<Self, WireError> {
        let Some((last, sources)) = words.split_last().filter(|(_, sources)| !sources.is_empty())
        else {
            let message = if words.is_empty() {
                "source and destination are missing"
            } else {
                "the destination is missing"
            };
            return Err(usage(message).hint(
                "Write `rcmd-client cp SRC... DST`, as in `rcmd-client cp FILE web1:/tmp/`.",
            ));
        };
        let to = Place::read(last)?.or_stream(&OUTPUTS);
        let read = |word: &OsString| Place::read(word).map(|place| place.or_stream(&INPUTS));
        let from: Vec<_> = sources.iter().map(read).collect::<Result<_, _>>()?;
        match to {
            Place::Remote(to) => Self::push(sources, from, last, to),
            Place::Local(path) => Self::fetch(words, from, LocalTarget::Path(path)),
            Place::Standard => Self::fetch(words, from, LocalTarget::Standard),
        }
    }

    fn push(
        typed: &[OsString],
        from: Vec<Place>,
        last: &OsStr,
        to: RemotePlace,
    ) -> Result<Self, WireError> {
        let mut paths = Vec::new();
        let mut reads_input = false;
        for (place, word) in from.into_iter().zip(typed) {
            match place {
                Place::Local(path) => paths.push(path),
                Place::Standard => reads_input = true,
                Place::Remote(_) => return Err(two_remote_sides(word, last)),
            }
        }
        let sources = match (reads_input, paths.is_empty()) {
            (false, _) => LocalSources::Paths(paths),
            (true, true) if typed.len() == 1 => LocalSources::Standard,
            (true, _) => {
                return Err(usage("`-` stands beside other sources")
                    .hint("Standard input is one file: write `-` as the only source."));
            }
        };
        Ok(Self::Push { sources, to })
    }

    fn fetch(words: &[OsString], from: Vec<Place>, to: LocalTarget) -> Result<Self, WireError> {
        let mut paths = Vec::new();
        let mut remote: Option<RemotePlace> = None;
        for place in from {
            let Place::Remote(place) = place else {
                return Err(usage("a source and the destination are both on this machine").hint(
                    "One side names a host, as in `rcmd-client cp web1:/etc/hosts .`; here cp(1) copies.",
                ));
            };
            if let Some(first) = remote.as_ref().filter(|first| first.hosts != place.hosts) {
                let message =
                    format!("the sources are on `{}` and on `{}`", first.hosts, place.hosts);
                let last = words.last().map(|word| shell_word(word.as_bytes())).unwrap_or_default();
                return Err(usage(&message).hint(format!(
                    "Fetch from one at a time: `rcmd-client cp {} {last}`, `rcmd-client cp {} {last}`.",
                    shell_word(&first.written()),
                    shell_word(&place.written())
                )));
            }
            paths.push(place.path.clone());
            remote.get_or_insert(place);
        }
        match remote {
            Some(from) => Ok(Self::Fetch { from, paths, to }),
            None => Err(usage("there is no source").hint("Write `rcmd-client cp SRC... DST`.")),
        }
    }
}

impl RemotePlace {
    /// Returns the place as it can be typed.
    fn written(&self) -> Vec<u8> {
        [self.hosts.as_bytes(), b":", &self.path].concat()
    }
}

/// Returns the error for two remote sides, with the two lines that copy by way of this machine.
fn two_remote_sides(from: &OsStr, to: &OsStr) -> WireError {
    let name = match Place::read(from) {
        Ok(Place::Remote(place)) => last_name(&place.path).map(<[u8]>::to_vec),
        _ => None,
    };
    let name = name.unwrap_or_else(|| b"copy".to_vec());
    let here = [&b"./"[..], &name].concat();
    let (from, to, here) =
        (shell_word(from.as_bytes()), shell_word(to.as_bytes()), shell_word(&here));
    usage("both sides are on other machines").hint(format!(
        "Copy by way of this one: `rcmd-client cp {from} {here}`, then `rcmd-client cp {here} {to}`."
    ))
}

/// Returns the last name of a path; none if the path means the contents of a folder, as `DIR/`, `.` and `..` do.
pub(crate) fn last_name(path: &[u8]) -> Option<&[u8]> {
    match path.rsplit(|byte| *byte == b'/').next() {
        None | Some(b"" | b"." | b"..") => None,
        last => last,
    }
}

/// Returns a text as one word for a POSIX shell.
pub(crate) fn shell_word(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._:/@%+=,-".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.into_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// Returns whether one place names several hosts.
pub(crate) fn is_set(place: &RemotePlace) -> bool {
    is_expression(&place.hosts)
}

fn usage(message: &str) -> WireError {
    WireError::new(ErrorKind::Usage, message)
}

#[cfg(test)]
mod tests;
