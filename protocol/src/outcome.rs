//! The outcomes of commands, and the kinds of error.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{
    ids::names,
    limits::{KIND, TEXT},
};

names! {
    /// The way in which a command ended.
    pub enum Outcome {
        /// The process ended with an exit status of its own.
        Exited = "exited",
        /// A signal ended the process.
        Signaled = "signaled",
        /// The command was ended at its time limit.
        TimedOut = "timed_out",
        /// The command never ran, so that it is safe to start it again.
        NotStarted = "not_started",
        /// The command may have run, and how it ended is not known.
        Unknown = "unknown",
    }
}

macro_rules! error_kinds {
    ($(#[$doc:meta])* $vis:vis enum $name:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        $vis enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A kind that a newer peer knows and this version does not.
            Other(OtherKind),
        }

        impl $name {
            /// All kinds that this version knows, in the order of the documents.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the kind's name on the wire and in results.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(kind) => kind.as_str(),
                }
            }

            /// Returns the kind of this name. A name that this version does not know is kept as text.
            /// Returns `None` if `name` cannot be the name of a kind: it must have 1 to [`KIND`] bytes,
            /// each a lower-case letter of ASCII, a digit or `_`.
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)*
                    _ => OtherKind::parse(name).map(Self::Other),
                }
            }
        }
    };
}

error_kinds! {
    /// The kind of an error.
    pub enum ErrorKind {
        /// The request or the command line makes no sense.
        Usage = "usage",
        /// The host could not be reached.
        Unreachable = "unreachable",
        /// TLS failed, on either side.
        Tls = "tls",
        /// Policy does not permit the request.
        Denied = "denied",
        /// A limit is reached, or the server is draining.
        Busy = "busy",
        /// The program does not exist.
        NotFound = "not_found",
        /// The program exists and can't be executed.
        NotExecutable = "not_executable",
        /// The working folder can't be entered.
        NoSuchDir = "no_such_dir",
        /// The user does not exist.
        NoSuchUser = "no_such_user",
        /// Arguments or environment are past a limit.
        TooBig = "too_big",
        /// The host is out of processes, descriptors or memory.
        Resources = "resources",
        /// The peer broke the protocol.
        Protocol = "protocol",
        /// The connection was lost and the command with it.
        Lost = "lost",
        /// A total or digest differs.
        Corrupt = "corrupt",
        /// The server was told to stop.
        ServerStopped = "server_stopped",
        /// The key stands for another request.
        KeyConflict = "key_conflict",
        /// The key was used so long ago that the host no longer knows the outcome.
        KeyExpired = "key_expired",
        /// Output could not be written on the client's machine.
        LocalIo = "local_io",
        /// The host never started the command that the client wanted to attach to.
        NeverStarted = "never_started",
        /// A path of a transfer leads nowhere.
        NoSuchFile = "no_such_file",
        /// The host does not let the account read or write a path of a transfer.
        Permission = "permission",
        /// Something of another kind stands at a path of a transfer.
        Exists = "exists",
        /// The disk or a quota has no room for what a transfer is to write.
        NoSpace = "no_space",
        /// A file was changed while it was looked for or read.
        Changed = "changed",
        /// A path of a transfer leads out of its root, or through a link where a folder should be.
        UnsafePath = "unsafe_path",
        /// A run over many hosts was ended, or stopped itself, before it came to this host.
        HeldBack = "held_back",
    }
}

impl ErrorKind {
    /// Returns the exit status of a client whose command did not start because of this error.
    pub fn not_started_status(self) -> u8 {
        match self {
            Self::NotFound => 127,
            Self::NotExecutable | Self::TooBig => 126,
            _ => 125,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The name of a kind of error that this version does not know, such as a newer server sends.
///
/// Only [`ErrorKind::parse`] makes one, so that it never holds the name of a known kind, nor a character
/// that a terminal would interpret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OtherKind {
    /// The name, padded with NUL. It is kept inline so that [`ErrorKind`] is `Copy`.
    bytes: [u8; KIND],
}

impl OtherKind {
    fn parse(name: &str) -> Option<Self> {
        let is_valid =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let mut bytes = [0; KIND];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        (!name.is_empty() && name.bytes().all(is_valid)).then_some(Self { bytes })
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        let name = self.bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        str::from_utf8(name).unwrap_or_default()
    }
}

impl fmt::Debug for OtherKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// An error for the other side, or for a person: what failed and what to do next.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct WireError {
    /// The kind of error.
    pub kind: ErrorKind,
    /// A message for people: what failed, and where.
    pub message: String,
    /// A hint for people: what to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The milliseconds after which to try again; present with kind `busy` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl WireError {
    /// Returns an error without a hint. A message longer than [`TEXT`] bytes, such as one that quotes a peer, is cut.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: cut(message.into()), hint: None, retry_after_ms: None }
    }

    /// Returns this error with a hint on what to do next, cut at the same length.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(cut(hint.into()));
        self
    }

    /// Returns this error with the milliseconds after which to try again.
    #[must_use]
    pub fn retry_after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }
}

fn cut(mut text: String) -> String {
    const MARK: &str = "...";
    if text.len() > TEXT {
        text.truncate(text.floor_char_boundary(TEXT - MARK.len()));
        text.push_str(MARK);
    }
    text
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for WireError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for &outcome in Outcome::ALL {
            assert_eq!(Outcome::parse(outcome.as_str()), Some(outcome));
        }
        for &kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(Outcome::parse("Exited"), None);
    }

    #[test]
    fn an_unknown_kind_is_kept_as_text_within_bounds() {
        for name in ["x", "refused", "unreachable_there", "r2", &"k".repeat(KIND)] {
            let kind = ErrorKind::parse(name).unwrap();
            assert_eq!((kind.as_str(), kind.to_string()), (name, name.to_owned()));
            assert!(!ErrorKind::ALL.contains(&kind), "{name}");
            assert_eq!(kind.not_started_status(), 125);
        }
        let too_long = "k".repeat(KIND + 1);
        for name in ["", "Busy", "a b", "a-b", "a.b", "\u{e9}", "a\0", "\u{1b}[2j", &too_long] {
            assert_eq!(ErrorKind::parse(name), None, "{name:?}");
        }
    }

    #[test]
    fn what_quotes_a_peer_still_fits_a_frame() {
        let failure =
            WireError::new(ErrorKind::Usage, "\u{e9}".repeat(TEXT)).hint("x".repeat(TEXT));
        assert!(failure.message.len() <= TEXT && failure.message.ends_with("\u{e9}..."));
        assert_eq!(failure.hint, Some("x".repeat(TEXT)));
    }
}
