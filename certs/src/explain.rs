//! Explanations of failed handshakes.
//!
//! TLS informs the two sides differently. The side that refuses a certificate knows exactly why; the other
//! side gets one alert, and alerts are coarse. On the client, a look at its own certificate settles what an
//! alert leaves open.
//!
//! | fault | who refuses | the other side is told |
//! | --- | --- | --- |
//! | no client certificate | server | `certificate_required`, exact |
//! | self-signed; another authority's | either | `unknown_ca` for both; our certificate says which |
//! | self-signed with CA:TRUE | either | `certificate_unknown`; our certificate says |
//! | expired; not yet valid | either | `certificate_expired` for both; our certificate says which |
//! | wrong usage | either | `unsupported_certificate`, exact |
//! | wrong host name | client | `bad_certificate`, which also means a broken one |
//! | TLS 1.2 | either | `protocol_version`, exact |
//!
//! The refusing side itself cannot tell a self-signed certificate from another authority's: rustls
//! returns `UnknownIssuer` for both. In TLS 1.3 a client is done before the server has judged it. It learns
//! of a refusal by an alert in its first read, or not at all if the connection is reset first.

use std::{error::Error as _, io, path::Path};

use crate::{
    text::printable,
    tls::{ClientFiles, load_leaf},
};

mod alert;
mod explanation;
mod local;

pub use explanation::Explanation;
use explanation::Side;

/// Returns the TLS error inside an I/O error, as tokio-rustls and `rustls::Stream` wrap it.
pub fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = match error.get_ref() {
        Some(inner) => Some(inner),
        None => error.source(),
    };
    // A chain of causes is short; the bound is against one that is a circle.
    for _ in 0..8 {
        let inner = next?;
        if let Some(found) = inner.downcast_ref() {
            return Some(found);
        }
        next = match inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(deeper) => Some(deeper),
            None => inner.source(),
        };
    }
    None
}

/// Explains why the client's handshake failed, or its first read after it.
///
/// Reads the client's own certificate again, to settle what the server's alert leaves open. Two questions
/// stay open: whether a `bad_certificate` means a broken certificate or one with a critical extension that
/// the server does not know; and which of two clocks is wrong.
pub fn on_client(error: &rustls::Error, files: &ClientFiles) -> Explanation {
    match error {
        rustls::Error::AlertReceived(alert) => {
            let own = load_leaf(&files.cert).ok();
            alert::explain(Side::Client, *alert, own.as_ref())
        }
        other => local::explain(Side::Client, other),
    }
}

/// Explains an I/O error as [`on_client`] does; `None` if it has nothing to do with TLS, such as a refused
/// connection. A connection that ends without an alert counts as TLS: a refusal looks like that when the
/// reset overtakes the alert.
pub fn on_client_io(error: &io::Error, files: &ClientFiles) -> Option<Explanation> {
    if let Some(error) = tls_error(error) {
        return Some(on_client(error, files));
    }
    silent_end(Side::Client, error)
}

/// Explains why a client's handshake failed, for the server's log. The reason is one line, and safe to log
/// though the client chose parts of it.
///
/// `own` is the file of the server's certificate. It is read when a client finds it expired, and shows which
/// dates the two clocks disagree about.
///
/// Some questions stay open: a client that refuses this server's certificate sends `unknown_ca`,
/// `certificate_expired` or `bad_certificate` and no more; a client that presents none may have
/// none, or none that fits the authorities and algorithms that the server named.
pub fn on_server(error: &rustls::Error, own: Option<&Path>) -> Explanation {
    match error {
        rustls::Error::AlertReceived(alert) => {
            let expired = *alert == rustls::AlertDescription::CertificateExpired;
            let own = own.filter(|_| expired).and_then(|path| load_leaf(path).ok());
            alert::explain(Side::Server, *alert, own.as_ref())
        }
        other => local::explain(Side::Server, other),
    }
}

/// Explains why a client's handshake failed, as one line for the server's log: the reason and what to do, or
/// the system's error when TLS has nothing to do with it. It holds no control bytes. `own` is as in
/// [`on_server`].
pub fn server_reason(error: &io::Error, own: Option<&Path>) -> String {
    match tls_error(error) {
        Some(error) => on_server(error, own).to_string(),
        None => silent_end(Side::Server, error)
            .map_or_else(|| printable(&error.to_string()), |known| known.to_string()),
    }
}

fn silent_end(side: Side, error: &io::Error) -> Option<Explanation> {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};

    if !matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof) {
        return None;
    }
    let hint = match side {
        Side::Client => format!("{}; the server's log may say why", side.check_peer()),
        Side::Server => {
            "nothing is to be done for a port scan, a health check, or a client that gave up".into()
        }
    };
    let reason = format!("the {} closed the connection during the TLS handshake", side.peer());
    Some(Explanation::new(reason, hint))
}
