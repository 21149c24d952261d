//! The errors of this library.

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

/// The maximum number of failed addresses in a message.
const NAMED: usize = 4;

/// The reason why a call of this library failed. Nothing has run then, unless the documentation of the call says
/// otherwise.
///
/// The message names what failed and where; [`Error::hint`] returns what to do next, and
/// [`source`](StdError::source) the underlying error, if there is one. The end of a command is not an error of
/// this kind but a [`Report`](crate::Report).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The certificate, its key or the authorities in the client's folder cannot be used.
    #[error(transparent)]
    Identity(#[from] TlsError),
    /// The client's key cannot be used for a renewal, such as one that belongs to another user.
    #[error(transparent)]
    Key(#[from] FileError),
    /// The lock for renewals of the certificate cannot be taken.
    #[error("cannot lock {}: {source}", shown(folder))]
    RenewalLock {
        /// The folder of the certificate.
        folder: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The certificate has expired or is about to, and the authority issued no new one.
    #[error("{certificate} and could not be renewed: {source}")]
    Renewal {
        /// The file of the certificate and its state.
        certificate: String,
        /// The reason.
        source: Box<EnrollError>,
    },
    /// The certificate has expired, and the authority did not answer in time.
    #[error("this client's certificate has expired, and the authority does not answer")]
    RenewalTimeout,
    /// The name of the host was not found.
    #[error("cannot find the host {}{}: {source}", .target.host, of_name(target))]
    Resolve {
        /// The target whose address was looked up.
        target: Box<Target>,
        /// The error of the name service, or that it did not answer in time.
        source: io::Error,
    },
    /// No address of the host accepted a TCP connection.
    #[error("cannot reach {} ({source})", place(target))]
    Connect {
        /// The target.
        target: Box<Target>,
        /// The result of each address.
        source: AddressErrors,
    },
    /// The Unix socket of the host accepted no connection.
    #[error("cannot reach {}: {source}", place(target))]
    ConnectLocally {
        /// The target.
        target: Box<Target>,
        /// The error of the system, or that it did not answer in time.
        source: io::Error,
    },
    /// The TLS handshake failed on this side.
    #[error("TLS with {} ({address}) failed: {why}", place(target))]
    Handshake {
        /// The target.
        target: Box<Target>,
        /// The address that answered; `?` if the system no longer knows it.
        address: String,
        /// The reason, for people.
        why: String,
        /// The advice on what to do next; `None` where the host has to be examined.
        hint: Option<String>,
        /// The error of TLS or of the system.
        source: io::Error,
    },
    /// The host refused this client's certificate.
    #[error("{} refused this client: {why}", place(target))]
    Refused {
        /// The target.
        target: Box<Target>,
        /// The reason, for people.
        why: String,
        /// The advice on what to do next.
        hint: String,
        /// The TLS alert.
        source: io::Error,
    },
    /// The host accepted the connection but sent no hello.
    #[error("{} did not say hello: {source}", place(target))]
    Hello {
        /// The target.
        target: Box<Target>,
        /// The end of the connection.
        source: io::Error,
    },
    /// The peer violated the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The command is invalid, or the callback that makes it failed.
    #[error(transparent)]
    Request(WireError),
    /// The kernel returned no random bytes for the key of a start.
    #[error("no random key can be made: {0}")]
    Randomness(#[source] io::Error),
    /// The host refused, or the connection was lost before it answered.
    #[error(transparent)]
    Answer(WireError),
}

/// The results of the addresses of a host.
#[derive(Debug)]
pub struct AddressErrors {
    /// The addresses that failed, in the order of their failures.
    pub failed: Vec<(SocketAddr, io::Error)>,
    /// True if the time limit was reached before all addresses had failed.
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
    /// Returns the kind of this error in results.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Identity(_)
            | Self::Key(_)
            | Self::Renewal { .. }
            | Self::RenewalTimeout
            | Self::Handshake { .. }
            | Self::Refused { .. } => ErrorKind::Tls,
            Self::RenewalLock { .. } => ErrorKind::LocalIo,
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::ConnectLocally { .. }
            | Self::Hello { .. } => ErrorKind::Unreachable,
            Self::Protocol(_) => ErrorKind::Protocol,
            Self::Randomness(_) => ErrorKind::Resources,
            Self::Request(error) | Self::Answer(error) => error.kind,
        }
    }

    /// Returns advice on what to do next, as a sentence, if there is more than in the message.
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
            | Self::ConnectLocally { target, .. }
            | Self::Hello { target, .. }
            | Self::Handshake { target, .. } => Some(format!("Try `rcmd-client doctor {target}`.")),
            Self::Protocol(error) => error.failure().hint,
            Self::Request(error) | Self::Answer(error) => error.hint.clone(),
        }
    }
}

/// Makes the error of a result, which a program can store and send. The underlying error is lost.
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

/// Returns the name of the target for a message, if its address is another one.
fn of_name(target: &Target) -> String {
    target.name.as_ref().map(|name| format!(", the address of {name}")).unwrap_or_default()
}

/// Returns host and port, also the default port, or the Unix socket, after the name of the target if it has one.
fn place(target: &Target) -> String {
    let address = match (target.socket_path(), target.host.contains(':')) {
        (Some(_), _) => target.host.clone(),
        (None, true) => format!("[{}]:{}", target.host, target.port),
        (None, false) => format!("{}:{}", target.host, target.port),
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
