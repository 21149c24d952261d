//! The requests of a peer other than to run a command: the action, and its facts as Cedar's
//! context. [`authorize_access`](super::authorize_access) judges it.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    net::{IpAddr, SocketAddr},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
};

use cedar_policy::{Context, RestrictedExpression};
use rcmd_certs::text::printable;

use super::{
    question::{HostFacts, Pair, Recent, RequestContext, address, number, text, truth, utf8},
    vocabulary::{Action, user},
};
use crate::process::Uid;

/// A request of a peer other than to run a command. As text, it is the words after "may not" in a
/// denial.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Access {
    /// To have a login shell on a terminal. The program is the shell.
    Terminal(HostFacts),
    /// To read a file or a folder.
    Read(FileFacts),
    /// To write a file or a folder.
    Write(FileFacts),
    /// To have this host connect to an endpoint.
    Forward(SocketFacts),
    /// To have this host listen on an endpoint.
    Listen(SocketFacts),
    /// To pass connections of others on to this host.
    Relay,
    /// To take up a command of this user.
    Attach {
        /// The user who started the command.
        owner: String,
    },
    /// To see a command of this user in a list.
    List {
        /// The user who started the command.
        owner: String,
    },
    /// To end a command of this user.
    Kill {
        /// The user who started the command.
        owner: String,
    },
}

/// The facts of a file or folder by which reading or writing it is judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileFacts {
    /// The path without symbolic links, taken from the descriptor that is used afterwards: a path
    /// may lead elsewhere a moment later.
    pub path: PathBuf,
    /// The name of the account that reads or writes.
    pub account: OsString,
    /// The account's user ID.
    pub uid: Uid,
    /// The size in bytes: of the file that is read, or as announced for the one that is written.
    pub size: u64,
    /// The name of the lock that the transfer holds, if it takes one.
    pub lock: Option<String>,
}

/// The facts of a connection that this host makes or accepts for a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketFacts {
    /// The name of the account that connects or listens.
    pub account: OsString,
    /// The account's user ID.
    pub uid: Uid,
    /// The endpoint to connect to or to listen on.
    pub endpoint: Endpoint,
}

/// An endpoint of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// A port.
    Port {
        /// The host as the peer named it; empty for an endpoint to listen on.
        host: String,
        /// One of the host's addresses; `None` for a host that has dialled in.
        address: Option<IpAddr>,
        /// The port; 0 for a host that has dialled in.
        port: u16,
    },
    /// A Unix socket by its path, which is UTF-8 and not empty: for rules, `""` is no path.
    Path(String),
}

impl Endpoint {
    /// Returns whether other hosts can reach the endpoint.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Port { address, .. } => {
                address.is_none_or(|address| !address.to_canonical().is_loopback())
            }
            Self::Path(_) => false,
        }
    }

    fn host(&self) -> &str {
        match self {
            Self::Port { host, .. } => host,
            Self::Path(_) => "",
        }
    }
}

impl Access {
    /// Returns the action.
    pub fn action(&self) -> Action {
        match self {
            Self::Terminal(_) => Action::Terminal,
            Self::Read(_) => Action::Read,
            Self::Write(_) => Action::Write,
            Self::Forward(_) => Action::Forward,
            Self::Listen(_) => Action::Listen,
            Self::Relay => Action::Relay,
            Self::Attach { .. } => Action::Attach,
            Self::List { .. } => Action::List,
            Self::Kill { .. } => Action::Kill,
        }
    }

    /// Returns the facts of the file or folder, if one is to be read or written.
    pub fn file(&self) -> Option<&FileFacts> {
        match self {
            Self::Read(facts) | Self::Write(facts) => Some(facts),
            _ => None,
        }
    }

    /// Returns the same action on another file or folder of this size, by the same account and under
    /// the same lock.
    ///
    /// Returns `None` for an action that is none on files.
    pub fn on(&self, path: PathBuf, size: u64) -> Option<Self> {
        let facts = |of: &FileFacts| FileFacts { path, size, ..of.clone() };
        match self {
            Self::Read(of) => Some(Self::Read(facts(of))),
            Self::Write(of) => Some(Self::Write(facts(of))),
            _ => None,
        }
    }

    /// Returns the reading of a file of this size, by the account that reads or writes this one.
    ///
    /// Returns `None` for an action that is none on files.
    pub fn reading(&self, path: PathBuf, size: u64) -> Option<Self> {
        Some(Self::Read(FileFacts { path, size, ..self.file()?.clone() }))
    }

    /// Returns Cedar's context for what is asked.
    ///
    /// # Errors
    /// Cedar's message, if it rejects a fact.
    pub(super) fn context(
        &self,
        context: RequestContext,
        recent: &Recent,
    ) -> Result<Context, String> {
        let mut pairs = match self {
            Self::Terminal(facts) => of_terminal(facts),
            Self::Read(facts) | Self::Write(facts) => of_file(facts),
            Self::Forward(facts) => {
                let mut pairs = of_socket(facts);
                pairs.push(text("host", facts.endpoint.host()));
                pairs
            }
            Self::Listen(facts) => of_socket(facts),
            Self::Relay => Vec::new(),
            Self::Attach { owner } | Self::List { owner } | Self::Kill { owner } => {
                let owner = RestrictedExpression::new_entity_uid(user(owner));
                vec![("owner".to_owned(), owner)]
            }
        };
        pairs.extend(recent.pairs(context));
        Context::from_pairs(pairs).map_err(|error| error.to_string())
    }
}

/// An account whose name is not UTF-8 has the name "", which no account has.
fn of_account(account: &OsStr, uid: Uid) -> Vec<Pair> {
    vec![text("account", utf8(account.as_bytes()).unwrap_or_default()), number("uid", uid.as_raw())]
}

fn of_socket(SocketFacts { account, uid, endpoint }: &SocketFacts) -> Vec<Pair> {
    let (at, port, path) = match endpoint {
        Endpoint::Port { address, port, .. } => (*address, *port, ""),
        Endpoint::Path(path) => (None, 0, path.as_str()),
    };
    let is_text = utf8(account.as_bytes()).is_some();
    let mut pairs = of_account(account, *uid);
    pairs.extend([
        address("address", at),
        number("port", port),
        text("path", path),
        truth("text", is_text),
    ]);
    pairs
}

fn of_file(FileFacts { path, account, uid, size, lock }: &FileFacts) -> Vec<Pair> {
    let known = utf8(path.as_os_str().as_bytes());
    let is_text = known.is_some() && utf8(account.as_bytes()).is_some();
    let mut pairs = of_account(account, *uid);
    pairs.extend([
        text("path", known.unwrap_or_default()),
        number("size", *size),
        truth("text", is_text),
    ]);
    pairs.extend(lock.iter().map(|lock| text("lock", lock.as_str())));
    pairs
}

fn of_terminal(HostFacts { account, uid, cwd, program }: &HostFacts) -> Vec<Pair> {
    let [program, cwd] = [&program.path, cwd].map(|path| utf8(path.as_os_str().as_bytes()));
    let is_text = program.is_some() && cwd.is_some() && utf8(account.as_bytes()).is_some();
    let mut pairs = of_account(account, *uid);
    pairs.extend([
        text("line", ""),
        text("program", program.unwrap_or_default()),
        text("cwd", cwd.unwrap_or_default()),
        ("env".to_owned(), RestrictedExpression::new_set([])),
        truth("tty", true),
        truth("text", is_text),
    ]);
    pairs
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |account: &OsString| printable(&account.to_string_lossy());
        match self {
            Self::Terminal(HostFacts { account, .. }) => {
                write!(f, "have a login shell as {}", by(account))
            }
            Self::Read(facts) | Self::Write(facts) => {
                let path = printable(&facts.path.to_string_lossy());
                write!(f, "{} {path} as {}", self.action().as_str(), by(&facts.account))?;
                match &facts.lock {
                    Some(lock) => write!(f, " with the lock {}", printable(lock)),
                    None => Ok(()),
                }
            }
            Self::Forward(SocketFacts { account, endpoint, .. }) => {
                write!(f, "connect to {endpoint} as {}", by(account))
            }
            Self::Listen(SocketFacts { account, endpoint, .. }) => {
                write!(f, "listen on {endpoint} as {}", by(account))
            }
            Self::Relay => f.write_str("relay connections"),
            Self::Attach { owner } => write!(f, "take up a command of {}", printable(owner)),
            Self::List { owner } => write!(f, "see commands of {} in a list", printable(owner)),
            Self::Kill { owner } => write!(f, "end a command of {}", printable(owner)),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { host, address: Some(address), port } => {
                let at = SocketAddr::new(*address, *port);
                match host.is_empty() || host.parse::<IpAddr>() == Ok(*address) {
                    true => write!(f, "{at}"),
                    false => write!(f, "{}:{port} at {address}", printable(host)),
                }
            }
            Self::Port { host, address: None, port } => write!(f, "{}:{port}", printable(host)),
            Self::Path(path) => f.write_str(&printable(path)),
        }
    }
}
