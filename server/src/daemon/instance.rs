//! The servers that run over a folder. Each has a locked file in `running/` while it lives,
//! with its process ID, start and addresses.
//!
//! The kernel releases the lock (flock(2)) with the process, however the process ends. A file
//! without a lock was left by a killed server, and the next server removes it.
#![expect(
    clippy::disallowed_methods,
    reason = "the main thread, before the program serves and after; programs that serve nobody"
)]

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rcmd_certs::clock;
use serde::{Deserialize, Serialize};

use crate::config::{folders::ServerFolders, listen::ListenAddress};

/// The maximum bytes of a file that are read: [`LISTENERS`](crate::config::limits::LISTENERS) of
/// the longest addresses fit.
const MAX_FILE: u64 = 256 * 1024;
/// The maximum number of files that are read, far more than the servers of one folder.
const MAX_FILES: usize = 1024;

/// The information about a running server in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerInfo {
    /// The server's process ID, in its own PID namespace.
    pub pid: u32,
    /// The time when it began to listen, in Unix time.
    pub since: i64,
    /// The places where it listens.
    pub listening: Vec<ListenAddress>,
}

/// The locked file of this server; removed when dropped.
#[derive(Debug)]
pub(crate) struct InstanceFile {
    path: PathBuf,
    _locked: File,
}

impl InstanceFile {
    /// Writes the file of this server, and removes the files that killed servers left.
    ///
    /// # Errors
    /// If the file can't be made.
    pub(crate) fn begin(
        folders: &ServerFolders,
        listening: Vec<ListenAddress>,
    ) -> io::Result<Self> {
        let folder = folders.running();
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        for (path, found) in scan(&folder)? {
            if matches!(found, FileState::Left) {
                // Another starting server may have removed it.
                let _ = fs::remove_file(path);
            }
        }
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(io::Error::other)?;
        let path = folder.join(hex::encode(name));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        // A reader holds the lock for a moment at most.
        file.lock()?;
        let server = ServerInfo { pid: std::process::id(), since: clock::now_unix(), listening };
        file.write_all(&serde_json::to_vec(&server)?)?;
        Ok(Self { path, _locked: file })
    }
}

impl Drop for InstanceFile {
    fn drop(&mut self) {
        // If the file stays, it is unlocked, and so considered stale.
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns the servers that run over this folder; `None` stands for a server that has not written
/// its file yet.
///
/// # Errors
/// If the folder or a file can't be read.
pub(crate) fn servers(folders: &ServerFolders) -> io::Result<Vec<Option<ServerInfo>>> {
    let found = scan(&folders.running())?;
    let living = found.into_iter().filter_map(|(_, found)| match found {
        FileState::Living(server) => Some(server),
        FileState::Left => None,
    });
    Ok(living.collect())
}

enum FileState {
    Living(Option<ServerInfo>),
    Left,
}

fn scan(folder: &Path) -> io::Result<Vec<(PathBuf, FileState)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut all = Vec::new();
    for entry in entries.take(MAX_FILES) {
        let path = entry?.path();
        match probe(&path) {
            Ok(found) => all.push((path, found)),
            // The server has ended meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn probe(path: &Path) -> io::Result<FileState> {
    let file = File::open(path)?;
    // The lock is shared, so that two readers do not take each other for servers.
    match file.try_lock_shared() {
        Ok(()) => return Ok(FileState::Left),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(FileState::Living(serde_json::from_slice(&text).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::limits::LISTENERS;

    fn folders() -> (tempfile::TempDir, ServerFolders) {
        let dir = tempfile::tempdir().unwrap();
        let folders =
            ServerFolders { state: dir.path().join("state"), run: dir.path().join("run") };
        (dir, folders)
    }

    #[test]
    fn servers_of_one_folder_are_told_for_as_long_as_they_live() {
        let (_dir, folders) = folders();
        assert_eq!(servers(&folders).unwrap(), []);
        let address: ListenAddress = "127.0.0.1:7263".parse().unwrap();
        let one = InstanceFile::begin(&folders, vec![address.clone()]).unwrap();
        let other = InstanceFile::begin(&folders, Vec::new()).unwrap();
        assert_eq!(servers(&folders).unwrap().len(), 2);
        drop(other);
        let told = servers(&folders).unwrap();
        let [Some(told)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((told.pid, &told.listening), (std::process::id(), &vec![address]));
        drop(one);
        assert_eq!(fs::read_dir(folders.running()).unwrap().count(), 0);
    }

    #[test]
    fn the_most_and_longest_addresses_are_read_again() {
        let (_dir, folders) = folders();
        let longest: ListenAddress = format!("unix:/{}", "\"".repeat(95)).parse().unwrap();
        let listening = vec![longest; LISTENERS];
        let _running = InstanceFile::begin(&folders, listening.clone()).unwrap();
        let told = servers(&folders).unwrap();
        let [Some(told)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(told.listening, listening);
    }

    #[test]
    fn what_a_killed_server_left_is_none_and_goes_with_the_next_start() {
        let (_dir, folders) = folders();
        fs::create_dir_all(folders.running()).unwrap();
        let left = folders.running().join("left");
        fs::write(&left, br#"{"pid":1,"since":0,"listening":[]}"#).unwrap();
        assert_eq!(servers(&folders).unwrap(), []);
        let _running = InstanceFile::begin(&folders, Vec::new()).unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn a_server_that_has_not_written_yet_or_nonsense_is_one_all_the_same() {
        let (_dir, folders) = folders();
        fs::create_dir_all(folders.running()).unwrap();
        let file = File::create(folders.running().join("young")).unwrap();
        file.lock().unwrap();
        assert_eq!(servers(&folders).unwrap(), [None]);
    }
}
