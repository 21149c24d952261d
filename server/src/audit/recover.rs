//! Reading the end of the log that the last server left, and the commands that have no end in it.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufReader, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use rcmd_protocol::ids::AuditHead;
use sha2::{Digest as _, Sha256};

use super::{
    chain::{GENESIS, LINE_LIMIT, LongLine},
    error::AuditError,
    files::{self, LineEnd},
    record::{Previous, Torn},
    walk::Walk,
};

/// The end of the log, from which the next file continues.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The number of the next file.
    pub(super) number: u64,
    pub(super) head: AuditHead,
    pub(super) previous: Option<Previous>,
    pub(super) running: BTreeSet<String>,
    /// The damaged file, and the number of the last record before the damage.
    pub(super) damaged: Option<(PathBuf, u64)>,
}

/// Reads the last file. A file without a whole line was left by a crash when it was begun; it is
/// deleted, because nothing in it ever took effect.
pub(super) fn recover(folder: &Path) -> Result<Recovered, AuditError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| AuditError::Io { path, error }
    };
    let mut listed = files::list(folder).map_err(failed(folder))?;
    while let Some((number, path)) = listed.pop() {
        match read(number, &path).map_err(failed(&path))? {
            Some(recovered) => return recovered.ok_or(AuditError::Damaged { path }),
            None => files::remove(&path).map_err(failed(&path))?,
        }
    }
    Ok(Recovered {
        number: 1,
        head: GENESIS,
        previous: None,
        running: BTreeSet::new(),
        damaged: None,
    })
}

/// Reads a file. Returns `None` if there is no whole line in it, and `Some(None)` if the first line
/// is invalid.
#[allow(clippy::option_option)] // Two different questions, for one caller.
fn read(number: u64, path: &Path) -> std::io::Result<Option<Option<Recovered>>> {
    let mut reader = BufReader::with_capacity(1 << 16, files::open(path)?);
    let (name, mut walk, mut line, mut good) =
        (files::name(number), Walk::default(), Vec::new(), 0);
    walk.enter(&name);
    let damaged = loop {
        line.clear();
        match files::next_line(&mut reader, &mut line, LINE_LIMIT)? {
            LineEnd::Whole => {}
            LineEnd::File | LineEnd::Torn => break false,
            LineEnd::TooLong => {
                let previous = walk.head.unwrap_or(GENESIS).hash;
                let long = LongLine::read(&line, &mut reader, &previous)?;
                if !long.is_whole {
                    break false;
                }
                if walk.long_line(&line, &long).is_err() {
                    break true;
                }
                good += long.bytes + 1;
                continue;
            }
        }
        if walk.line(&line).is_err() {
            break true;
        }
        good += line.len() as u64 + 1;
    };
    let Some(head) = walk.head else { return Ok(damaged.then_some(None)) };
    let torn = torn(reader.into_inner(), good)?;
    let previous = Previous { file: name, seq: head.seq, hash: hex::encode(head.hash), torn };
    Ok(Some(Some(Recovered {
        number: number + 1,
        head,
        previous: Some(previous),
        running: walk.running,
        damaged: damaged.then(|| (path.to_owned(), head.seq)),
    })))
}

/// Returns the length and the hash of the bytes after the last valid line, if there are any.
fn torn(mut file: File, good: u64) -> std::io::Result<Option<Torn>> {
    file.seek(SeekFrom::Start(good))?;
    let (mut hasher, mut bytes, mut block) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let size = file.read(&mut block)?;
        if size == 0 {
            break;
        }
        bytes += size as u64;
        hasher.update(block.get(..size).unwrap_or_default());
    }
    Ok((bytes > 0).then(|| Torn { bytes, sha256: hex::encode(hasher.finalize()) }))
}
