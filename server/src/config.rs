//! The settings of a running server, from `server.toml` and the flags.

pub(crate) mod folders;
pub(crate) mod limits;
pub(crate) mod listen;
pub(crate) mod listing;
pub(crate) mod quota;
#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use rcmd_certs::{
    Layout,
    files::{self, FileError},
    names,
    text::{place, setting_fault, without_long_words},
    tls::ServerFiles,
};
use rcmd_protocol::limits as wire;
use serde::Deserialize;

use crate::{
    audit::{self, AuditFile},
    config::{
        folders::{PathsFile, ServerFolders},
        limits::{LISTENERS, Limits},
        listen::{ListenAddress, ListenSource},
    },
    policy::{Host, Vocabulary},
    process::Spawn,
    units::Span,
};

/// The PATH of commands, unless the configuration has another.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The shortest grace in which a client that is far away can notice a loss and reconnect.
const SHORT_GRACE: Duration = Duration::from_secs(3);
/// The shortest keepalive that a busy machine can answer in time.
const SHORT_KEEPALIVE: Duration = Duration::from_secs(1);
/// The longest silence that firewalls and address translators are known to tolerate.
const LONG_QUIET: Duration = Duration::from_secs(120);

/// The settings of a server.
#[derive(Clone, Debug)]
pub(crate) struct ServerSettings {
    /// The places to listen.
    pub listen: Vec<ListenAddress>,
    /// Where these come from.
    pub listen_source: ListenSource,
    /// The address of the listener for metrics, if there is to be one.
    pub metrics: Option<SocketAddr>,
    /// The certificate, the key, and the authorities to trust.
    pub identity: ServerFiles,
    /// The server's other files.
    pub data: DataFiles,
    /// The folders of what the server keeps, and of what is there only while it runs.
    pub folders: ServerFolders,
    /// The host, as the policy knows it.
    pub host: Host,
    /// The vocabulary of the policy.
    pub vocabulary: Vocabulary,
    /// The treatment of running commands that a new policy no longer permits.
    pub on_reload: OnReload,
    /// The time that a command outlives its attached connection.
    pub grace: Duration,
    /// The time for which the exit of a command is kept.
    pub retain: Duration,
    /// The time without connections and commands after which the server ends; `None` if it stays.
    pub idle_exit: Option<Duration>,
    /// The time for which a connection is silent before a ping is sent.
    pub keepalive: Duration,
    /// The PATH of commands.
    pub path: String,
    /// The way in which commands are started.
    pub spawn: Spawn,
    /// The limits, as configured; at start they are reduced to what the machine allows.
    pub limits: Limits,
    /// The settings of the audit.
    pub audit: audit::AuditSettings,
}

/// The server's files other than its identity and its audit.
#[derive(Clone, Debug)]
pub(crate) struct DataFiles {
    /// The policy.
    pub policy: PathBuf,
    /// The log of idempotency keys.
    pub keys: PathBuf,
    /// The folder of held locks.
    pub locks: PathBuf,
}

/// The treatment of running commands that a new policy no longer permits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnReload {
    /// The commands continue.
    #[default]
    Keep,
    /// The commands are ended.
    End,
}

/// The table `[host]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HostFile {
    name: Option<String>,
    labels: Vec<String>,
}

/// The table `[policy]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PolicyFile {
    vocabulary: Vocabulary,
    on_reload: OnReload,
}

/// The file `server.toml`. Every field is optional, and so is the file.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigFile {
    listen: Option<Vec<ListenAddress>>,
    metrics: Option<SocketAddr>,
    grace: Span,
    retain: Span,
    keepalive: Span,
    idle_exit: Option<Span>,
    path: String,
    spawn: Spawn,
    limits: Limits,
    audit: AuditFile,
    host: HostFile,
    policy: PolicyFile,
    paths: PathsFile,
}

/// The part of `server.toml` that says where the server's own files are.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PathsAlone {
    paths: PathsFile,
}

impl Default for ConfigFile {
    fn default() -> Self {
        Self {
            listen: None,
            metrics: None,
            grace: Span(Duration::from_secs(10)),
            retain: Span(Duration::from_secs(600)),
            keepalive: Span(wire::KEEPALIVE),
            idle_exit: None,
            path: PATH.to_owned(),
            spawn: Spawn::Auto,
            limits: Limits::default(),
            audit: AuditFile::default(),
            host: HostFile::default(),
            policy: PolicyFile::default(),
            paths: PathsFile::default(),
        }
    }
}

/// The reason why the configuration can't be used: the place of the error, and advice.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file can't be read, or others could change it.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not valid.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// The number of the column, from 1.
        column: usize,
        /// The error.
        message: String,
    },
    /// A value is out of its range.
    #[error("{}: {name} is {value}; {remedy}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The setting.
        name: &'static str,
        /// The value in the file.
        value: String,
        /// The advice on what to write instead.
        remedy: &'static str,
    },
}

impl ServerSettings {
    /// Reads `server.toml`, if there is one. If `listen` is not empty, it replaces the addresses in
    /// the file.
    ///
    /// # Errors
    /// The error in the file, with line and column.
    pub(crate) fn load(layout: &Layout, listen: Vec<ListenAddress>) -> Result<Self, ConfigError> {
        let path = layout.server_toml();
        let text = read(&path)?;
        let mut file: ConfigFile =
            toml::from_str(&text).map_err(|error| syntax(&path, &text, &error))?;
        let (listen, listen_source) = match file.listen.take() {
            _ if !listen.is_empty() => (listen, ListenSource::Flag),
            Some(listen) => (listen, ListenSource::File),
            None => {
                let address = SocketAddr::from(([127, 0, 0, 1], wire::PORT));
                (vec![ListenAddress::Tcp(address)], ListenSource::Default)
            }
        };
        file.check(&path, &listen)?;
        let folders = file.paths.folders(layout);
        Ok(Self {
            listen,
            listen_source,
            metrics: file.metrics,
            identity: ServerFiles::from(layout),
            data: DataFiles {
                policy: layout.policy(),
                keys: folders.keys(),
                locks: folders.locks(),
            },
            host: Host { name: file.host.name.unwrap_or_else(own_name), labels: file.host.labels },
            vocabulary: file.policy.vocabulary,
            on_reload: file.policy.on_reload,
            grace: file.grace.0,
            retain: file.retain.0,
            keepalive: file.keepalive.0,
            idle_exit: file.idle_exit.map(|span| span.0),
            path: file.path,
            spawn: file.spawn,
            limits: file.limits,
            audit: file.audit.settings(folders.audit()),
            folders,
        })
    }
}

impl ServerFolders {
    /// Reads from `server.toml` where the server's own files are, whatever mistakes other parts of
    /// it have.
    ///
    /// # Errors
    /// The error in the file, with line and column.
    pub(crate) fn load(layout: &Layout) -> Result<Self, ConfigError> {
        let path = layout.server_toml();
        let text = read(&path)?;
        let alone: PathsAlone =
            toml::from_str(&text).map_err(|error| syntax(&path, &text, &error))?;
        Ok(alone.paths.folders(layout))
    }
}

impl ConfigFile {
    fn check(&self, path: &Path, listen: &[ListenAddress]) -> Result<(), ConfigError> {
        let refuse = |name, value: String, remedy| {
            let value = without_long_words(&value);
            Err(ConfigError::Value { path: path.to_owned(), name, value, remedy })
        };
        if listen.is_empty() {
            let remedy =
                "write addresses, as in [\"0.0.0.0:7263\"], or leave it out for 127.0.0.1:7263";
            return refuse("listen", "[]".to_owned(), remedy);
        }
        if listen.len() > LISTENERS {
            let value = format!("{} addresses", listen.len());
            return refuse("listen", value, "write at most 1000, or 0.0.0.0 for all interfaces");
        }
        if let Some(folder) = self.path.split(':').find(|folder| !folder.starts_with('/')) {
            let remedy = "write absolute paths with \":\" between them, or leave path out";
            return refuse("a folder in path", format!("{folder:?}"), remedy);
        }
        let names = self.host.name.iter().map(|name| ("host.name", name));
        let labels = self.host.labels.iter().map(|label| ("host.labels", label));
        if let Some((name, value)) =
            names.chain(labels).find(|(_, value)| names::check_group(value).is_err())
        {
            return refuse(name, format!("{value:?}"), "use only A-Z a-z 0-9 . _ @ + -");
        }
        let hour = Duration::from_secs(3600);
        let idle_exit = self.idle_exit.unwrap_or(Span(hour));
        let spans = [
            ("grace", self.grace, Duration::ZERO, hour, "write at most 1h"),
            ("retain", self.retain, Duration::ZERO, 24 * hour, "write at most 24h"),
            ("keepalive", self.keepalive, Duration::from_millis(100), hour, "write 100ms to 1h"),
            ("idle_exit", idle_exit, Duration::from_millis(1), 24 * hour, "write 1ms to 24h"),
        ];
        let out =
            spans.into_iter().find(|(_, span, least, most, _)| span.0 < *least || span.0 > *most);
        match out {
            None => Ok(()),
            Some((name, Span(span), .., remedy)) => {
                refuse(name, humantime::format_duration(span).to_string(), remedy)
            }
        }
    }
}

impl ServerSettings {
    /// Returns warnings about settings that are valid but probably a mistake: how `grace` and
    /// `keepalive` fit together.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let shown = |span| humantime::format_duration(span);
        let (grace, keepalive) = (self.grace, self.keepalive);
        let mut doubts = Vec::new();
        if grace < SHORT_GRACE {
            doubts.push(format!(
                "grace is {}: a client needs a third of it to notice a broken link, a third to be \
                 sure and a third to connect again; write at least {}",
                shown(grace),
                shown(SHORT_GRACE)
            ));
        }
        // A client with a command sends a ping after a third of the grace, if that is earlier.
        let quiet = keepalive.min(grace / 3);
        if quiet > LONG_QUIET {
            doubts.push(format!(
                "keepalive is {} and grace {}: a quiet connection sends nothing for {}, and firewalls \
                 may forget it; write a keepalive of at most {}",
                shown(keepalive),
                shown(grace),
                shown(quiet),
                shown(LONG_QUIET)
            ));
        }
        let gone = keepalive * wire::KEEPALIVES_TO_GONE;
        if keepalive < SHORT_KEEPALIVE {
            doubts.push(format!(
                "keepalive is {}: a client that does not answer for {} counts as gone; write at least {}",
                shown(keepalive),
                shown(gone),
                shown(SHORT_KEEPALIVE)
            ));
        }
        doubts
    }
}

/// Returns the host's own name.
fn own_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let bytes = match files::read_public(path) {
        Err(error) if error.is_missing() => return Ok(String::new()),
        read => read?,
    };
    String::from_utf8(bytes).map_err(|error| {
        let (line, column) = place(error.as_bytes(), error.utf8_error().valid_up_to());
        let message = "this is not UTF-8".to_owned();
        ConfigError::Syntax { path: path.to_owned(), line, column, message }
    })
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map_or(0, |span| span.start);
    let (line, column) = place(text.as_bytes(), at);
    let message = setting_fault(error.message());
    ConfigError::Syntax { path: path.to_owned(), line, column, message }
}
