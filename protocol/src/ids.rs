//! Identifiers on the wire: keys, instances, request digests, jobs, streams.

use std::{fmt, io};

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

macro_rules! names {
    ($(#[$doc:meta])* $vis:vis enum $name:ident {
        $($(#[$vdoc:meta])* $variant:ident = $text:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize)]
        $vis enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// All values, in the order of the documents.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name on the wire and in results.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// Returns the value with this name; `None` if there is none.
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use names;

names! {
    /// A stream of bytes of a command.
    pub enum Stream {
        /// Standard input, file descriptor 0.
        Stdin = "stdin",
        /// Standard output, file descriptor 1.
        Stdout = "stdout",
        /// Standard error, file descriptor 2.
        Stderr = "stderr",
    }
}

/// Bytes, 32 at most, shown in lower-case hexadecimal. They are written in one piece, since each exit has three.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        let digits = digits.get_mut(..2 * self.0.len()).ok_or(fmt::Error)?;
        hex::encode_to_slice(self.0, digits).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(digits).map_err(|_| fmt::Error)?)
    }
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $vis:vis struct $name:ident([u8; $bytes:literal]);) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis struct $name([u8; $bytes]);

        impl $name {
            /// Reads lower-case hexadecimal of exactly the right length; `None` for any other text.
            pub fn from_hex(text: &str) -> Option<Self> {
                if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    return None;
                }
                let mut bytes = [0; $bytes];
                hex::decode_to_slice(text, &mut bytes).ok()?;
                Some(Self(bytes))
            }

            /// Returns the bytes.
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Hex(&self.0).fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

hex_id! {
    /// The key of one start, for an identity on a host: under it, the start happens at most once.
    pub struct Key([u8; 16]);
}
hex_id! {
    /// The identifier of one server process. Another process does not know the attached commands of this one.
    pub struct Instance([u8; 16]);
}
hex_id! {
    /// The SHA-256 of a request, which keeps one key from standing for two requests.
    pub struct RequestDigest([u8; 32]);
}

impl Key {
    /// Returns a new random key.
    ///
    /// # Errors
    /// Fails when the kernel returns no random bytes (getrandom(2)).
    pub fn random() -> io::Result<Self> {
        random().map(Self)
    }

    /// Returns the key for a caller's own text: the first half of the text's SHA-256.
    pub fn from_text(text: &[u8]) -> Self {
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(Sha256::digest(text)) {
            *to = from;
        }
        Self(bytes)
    }
}

impl Instance {
    /// Returns a new random instance.
    ///
    /// # Errors
    /// Fails when the kernel returns no random bytes (getrandom(2)).
    pub fn random() -> io::Result<Self> {
        random().map(Self)
    }
}

impl RequestDigest {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// A head of a host's audit: the number of a record, and the hash that covers this record and all before it.
/// A client that keeps one can check later that the log still holds them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AuditHead {
    /// The number of the record, from 1.
    pub seq: u64,
    /// The SHA-256 that covers the record and all before it.
    pub hash: [u8; 32],
}

impl AuditHead {
    /// Reads `SEQ:HASH`, the hash as 64 lower-case hexadecimal digits; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (seq, hash) = text.split_once(':')?;
        let plain = !seq.is_empty() && seq.bytes().all(|byte| byte.is_ascii_digit());
        let seq = seq.parse().ok().filter(|_| plain)?;
        Some(Self { seq, hash: *RequestDigest::from_hex(hash)?.as_bytes() })
    }
}

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, RequestDigest(self.hash))
    }
}

impl fmt::Debug for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for AuditHead {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// The name of a job on its host: 16 characters of Crockford's base 32 in lower case, 80 random bits.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct JobId(String);

impl JobId {
    /// Crockford's alphabet, which leaves out letters that look like digits.
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

    /// Returns a new random job name.
    ///
    /// # Errors
    /// Fails when the kernel returns no random bytes (getrandom(2)).
    pub fn random() -> io::Result<Self> {
        let bytes: [u8; 16] = random()?;
        let digit = |byte: u8| Self::ALPHABET.get(usize::from(byte % 32)).copied().unwrap_or(b'0');
        Ok(Self(bytes.into_iter().map(digit).map(char::from).collect()))
    }

    /// Reads a job's name that a peer sent or a person typed; `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 16 && text.bytes().all(|byte| Self::ALPHABET.contains(&byte));
        fits.then(|| Self(text.to_owned()))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_read_in_lower_case_and_full_length_only() {
        let key = Key::from_text(b"deploy 7");
        assert_eq!(Key::from_hex(&key.to_string()), Some(key));
        assert_eq!(Key::from_hex(&key.to_string().to_uppercase()), None);
        assert_eq!(Key::from_hex("00"), None);
        assert_eq!(Key::from_hex(&"0".repeat(33)), None);
        assert_eq!(Key::from_hex(&"g".repeat(32)), None);
    }

    #[test]
    fn a_text_key_is_the_first_half_of_its_sha256() {
        assert_eq!(Key::from_text(b"abc").to_string(), "ba7816bf8f01cfea414140de5dae2223");
    }

    #[test]
    fn a_head_of_the_audit_reads_back_and_nothing_else_does() {
        let head = AuditHead { seq: 17, hash: [0xab; 32] };
        assert_eq!(AuditHead::parse(&head.to_string()), Some(head));
        let hash = "ab".repeat(32);
        for bad in ["", "17", &format!("+17:{hash}"), &format!(":{hash}"), &format!("17:{hash}0")] {
            assert_eq!(AuditHead::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn job_names_read_back_and_nothing_else_does() {
        let job = JobId::random().unwrap();
        assert_eq!(JobId::parse(job.as_str()), Some(job));
        for bad in ["", "0", "../../etc/passwd", "0123456789abcdeu", "0123456789abcde\n"] {
            assert_eq!(JobId::parse(bad), None, "{bad:?}");
        }
    }
}
