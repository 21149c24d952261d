//! Why a call of this library failed.

use std::{error::Error as StdError, fmt, io, net::SocketAddr, path::PathBuf};

use rcmd_certs::{
    enroll::EnrollError,
    files::{FileError, shown},
    tls::TlsError,
};
use rcmd_protocol::{
    error::ProtocolError,
    outcome::{ErrorKind, WireError},
};

use crate::target::Target;

/// Failed addresses that a message names.
const NAMED: usize = 4;

/// Why a call of this library failed. Nothing has run then, unless the call says otherwise.
///
/// The message names what failed and where; [`Error::hint`] says what to do next, and
/// [`source`](StdError::source) returns the error below, where there is one. How a command ended is no
/// such error but a [`Report`](crate::Report).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The certificate, its key or the authorities in the client's folder cannot be used.
    #[error(transparent)]
    Identity(#[from] TlsError),
    /// The client's key cannot be used for a renewal, such as one that belongs to another user.
    #[error(transparent)]
    Key(#[from] FileError),
    /// The lock of those who renew one certificate cannot be had.
    #[error("cannot lock {}: {source}", shown(folder))]
    RenewalLock {
        /// The folder of the certificate.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate has ended or will, and the authority gave no new one.
    #[error("{certificate} and could not be renewed: {source}")]
    Renewal {
        /// The file of the certificate, and how it stands with it.
        certificate: String,
        /// What came of asking.
        source: Box<EnrollError>,
    },
    /// The certificate has ended, and the authority did not answer in time.
    #[error("this client's certificate has ended, and the authority does not answer")]
    RenewalTimeout,
    /// The name of the host was not found.
    #[error("cannot find the host {}{}: {source}", .target.host, of_name(target))]
    Resolve {
        /// Whose address was asked for.
        target: Box<Target>,
        /// What the name service said, or that it did not answer in time.
        source: io::Error,
    },
    /// No address of the host took a connection by TCP.
    #[error("cannot reach {} ({source})", place(target))]
    Connect {
        /// Where to.
        target: Box<Target>,
        /// What came of each address.
        source: AddressErrors,
    },
    /// The handshake of TLS failed on this side.
    #[error("TLS with {} ({address}) failed: {why}", place(target))]
    Handshake {
        /// Where to.
        target: Box<Target>,
        /// The address that answered, `?` if the system does not know it any more.
        address: String,
        /// What is wrong, for people.
        why: String,
        /// What to do about it; none where the host is to be looked at.
        hint: Option<String>,
        /// What TLS or the system said.
        source: io::Error,
    },
    /// The host refused this client's certificate.
    #[error("{} refused this client: {why}", place(target))]
    Refused {
        /// Which host.
        target: Box<Target>,
        /// What is wrong, for people.
        why: String,
        /// What to do about it.
        hint: String,
        /// The alert of TLS.
        source: io::Error,
    },
    /// The host took the connection and said no hello.
    #[error("{} did not say hello: {source}", place(target))]
    Hello {
        /// Which host.
        target: Box<Target>,
        /// How the connection ended.
        source: io::Error,
    },
    /// The peer does not keep to the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The command cannot be sent as it is, or whoever makes it refuses.
    #[error(transparent)]
    Request(WireError),
    /// The kernel gave no randomness for the key of a start.
    #[error("no random key can be made: {0}")]
    Randomness(#[source] io::Error),
    /// What the host answered, or how the link to it broke before it did.
    #[error(transparent)]
    Answer(WireError),
}

/// What came of each address of a host.
#[derive(Debug)]
pub struct AddressErrors {
    /// The addresses that failed, in the order in which they did.
    pub failed: Vec<(SocketAddr, io::Error)>,
    /// True if the time was over before all had failed.
    pub timed_out: bool,
}

impl fmt::Display for AddressErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failed.is_empty() {
            let why = if self.timed_out { "no answer in time" } else { "no address answered" };
            return f.write_str(why);
        }
        for (nth, (address, error)) in self.failed.iter().take(NAMED).enumerate() {
            let between = if nth == 0 { "" } else { ", " };
            write!(f, "{between}{address}: {error}")?;
        }
        Ok(())
    }
}

impl StdError for AddressErrors {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.failed.first().map(|(_, error)| error as _)
    }
}

impl Error {
    /// Returns the kind that a result has for this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Identity(_)
            | Self::Key(_)
            | Self::Renewal { .. }
            | Self::RenewalTimeout
            | Self::Handshake { .. }
            | Self::Refused { .. } => ErrorKind::Tls,
            Self::RenewalLock { .. } => ErrorKind::LocalIo,
            Self::Resolve { .. } | Self::Connect { .. } | Self::Hello { .. } => {
                ErrorKind::Unreachable
            }
            Self::Protocol(_) => ErrorKind::Protocol,
            Self::Randomness(_) => ErrorKind::Resources,
            Self::Request(error) | Self::Answer(error) => error.kind,
        }
    }

    /// Returns what to do next, as a sentence, where more can be said than the message does.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Identity(_) | Self::Key(_) | Self::RenewalLock { .. } | Self::Randomness(_) => {
                None
            }
            Self::Renewal { source, .. } if source.is_temporary() => {
                Some("Try `rcmd-client enroll --renew` when the authority can be reached.".into())
            }
            Self::Renewal { .. } => Some(
                "Ask whoever runs the authority; with a new token: move the folder client/ away, \
                 then `rcmd-client enroll`."
                    .into(),
            ),
            Self::RenewalTimeout => Some(
                "Is `rcmd-certs serve` running there? Try `rcmd-client enroll --renew`.".into(),
            ),
            Self::Resolve { target, .. } => Some(format!(
                "Check the name with `getent hosts {}`, or use an address.",
                target.host
            )),
            Self::Refused { hint, .. } | Self::Handshake { hint: Some(hint), .. } => {
                Some(hint.clone())
            }
            Self::Connect { target, .. }
            | Self::Hello { target, .. }
            | Self::Handshake { target, .. } => Some(format!("Try `rcmd-client doctor {target}`.")),
            Self::Protocol(error) => error.failure().hint,
            Self::Request(error) | Self::Answer(error) => error.hint.clone(),
        }
    }
}

/// Makes the error of a result, which a program can store and send. What lies below it is lost.
impl From<Error> for WireError {
    fn from(error: Error) -> Self {
        match error {
            Error::Request(error) | Error::Answer(error) => error,
            error => {
                let told = Self::new(error.kind(), error.to_string());
                match error.hint() {
                    Some(hint) => told.hint(hint),
                    None => told,
                }
            }
        }
    }
}

/// Returns whose address was asked for, where that is not the name itself.
fn of_name(target: &Target) -> String {
    target.name.as_ref().map(|name| format!(", the address of {name}")).unwrap_or_default()
}

/// Returns host and port, also where the port is the usual one, behind the name if it has one.
fn place(target: &Target) -> String {
    let address = match target.host.contains(':') {
        true => format!("[{}]:{}", target.host, target.port),
        false => format!("{}:{}", target.host, target.port),
    };
    match &target.name {
        Some(name) => format!("{name} at {address}"),
        None => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Box<Target> {
        Box::new("web1:7".parse().unwrap())
    }

    fn refused() -> io::Error {
        io::Error::from(io::ErrorKind::ConnectionRefused)
    }

    #[test]
    fn what_lies_below_an_error_can_be_asked_for() {
        let address = "127.0.0.1:7".parse().unwrap();
        let source = AddressErrors { failed: vec![(address, refused())], timed_out: false };
        let error = Error::Connect { target: target(), source };
        let below = error.source().and_then(StdError::source).unwrap();
        let below: &io::Error = below.downcast_ref().unwrap();
        assert_eq!(below.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(error.to_string(), "cannot reach web1:7 (127.0.0.1:7: connection refused)");
    }

    #[test]
    fn an_error_tells_a_result_its_kind_its_message_and_what_to_do() {
        let error = Error::Resolve { target: target(), source: io::Error::other("no such name") };
        let told = WireError::from(error);
        assert_eq!(told.kind, ErrorKind::Unreachable);
        assert_eq!(told.message, "cannot find the host web1: no such name");
        assert_eq!(
            told.hint.as_deref(),
            Some("Check the name with `getent hosts web1`, or use an address.")
        );
    }

    #[test]
    fn what_the_host_answered_stays_as_it_was_said() {
        let said = WireError::new(ErrorKind::Busy, "full").hint("Wait.").retry_after_ms(7);
        assert_eq!(WireError::from(Error::Answer(said.clone())), said);
        let error = Error::Answer(said);
        assert_eq!((error.kind(), error.hint().as_deref()), (ErrorKind::Busy, Some("Wait.")));
    }

    #[test]
    fn a_message_names_so_many_addresses_and_no_more() {
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let failed = (1..=6).map(|port| (address(port), refused())).collect();
        let told = AddressErrors { failed, timed_out: true }.to_string();
        assert_eq!(told.matches("127.0.0.1").count(), NAMED);
        let nothing = AddressErrors { failed: Vec::new(), timed_out: true }.to_string();
        assert_eq!(nothing, "no answer in time");
    }
}
