//! The question to `policy explain`, from its options.

use std::{
    ffi::{OsStr, OsString},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use clap::Args;
use rcmd_certs::files::shown;

use crate::{
    policy::{
        Access,
        access::{Endpoint, FileFacts, SocketFacts},
    },
    process::Account,
};

/// The options that say what is asked about; one of them is given.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct AskedOptions {
    /// Ask about reading this file or folder
    ///
    /// A path that does not begin with / begins at the account's home.
    #[arg(long, value_name = "PATH")]
    read: Option<OsString>,
    /// Ask about writing this file or folder
    #[arg(long, value_name = "PATH")]
    write: Option<OsString>,
    /// Ask about a login shell on a terminal
    #[arg(long)]
    terminal: bool,
    /// Ask about connecting from the host to this port, or to the Unix socket with this path
    #[arg(long, value_name = "HOST:PORT", hide_short_help = true)]
    forward: Option<String>,
    /// Ask about listening on this port of the host, or on the Unix socket with this path
    #[arg(long, value_name = "[ADDRESS:]PORT", hide_short_help = true)]
    listen: Option<String>,
    /// Ask about relaying connections to the host
    #[arg(long, hide_short_help = true)]
    relay: bool,
    /// Ask about resuming a command that this user started
    #[arg(long, value_name = "OWNER", hide_short_help = true)]
    attach: Option<String>,
    /// Ask about seeing a command of this user in a list
    #[arg(long, value_name = "OWNER", hide_short_help = true)]
    list: Option<String>,
    /// Ask about ending a command of this user
    #[arg(long, value_name = "OWNER", hide_short_help = true)]
    kill: Option<String>,
    /// Program and its arguments, or the line for the shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The options of only some questions.
#[derive(Debug, Args)]
pub(super) struct DetailOptions {
    /// Size in bytes, for --read and --write [default: the size of the file to read, else 0]
    #[arg(long, value_name = "BYTES", hide_short_help = true)]
    size: Option<u64>,
    /// IP address of the host in --forward
    #[arg(long, value_name = "ADDRESS", hide_short_help = true)]
    address: Option<IpAddr>,
}

/// The question that the options ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// A program and its arguments, or a line for the shell.
    Command(Vec<OsString>),
    /// A login shell.
    Terminal,
    /// Another action, with a note on what was not looked at.
    Access(Access, Option<String>),
}

impl AskedOptions {
    /// Returns the question for this account, of files with this lock. Looks at the host's files.
    ///
    /// # Errors
    /// The fault of an option, and what to write.
    pub(super) fn read(
        &self,
        details: &DetailOptions,
        lock: Option<String>,
        account: &Account,
    ) -> Result<Asked> {
        let is_of_a_file = self.read.is_some() || self.write.is_some();
        if details.size.is_some() && !is_of_a_file {
            bail!("--size needs --read or --write");
        }
        if details.address.is_some() && self.forward.is_none() {
            bail!("--address needs --forward");
        }
        let facts =
            |endpoint| SocketFacts { account: account.name.clone(), uid: account.uid, endpoint };
        let (access, unseen) = if let Some(path) = &self.read {
            let (facts, unseen) = file(path, details.size, account, Purpose::Read);
            (Access::Read(FileFacts { lock, ..facts }), unseen)
        } else if let Some(path) = &self.write {
            let (facts, unseen) = file(path, details.size, account, Purpose::Write);
            (Access::Write(FileFacts { lock, ..facts }), unseen)
        } else if let Some(text) = &self.forward {
            let endpoint = forward(text, details.address)?;
            let unseen = unresolved(&endpoint);
            (Access::Forward(facts(endpoint)), unseen)
        } else if let Some(text) = &self.listen {
            (Access::Listen(facts(listen(text)?)), None)
        } else if let Some(owner) = self.attach.clone() {
            (Access::Attach { owner }, None)
        } else if let Some(owner) = self.list.clone() {
            (Access::List { owner }, None)
        } else if let Some(owner) = self.kill.clone() {
            (Access::Kill { owner }, None)
        } else if self.relay {
            (Access::Relay, None)
        } else if self.terminal {
            return Ok(Asked::Terminal);
        } else {
            return Ok(Asked::Command(self.command.clone()));
        };
        Ok(Asked::Access(access, unseen))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    Read,
    Write,
}

/// Returns the facts of a file as far as this user can see them, and a note on what was not looked
/// at.
fn file(
    typed: &OsStr,
    size: Option<u64>,
    account: &Account,
    purpose: Purpose,
) -> (FileFacts, Option<String>) {
    let typed = Path::new(typed);
    let written = account.home.join(typed.strip_prefix("~").unwrap_or(typed));
    let (path, there, unseen) = match resolved(&written, purpose) {
        Ok((path, there)) => (path, there, None),
        Err(error) => {
            let path = shown(&written);
            let why = format!("cannot look at {path} ({error}), so it is judged as it is written");
            (written, 0, Some(why))
        }
    };
    let size = size.unwrap_or(if purpose == Purpose::Read { there } else { 0 });
    let (account, uid) = (account.name.clone(), account.uid);
    (FileFacts { path, account, uid, size, lock: None }, unseen)
}

/// Returns a path without links, and the size of the file. A file to write need not exist, but its
/// folder must.
#[expect(clippy::disallowed_methods, reason = "programs that serve nobody")]
fn resolved(path: &Path, purpose: Purpose) -> io::Result<(PathBuf, u64)> {
    match path.canonicalize() {
        Ok(found) => {
            let size = found.metadata()?.len();
            Ok((found, size))
        }
        Err(error) => match (path.parent(), path.file_name()) {
            (Some(folder), Some(name))
                if purpose == Purpose::Write
                    && error.kind() == io::ErrorKind::NotFound
                    // A link that leads nowhere is not written through.
                    && path.symlink_metadata().is_err() =>
            {
                Ok((folder.canonicalize()?.join(name), 0))
            }
            _ => Err(error),
        },
    }
}

/// Reads the endpoint to connect to.
fn forward(text: &str, address: Option<IpAddr>) -> Result<Endpoint> {
    if text.contains('/') {
        if address.is_some() {
            bail!("--address needs a host in --forward, and {text:?} is a path");
        }
        return Ok(Endpoint::Path(text.to_owned()));
    }
    let Some((host, port)) = host_and_port(text) else {
        bail!(
            "cannot connect to {text:?}; write HOST:PORT, [ADDRESS]:PORT, or the path of a socket"
        )
    };
    let address = match host.parse::<IpAddr>() {
        Ok(own) if address.is_some_and(|address| address != own) => {
            bail!("{host} is an address; leave out --address")
        }
        Ok(own) => Some(own),
        Err(_) => address,
    };
    Ok(Endpoint::Port { host, address, port })
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().ok()?.to_string(),
        None if host.is_empty() || host.contains([':', '[', ']']) => return None,
        None => host.to_owned(),
    };
    Some((host, port.parse().ok()?))
}

/// Returns a note that the name of a host was not looked up.
fn unresolved(endpoint: &Endpoint) -> Option<String> {
    match endpoint {
        Endpoint::Port { host, address: None, .. } => Some(format!(
            "{host} is not looked up, so it is judged with the address ::; name one of its addresses \
             with --address, since the server judges each"
        )),
        _ => None,
    }
}

/// Reads the endpoint to listen on. For a port without an address, one of the two loopback
/// addresses is asked about.
fn listen(text: &str) -> Result<Endpoint> {
    if text.contains('/') {
        return Ok(Endpoint::Path(text.to_owned()));
    }
    let at = |address, port| Endpoint::Port { host: String::new(), address: Some(address), port };
    if let Ok(port) = text.parse::<u16>() {
        return Ok(at(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) => Ok(at(address.ip(), address.port())),
        Err(_) => bail!(
            "cannot listen on {text:?}; write PORT, ADDRESS:PORT, [ADDRESS]:PORT, or the path of a \
             socket"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn port(host: &str, address: Option<&str>, port: u16) -> Endpoint {
        let address = address.map(|address| address.parse().unwrap());
        Endpoint::Port { host: host.to_owned(), address, port }
    }

    #[test]
    fn an_endpoint_to_connect_to_is_a_port_of_a_host_or_a_path() {
        let ten = Some(IpAddr::from([10, 0, 0, 1]));
        for (text, address, endpoint) in [
            ("db1:5432", None, port("db1", None, 5432)),
            ("db1:5432", ten, port("db1", Some("10.0.0.1"), 5432)),
            ("10.0.0.1:1", None, port("10.0.0.1", Some("10.0.0.1"), 1)),
            ("10.0.0.1:1", ten, port("10.0.0.1", Some("10.0.0.1"), 1)),
            ("[::1]:65535", None, port("::1", Some("::1"), 65_535)),
            ("/run/db.sock", None, Endpoint::Path("/run/db.sock".to_owned())),
            ("run/a:1", None, Endpoint::Path("run/a:1".to_owned())),
        ] {
            assert_eq!(forward(text, address).unwrap(), endpoint, "{text}");
        }
        for text in ["db1", ":5432", "db1:", "db1:65536", "db1:x", "::1:5", "[db1]:5", "", "[::1]"]
        {
            assert!(forward(text, None).unwrap_err().to_string().contains("write HOST:PORT"));
        }
        assert!(forward("/run/x", ten).is_err() && forward("10.0.0.2:1", ten).is_err());
    }

    #[test]
    fn a_port_alone_is_listened_on_by_this_host_alone() {
        for (text, endpoint) in [
            ("80", port("", Some("127.0.0.1"), 80)),
            ("0.0.0.0:80", port("", Some("0.0.0.0"), 80)),
            ("[::]:0", port("", Some("::"), 0)),
            ("/run/x", Endpoint::Path("/run/x".to_owned())),
        ] {
            assert_eq!(listen(text).unwrap(), endpoint, "{text}");
        }
        for text in ["", "70000", "*:80", "localhost:80", "::1"] {
            assert!(listen(text).unwrap_err().to_string().contains("write PORT"), "{text}");
        }
    }

    #[test]
    fn a_file_is_known_by_its_path_without_links_and_by_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().canonicalize().unwrap();
        std::fs::write(home.join("file"), "four").unwrap();
        symlink("file", home.join("link")).unwrap();
        symlink("nowhere", home.join("dangling")).unwrap();
        let account = Account { home: home.clone(), ..Account::current() };
        let seen = |path: &str, size, purpose| {
            let (facts, unseen) = file(OsStr::new(path), size, &account, purpose);
            (facts.path.strip_prefix(&home).unwrap().to_owned(), facts.size, unseen.is_none())
        };
        let (whole, there) = (home.join("link"), home.file_name().unwrap());
        let around = Path::new("..").join(there).join("file");
        let [whole, around] = [&whole, &around].map(|path| path.to_str().unwrap());
        for path in ["file", "link", "~/link", "./file", whole, around] {
            assert_eq!(seen(path, None, Purpose::Read), ("file".into(), 4, true), "{path}");
            assert_eq!(seen(path, None, Purpose::Write), ("file".into(), 0, true), "{path}");
            assert_eq!(seen(path, Some(9), Purpose::Write), ("file".into(), 9, true), "{path}");
        }
        assert_eq!(seen("new", Some(5), Purpose::Write), ("new".into(), 5, true));
        for (path, purpose) in [
            ("new", Purpose::Read),
            ("no/new", Purpose::Write),
            ("dangling", Purpose::Write),
            ("dangling", Purpose::Read),
        ] {
            assert_eq!(seen(path, None, purpose), (path.into(), 0, false), "{path}");
        }
    }
}
