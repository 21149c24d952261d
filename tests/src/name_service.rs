//! A name service in the place of nscd(8), which a test can keep from answering: glibc asks it before
//! any file or directory.

use std::collections::HashMap;
use std::ffi::CString;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use nix::unistd::{Uid, User};
use tempfile::TempDir;

use crate::wait::eventually;

/// The version of nscd's protocol, and what can be asked (glibc, nscd/nscd-client.h).
const VERSION: i32 = 2;
const PASSWD_BY_NAME: i32 = 0;
const PASSWD_BY_UID: i32 = 1;
/// Bytes that a key may have.
const KEY: usize = 1024;

/// A name service that answers with what this process finds.
#[derive(Debug)]
pub struct NameService {
    folder: TempDir,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// True if look-ups by name get no answer.
    is_held: bool,
    /// The number of look-ups by name that wait.
    waiting: usize,
    /// True if anybody has asked for an account.
    was_asked: bool,
    /// The homes that are told of in the place of those that accounts have.
    homes: HashMap<String, PathBuf>,
}

impl NameService {
    /// Starts it with its socket in a folder of its own, for [`crate::world::Builder::name_service`].
    ///
    /// # Panics
    ///
    /// When there is no socket to be had.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("socket")).expect("a socket");
        let shared = Arc::<Shared>::default();
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = Arc::clone(&serving);
                // One that is closed in between is asked again.
                std::thread::spawn(move || serving.answer(stream));
            }
        });
        Self { folder, shared }
    }

    /// Returns the folder that belongs at `/run/nscd`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns whether anybody has asked for an account.
    #[must_use]
    pub fn was_asked(&self) -> bool {
        self.shared.state(|state| state.was_asked)
    }

    /// Sets another home for an account.
    pub fn set_home(&self, name: &str, home: &Path) {
        self.shared.state(|state| state.homes.insert(name.to_owned(), home.to_owned()));
    }

    /// Answers no look-up by name from now on.
    pub fn hold(&self) {
        self.shared.state(|state| state.is_held = true);
    }

    /// Answers those that wait, and all to come.
    pub fn release(&self) {
        self.shared.state(|state| state.is_held = false);
        self.shared.changed.notify_all();
    }

    /// Waits until a look-up by name waits for its answer.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub fn await_look_up(&self) {
        eventually("a look-up waits", || self.shared.state(|state| state.waiting > 0));
    }
}

impl Drop for NameService {
    fn drop(&mut self) {
        self.release();
    }
}

impl Shared {
    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answer(&self, mut stream: UnixStream) -> io::Result<()> {
        let mut numbers = [0; 12];
        stream.read_exact(&mut numbers)?;
        let number =
            |n: usize| numbers[4 * n..].first_chunk().map_or(0, |&n| i32::from_ne_bytes(n));
        let length = usize::try_from(number(2)).unwrap_or(0).min(KEY);
        let mut key = vec![0; length];
        stream.read_exact(&mut key)?;
        let key = String::from_utf8_lossy(&key);
        let key = key.trim_end_matches('\0');
        // Whoever gets no answer to another question asks files and directories.
        let user = match number(1) {
            PASSWD_BY_NAME => {
                self.wait();
                User::from_name(key)
            }
            PASSWD_BY_UID => User::from_uid(Uid::from_raw(key.parse().unwrap_or(u32::MAX))),
            _ => return Ok(()),
        };
        let home = self.state(|state| {
            state.was_asked = true;
            state.homes.get(key).cloned()
        });
        let user = user?.map(|user| User { dir: home.unwrap_or(user.dir.clone()), ..user });
        stream.write_all(&reply(user))
    }

    fn wait(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting += 1;
        while state.is_held {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
    }
}

/// Returns `pw_response_header` and the strings behind it.
fn reply(user: Option<User>) -> Vec<u8> {
    let Some(user) = user else {
        return [VERSION, 0, 0, 0, -1, -1, 0, 0, 0].map(i32::to_ne_bytes).concat();
    };
    let path = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes()).unwrap_or_default();
    let strings = [
        CString::new(user.name).unwrap_or_default(),
        user.passwd,
        user.gecos,
        path(&user.dir),
        path(&user.shell),
    ];
    let [name, passwd, gecos, dir, shell] =
        strings.each_ref().map(|string| string.as_bytes_with_nul().len() as i32);
    let id = |id: u32| i32::from_ne_bytes(id.to_ne_bytes());
    let (uid, gid) = (id(user.uid.as_raw()), id(user.gid.as_raw()));
    let header = [VERSION, 1, name, passwd, uid, gid, gecos, dir, shell];
    let strings = strings.each_ref().map(|string| string.as_bytes_with_nul()).concat();
    [header.map(i32::to_ne_bytes).concat(), strings].concat()
}
