//! The peer at the other end of a connection.

use std::{fmt, net::SocketAddr, sync::Arc};

use rcmd_certs::{Identity, IdentityError, tls::ClientVerifier};
use rustls::pki_types::CertificateDer;

/// A user and its groups, as rules see them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Principal {
    /// The user's name.
    pub user: String,
    /// The groups' names.
    pub groups: Vec<String>,
}

/// The way by which a peer's connection comes, a fact for rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// The server accepted the connection on a TCP port.
    Tcp,
    /// The server accepted the connection on a Unix socket.
    Unix,
    /// Another program accepted the connection and passed the socket to the server.
    Handed,
    /// A relay passes the connection on.
    Relay,
}

impl Way {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Unix, Self::Handed, Self::Relay];

    /// Returns the way's name in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Unix => "unix",
            Self::Handed => "handed",
            Self::Relay => "relay",
        }
    }
}

/// An authenticated peer: TLS has verified its certificate, and its identity was read from it.
#[derive(Debug)]
pub struct Peer {
    identity: Identity,
    principal: Principal,
    address: SocketAddr,
    way: Way,
    chain: Vec<CertificateDer<'static>>,
    verified_by: Arc<ClientVerifier>,
}

impl Peer {
    /// Reads the identity from the certificates that `verified_by` has accepted in a handshake.
    /// `address` is `[::]:0` for a connection whose address can't be trusted or does not exist.
    ///
    /// # Errors
    /// If the certificate names no user, or more than one.
    pub fn of(
        chain: &[CertificateDer<'_>],
        verified_by: Arc<ClientVerifier>,
        address: SocketAddr,
        way: Way,
    ) -> Result<Self, IdentityError> {
        let identity = verified_by.identify(Some(chain))?;
        let principal =
            Principal { user: identity.user().to_owned(), groups: identity.groups().to_vec() };
        let chain = chain.iter().map(|der| der.clone().into_owned()).collect();
        Ok(Self { identity, principal, address, way, chain, verified_by })
    }

    /// Returns the identity that the certificate names.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the user and its groups.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Returns the user's name, under which jobs, keys and limits are kept.
    pub fn user(&self) -> &str {
        self.identity.user()
    }

    /// Returns the certificates of the peer and its issuers, to be verified again.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Returns the verifier that accepted the peer in its handshake.
    pub fn verified_by(&self) -> &Arc<ClientVerifier> {
        &self.verified_by
    }

    /// Returns the address that the connection comes from.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the way by which the peer's connection comes.
    pub fn way(&self) -> Way {
        self.way
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.identity.user(), self.address)
    }
}
