//! The certificate of the authority's own listener.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::PublicKeyData as _;
use rcmd_certs::{
    clock::date,
    enroll::key::KeyAlgorithm,
    fingerprint::Fingerprint,
    names::HostName,
    pem::Der,
    tls::{LISTENER, LISTENER_NAME},
    x509::Certificate,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{
    authority_state::AuthorityState,
    error::StateError,
    journal::{CertificateKind, Event},
};
use crate::ca::{AuthorityError, LeafSpec, Usage};

/// The time for which it is valid before and after now. A member whose clock is hours off can then still
/// learn from the authority which clock is wrong.
const REACH: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// The chain and the key by which the listener proves itself.
#[derive(Debug)]
pub(crate) struct ListenerIdentity {
    /// The leaf, its intermediates, the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the leaf, which is never written down.
    pub key: PrivateKeyDer<'static>,
}

impl AuthorityState {
    /// Makes a new key and certificate for the listener, for three days.
    pub(crate) fn listener(&self, now: i64) -> Result<ListenerIdentity, StateError> {
        let authority = self.signing();
        let key = KeyAlgorithm::Ed25519.generate().map_err(AuthorityError::from)?;
        let moment = UNIX_EPOCH + Duration::from_secs(u64::try_from(now).unwrap_or_default());
        let spec = LeafSpec {
            common_name: "rcmd authority's listener".into(),
            names: vec![HostName::Dns(LISTENER_NAME.into())],
            uris: vec![LISTENER.into()],
            usages: vec![Usage::Server],
            not_before: moment.checked_sub(REACH).unwrap_or(SystemTime::UNIX_EPOCH),
            not_after: moment + REACH,
        };
        let leaf = authority.certify(&spec, &key, now)?;
        let facts = Certificate::parse(&leaf)?;
        self.journal.add(
            now,
            Event::Certificate {
                serial: facts.serial,
                kind: CertificateKind::Authority,
                names: vec![LISTENER_NAME.into()],
                groups: Vec::new(),
                key: Fingerprint::of_key(&key.subject_public_key_info()),
                issuer: authority.certificate().key,
                not_after: date(facts.not_after),
                by: "listener".into(),
                certificate: Der(leaf.to_vec()),
            },
        )?;
        let mut chain = authority.chain_of(leaf);
        chain.push(authority.root_der().clone());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(ListenerIdentity { chain, key })
    }
}
