//! Who is at the other end of a connection.

use std::{fmt, net::SocketAddr};

use rcmd_certs::{Identity, IdentityError};
use rustls::ServerConnection;

/// An authenticated peer: TLS has verified its certificate, and its identity was read from it.
#[derive(Debug)]
pub struct Peer {
    identity: Identity,
    address: SocketAddr,
}

impl Peer {
    /// The peer of a connection whose handshake is complete.
    ///
    /// # Errors
    /// When its certificate names no user, or more than one.
    pub fn of(connection: &ServerConnection, address: SocketAddr) -> Result<Self, IdentityError> {
        Ok(Self { identity: Identity::of_peer(connection.peer_certificates())?, address })
    }

    /// Who the certificate says.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The user, under which jobs, keys and limits are kept.
    pub fn user(&self) -> &str {
        self.identity.user()
    }

    /// Where the connection comes from.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.identity.user(), self.address)
    }
}
