//! Who is at the other end of a connection.

use std::{fmt, net::SocketAddr, sync::Arc};

use rcmd_certs::{Identity, IdentityError, tls::ClientVerifier};
use rustls::{ServerConnection, pki_types::CertificateDer};

/// A user in groups, as far as rules go.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Principal {
    /// The user's name.
    pub user: String,
    /// The groups' names.
    pub groups: Vec<String>,
}

/// An authenticated peer: TLS has verified its certificate, and its identity was read from it.
#[derive(Debug)]
pub struct Peer {
    identity: Identity,
    principal: Principal,
    address: SocketAddr,
    chain: Vec<CertificateDer<'static>>,
    judged_by: Arc<ClientVerifier>,
}

impl Peer {
    /// The peer of a connection whose handshake is complete, in which `clients` judged it.
    ///
    /// # Errors
    /// When its certificate names no user, or more than one.
    pub fn of(
        connection: &ServerConnection,
        clients: Arc<ClientVerifier>,
        address: SocketAddr,
    ) -> Result<Self, IdentityError> {
        let identity = clients.identify(connection.peer_certificates())?;
        let principal =
            Principal { user: identity.user().to_owned(), groups: identity.groups().to_vec() };
        let chain = connection.peer_certificates().unwrap_or_default();
        let chain = chain.iter().map(|der| der.clone().into_owned()).collect();
        Ok(Self { identity, principal, address, chain, judged_by: clients })
    }

    /// Who the certificate says.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The user and its groups.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The user, under which jobs, keys and limits are kept.
    pub fn user(&self) -> &str {
        self.identity.user()
    }

    /// Its certificate and those behind it, for another judgement.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Who judged it in its handshake.
    pub fn judged_by(&self) -> &Arc<ClientVerifier> {
        &self.judged_by
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
