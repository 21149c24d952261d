//! What a member does towards its authority: enrol, renew, and learn of revocations.
//!
//! [`enroll`] makes a key, which never leaves this machine, and fetches a certificate for a
//! [`Token`]. From then on a [`Member`] renews the certificate for the same key and fetches
//! revocation lists. Nothing here runs by itself: when to do what is the program's affair.

use std::path::PathBuf;
use std::time::Duration;

use crate::authority::{Algorithm, AuthorityError};
use crate::files::{FileError, shown};
use crate::paths::Layout;
use crate::revocation::{ListError, Lists};
use crate::text::printable;
use crate::tls::{TlsError, span};
use crate::token::{LoadError, Token, TokenError};

mod contact;

pub use crate::token::Kind;
pub use crate::wire::Reason;
pub use contact::Contact;

/// How far two clocks may be apart before it is said: what a certificate's start lies in the past.
pub const CLOCK_TOLERANCE: Duration = crate::authority::BACKDATE;

/// How to enrol.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Which of the token's names to take, if the token leaves a choice.
    pub name: Option<String>,
    /// The kind of key to make.
    pub algorithm: Algorithm,
}

/// A certificate that was fetched and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The names in it: of a server those that it is reached by, of a client its user's.
    pub names: Vec<String>,
    /// The user's groups; empty for a server.
    pub groups: Vec<String>,
    /// Its serial number, in lower-case hexadecimal.
    pub serial: String,
    /// The first second of its validity, in Unix time.
    pub not_before: i64,
    /// The last second of its validity, in Unix time.
    pub not_after: i64,
    /// Until when the key may be renewed unless it is renewed before, in Unix time.
    pub renew_until: i64,
    /// Whether `ca.pem` was changed with it.
    pub new_roots: bool,
    /// The two clocks, if they are further apart than [`CLOCK_TOLERANCE`].
    pub clock: Option<ClockOff>,
    /// The files that were written.
    pub written: Vec<PathBuf>,
}

/// Two clocks that disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOff {
    /// This machine's, in Unix time.
    pub ours: i64,
    /// The authority's, in Unix time.
    pub theirs: i64,
}

impl std::fmt::Display for ClockOff {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let which = if self.ours < self.theirs { "behind" } else { "ahead of" };
        let apart = span(self.ours.abs_diff(self.theirs));
        write!(
            formatter,
            "this machine's clock is {apart} {which} the authority's; \
             compare `date -u` on both machines and set the one that is wrong"
        )
    }
}

/// Why nothing was fetched. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The token is none.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token's file is none.
    #[error(transparent)]
    TokenFile(#[from] LoadError),
    /// A token for the other kind of member.
    #[error("this token is for a {is}, not for a {wanted}: use `rcmd-{is} enroll`")]
    WrongKind {
        /// What the token is for.
        is: Kind,
        /// What it was to be used for.
        wanted: Kind,
    },
    /// The token leaves a choice of names and none was made, or none and one was.
    #[error("{0}")]
    Name(String),
    /// There is an identity already.
    #[error("{} exists already; to enrol anew, move its folder away first", shown(.0))]
    Exists(PathBuf),
    /// No identity that came by a token.
    #[error(
        "{} does not exist: this {kind} was not enrolled by a token, so there is nobody to ask; \
         `rcmd-{kind} enroll TOKEN` does it",
        shown(path)
    )]
    NotEnrolled {
        /// The file that enrolment writes.
        path: PathBuf,
        /// What was to be renewed.
        kind: Kind,
    },
    /// No address answered.
    #[error("the authority cannot be reached: {0}; is `rcmd-certs serve` running there?")]
    Unreachable(String),
    /// Somebody else answered, or in another language.
    #[error("{address} is not the authority that was asked for: {reason}")]
    Impostor {
        /// Where.
        address: String,
        /// What was wrong.
        reason: String,
    },
    /// The connection broke or the answer makes no sense.
    #[error(
        "the authority's answer was lost or not understood: {0}; the same command may be tried again"
    )]
    Lost(String),
    /// The clocks disagree too much for a certificate.
    #[error("{0}")]
    Clock(ClockOff),
    /// The authority refused.
    #[error("the authority refused: {message}")]
    Refused {
        /// Why, for programs.
        reason: Reason,
        /// Why, in its words; printable.
        message: String,
    },
    /// A list that cannot be read.
    #[error(transparent)]
    List(#[from] ListError),
    /// The key could not be made.
    #[error(transparent)]
    Key(#[from] AuthorityError),
    /// Files of the identity cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Files cannot be read or written.
    #[error(transparent)]
    Files(#[from] FileError),
    /// `authority.toml` makes no sense.
    #[error("{} cannot be used: {}", shown(path), printable(reason))]
    Contact {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl EnrollError {
    /// Whether the same may succeed later without anybody doing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lost(_) => true,
            Self::Refused { reason, .. } => reason.is_temporary(),
            _ => false,
        }
    }
}

/// Makes a key and fetches a certificate for it: `key.pem`, `cert.pem` and `authority.toml` in the
/// folder of the kind, and `ca.pem`, all of them or none. What is there is never overwritten.
///
/// An answer that was lost costs nothing: the key waits in the folder, and the same token with the
/// same key gets the same certificate for some minutes.
///
/// # Errors
///
/// [`EnrollError`]; then no identity was written.
///
/// # Cancel safety
///
/// Safe: what was begun is taken up again by the next call.
pub async fn enroll(
    token: &Token,
    layout: &Layout,
    options: &Options,
) -> Result<Fetched, EnrollError> {
    let _ = (token, layout, options);
    Err(EnrollError::Lost("not yet".into()))
}

/// An identity that came by a token, and the way to its authority.
#[derive(Clone, Debug)]
pub struct Member {
    kind: Kind,
    layout: Layout,
    contact: Contact,
}

impl Member {
    /// Loads the identity of this kind. `None` if it did not come by a token.
    ///
    /// # Errors
    ///
    /// [`EnrollError::Contact`] when `authority.toml` makes no sense.
    pub fn load(layout: &Layout, kind: Kind) -> Result<Option<Self>, EnrollError> {
        let contact = Contact::load(&layout.contact(kind))?;
        Ok(contact.map(|contact| Self { kind, layout: layout.clone(), contact }))
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where its files are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where its authority is.
    pub fn contact(&self) -> &Contact {
        &self.contact
    }

    /// Fetches another certificate for the same key and writes `cert.pem`, and `ca.pem` if the roots
    /// changed. Works with an expired certificate too, until `renew_until`. An authority that has
    /// renewed it a moment ago gives the same again.
    ///
    /// # Errors
    ///
    /// [`EnrollError`]; then the files are as they were.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn renew(&self) -> Result<Fetched, EnrollError> {
        Err(EnrollError::Lost("not yet".into()))
    }

    /// The revocation lists, if their number is higher than `newer_than` (0: any). Nothing is
    /// written; the verifier has to judge them first.
    ///
    /// # Errors
    ///
    /// [`EnrollError`].
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn fetch_lists(&self, newer_than: u64) -> Result<Option<Lists>, EnrollError> {
        let _ = newer_than;
        Err(EnrollError::Lost("not yet".into()))
    }

    /// Opens a connection through which new lists come within a second of their making.
    ///
    /// # Errors
    ///
    /// [`EnrollError`].
    pub async fn watch(&self) -> Result<Watch, EnrollError> {
        Err(EnrollError::Lost("not yet".into()))
    }
}

/// A connection through which new lists come.
#[derive(Debug)]
pub struct Watch {}

impl Watch {
    /// Waits for lists with a number above `newer_than`, for as long as it takes.
    ///
    /// # Errors
    ///
    /// [`EnrollError`] when the connection is lost; open another.
    ///
    /// # Cancel safety
    ///
    /// None: drop the `Watch` afterwards.
    pub async fn next(&mut self, newer_than: u64) -> Result<Lists, EnrollError> {
        let _ = newer_than;
        Err(EnrollError::Lost("not yet".into()))
    }
}
