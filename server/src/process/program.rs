//! The file that would be executed: what it is, and who could put another in its place.
//!
//! A rule judges a path, and the kernel executes what lies at that path a moment later. The two are
//! the same if nobody but root and the user that it runs as can change the file, the folders on the
//! way to it, and for a script the same of its interpreter. All of the way is looked at: where a
//! link leads, and the folder that holds the link.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use sha2::{Digest as _, Sha256};

/// Links on the way to one file (path_resolution(7)).
const LINKS: usize = 40;
/// Bytes of a `#!` line that the kernel reads (execve(2)).
const HEAD: usize = 256;
/// Interpreters that are scripts themselves (execve(2): four, and the file).
const SCRIPTS: usize = 5;
/// The largest program that is copied to be run from memory.
const SEALED: u64 = 256 << 20;

/// A program as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// Its path without links.
    pub path: PathBuf,
    /// Who else could put another in its place, if anybody could.
    pub writable: Option<Writable>,
    /// Its digest, and the copy that was digested, if they were asked for and it is an ELF file.
    pub sealed: Option<Sealed>,
}

/// Why what was judged need not be what runs.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Writable {
    /// Others may write to it.
    #[error("{what} {path:?} can be changed by {whom}")]
    By {
        /// `the file`, `the folder`.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Who may.
        whom: String,
    },
    /// Which program would run can't be told.
    #[error("{path:?} leaves open what runs: {why}")]
    Open {
        /// Where.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// It can't be looked at.
    #[error("{path:?} can't be examined: {error}")]
    Unknown {
        /// Where.
        path: PathBuf,
        /// Why, in the system's words.
        error: String,
    },
}

/// A copy of a program in memory that nobody can change any more (memfd_create(2)).
#[derive(Clone, Debug)]
pub struct Sealed {
    file: Arc<File>,
    digest: String,
}

impl Sealed {
    /// `sha256:` and 64 hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// A descriptor of it, for whoever executes it.
    ///
    /// # Errors
    /// When the server has none left.
    pub fn descriptor(&self) -> io::Result<std::os::fd::OwnedFd> {
        self.file.try_clone().map(Into::into)
    }

    /// A path by which a child of this process can execute it.
    pub fn path(&self) -> PathBuf {
        use std::os::fd::AsRawFd as _;
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}

impl PartialEq for Sealed {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }
}

impl Eq for Sealed {}

/// Looks at a program. `path` is absolute, `search` the PATH that it will have, `uid` whom it will
/// run as; with `digest` an ELF file that others could change is copied and digested. It waits for
/// the file system.
pub fn examine(path: &Path, cwd: &Path, search: &OsStr, uid: u32, digest: bool) -> Program {
    let mut walk = Walk { uid, cwd, search, writable: None };
    let found = walk.file(path);
    walk.interpreters(&found);
    let sealed = if digest { seal(&found).ok().flatten() } else { None };
    Program { path: found, writable: walk.writable, sealed }
}

struct Walk<'a> {
    uid: u32,
    cwd: &'a Path,
    search: &'a OsStr,
    /// The first finding.
    writable: Option<Writable>,
}

impl Walk<'_> {
    fn found(&mut self, writable: Writable) {
        self.writable.get_or_insert(writable);
    }

    /// Follows a path to its file, link by link, looking at each folder on the way. Gives the path
    /// without links, as far as it exists.
    fn file(&mut self, path: &Path) -> PathBuf {
        let mut at = PathBuf::from("/");
        self.look(&at, "the folder");
        let mut waiting: Vec<OsString> = names(path).rev().collect();
        let mut links = 0;
        while let Some(name) = waiting.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            at.push(&name);
            let what = if waiting.is_empty() { "the file" } else { "the folder" };
            if !self.look(&at, what) {
                continue;
            }
            let target = match fs::read_link(&at) {
                Ok(target) => target,
                // It was one a moment ago.
                Err(error) => {
                    self.found(Writable::Unknown { path: at.clone(), error: error.to_string() });
                    return at;
                }
            };
            links += 1;
            if links > LINKS {
                self.found(Writable::Open { path: at.clone(), why: "too many links" });
                return at;
            }
            // Links under /proc lead each process to another place, and not where they say.
            if at.starts_with("/proc") || at.starts_with("/dev/fd") {
                self.found(Writable::Open {
                    path: at.clone(),
                    why: "it leads each process to another place",
                });
            }
            at.pop();
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            waiting.extend(names(&target).rev());
        }
        at
    }

    /// Notes who may write to a file or folder, beside root and the user it will run as; whether it is
    /// a link instead, which nobody can write to. With an ACL the bits of the group are its mask
    /// (acl(5)), so that they speak for it too. A sticky folder keeps others from replacing a file, and
    /// not from making one where a path leads.
    fn look(&mut self, path: &Path, what: &'static str) -> bool {
        let found = match fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() => return true,
            Ok(found) => found,
            // What is missing can't run; who could put it there was seen at the folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
            Err(error) => {
                self.found(Writable::Unknown { path: path.to_owned(), error: error.to_string() });
                return false;
            }
        };
        let mode = found.permissions().mode();
        let whom = if ![0, self.uid].contains(&found.uid()) {
            format!("its owner, user {}", found.uid())
        } else if mode & 0o002 != 0 {
            "everybody".to_owned()
        } else if mode & 0o020 != 0 {
            format!("its group, {}", found.gid())
        } else {
            return false;
        };
        self.found(Writable::By { what, path: path.to_owned(), whom });
        false
    }

    /// Follows the `#!` lines of a script.
    fn interpreters(&mut self, script: &Path) {
        let mut script = script.to_owned();
        for _ in 0..SCRIPTS {
            let Some((interpreter, argument)) = shebang(&script) else { return };
            let found = self.file(&self.cwd.join(&interpreter));
            if is_env(&interpreter) || is_env(&found) {
                self.env(&script, &argument);
                return;
            }
            script = found;
        }
        self.found(Writable::Open {
            path: script,
            why: "its interpreters are scripts, without end",
        });
    }

    /// `#!/usr/bin/env NAME`: the program that is looked up by env(1) counts as well.
    fn env(&mut self, script: &Path, argument: &[u8]) {
        let open = |why| Writable::Open { path: script.to_owned(), why };
        let mut words = argument.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let first = match words.next() {
            Some(b"-S") => words.next(),
            Some(first) => Some(first.strip_prefix(b"-S").unwrap_or(first)),
            None => None,
        };
        let Some(name) = first else { return self.found(open("env is given no program")) };
        let special = |byte: &u8| b"=\\'\"$".contains(byte);
        if name.starts_with(b"-") || name.iter().any(special) {
            return self.found(open("env is given more than a program"));
        }
        let name = Path::new(OsStr::from_bytes(name));
        if name.as_os_str().as_bytes().contains(&b'/') {
            let found = self.file(&self.cwd.join(name));
            return self.interpreters_of_env(&found);
        }
        let folders: Vec<_> = self.search.as_bytes().split(|&byte| byte == b':').collect();
        for folder in folders {
            let candidate = self.cwd.join(OsStr::from_bytes(folder)).join(name);
            if candidate.is_file() {
                let found = self.file(&candidate);
                return self.interpreters_of_env(&found);
            }
            // Who may write to a folder that comes before could put one there.
            if let Ok(folder) = candidate.parent().unwrap_or(Path::new("/")).canonicalize() {
                self.file(&folder);
            }
        }
        self.found(open("env finds no such program"));
    }

    fn interpreters_of_env(&mut self, found: &Path) {
        if shebang(found).is_some() {
            self.found(Writable::Open {
                path: found.to_owned(),
                why: "what env starts is a script itself",
            });
        }
    }
}

/// The names in a path, without `.`.
fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

fn is_env(path: &Path) -> bool {
    path.file_name() == Some(OsStr::new("env"))
}

/// The interpreter of a script and its one argument, as the kernel reads them (execve(2),
/// "Interpreter scripts"). None of a file that can't be read: then its interpreter can't read it
/// either.
fn shebang(path: &Path) -> Option<(PathBuf, Vec<u8>)> {
    let mut head = Vec::with_capacity(HEAD);
    File::open(path).ok()?.take(HEAD as u64).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| b"\n\0".contains(byte)).next()?;
    let line = line.trim_ascii();
    let end = line.iter().position(|byte| b" \t".contains(byte)).unwrap_or(line.len());
    let (interpreter, argument) = line.split_at(end);
    let interpreter = Path::new(OsStr::from_bytes(interpreter)).to_owned();
    Some((interpreter, argument.trim_ascii().to_vec()))
}

/// Copies an ELF file into memory and seals it; what is digested is the copy.
fn seal(path: &Path) -> io::Result<Option<Sealed>> {
    let mut source = File::open(path)?;
    let mut head = [0; 4];
    if source.read_exact(&mut head).is_err() || &head != b"\x7fELF" {
        return Ok(None);
    }
    if source.metadata()?.len() > SEALED {
        return Ok(None);
    }
    source.rewind()?;
    let copy = memfd_create(
        path.file_name().unwrap_or_default(),
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
    )?;
    let mut copy = File::from(copy);
    let mut digest = Sha256::new();
    let mut source = source.take(SEALED + 1);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = source.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        digest.update(bytes);
        copy.write_all(bytes)?;
    }
    if copy.metadata()?.len() > SEALED {
        return Ok(None);
    }
    copy.set_permissions(fs::Permissions::from_mode(0o555))?;
    let all = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&copy, all)?;
    let digest = format!("sha256:{}", hex::encode(digest.finalize()));
    Ok(Some(Sealed { file: Arc::new(copy), digest }))
}
