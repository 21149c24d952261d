//! Programs: digesting them, and copying them into memory that nobody can change.

use std::{
    fs::{File, Permissions},
    io::{self, Read, Seek as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create},
    io::Errno,
};
use sha2::{Digest as _, Sha256};

use super::{
    find::Unfound,
    order::{Failure, FileKey},
    walk::{Reach, Stop, Walk},
};
use crate::process::ids::Uid;

/// The maximum size of a program that is digested or copied, in bytes.
pub(super) const LARGEST: u64 = 256 << 20;
const BLOCK: usize = 64 << 10;

/// Opens the file at a path without links, for reading.
fn open(path: &Path, reach: Reach<'_>) -> Result<(File, FileKey), Unfound> {
    let mut walk = Walk { reach, uid: Uid::ROOT, writable: None };
    let opened = walk.follow(path).and_then(|place| {
        let file = place.open()?;
        Ok((file, FileKey::of(&place.stat)))
    });
    opened.map_err(|stop| match stop {
        Stop::OutOfReach => Unfound::OutOfReach,
        Stop::Errno(errno) => Failure::unreadable(path, errno).into(),
    })
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Unfound {
    move |error| Failure::unreadable(path, Errno::from_io_error(&error).unwrap_or(Errno::IO)).into()
}

/// Digests a file, if it is still the one that was found. May wait for the file system.
///
/// # Errors
/// If the file is another one by now, or can't be read.
pub(super) fn digest(path: &Path, key: FileKey, reach: Reach<'_>) -> Result<String, Unfound> {
    let (mut file, opened) = open(path, reach)?;
    let digest = digest_of(&mut file).map_err(failed(path))?;
    let read = fstat(&file).map(|stat| FileKey::of(&stat));
    match opened == key && read == Ok(key) {
        true => Ok(digest),
        false => Err(Failure::unreadable(path, Errno::STALE).into()),
    }
}

/// Copies a file into memory and seals the copy. May wait for the file system.
///
/// # Errors
/// If the file can't be read or is too large, or the host has no memory for the copy.
pub(super) fn copy(path: &Path, reach: Reach<'_>) -> Result<(File, FileKey), Unfound> {
    let (mut file, key) = open(path, reach)?;
    if key.size > LARGEST {
        return Err(Failure::unreadable(path, Errno::FBIG).into());
    }
    let copy = sealed(path, &mut file).map_err(failed(path))?;
    Ok((copy, key))
}

fn sealed(path: &Path, source: &mut File) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = File::from(memfd_create(path.file_name().unwrap_or_default(), flags)?);
    let mut source = source.take(LARGEST + 1);
    let mut buffer = vec![0; BLOCK];
    loop {
        let read = source.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        copy.write_all(bytes)?;
    }
    if copy.metadata()?.len() > LARGEST {
        return Err(Errno::FBIG.into());
    }
    copy.set_permissions(Permissions::from_mode(0o555))?;
    fcntl_add_seals(&copy, seals())?;
    Ok(copy)
}

fn seals() -> SealFlags {
    SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}

/// Digests a copy that nobody can change any more.
///
/// # Errors
/// If the copy is not sealed, or can't be read.
pub(super) fn digest_of_sealed(copy: &mut File) -> io::Result<String> {
    if fcntl_get_seals(&*copy)? != seals() {
        return Err(Errno::PERM.into());
    }
    copy.rewind()?;
    digest_of(copy)
}

fn digest_of(file: &mut File) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut file = file.take(LARGEST + 1);
    let mut buffer = vec![0; BLOCK];
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        digest.update(bytes);
    }
    Ok(format!("sha256:{}", hex::encode(digest.finalize())))
}
