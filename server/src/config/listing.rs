//! Every setting of a server with its value, and where that comes from.

use std::{collections::BTreeMap, path::Path, time::Duration};

use rcmd_certs::Layout;
use serde::Serialize;
use serde_json::{Value, json};

use super::{ConfigError, OnReload, ServerSettings, read};
use crate::{audit::SyncMode, process::Spawn, units::Rate};

/// A setting.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Setting {
    /// The name, with dots between tables, as `server.toml` may have it.
    pub name: String,
    /// The value; null if there is none and no default.
    pub value: Value,
    /// The source of the value.
    pub from: Source,
}

/// The source of a setting's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// The file `server.toml`.
    File,
    /// The operating system.
    Host,
    /// The program.
    Default,
}

impl Source {
    /// Returns the words for the source.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::File => "server.toml",
            Self::Host => "the host",
            Self::Default => "default",
        }
    }
}

/// Returns the settings of a server that is started with this folder, in the order of their names.
///
/// # Errors
/// The error in `server.toml`, with line and column.
pub(crate) fn listing(layout: &Layout) -> Result<Vec<Setting>, ConfigError> {
    let settings = ServerSettings::load(layout, Vec::new())?;
    let mut all: BTreeMap<String, (Value, Source)> = defaults(&settings)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), (value, Source::Default)))
        .collect();
    all.insert("host.name".to_owned(), (json!(settings.host.name), Source::Host));
    // It was just read without a fault.
    let table: toml::Table = toml::from_str(&read(&layout.server_toml())?).unwrap_or_default();
    written(String::new(), &table, &mut all);
    let whole = |(name, (value, from))| Setting { name, value, from };
    Ok(all.into_iter().map(whole).collect())
}

/// Adds what a table of the file sets.
fn written(prefix: String, table: &toml::Table, all: &mut BTreeMap<String, (Value, Source)>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", quoted(key));
        match value {
            toml::Value::Table(table) => written(format!("{name}."), table, all),
            value => {
                let value = serde_json::to_value(value).unwrap_or_default();
                all.insert(name, (value, Source::File));
            }
        }
    }
}

/// Returns a key as TOML needs it: names of users may have dots and `@`.
fn quoted(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    match !key.is_empty() && key.chars().all(is_bare) {
        true => key.to_owned(),
        false => json!(key).to_string(),
    }
}

/// Returns the settings that have a value without `server.toml`, and those that have none.
fn defaults(settings: &ServerSettings) -> Vec<(&'static str, Value)> {
    let ServerSettings { limits, audit, folders, .. } = settings;
    let of_one = limits.quota_for("", &[]);
    let listen: Vec<_> = settings.listen.iter().map(ToString::to_string).collect();
    let on_reload = match settings.on_reload {
        OnReload::Keep => "keep",
        OnReload::End => "end",
    };
    let spawn = match settings.spawn {
        Spawn::Auto => "auto",
        Spawn::Cgroup => "cgroup",
        Spawn::Portable => "portable",
    };
    let sync = match audit.sync {
        SyncMode::Group => "group",
        SyncMode::Each => "each",
    };
    vec![
        ("listen", json!(listen)),
        ("metrics", Value::Null),
        ("grace", span(settings.grace)),
        ("retain", span(settings.retain)),
        ("keepalive", span(settings.keepalive)),
        ("path", json!(settings.path)),
        ("spawn", json!(spawn)),
        ("host.labels", json!([])),
        ("policy.on_reload", json!(on_reload)),
        ("policy.vocabulary", json!(settings.vocabulary.number())),
        ("paths.state", path(&folders.state)),
        ("paths.run", path(&folders.run)),
        ("audit.sync", json!(sync)),
        ("audit.rotate_size", json!(format!("{} KiB", audit.rotate_size >> 10))),
        ("audit.rotate_age", span(audit.rotate_age)),
        ("audit.keep", Value::Null),
        ("audit.journald", json!(false)),
        ("audit.mask", json!([])),
        ("limits.running", json!(limits.running)),
        ("limits.queued", json!(limits.queued)),
        ("limits.queue_wait", span(limits.queue_wait.0)),
        ("limits.lock_wait", span(limits.lock_wait.0)),
        ("limits.connections", json!(limits.connections)),
        ("limits.channels", json!(limits.channels)),
        ("limits.starts", rate(limits.starts)),
        ("limits.unauthenticated", json!(limits.unauthenticated)),
        ("limits.handshake", span(limits.handshake.0)),
        ("limits.tree.memory", Value::Null),
        ("limits.tree.cpu", Value::Null),
        ("limits.tree.processes", Value::Null),
        ("limits.peer.running", json!(of_one.running)),
        ("limits.peer.queued", json!(of_one.queued)),
        ("limits.peer.queue_wait", span(of_one.queue_wait.0)),
        ("limits.peer.lock_wait", span(of_one.lock_wait.0)),
        ("limits.peer.connections", json!(of_one.connections)),
        ("limits.peer.channels", json!(of_one.channels)),
        ("limits.peer.starts", rate(of_one.starts)),
        ("limits.peer.keys", json!(of_one.keys)),
    ]
}

fn span(span: Duration) -> Value {
    json!(humantime::format_duration(span).to_string())
}

fn rate(rate: Rate) -> Value {
    match rate {
        Rate::UNLIMITED => json!("unlimited"),
        rate => {
            let time = rate.interval().saturating_mul(rate.burst());
            json!(format!("{}/{}", rate.burst(), humantime::format_duration(time)))
        }
    }
}

/// Returns a path as `[paths]` takes it, which is absolute.
fn path(path: &Path) -> Value {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    json!(whole.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn lines(layout: &Layout) -> String {
        let all = listing(layout).unwrap();
        let set = all.iter().filter(|setting| !setting.value.is_null());
        set.map(|Setting { name, value, .. }| format!("{name} = {value}\n")).collect()
    }

    #[test]
    fn what_is_listed_is_a_configuration_that_means_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        for text in [
            "",
            "grace = '1m 30s'\nlisten = ['[::]:7']\n[limits]\nstarts = '20/s'\n[limits.user.'a.b@c']\nrunning = 3",
            "paths.state = '/s'\naudit.keep = '90d'\nlimits.tree.memory = '64 MiB'\nlimits.peer.keys = 5",
        ] {
            fs::write(layout.server_toml(), text).unwrap();
            let before = ServerSettings::load(&layout, Vec::new()).unwrap();
            let listed = lines(&layout);
            fs::write(layout.server_toml(), &listed).unwrap();
            let after = ServerSettings::load(&layout, Vec::new())
                .unwrap_or_else(|error| panic!("{error}: {listed}"));
            assert_eq!(lines(&layout), listed);
            assert_eq!(before.limits.quota_for("x", &[]), after.limits.quota_for("x", &[]));
            assert_eq!(before.limits.user, after.limits.user);
            assert_eq!((before.grace, before.listen), (after.grace, after.listen));
        }
    }

    #[test]
    fn each_value_says_where_it_comes_from() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        fs::write(layout.server_toml(), "grace = '3s'\n[limits.user.'x.y']\nrunning = 2").unwrap();
        let all = listing(&layout).unwrap();
        let of = |name: &str| {
            let found = all.iter().find(|setting| setting.name == name);
            found.map(|found| (found.value.clone(), found.from))
        };
        assert_eq!(of("grace"), Some((json!("3s"), Source::File)));
        assert_eq!(of("retain"), Some((json!("10m"), Source::Default)));
        assert_eq!(of("limits.user.\"x.y\".running"), Some((json!(2), Source::File)));
        assert_eq!(of("host.name").unwrap().1, Source::Host);
        assert_eq!(of("limits.tree.cpu"), Some((Value::Null, Source::Default)));
        fs::write(layout.server_toml(), "grace = 3").unwrap();
        assert!(listing(&layout).unwrap_err().to_string().contains("server.toml:1:9"));
    }
}
