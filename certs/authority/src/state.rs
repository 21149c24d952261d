//! The authority at work: what it is asked for, what it keeps, what it signs.
//!
//! An [`AuthorityState`] holds the authority's key, its store and its journal; one process at a time has it.
//! Everything that is signed is in the journal and in the store before it leaves, and a token's use
//! and what it gave are one transaction, so that a kill at any moment leaves a token used once or
//! not at all.
//!
//! ```text
//! checks -> signature -> journal line, synced -> transaction, committed -> answer
//! ```
//!
//! Nothing here knows the network or reads the clock: the time comes as an argument.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use rcmd_certs::clock;
use rcmd_certs::enroll::message::RefusalReason;
use rcmd_certs::files::FileError;
use rcmd_certs::fingerprint::Fingerprint;
use rcmd_certs::identity::BREAK_GLASS;
use rcmd_certs::names::Kind;
use rcmd_certs::names::{HostName, NameError};
use rcmd_certs::paths::Layout;
use rcmd_certs::pem::Der;
use rcmd_certs::x509::{Certificate, X509Error};

use crate::ca::{Authority, AuthorityError, LeafSpec, ProvenKey};

mod admin;
mod admin_client;
mod journal;
mod listener;
mod listing;
mod members;
mod records;
mod revoke;
mod rotation;
mod settings;
mod snapshot;
mod store;
mod tokens;

pub use admin::{AdminRequest, AdminResponse};
pub use admin_client::AdminClient;
pub(crate) use admin_client::{MAX_ADMIN_REQUEST, respond, with_socket};
pub use journal::JournalError;
pub(crate) use listener::ListenerIdentity;
pub use listing::{ListFacts, Listing, MemberFacts, MemberStanding, TokenFacts, TokenStanding};
pub use members::{Issue, KeyStanding};
pub use records::{MemberRecord, MemberRevocation, RevocationReason, Step, TokenRecord};
pub use revoke::{Published, Revoked};
pub use rotation::{Rotation, RotationAction};
pub use settings::{AuthoritySettings, parse_span};
pub use snapshot::Snapshot;
pub use store::StoreError;
pub use tokens::{Application, NewToken};

use journal::{CertificateKind, Event, Journal, Line};
use records::{CERTIFICATES, CertificateRecord, MEMBERS};
use rotation::Trust;
use store::{Store, Transaction};

/// Why the authority did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It refuses, and the asker is told.
    #[error("{message}")]
    Refused {
        /// Why, for programs.
        reason: RefusalReason,
        /// Why, for people; printable.
        message: String,
    },
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A name was refused.
    #[error(transparent)]
    Name(#[from] NameError),
    /// `authority.toml` makes no sense.
    #[error("{path} cannot be used: {reason}")]
    Settings {
        /// The file, printable.
        path: String,
        /// What is wrong, printable.
        reason: String,
    },
    /// The authority's own files cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal could not be written, so that nothing was signed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// What was signed cannot be read again.
    #[error(transparent)]
    Certificate(#[from] X509Error),
    /// The running `rcmd-certs serve` did not answer.
    #[error("{0}")]
    Remote(String),
}

impl StateError {
    pub(crate) fn refused(reason: RefusalReason, message: impl Into<String>) -> Self {
        Self::Refused { reason, message: message.into() }
    }
}

/// The authority at work.
#[derive(Debug)]
pub struct AuthorityState {
    layout: Layout,
    settings: AuthoritySettings,
    /// Who signs, and who else is trusted.
    trust: RefCell<Trust>,
    store: Store,
    journal: Journal,
    /// The newest lists, as they are in the store.
    published: RefCell<Option<Arc<Published>>>,
    /// The serial number that the journal has and the store not yet.
    unsettled: RefCell<Option<String>>,
}

/// A certificate that may leave: it is in the journal and in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The leaf, then its intermediates, in DER.
    pub chain: Vec<Der>,
    /// Until when its key may be renewed unless it is renewed before, in Unix time.
    pub renew_until: i64,
}

/// What a certificate is to say, whoever asked.
struct Grant {
    kind: Kind,
    names: Vec<String>,
    groups: Vec<String>,
    life: Duration,
    break_glass: bool,
    /// For the journal.
    by: String,
}

impl AuthorityState {
    /// Opens the authority in `layout`: its key, its settings, its store and its journal.
    ///
    /// # Errors
    ///
    /// [`StateError`]; [`StoreError::InUse`] when another process has it.
    pub fn open(layout: &Layout) -> Result<Self, StateError> {
        let settings = AuthoritySettings::load(&layout.authority_toml())?;
        let store = Store::open(&layout.store())?;
        let (journal, tail) = Journal::open(&layout.journal())?;
        let trust = RefCell::new(Trust::load(layout, &store)?);
        let (layout, published) = (layout.clone(), RefCell::default());
        let unsettled = RefCell::default();
        let state = Self { layout, settings, trust, store, journal, published, unsettled };
        state.settle(&tail)?;
        state.recall_lists()?;
        Ok(state)
    }

    /// Says of the last certificate in the journal that it never left, if a kill came before the
    /// transaction was committed. There can be no other: one is signed at a time.
    fn settle(&self, tail: &[Line]) -> Result<(), StateError> {
        for line in tail.iter().rev() {
            match &line.event {
                Event::Void { .. } => return Ok(()),
                // The listener's own certificate is held only in memory, so it needs no recovery.
                Event::Certificate { kind: CertificateKind::Authority, .. } => {}
                Event::Certificate { serial, .. } => {
                    let known = self.store.look(|rows| rows.get(&CERTIFICATES, serial))?;
                    if known.is_none() {
                        let serial = serial.clone();
                        self.journal.add(clock::now_unix(), Event::Void { serial })?;
                    }
                    return Ok(());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// How it works.
    pub fn settings(&self) -> &AuthoritySettings {
        &self.settings
    }

    /// The authority that signs whatever is new.
    fn signing(&self) -> Arc<Authority> {
        Arc::clone(&self.trust.borrow().signing)
    }

    /// All whose certificates are taken, the one that signs first.
    fn authorities(&self) -> Vec<Arc<Authority>> {
        self.trust.borrow().all().cloned().collect()
    }

    /// The roots that members are to trust, in DER.
    pub fn roots(&self) -> Vec<Der> {
        self.authorities().iter().map(|authority| Der(authority.root_der().to_vec())).collect()
    }

    /// The fingerprints of [`AuthorityState::roots`].
    fn root_keys(&self) -> Vec<Fingerprint> {
        self.authorities().iter().map(|authority| authority.root().key).collect()
    }

    /// The fingerprint of the signing authority's root, as tokens carry it.
    pub fn fingerprint(&self) -> Fingerprint {
        self.signing().root().key
    }

    fn life(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Server => self.settings.server_life,
            Kind::Client => self.settings.client_life,
        }
    }

    /// Runs `work`, which may [`sign`](Self::sign), in one transaction. If it fails, the journal says
    /// so of what was signed. Of a commit that fails nobody knows whether it came to pass; the next
    /// start does.
    fn record<T>(
        &self,
        now: i64,
        work: impl FnOnce(&Transaction) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        self.unsettled.take();
        self.store.change(|rows| {
            let done = work(rows);
            if let (Err(_), Some(serial)) = (&done, self.unsettled.take()) {
                self.journal.add(now, Event::Void { serial })?;
            }
            done
        })
    }

    /// Signs a certificate and puts it down, in the journal and in the transaction. Returns it with
    /// its facts.
    fn sign(
        &self,
        rows: &Transaction,
        grant: Grant,
        key: &ProvenKey,
        now: i64,
    ) -> Result<(Vec<Der>, Certificate), StateError> {
        let authority = self.signing();
        let spec = grant.spec(now)?;
        let leaf = authority.certify(&spec, key, now)?;
        let facts = Certificate::parse(&leaf)?;
        let der = Der(leaf.to_vec());
        self.journal.add(
            now,
            Event::Certificate {
                serial: facts.serial.clone(),
                kind: grant.kind.into(),
                names: grant.names,
                groups: grant.groups,
                key: key.fingerprint(),
                issuer: authority.certificate().key,
                not_after: journal::date(facts.not_after),
                by: grant.by,
                certificate: der.clone(),
            },
        )?;
        self.unsettled.replace(Some(facts.serial.clone()));
        let record = CertificateRecord {
            key: key.fingerprint(),
            issuer: authority.certificate().key,
            not_before: facts.not_before,
            not_after: facts.not_after,
            der,
        };
        rows.put(&CERTIFICATES, &facts.serial, &record)?;
        let chain = authority.chain_of(leaf).iter().map(|der| Der(der.to_vec())).collect();
        Ok((chain, facts))
    }

    /// A certificate that was signed before, for an asker who lost the answer.
    fn again(&self, rows: &Transaction, serial: &str) -> Result<Option<Granted>, StateError> {
        let Some(certificate) = rows.get(&CERTIFICATES, serial)? else {
            return Ok(None);
        };
        let Some(member) = rows.get(&MEMBERS, &certificate.key.to_string())? else {
            return Ok(None);
        };
        let authorities = self.authorities();
        let issuer = authorities.iter().find(|each| each.certificate().key == certificate.issuer);
        Ok(issuer.map(|issuer| {
            let chain = issuer.chain_of(certificate.der.0.into());
            Granted {
                chain: chain.iter().map(|der| Der(der.to_vec())).collect(),
                renew_until: self.renew_until(&member),
            }
        }))
    }

    /// Until when a member's key may be renewed, in Unix time.
    fn renew_until(&self, member: &MemberRecord) -> i64 {
        later(member.renewed_at, self.settings.renew_within).max(member.not_after)
    }
}

impl Grant {
    fn spec(&self, now: i64) -> Result<LeafSpec, StateError> {
        let mut spec = match self.kind {
            Kind::Server => {
                let names = self.names.iter().map(|name| HostName::parse(name));
                LeafSpec::server(&names.collect::<Result<Vec<_>, _>>()?)
            }
            Kind::Client => {
                let user = self.names.first().map(String::as_str).unwrap_or_default();
                LeafSpec::client(user, &self.groups)?
            }
        };
        if self.break_glass {
            spec.uris.push(BREAK_GLASS.to_owned());
        }
        Ok(spec.valid_from(now, self.life))
    }
}

/// `moment` and a span after it, in Unix time.
fn later(moment: i64, span: Duration) -> i64 {
    moment.saturating_add(i64::try_from(span.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
