//! Enrollment tokens: one line of text that makes a machine or a user a member.
//!
//! A token holds the authority's addresses, the fingerprint that it is known by, whom the token is for, and
//! the secret that proves it. Thus the first contact is authenticated both ways: the member knows the
//! authority by the fingerprint, and the authority knows the token by the secret's SHA-256, which is all
//! that it keeps. The names in the token are for people; the authority uses its own record.
//!
//! The text is `rcmd1_` and, in base64 for URLs (RFC 4648 section 5), a JSON object and the first 4
//! bytes of its SHA-256. Thus a paste that was cut is told from a token that nobody issued.

use std::{
    fmt,
    io::{self, BufRead},
    path::{Path, PathBuf},
    str::FromStr,
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    files::{self, FileError, shown},
    fingerprint::Fingerprint,
    names::{self, HostName, Kind, NameError, Pattern},
    secret::Confidential,
};

const PREFIX: &str = "rcmd1_";

/// Bytes of the checksum.
const CHECKSUM: usize = 4;

/// The longest text of a token, in bytes: enough for some dozens of names.
pub const MAX_TOKEN: usize = 8 * 1024;

/// The most bytes that are read to find a token: one token, and comments before it.
const MAX_INPUT: u64 = 64 * 1024;

/// The names that a token allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Names {
    /// All of these, for every member that enrolls with it: a server's names, or a user's one name.
    All(Vec<String>),
    /// One of these for each member. Nobody else can take it again.
    OneOf(Pattern),
}

impl Names {
    /// Checks that members of this kind may have these names.
    ///
    /// # Errors
    /// [`NameError`] for the first name that they may not have.
    pub fn check(&self, kind: Kind) -> Result<(), NameError> {
        let check = |name: &str| match kind {
            Kind::Server => HostName::parse(name).map(drop),
            Kind::Client => names::check_user(name),
        };
        match self {
            Self::All(names) => names.iter().try_for_each(|name| check(name)),
            Self::OneOf(pattern) => pattern.names().try_for_each(|name| check(&name)),
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(names) => f.write_str(&names.join(", ")),
            Self::OneOf(pattern) => write!(f, "one of {pattern}"),
        }
    }
}

/// The secret that proves a token: 160 random bits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Secret([u8; 20]);

impl Secret {
    /// Returns a new secret.
    ///
    /// # Errors
    /// [`NoRandom`] when the system returns no random numbers.
    pub fn random() -> Result<Self, NoRandom> {
        let mut bytes = [0; 20];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandom)?;
        Ok(Self(bytes))
    }

    /// Returns its SHA-256 in lower-case hexadecimal: the authority keeps that alone, and lists name a token by
    /// it. A secret of 160 random bits needs no slow hash.
    pub fn id(&self) -> String {
        hex::encode(digest(&SHA256, &self.0))
    }
}

/// A secret is printed as part of a token and nowhere else.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        URL_SAFE_NO_PAD.encode(secret.0)
    }
}

impl TryFrom<String> for Secret {
    type Error = TokenError;

    fn try_from(text: String) -> Result<Self, TokenError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Content)?;
        Ok(Self(bytes.try_into().map_err(|_| TokenError::Content)?))
    }
}

/// The operating system returned no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random numbers")]
pub struct NoRandom;

/// An enrollment token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The addresses of the authority, `HOST:PORT` or `[V6]:PORT` each, tried in this order.
    pub addresses: Vec<String>,
    /// The authority's root, by its public key.
    pub authority: Fingerprint,
    /// The kind of member that the token makes.
    pub kind: Kind,
    /// The names that it allows.
    pub names: Names,
    /// The secret that proves it.
    pub secret: Secret,
}

/// The reason why a text is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The text does not begin like a token.
    #[error(
        "this is not an enrollment token: a token begins with `{PREFIX}`, as `rcmd-certs token` prints it"
    )]
    NoToken,
    /// The checksum differs: the text was cut, or a character changed.
    #[error("the token is incomplete or was changed on its way; copy the whole line again")]
    Checksum,
    /// The text is longer than any token.
    #[error(
        "the token is longer than {MAX_TOKEN} bytes; copy only the line that `rcmd-certs token` printed"
    )]
    TooLong,
    /// The checksum is right and the content is not: it is of another version, or made by hand.
    #[error(
        "the token's content is unknown to this version of rcmd; are both of the same version?"
    )]
    Content,
}

/// The reason why no token could be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read, or other users can read it.
    #[error(transparent)]
    File(#[from] FileError),
    /// The text that was typed is no token.
    #[error(transparent)]
    Word(#[from] TokenError),
    /// Standard input cannot be read.
    #[error("cannot read the token from standard input: {0}; give it in a file with --token-file")]
    Input(io::Error),
    /// The file holds no token.
    #[error("{}: {reason}", shown(path))]
    Token {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: TokenError,
    },
}

/// The warning for a token that was typed as an argument.
pub const ON_COMMAND_LINE: &str = "a token on the command line can be read by every user of this \
    machine while this runs, and stays in the shell's history: give it on standard input, or with \
    --token-file FILE";

impl Token {
    /// Reads a token from where it was given: a file, a word of the command line, or, without either or with the
    /// word `-`, from `input`. Waits for `input` only up to the end of the token's line, since a terminal stays
    /// open after it.
    ///
    /// # Errors
    /// [`LoadError`] when it cannot be read, or is no token.
    pub fn given(
        word: Option<&Confidential<String>>,
        file: Option<&Path>,
        input: impl BufRead,
    ) -> Result<Self, LoadError> {
        match (file, word) {
            (Some(file), _) => Self::load(file),
            (None, Some(word)) if word.expose() != "-" => Ok(word.expose().parse()?),
            _ => {
                let (mut input, mut read) = (input.take(MAX_INPUT), Vec::new());
                while input.read_until(b'\n', &mut read).map_err(LoadError::Input)? > 0 {
                    if let Some(token) = Self::first_in(&read) {
                        return Ok(token?);
                    }
                    read.clear();
                }
                Err(TokenError::NoToken.into())
            }
        }
    }

    /// Reads a token from a file, as `rcmd-certs bundle` writes it: its first line that is not
    /// empty and no `#` comment.
    ///
    /// # Errors
    /// [`LoadError`] when the file is missing, readable by others, or holds no token.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let bytes = files::read_private(path)?;
        let token = Self::first_in(bytes.expose()).unwrap_or(Err(TokenError::NoToken));
        token.map_err(|reason| LoadError::Token { path: path.to_owned(), reason })
    }

    /// Reads the first line that is neither empty nor a comment, if there is one.
    fn first_in(bytes: &[u8]) -> Option<Result<Self, TokenError>> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines().map(str::trim);
        let line = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
        line.map(str::parse)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = serde_json::to_vec(self).map_err(|_| fmt::Error)?;
        bytes.extend(checksum(&bytes));
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let encoded = text.strip_prefix(PREFIX).ok_or(TokenError::NoToken)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Checksum)?;
        let (json, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(TokenError::Checksum)?;
        if checksum(json) != *sum {
            return Err(TokenError::Checksum);
        }
        let token: Self = serde_json::from_slice(json).map_err(|_| TokenError::Content)?;
        let named = token.names.check(token.kind).is_ok();
        let reachable =
            !token.addresses.is_empty() && token.addresses.iter().all(|at| is_address(at));
        if named && reachable { Ok(token) } else { Err(TokenError::Content) }
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut sum = [0; CHECKSUM];
    for (to, from) in sum.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    sum
}

/// Returns whether `address` is `NAME:PORT`, `ADDRESS:PORT` or `[V6]:PORT`.
pub fn is_address(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    port.parse::<u16>().is_ok_and(|port| port != 0) && HostName::parse(host).is_ok()
}

#[cfg(test)]
mod tests;
