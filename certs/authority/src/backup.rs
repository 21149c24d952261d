//! Backups of an authority, under a passphrase.
//!
//! A backup is a line of JSON, which states how the key is made from the passphrase, and the sealed
//! archive: AES-256-GCM (NIST SP 800-38D) under a key from Argon2id (RFC 9106), with that line as
//! associated data. The archive is JSON with the files in it.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rcmd_certs::pem::Der;
use serde::{Deserialize, Serialize};

/// The format in the first line, by which the file is recognized.
const FORMAT: &str = "rcmd-authority-backup/1";

/// The shortest passphrase, in bytes.
pub const SHORTEST: usize = 12;

/// The memory in KiB, the passes and the lanes: the second recommendation of RFC 9106, section 4.
const COST: Cost = Cost { memory_kib: 64 * 1024, passes: 3, lanes: 4 };

/// The most that a file may ask for, since it may come from anybody.
const MOST: Cost = Cost { memory_kib: 1024 * 1024, passes: 16, lanes: 16 };

/// The longest first line, in bytes.
const LONGEST_HEADER: usize = 1024;

/// The reason why a backup could not be sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// The passphrase is too short to protect an authority.
    #[error("the passphrase has {0} bytes; take at least {SHORTEST}, such as six random words")]
    Short(usize),
    /// The file is not a backup of an authority, or not one that this version can restore.
    #[error("the file is not a backup that can be restored: {0}; use another backup")]
    Format(String),
    /// The passphrase is another one, or the file was changed or cut.
    #[error(
        "the backup cannot be opened: the passphrase is wrong, or the file is damaged; try the \
         passphrase again, or use another backup"
    )]
    Sealed,
    /// There are no random numbers, or not enough memory.
    #[error("the backup's key could not be made: {0}")]
    Key(String),
}

/// The content of a backup.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// The time at which it was made, RFC 3339 in UTC.
    pub made_at: String,
    /// The files, by their paths below the authority's folder.
    pub files: Vec<Kept>,
}

/// A file in a backup.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The path below the authority's folder: plain names with slashes between them.
    pub path: String,
    /// True if only its owner may read it.
    pub private: bool,
    /// The content.
    pub content: Der,
}

/// The content is left out: it may be the authority's key.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("path", &self.path).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    salt: String,
    nonce: String,
    #[serde(flatten)]
    cost: Cost,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Archive {
    /// Seals the archive under a passphrase. This takes 64 MiB and about a tenth of a second.
    ///
    /// # Errors
    /// [`BackupError`] for a short passphrase, or without random numbers.
    pub fn seal(&self, passphrase: &[u8]) -> Result<Vec<u8>, BackupError> {
        if passphrase.len() < SHORTEST {
            return Err(BackupError::Short(passphrase.len()));
        }
        let (salt, nonce) = (random::<16>()?, random::<NONCE_LEN>()?);
        let header = Header {
            format: FORMAT.into(),
            salt: hex::encode(salt),
            nonce: hex::encode(nonce),
            cost: COST,
        };
        let broken = |error: serde_json::Error| BackupError::Format(error.to_string());
        let mut sealed = serde_json::to_vec(&header).map_err(broken)?;
        sealed.push(b'\n');
        let mut content = serde_json::to_vec(self).map_err(broken)?;
        let key = key(passphrase, &salt, COST)?;
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(sealed.as_slice()),
            &mut content,
        )
        .map_err(|_| BackupError::Key("it does not seal".into()))?;
        sealed.append(&mut content);
        Ok(sealed)
    }

    /// Opens a backup.
    ///
    /// # Errors
    /// [`BackupError`] for another passphrase, and for a file that is incomplete or was changed.
    pub fn open(sealed: &[u8], passphrase: &[u8]) -> Result<Self, BackupError> {
        let not = |reason: &str| BackupError::Format(reason.to_owned());
        let start = sealed.get(..sealed.len().min(LONGEST_HEADER)).unwrap_or_default();
        let end = start
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or_else(|| not("its first line is missing"))?;
        let (line, content) = sealed.split_at(end + 1);
        let header: Header =
            serde_json::from_slice(line).map_err(|_| not("its first line is invalid"))?;
        if header.format != FORMAT {
            return Err(not("its format is that of another version of rcmd"));
        }
        let Cost { memory_kib, passes, lanes } = header.cost;
        if memory_kib > MOST.memory_kib || passes > MOST.passes || lanes > MOST.lanes {
            return Err(not("its key would cost too much to make"));
        }
        let salt = hex::decode(&header.salt).map_err(|_| not("its salt is not hexadecimal"))?;
        let nonce = hex::decode(&header.nonce).ok().and_then(|nonce| nonce.try_into().ok());
        let nonce: [u8; NONCE_LEN] = nonce.ok_or_else(|| not("its nonce has another length"))?;
        let key = key(passphrase, &salt, header.cost)?;
        let mut content = content.to_vec();
        let opened =
            key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(line), &mut content);
        let opened = opened.map_err(|_| BackupError::Sealed)?;
        // serde's message is left out, since it quotes the content.
        let archive: Self =
            serde_json::from_slice(opened).map_err(|_| not("its content is not an archive"))?;
        match archive.files.iter().find(|file| !is_plain(&file.path)) {
            Some(file) => Err(not(&format!(
                "no file of an authority has the path `{}`",
                file.path.escape_debug()
            ))),
            None => Ok(archive),
        }
    }
}

/// Returns whether a path stays below the folder that it is put into.
fn is_plain(path: &str) -> bool {
    let plain = |part: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !part.is_empty() && part != "." && part != ".." && part.bytes().all(known)
    };
    path.split('/').count() <= 4 && path.split('/').all(plain)
}

fn random<const N: usize>() -> Result<[u8; N], BackupError> {
    let mut bytes = [0; N];
    let none = |_| BackupError::Key("the operating system gave no random numbers".into());
    aws_lc_rs::rand::fill(&mut bytes).map_err(none)?;
    Ok(bytes)
}

fn key(passphrase: &[u8], salt: &[u8], cost: Cost) -> Result<LessSafeKey, BackupError> {
    let refused = |error: argon2::Error| BackupError::Key(error.to_string());
    let Cost { memory_kib, passes, lanes } = cost;
    let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(refused)?;
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, &mut key)
        .map_err(refused)?;
    let key = UnboundKey::new(&AES_256_GCM, &key);
    key.map(LessSafeKey::new).map_err(|_| BackupError::Key("it is of the wrong length".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSPHRASE: &[u8] = b"correct horse battery staple";

    fn archive(path: &str) -> Archive {
        let file = Kept { path: path.into(), private: true, content: Der(vec![0, 255]) };
        Archive { made_at: "2026-01-01T00:00:00Z".into(), files: vec![file] }
    }

    #[test]
    fn what_was_sealed_opens_with_its_passphrase_alone() {
        let sealed = archive("authority/key.pem").seal(PASSPHRASE).unwrap();
        assert_eq!(Archive::open(&sealed, PASSPHRASE).unwrap(), archive("authority/key.pem"));
        let other = Archive::open(&sealed, b"correct horse battery stable");
        assert_eq!(other, Err(BackupError::Sealed));
        assert!(!sealed.windows(3).any(|bytes| bytes == b"key"), "nothing can be read in it");
    }

    #[test]
    fn a_changed_or_cut_backup_does_not_open() {
        let sealed = archive("ca.pem").seal(PASSPHRASE).unwrap();
        let line = sealed.iter().position(|byte| *byte == b'\n').unwrap();
        for at in [0, 20, line - 2, line + 1, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(Archive::open(&changed, PASSPHRASE).is_err(), "byte {at}");
        }
        for length in [0, line, line + 1, sealed.len() - 1] {
            assert!(Archive::open(&sealed[..length], PASSPHRASE).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_file_can_not_ask_for_all_memory_or_leave_its_folder() {
        let sealed = archive("ca.pem").seal(PASSPHRASE).unwrap();
        let text = String::from_utf8_lossy(&sealed).replace("65536", "4294967295");
        let costly = Archive::open(text.as_bytes(), PASSPHRASE);
        assert!(matches!(costly, Err(BackupError::Format(_))), "{costly:?}");
        for path in ["../ca.pem", "/etc/passwd", "a//b", "a/./b", "", "a/b/c/d/e", "a\0"] {
            let sealed = archive(path).seal(PASSPHRASE).unwrap();
            assert!(Archive::open(&sealed, PASSPHRASE).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_short_passphrase_is_refused() {
        assert_eq!(archive("ca.pem").seal(b"short"), Err(BackupError::Short(5)));
    }
}
