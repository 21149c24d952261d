//! `backup` and `restore`: an authority in one file, under a passphrase.
#![expect(clippy::disallowed_methods, reason = "programs that serve nobody")]

use std::{
    fs::{self, File},
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use rcmd_authority::{
    backup::{Archive, Kept},
    state::{AdminClient, AdminRequest, AdminResponse, AuthorityState, Snapshot},
};
use rcmd_certs::{
    clock::{date, now_unix},
    files::{self, Existing, FileError, NewFile, shown},
    paths::Layout,
    pem::Der,
    secret::Confidential,
};

use super::{error::Error, options::DirOption};

/// The longest passphrase, and the largest backup, in bytes.
const LONGEST_PASSPHRASE: u64 = 4096;
const LARGEST: u64 = 4 << 30;

#[derive(Args, Debug)]
pub(super) struct BackupOptions {
    /// File to write, which must not exist
    file: PathBuf,
    #[command(flatten)]
    dir: DirOption,
    #[command(flatten)]
    passphrase: PassphraseOption,
}

#[derive(Args, Debug)]
pub(super) struct RestoreOptions {
    /// Backup to restore
    file: PathBuf,
    #[command(flatten)]
    dir: DirOption,
    #[command(flatten)]
    passphrase: PassphraseOption,
}

#[derive(Args, Debug)]
struct PassphraseOption {
    /// Read the passphrase from this file instead of the terminal
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// The number of times that a passphrase is typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Typed {
    Once,
    /// A new one, in which a slip would go unnoticed.
    Twice,
}

impl PassphraseOption {
    fn read(&self, typed: Typed) -> Result<Confidential<Vec<u8>>, Error> {
        let Some(path) = &self.passphrase_file else {
            let ask = |prompt| rpassword::prompt_password(prompt).map_err(Error::NoTerminal);
            let first = ask("Passphrase: ")?;
            if typed == Typed::Twice && ask("Once more: ")? != first {
                return Err(Error::Passphrases);
            }
            return Ok(Confidential::new(first.into_bytes()));
        };
        let mut bytes = read(path, LONGEST_PASSPHRASE)?;
        while bytes.last().is_some_and(|byte| b"\r\n".contains(byte)) {
            bytes.pop();
        }
        Ok(Confidential::new(bytes))
    }
}

/// Writes a backup.
pub(super) async fn backup(options: &BackupOptions, out: &mut impl Write) -> Result<(), Error> {
    let layout = options.dir.layout();
    let passphrase = options.passphrase.read(Typed::Twice)?;
    let AdminResponse::Snapshot(snapshot) =
        AdminClient::open(&layout).await?.request(AdminRequest::Snapshot).await?
    else {
        return Err(Error::Response);
    };
    let files = collect(&layout, &snapshot);
    let removed = fs::remove_file(&snapshot.store);
    let archive = Archive { made_at: date(now_unix()), files: files? };
    removed?;
    let sealed = archive.seal(passphrase.expose())?;
    let file = NewFile { path: &options.file, bytes: &sealed, private: true };
    files::write_all(&[file], Existing::Keep)?;
    writeln!(out, "wrote {}, {} files", shown(&options.file), archive.files.len())?;
    Ok(writeln!(
        out,
        "keep the passphrase in another place: without it the backup cannot be opened"
    )?)
}

/// Returns all files of the authority that exist.
fn collect(layout: &Layout, snapshot: &Snapshot) -> Result<Vec<Kept>, Error> {
    let next = layout.next_authority();
    let paths = [
        (layout.ca(), false),
        (layout.authority_cert(), false),
        (layout.authority_key(), true),
        (layout.authority_toml(), false),
        (layout.journal(), true),
        (layout.store(), true),
        (next.ca(), false),
        (next.authority_cert(), false),
        (next.authority_key(), true),
    ];
    let mut files = Vec::new();
    for (path, private) in paths {
        let source = if path == layout.store() { &snapshot.store } else { &path };
        let mut content = match read(source, LARGEST) {
            Err(Error::File(error)) if error.is_missing() => continue,
            read => read?,
        };
        if path == layout.journal() {
            content.truncate(usize::try_from(snapshot.journal).unwrap_or(usize::MAX));
        }
        let name = path.strip_prefix(layout.dir()).unwrap_or(&path);
        let name = name.to_string_lossy().into_owned();
        files.push(Kept { path: name, private, content: Der(content) });
    }
    Ok(files)
}

/// Puts a backup into a folder that has no authority.
pub(super) fn restore(options: &RestoreOptions, out: &mut impl Write) -> Result<(), Error> {
    let layout = options.dir.layout();
    if files::is_taken(&layout.authority_dir()) {
        return Err(Error::AuthorityExists(layout.authority_dir()));
    }
    let sealed = read(&options.file, LARGEST)?;
    let archive = Archive::open(&sealed, options.passphrase.read(Typed::Once)?.expose())?;
    files::create_folders(layout.dir())?;
    for file in &archive.files {
        let path = layout.dir().join(&file.path);
        if let Some(folder) = path.parent().filter(|folder| *folder != layout.dir()) {
            files::create_private_dir(folder)?;
        }
        let new = NewFile { path: &path, bytes: &file.content.0, private: file.private };
        // An existing `ca.pem` is replaced: the backup's authority is the one to trust here.
        files::write_all(&[new], Existing::Replace)?;
    }
    let ended = AuthorityState::open(&layout)?.restored(&archive.made_at, now_unix())?;
    writeln!(out, "restored the authority of {} into {}", archive.made_at, shown(layout.dir()))?;
    if ended > 0 {
        writeln!(
            out,
            "{ended} open tokens were revoked, because they may have been used after the backup"
        )?;
    }
    let text = "revocations after the backup are not in it: revoke again what was revoked since";
    Ok(writeln!(out, "{text}")?)
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => FileError::Missing(path.to_owned()),
        _ => FileError::Io { action: "read", path: path.to_owned(), source },
    };
    read.map_err(failed)?;
    if bytes.len() as u64 > limit {
        let source = io::Error::new(io::ErrorKind::FileTooLarge, "it is too large");
        return Err(failed(source).into());
    }
    Ok(bytes)
}
