//! The table `[paths]`: the folder of what the server keeps, and the folder of what is there only while
//! it runs.

use std::path::{Path, PathBuf};

use rcmd_certs::Layout;
use serde::{Deserialize, Deserializer, de::Error};

/// The folders of a server's own files, other than its identity and its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerFolders {
    /// The folder of what outlives the server: the audit, keys, locks.
    pub state: PathBuf,
    /// The folder of what is there only while the server runs: the local socket, the files of running
    /// servers.
    pub run: PathBuf,
}

/// The table `[paths]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PathsFile {
    #[serde(deserialize_with = "absolute")]
    state: Option<PathBuf>,
    #[serde(deserialize_with = "absolute")]
    run: Option<PathBuf>,
}

impl PathsFile {
    /// Returns the folders. Each that is not set is the server's folder of the layout.
    pub(super) fn folders(self, layout: &Layout) -> ServerFolders {
        let or_default = |path: Option<PathBuf>| path.unwrap_or_else(|| layout.server_dir());
        ServerFolders { state: or_default(self.state), run: or_default(self.run) }
    }
}

impl ServerFolders {
    /// Returns the folder of the audit.
    pub(crate) fn audit(&self) -> PathBuf {
        self.state.join("audit")
    }

    /// Returns the log of idempotency keys.
    pub(super) fn keys(&self) -> PathBuf {
        self.state.join("keys.jsonl")
    }

    /// Returns the folder of held locks.
    pub(super) fn locks(&self) -> PathBuf {
        self.state.join("locks")
    }

    /// Returns the folder of the files of running servers.
    pub(crate) fn running(&self) -> PathBuf {
        self.run.join("running")
    }
}

/// Reads a path that must be absolute and lead to a folder other than the root.
fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    let is_folder = path.is_absolute() && path != Path::new("/");
    match is_folder && !path.as_os_str().as_encoded_bytes().contains(&0) {
        true => Ok(Some(path)),
        false => Err(D::Error::custom(format_args!(
            "{path:?} is not the absolute path of a folder, such as \"/var/lib/rcmd\""
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_is_the_server_s_own_unless_it_is_set() {
        let read = |text: &str| toml::from_str::<PathsFile>(text).map_err(|e| e.to_string());
        let of = |text: &str| read(text).unwrap().folders(&Layout::new("d"));
        assert_eq!(of("").state, Path::new("d/server"));
        assert_eq!(of("").running(), Path::new("d/server/running"));
        let both = of("state = '/var/lib/rcmd'\nrun = '/run/rcmd'");
        assert_eq!(both.audit(), Path::new("/var/lib/rcmd/audit"));
        assert_eq!(both.running(), Path::new("/run/rcmd/running"));
        assert_eq!(of("run = '/run/rcmd'").keys(), Path::new("d/server/keys.jsonl"));
        for text in
            ["state = 'here'", "run = ''", "run = '/'", "state = \"/a\\u0000\"", "state = 1"]
        {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read("logs = '/x'").unwrap_err().contains("unknown field"));
    }
}
