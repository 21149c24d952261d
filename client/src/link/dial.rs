//! The interface between the link and the making of connections to a host.

use std::{future::Future, io, pin::Pin};

use rcmd_protocol::{frame::Hello, outcome::WireError};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::Error;

/// A stream that a connection runs on.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A maker of connections to a host; tests have their own.
pub(crate) trait Connector: Send + Sync {
    /// Makes one attempt at a connection.
    fn dial(&self) -> Dialing;

    /// Returns whether the server is asked to compress.
    fn compression(&self) -> Compression;

    /// Returns what the server says when `error` is its refusal of this client, which no retry mends;
    /// else the error.
    fn refusal(&self, error: io::Error) -> Result<WireError, io::Error>;
}

/// The wish for compression in the hello of a client. A server need not follow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Compression {
    Asked,
    Off,
}

/// An attempt at a connection.
pub(crate) type Dialing =
    Pin<Box<dyn Future<Output = Result<Box<dyn ByteStream>, DialError>> + Send>>;

/// An attempt that failed.
#[derive(Debug)]
pub(crate) struct DialError {
    pub(crate) error: Error,
    /// True if another attempt would fail likewise.
    pub(crate) is_final: bool,
}

/// Returns the hello of this client.
pub(crate) fn own_hello() -> Hello {
    Hello {
        agent: concat!("rcmd-client ", env!("CARGO_PKG_VERSION")).to_owned(),
        capabilities: vec!["exec".to_owned()],
        server: None,
    }
}
