//! The peer at the other end of a connection.

use std::{fmt, sync::Arc};

use rcmd_certs::{Identity, IdentityError, tls::ClientVerifier};
use rustls::pki_types::CertificateDer;

use super::origin::PeerOrigin;

/// A user and its groups, as rules see them.
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
    origin: PeerOrigin,
    chain: Vec<CertificateDer<'static>>,
    verified_by: Arc<ClientVerifier>,
}

impl Peer {
    /// Reads the identity from the certificates that `verified_by` has accepted in a handshake.
    ///
    /// # Errors
    /// If the certificate names no user, or more than one.
    pub fn of(
        chain: &[CertificateDer<'_>],
        verified_by: Arc<ClientVerifier>,
        origin: PeerOrigin,
    ) -> Result<Self, IdentityError> {
        let identity = verified_by.identify(Some(chain))?;
        let principal =
            Principal { user: identity.user().to_owned(), groups: identity.groups().to_vec() };
        let chain = chain.iter().map(|der| der.clone().into_owned()).collect();
        Ok(Self { identity, principal, origin, chain, verified_by })
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

    /// Returns where the connection comes from.
    pub fn origin(&self) -> PeerOrigin {
        self.origin
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.identity.user(), self.origin)
    }
}
