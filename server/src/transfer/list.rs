//! Listing what stands at a path: one JSON object a line.
#![expect(
    clippy::disallowed_methods,
    reason = "a process or a thread that does nothing but transfer"
)]

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Read as _, Write},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, Dir, FileType, Stat, readlinkat, statat},
    io::Errno,
};
use serde::Serialize;

use super::order::{TransferOrder, folder_of};
use crate::process::look::roots::Root;

/// The number of names that are sorted together.
const TOGETHER: usize = 100_000;
/// The maximum bytes of a file of accounts or groups that are read.
const ACCOUNTS: u64 = 4 << 20;

/// The names of accounts and groups by their numbers, as this host's own files have them.
#[derive(Debug, Default)]
pub(super) struct Names {
    accounts: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Names {
    /// Reads the names, if the order needs them. To be called before the process confines itself;
    /// what can't be read has no names.
    pub(super) fn read(order: &TransferOrder) -> Self {
        match order {
            TransferOrder::List { is_long: true, .. } => {
                Self { accounts: named("/etc/passwd"), groups: named("/etc/group") }
            }
            _ => Self::default(),
        }
    }
}

/// Reads names and numbers, the first and the third field of each line.
fn named(file: &str) -> HashMap<u32, String> {
    let mut text = Vec::new();
    let read = File::open(file).and_then(|file| file.take(ACCOUNTS).read_to_end(&mut text));
    if read.is_err() {
        return HashMap::new();
    }
    let text = String::from_utf8_lossy(&text);
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
    };
    text.lines().filter_map(entry).collect()
}

/// An entry of a folder, or what stands at the path itself.
#[derive(Serialize)]
struct Entry<'a> {
    name: Bytes,
    name_encoding: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    long: Option<Long<'a>>,
}

/// All that is known of an entry.
#[derive(Serialize)]
struct Long<'a> {
    size: u64,
    mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<String>,
    owner: Whose<'a>,
    group: Whose<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_encoding: Option<&'static str>,
}

/// An account or a group: its name, or its number.
#[derive(Serialize)]
#[serde(untagged)]
enum Whose<'a> {
    Name(&'a str),
    Number(u32),
}

/// Bytes as a string: as they are if they are UTF-8, else in base64.
#[derive(Serialize)]
#[serde(transparent)]
struct Bytes(String);

impl Bytes {
    /// Returns the string, and the name of its encoding.
    fn of(bytes: Vec<u8>) -> (Self, &'static str) {
        match String::from_utf8(bytes) {
            Ok(text) => (Self(text), "utf-8"),
            Err(error) => (Self(STANDARD.encode(error.as_bytes())), "base64"),
        }
    }
}

/// Lists the one root: what is in it if it is a folder, else itself.
///
/// # Errors
/// If it can't be read, or the output can't be written.
pub(super) fn list(
    roots: &[Root],
    folders: &[Arc<OwnedFd>],
    names: &Names,
    is_long: bool,
    output: impl Write,
) -> Result<()> {
    let Some(Root::Source { folder, entry, name, .. }) = roots.first() else {
        bail!("there is nothing to list");
    };
    let folder = folder_of(folders, *folder)?;
    let names = is_long.then_some(names);
    let mut lister = Lister { out: BufWriter::new(output), names, unseen: None };
    match entry {
        Some(entry) => lister.print(&*folder, entry, name)?,
        None => {
            let entries = Dir::read_from(&*folder).context("cannot read the folder")?;
            let mut part = Vec::new();
            for found in entries {
                let found = found.context("cannot read the folder")?;
                let name = found.file_name().to_bytes();
                if !matches!(name, b"." | b"..") {
                    part.push(name.to_vec());
                }
                if part.len() == TOGETHER {
                    lister.print_all(&*folder, &mut part)?;
                }
            }
            lister.print_all(&*folder, &mut part)?;
        }
    }
    lister.end()
}

/// What writes the list.
struct Lister<'a, W: Write> {
    out: BufWriter<W>,
    /// The names of accounts and groups, if all is told of each entry.
    names: Option<&'a Names>,
    /// The first entry that could not be looked at, why, and how many followed it.
    unseen: Option<(Vec<u8>, Errno, u64)>,
}

impl<W: Write> Lister<'_, W> {
    fn print_all(&mut self, folder: impl AsFd + Copy, part: &mut Vec<Vec<u8>>) -> Result<()> {
        part.sort_unstable();
        for name in part.drain(..) {
            self.print(folder, &name, &name)?;
        }
        Ok(())
    }

    fn print(&mut self, folder: impl AsFd + Copy, entry: &[u8], name: &[u8]) -> Result<()> {
        let stat = match statat(folder, entry, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
            Ok(stat) => Some(stat),
            // It went away while the folder was read.
            Err(Errno::NOENT) => return Ok(()),
            // A dead mount, say. Its name is known all the same, and the others are not to blame.
            Err(error) => {
                match &mut self.unseen {
                    Some((_, _, more)) => *more += 1,
                    None => self.unseen = Some((name.to_vec(), error, 0)),
                }
                None
            }
        };
        let kind = stat.map(|stat| FileType::from_raw_mode(stat.st_mode));
        let long = match (self.names, &stat, kind) {
            (Some(names), Some(stat), Some(kind)) => Some(long(folder, entry, stat, kind, names)),
            _ => None,
        };
        let (name, name_encoding) = Bytes::of(name.to_vec());
        let entry = Entry { name, name_encoding, kind: kind.map_or("unknown", word), long };
        serde_json::to_writer(&mut self.out, &entry).context("cannot write the list")?;
        self.out.write_all(b"\n").context("cannot write the list")
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// If that can't be, or an entry could not be looked at.
    fn end(mut self) -> Result<()> {
        self.out.flush().context("cannot write the list")?;
        let Some((name, error, more)) = self.unseen else {
            return Ok(());
        };
        let name = String::from_utf8_lossy(&name);
        let others = if more == 0 { String::new() } else { format!(", nor at {more} others") };
        Err(io::Error::from(error)).with_context(|| format!("cannot look at {name:?}{others}"))
    }
}

/// Returns the word for a kind of entry.
fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "folder",
        FileType::Symlink => "link",
        FileType::BlockDevice => "block_device",
        FileType::CharacterDevice => "char_device",
        FileType::Fifo => "pipe",
        FileType::Socket => "socket",
        FileType::Unknown => "unknown",
    }
}

fn long<'a>(
    folder: impl AsFd,
    entry: &[u8],
    stat: &Stat,
    kind: FileType,
    names: &'a Names,
) -> Long<'a> {
    let whose = |names: &'a HashMap<u32, String>, number: u32| {
        names.get(&number).map_or(Whose::Number(number), |name| Whose::Name(name))
    };
    let target = (kind == FileType::Symlink).then(|| readlinkat(folder, entry, Vec::new()).ok());
    let target = target.flatten().map(|target| Bytes::of(target.into_bytes()));
    let (target, target_encoding) = target.unzip();
    let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    let mtime = Timestamp::new(stat.st_mtime, nanoseconds).ok();
    Long {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: format!("{:04o}", stat.st_mode & 0o7777),
        mtime: mtime.map(|time| time.to_string()),
        owner: whose(&names.accounts, stat.st_uid),
        group: whose(&names.groups, stat.st_gid),
        target,
        target_encoding,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{ffi::OsStrExt as _, fs::symlink};

    use super::*;

    fn listed(folder: &std::path::Path, is_long: bool) -> String {
        let roots = [Root::Source { folder: 0, entry: None, name: b"x".to_vec(), size: 0 }];
        let folders = [Arc::new(OwnedFd::from(File::open(folder).unwrap()))];
        let names = Names {
            accounts: HashMap::from([(rustix::process::geteuid().as_raw(), "me".to_owned())]),
            ..Names::default()
        };
        let mut out = Vec::new();
        list(&roots, &folders, &names, is_long, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_entry_has_a_line_whatever_its_name_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &[u8]| folder.path().join(std::ffi::OsStr::from_bytes(name));
        std::fs::write(path(b"b\nc"), b"123").unwrap();
        std::fs::write(path(b"\xff"), b"").unwrap();
        std::fs::create_dir(path(b"a")).unwrap();
        symlink("b", path(b"l")).unwrap();
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, path(b"p"), FileType::Fifo, mode, 0).unwrap();
        assert_eq!(
            listed(folder.path(), false),
            "{\"name\":\"a\",\"name_encoding\":\"utf-8\",\"kind\":\"folder\"}\n\
             {\"name\":\"b\\nc\",\"name_encoding\":\"utf-8\",\"kind\":\"file\"}\n\
             {\"name\":\"l\",\"name_encoding\":\"utf-8\",\"kind\":\"link\"}\n\
             {\"name\":\"p\",\"name_encoding\":\"utf-8\",\"kind\":\"pipe\"}\n\
             {\"name\":\"/w==\",\"name_encoding\":\"base64\",\"kind\":\"file\"}\n"
        );
        let long = listed(folder.path(), true);
        let file: serde_json::Value = serde_json::from_str(long.lines().nth(1).unwrap()).unwrap();
        assert_eq!((file["size"].as_u64(), file["owner"].as_str()), (Some(3), Some("me")));
        assert_eq!(file["mode"].as_str().unwrap().len(), 4);
        assert!(file["mtime"].as_str().unwrap().ends_with('Z'));
        assert!(long.contains("\"target\":\"b\""), "{long}");
    }
    #[test]
    fn an_entry_that_cannot_be_looked_at_is_named_and_the_others_are_listed() {
        let mut lister = Lister { out: BufWriter::new(Vec::new()), names: None, unseen: None };
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), b"").unwrap();
        let open = File::open(folder.path()).unwrap();
        let too_long = [b'x'; 300];
        for name in [&b"a"[..], &too_long, b"went away", b"a"] {
            lister.print(&open, name, name).unwrap();
        }
        let printed = String::from_utf8(lister.out.buffer().to_vec()).unwrap();
        let kinds: Vec<_> = printed.lines().map(|line| line.contains("\"unknown\"")).collect();
        assert_eq!(kinds, [false, true, false]);
        let error = format!("{:#}", lister.end().unwrap_err());
        assert!(error.contains("cannot look at \"xxx") && error.contains("too long"), "{error}");
    }
}
