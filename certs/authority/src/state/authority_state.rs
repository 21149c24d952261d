//! The authority at work: its key, its store and its journal, and how it signs.

use std::{cell::RefCell, collections::BTreeSet, sync::Arc, time::Duration};

use rcmd_certs::{
    clock,
    fingerprint::Fingerprint,
    identity::{BREAK_GLASS, MAX_GROUPS},
    names::{HostName, Kind},
    paths::Layout,
    pem::Der,
    x509::Certificate,
};

use super::{
    error::StateError,
    journal::{CertificateKind, Event, Journal, Line},
    records::{CERTIFICATES, CertificateRecord, LISTS, MEMBERS, MemberRecord, NEWEST, Published},
    settings::AuthoritySettings,
    store::{Store, Transaction},
    trust::Trust,
};
use crate::ca::{Authority, LeafSpec, ProvenKey};

/// The most bytes of all names of a certificate together: as many as a token has room for.
const MOST_NAMES: usize = 8 * 1024;

/// The authority at work.
#[derive(Debug)]
pub struct AuthorityState {
    pub(super) layout: Layout,
    pub(super) settings: RefCell<Arc<AuthoritySettings>>,
    /// The authority that signs, and the others that are trusted.
    pub(super) trust: RefCell<Trust>,
    pub(super) store: Store,
    pub(super) journal: Journal,
    /// The newest lists, as they are in the store.
    pub(super) published: RefCell<Option<Arc<Published>>>,
    /// The serial number that the journal has and the store does not have yet.
    pub(super) unsettled: RefCell<Option<String>>,
}

/// A certificate that may be sent: it is in the journal and in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The leaf, then its intermediates, in DER.
    pub chain: Vec<Der>,
    /// The time until which its key may be renewed if it is not renewed before, in Unix time.
    pub renew_until: i64,
}

/// The contents of a certificate, whoever asked for it.
pub(super) struct Grant {
    pub(super) kind: Kind,
    pub(super) names: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) life: Duration,
    pub(super) break_glass: bool,
    /// The cause, for the journal.
    pub(super) by: String,
}

impl AuthorityState {
    /// Opens the authority in `layout`: its key, its settings, its store and its journal.
    ///
    /// # Errors
    /// [`StateError`]; [`StoreError::InUse`](super::StoreError::InUse) when another process has it.
    pub fn open(layout: &Layout) -> Result<Self, StateError> {
        let settings = RefCell::new(Arc::new(AuthoritySettings::load(&layout.authority_toml())?));
        // Checked before any file is made: under sudo the authority may be another user's, whom files of root
        // would lock out.
        Authority::check_key(layout)?;
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

    /// Records that the last certificate in the journal was never sent, if a kill came before the transaction was
    /// committed. There can be no other: one is signed at a time.
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

    /// Loads the lists that were signed before this process.
    fn recall_lists(&self) -> Result<(), StateError> {
        let lists = self.store.look(|rows| rows.get(&LISTS, NEWEST))?;
        self.published.replace(lists.map(|lists| Arc::new(lists.into())));
        Ok(())
    }

    /// Returns its settings.
    pub fn settings(&self) -> Arc<AuthoritySettings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Reads the settings again, and returns them.
    ///
    /// # Errors
    /// [`StateError::Settings`]; then the old ones stay in use.
    pub fn reload_settings(&self) -> Result<Arc<AuthoritySettings>, StateError> {
        let settings = Arc::new(AuthoritySettings::load(&self.layout.authority_toml())?);
        self.settings.replace(Arc::clone(&settings));
        Ok(settings)
    }

    /// Returns the authority that signs new certificates and lists.
    pub(super) fn signing(&self) -> Arc<Authority> {
        Arc::clone(&self.trust.borrow().signing)
    }

    /// Returns all authorities whose certificates are accepted, the one that signs first.
    pub(super) fn authorities(&self) -> Vec<Arc<Authority>> {
        self.trust.borrow().all().cloned().collect()
    }

    /// Returns the roots that members are to trust, in DER.
    pub fn roots(&self) -> Vec<Der> {
        self.authorities().iter().map(|authority| Der(authority.root_der().to_vec())).collect()
    }

    /// Returns the fingerprints of [`AuthorityState::roots`].
    pub(super) fn root_keys(&self) -> Vec<Fingerprint> {
        self.authorities().iter().map(|authority| authority.root().key).collect()
    }

    /// Returns the fingerprint of the signing authority's root, as tokens carry it.
    pub fn fingerprint(&self) -> Fingerprint {
        self.signing().root().key
    }

    pub(super) fn life(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Server => self.settings().server_life,
            Kind::Client => self.settings().client_life,
        }
    }

    /// Runs `work`, which may [`sign`](Self::sign), in one transaction. If it fails, the journal records that
    /// the certificates it signed were not sent. If the commit itself fails, only the next start can find out
    /// whether it took place.
    pub(super) fn record<T>(
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

    /// Signs a certificate and records it in the journal and in the transaction. Returns it with
    /// its facts.
    pub(super) fn sign(
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
                not_after: clock::date(facts.not_after),
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

    /// Returns a certificate that was signed before, for a member that lost the answer.
    pub(super) fn again(
        &self,
        rows: &Transaction,
        serial: &str,
    ) -> Result<Option<Granted>, StateError> {
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

    /// Returns the time until which a member's key may be renewed, in Unix time.
    pub(super) fn renew_until(&self, member: &MemberRecord) -> i64 {
        later(member.renewed_at, self.settings().renew_within).max(member.not_after)
    }
}

impl Grant {
    fn spec(&self, now: i64) -> Result<LeafSpec, StateError> {
        check_amount(&self.names, &self.groups)?;
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

/// Checks that the readers of a certificate with these names and groups accept it: a server accepts [`MAX_GROUPS`]
/// groups, and a handshake 64 KiB of certificates.
pub(super) fn check_amount(names: &[String], groups: &[String]) -> Result<(), StateError> {
    let bytes: usize = names.iter().map(String::len).sum();
    if bytes > MOST_NAMES {
        return Err(StateError::Invalid(format!(
            "the names have {bytes} bytes together, and a certificate can hold at most {MOST_NAMES}; \
             give the host fewer names"
        )));
    }
    let distinct: BTreeSet<_> = groups.iter().collect();
    if distinct.len() > MAX_GROUPS {
        return Err(StateError::Invalid(format!(
            "{} groups were named, and a certificate can hold at most {MAX_GROUPS}; name fewer groups",
            distinct.len()
        )));
    }
    Ok(())
}

/// Returns the time a `span` after `moment`, in Unix time.
pub(super) fn later(moment: i64, span: Duration) -> i64 {
    moment.saturating_add(i64::try_from(span.as_secs()).unwrap_or(i64::MAX))
}
