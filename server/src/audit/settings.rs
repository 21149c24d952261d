//! The table `[audit]` of the configuration.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer};

use super::redact::Redactor;
use crate::units::{Size, Span};

/// The socket of systemd's journal.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// The settings of the log.
#[derive(Clone, Debug)]
pub struct AuditSettings {
    /// The folder of the log's files.
    pub folder: PathBuf,
    /// The time by which a line must be on disk.
    pub sync: SyncMode,
    /// The size of a file in bytes at which a new one is begun.
    pub rotate_size: u64,
    /// The age of a file at which a new one is begun.
    pub rotate_age: Duration,
    /// The age at which a file is deleted; `None` for never.
    pub keep: Option<Duration>,
    /// The journal's socket, if the journal gets a copy.
    pub journald: Option<PathBuf>,
    /// The patterns of secrets that are redacted.
    pub(super) redactor: Redactor,
}

/// The time by which a line must be on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// A line is on disk within 100 milliseconds, together with others.
    #[default]
    Group,
    /// A line is on disk before the command starts.
    Each,
}

/// The configuration's table.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditFile {
    sync: SyncMode,
    rotate_size: Size,
    rotate_age: Span,
    keep: Option<Span>,
    journald: Journald,
    #[serde(deserialize_with = "mask")]
    mask: Redactor,
}

impl Default for AuditFile {
    fn default() -> Self {
        Self {
            sync: SyncMode::default(),
            rotate_size: Size(64 << 20),
            rotate_age: Span(Duration::from_secs(24 * 3600)),
            keep: None,
            journald: Journald::default(),
            mask: Redactor::default(),
        }
    }
}

impl AuditFile {
    /// Returns the settings of a log whose files are in `folder`.
    pub fn settings(self, folder: PathBuf) -> AuditSettings {
        AuditSettings {
            folder,
            sync: self.sync,
            rotate_size: self.rotate_size.0,
            rotate_age: self.rotate_age.0,
            keep: self.keep.map(|span| span.0),
            journald: match self.journald {
                Journald::Wanted(wanted) => wanted.then(|| PathBuf::from(JOURNAL)),
                Journald::Socket(path) => Some(path),
            },
            redactor: self.mask,
        }
    }
}

/// The value of `journald`: `true`, or the socket of a journal namespace.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "write true, or the absolute path of a socket")]
enum Journald {
    Wanted(bool),
    #[serde(deserialize_with = "socket")]
    Socket(PathBuf),
}

impl Default for Journald {
    fn default() -> Self {
        Self::Wanted(false)
    }
}

fn socket<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.is_absolute() { Ok(path) } else { Err(serde::de::Error::custom("it is not a path")) }
}

fn mask<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Redactor, D::Error> {
    Redactor::new(&Vec::deserialize(deserializer)?).map_err(|pattern| {
        serde::de::Error::custom(format_args!(
            "{pattern:?} would mask everything or nothing; write \"--password=*\", \"--password\" or \
             \"*TOKEN*=\""
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_table_is_read_and_mistakes_are_named() {
        let read = |text: &str| toml::from_str::<AuditFile>(text).map_err(|e| e.to_string());
        let file =
            read("sync = \"each\"\nrotate_size = \"8 KiB\"\nkeep = \"90d\"\njournald = true");
        let settings = file.unwrap().settings("/s".into());
        assert_eq!((settings.sync, settings.rotate_size), (SyncMode::Each, 8192));
        assert_eq!(settings.keep, Some(Duration::from_secs(90 * 86_400)));
        assert_eq!(settings.journald.as_deref(), Some(Path::new(JOURNAL)));
        assert!(read("journald = \"/run/x\"").unwrap().settings("/s".into()).journald.is_some());
        for (text, says) in [
            ("sync = \"never\"", "unknown variant"),
            ("rotate_size = \"1 KiB\"", "not a size"),
            ("rotate_size = \"99999999999999999999 GiB\"", "not a size"),
            ("mask = [\"*\"]", "everything or nothing"),
            ("masks = []", "unknown field"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
