//! A connection to the authority, for one question after the other.

use std::{io, time::Duration};

use rustls::CertificateError;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{clock_off::ClockOff, contact::Contact, error::EnrollError};
use crate::{
    clock::now_unix,
    enroll::message::{
        self, MAX_REQUEST, MAX_RESPONSE, MemberRequest, MemberResponse, RefusalReason, ResponseBody,
    },
    explain,
    names::Kind,
    paths::Layout,
    text::printable,
    tls,
};

/// The time to connect to one address.
const CONNECT: Duration = Duration::from_secs(5);

/// The time for the handshake, and for an answer beyond the time that the authority was asked to wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to the authority.
#[derive(Debug)]
pub(super) struct AuthorityConnection {
    stream: TlsStream<TcpStream>,
}

impl AuthorityConnection {
    /// Connects to the first address that answers, and proves the identity of `member` there, if given.
    pub(super) async fn open(
        contact: &Contact,
        member: Option<(&Layout, Kind)>,
    ) -> Result<Self, EnrollError> {
        let config = tls::contact_config(&contact.authorities, member)?;
        let connector = TlsConnector::from(config);
        let mut failed = Vec::new();
        for address in &contact.addresses {
            let stream = match connect(address).await {
                Ok(stream) => stream,
                Err(error) => {
                    failed.push(format!("{address}: {}", printable(&error.to_string())));
                    continue;
                }
            };
            // Small questions go out at once; a failure here shows again at the first write.
            let _ = stream.set_nodelay(true);
            let name = tls::listener_name().map_err(|error| handshake(address, &error))?;
            match timeout(PATIENCE, connector.connect(name, stream)).await {
                Ok(Ok(stream))
                    if stream.get_ref().1.alpn_protocol() == Some(tls::AUTHORITY_ALPN) =>
                {
                    return Ok(Self { stream });
                }
                Ok(Ok(_)) => return Err(impostor(address, "it does not speak rcmd-authority/1")),
                Ok(Err(error)) => match explain::tls_error(&error) {
                    Some(error) => return Err(handshake(address, error)),
                    None => failed.push(format!("{address}: {}", printable(&error.to_string()))),
                },
                Err(_) => failed.push(format!("{address}: no answer")),
            }
        }
        Err(EnrollError::Unreachable(failed.join("; ")))
    }

    /// Sends a question and waits for the answer. `wait` is the time that the authority was asked to wait.
    ///
    /// # Cancel safety
    /// Not cancel safe: the next call would read this call's answer.
    pub(super) async fn ask(
        &mut self,
        ask: &MemberRequest,
        wait: Duration,
    ) -> Result<MemberResponse, EnrollError> {
        let lost = |error: io::Error| EnrollError::Lost(printable(&error.to_string()));
        let asked = async {
            message::write(&mut self.stream, ask, MAX_REQUEST).await?;
            message::read::<MemberResponse>(&mut self.stream, MAX_RESPONSE).await
        };
        let answer = match timeout(PATIENCE + wait, asked).await {
            Ok(answer) => answer.map_err(lost)?,
            Err(_) => return Err(EnrollError::Lost("no answer came in time".into())),
        };
        let answer = answer.ok_or_else(|| EnrollError::Lost("the connection was closed".into()))?;
        match answer.body {
            ResponseBody::Refused { reason: RefusalReason::Clock, .. } => {
                Err(EnrollError::Clock(ClockOff { ours: now_unix(), theirs: answer.time }))
            }
            ResponseBody::Refused { reason, message } => {
                Err(EnrollError::Refused { reason, message: printable(&message) })
            }
            _ => Ok(answer),
        }
    }
}

/// Tries all addresses of a name in turn.
async fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in timeout(CONNECT, lookup_host(address)).await?? {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(elapsed) => last = elapsed.into(),
        }
    }
    Err(last)
}

/// Returns the error for a failed handshake: the peer cannot prove that it is the authority, or a clock is
/// wrong.
fn handshake(address: &str, error: &rustls::Error) -> EnrollError {
    use CertificateError::{
        Expired, ExpiredContext, InvalidPurpose, NotValidYet, NotValidYetContext, UnknownIssuer,
    };

    match error {
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => {
            EnrollError::Dates("has expired")
        }
        rustls::Error::InvalidCertificate(NotValidYet | NotValidYetContext { .. }) => {
            EnrollError::Dates("is not valid yet")
        }
        rustls::Error::InvalidCertificate(UnknownIssuer) => {
            impostor(address, "its root is not the one whose fingerprint is known here")
        }
        rustls::Error::InvalidCertificate(InvalidPurpose) => {
            impostor(address, "its certificate is a member's and not the authority's own")
        }
        other => impostor(address, &printable(&other.to_string())),
    }
}

fn impostor(address: &str, reason: &str) -> EnrollError {
    EnrollError::Impostor { address: address.to_owned(), reason: reason.to_owned() }
}
