//! Certificates, keys and revocation lists as they are in use.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rcmd_certs::{
    Layout, clock,
    crl::{CrlRefused, CrlSet},
    enroll::{EnrollError, Kind, Member},
    tls::{self, Revalidation, Revocation, ServerFiles, ServerSide, TlsError},
};
use rcmd_protocol::outcome::{ErrorKind, WireError};
use rustls::pki_types::UnixTime;
use tokio::{sync::watch, time::sleep};
use tracing::{error, info, warn};

use super::peer::Peer;

/// The longest sleep before the clock is read again, because it may be set meanwhile.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(60);

/// The certificates, keys and lists in use, which can be replaced without dropping a connection.
#[derive(Debug)]
pub struct Trust {
    layout: Layout,
    files: ServerFiles,
    side: watch::Sender<ServerSide>,
    /// The lists in use; locked while they are replaced, so that two replacements never mix.
    lists: Mutex<Option<CrlSet>>,
    expiry: Expiry,
}

/// The dates of what is in use, in Unix time. They are read without waiting for a replacement.
#[derive(Debug)]
struct Expiry {
    certificate: AtomicI64,
    /// [`NEVER`] without lists.
    list: AtomicI64,
}

/// The date of something that is not there.
const NEVER: i64 = i64::MAX;

impl Expiry {
    fn of_certificate(files: &ServerFiles) -> i64 {
        tls::load_leaf(&files.cert).map_or(NEVER, |leaf| leaf.not_after)
    }

    fn of_list(lists: Option<&CrlSet>) -> i64 {
        lists.map_or(NEVER, CrlSet::next_update)
    }

    fn set(&self, files: &ServerFiles, lists: Option<&CrlSet>) {
        self.certificate.store(Self::of_certificate(files), Ordering::Relaxed);
        self.list.store(Self::of_list(lists), Ordering::Relaxed);
    }
}

/// The reason why nothing can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The certificates or keys can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// `server/authority.toml` can't be used.
    #[error(transparent)]
    Member(#[from] EnrollError),
}

impl Trust {
    /// Loads certificates, keys and lists from the folder. If the lists can't be used, that is
    /// logged, and their file is left in place.
    ///
    /// # Errors
    /// If certificates or keys can't be used.
    pub fn load(layout: &Layout) -> Result<Self, TrustError> {
        let files = ServerFiles::from(layout);
        let lists = match known_lists(layout) {
            Ok(lists) => lists,
            Err(error) => {
                let file = layout.server_list();
                error!(file = %file.display(), %error, "revocation list not usable; there is none until the authority sends one");
                None
            }
        };
        let side = tls::server_side(&files, &needed(layout, lists.as_ref())?)?;
        let (side, _) = watch::channel(side);
        let expiry = Expiry {
            certificate: Expiry::of_certificate(&files).into(),
            list: Expiry::of_list(lists.as_ref()).into(),
        };
        Ok(Self { layout: layout.clone(), files, side, lists: Mutex::new(lists), expiry })
    }

    /// Returns the TLS configuration for the next handshake, and its verifier of clients.
    pub fn side(&self) -> ServerSide {
        self.side.borrow().clone()
    }

    /// Returns the lists in use.
    pub fn lists(&self) -> Option<CrlSet> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns when the certificate in use expires, in Unix time. Never waits.
    pub fn certificate_expiry(&self) -> Option<i64> {
        Some(self.expiry.certificate.load(Ordering::Relaxed)).filter(|date| *date != NEVER)
    }

    /// Returns when the lists in use expire, in Unix time; `None` without lists. Never waits.
    pub fn list_expiry(&self) -> Option<i64> {
        Some(self.expiry.list.load(Ordering::Relaxed)).filter(|date| *date != NEVER)
    }

    /// Reads certificates, keys and the file of lists again. If one of them can't be used, the old
    /// one stays in use.
    ///
    /// # Errors
    /// If certificates or keys can't be used; nothing has changed then.
    pub fn reload(&self) -> Result<(), TrustError> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let authorities = tls::crl_issuers(&self.layout, Kind::Server)?;
        let found = CrlSet::load(&self.layout.server_list()).map_err(CrlRefused::from);
        let found = found.and_then(|found| {
            let accept = |new: CrlSet| new.accept(lists.as_ref(), &authorities, clock::now_unix());
            found.map(accept).transpose()
        });
        let next = match found {
            Ok(Some(found)) => Some(found),
            Ok(None) => lists.clone(),
            Err(error) => {
                let age = lists.as_ref().map(age).unwrap_or_else(|| "none".into());
                warn!(%error, in_use = age, "revocation list not usable; the last valid one stays in use");
                lists.clone()
            }
        };
        let side = tls::server_side(&self.files, &needed(&self.layout, next.as_ref())?)?;
        self.expiry.set(&self.files, next.as_ref());
        *lists = next;
        self.side.send_replace(side);
        Ok(())
    }

    /// Installs lists from the authority: checks them, writes them to disk, and makes all
    /// connections be checked against them.
    ///
    /// # Errors
    /// If the lists are refused, so that the old ones stay in use, or if the new ones are in use
    /// but could not be written.
    pub fn install(&self, new: CrlSet) -> Result<(), InstallError> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let authorities = tls::crl_issuers(&self.layout, Kind::Server)?;
        let new = new.accept(lists.as_ref(), &authorities, clock::now_unix())?;
        let side = tls::server_side(&self.files, &Revocation::Known(new.clone()))?;
        // In use before they are written, and even if they can't be: a revoked certificate stays
        // revoked.
        self.side.send_replace(side);
        self.expiry.list.store(Expiry::of_list(Some(&new)), Ordering::Relaxed);
        let written = new.write(&self.layout.server_list());
        let revoked: usize = new.all().iter().map(|list| list.revoked.len()).sum();
        info!(number = new.number(), revoked, "revocation list taken");
        *lists = Some(new);
        Ok(written?)
    }

    /// Waits until the certificate of a connected peer expires, is revoked, or is no longer
    /// trusted.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future loses nothing.
    pub async fn watch_peer(&self, peer: &Peer) -> (Revalidation, WireError) {
        let mut side = self.side.subscribe();
        // The handshake has just verified it, unless trust has changed since.
        let mut is_verified = Arc::ptr_eq(&side.borrow().clients, peer.verified_by());
        loop {
            let clients = Arc::clone(&side.borrow_and_update().clients);
            if !std::mem::take(&mut is_verified)
                && let Err(cut) = clients.judge(peer.chain(), UnixTime::now())
            {
                let failure = WireError::new(ErrorKind::Tls, cut.to_string()).hint(cut.remedy());
                return (cut, failure);
            }
            // The last second of its validity still counts (RFC 5280 section 4.1.2.5).
            let left = peer
                .identity()
                .not_after_unix()
                .saturating_sub(clock::now_unix())
                .saturating_add(1);
            let left = Duration::from_secs(u64::try_from(left).unwrap_or(0).max(1));
            tokio::select! {
                () = sleep(left.min(LOOK_AT_CLOCK)) => {}
                // The sender lives as long as the server's state.
                _ = side.changed() => {}
            }
        }
    }
}

/// The reason why lists were not installed, or not written to disk.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The lists were refused.
    #[error(transparent)]
    Refused(#[from] CrlRefused),
    /// The server's own certificates or keys can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The lists are in use, and could not be written to disk.
    #[error("the list is in use and could not be written: {0}")]
    Write(#[from] rcmd_certs::files::FileError),
}

/// Returns the lists that TLS must check clients against. A server that has an authority to fetch
/// them from requires them; others use the lists that they have, if any.
fn needed(layout: &Layout, lists: Option<&CrlSet>) -> Result<Revocation, EnrollError> {
    Ok(match lists {
        Some(lists) => Revocation::Known(lists.clone()),
        None if Member::load(layout, Kind::Server)?.is_some() => Revocation::Missing,
        None => Revocation::NotNeeded,
    })
}

/// Reads the lists in the folder, and keeps those that trusted authorities signed.
fn known_lists(layout: &Layout) -> Result<Option<CrlSet>, InstallError> {
    let Some(lists) = CrlSet::load(&layout.server_list()).map_err(CrlRefused::from)? else {
        return Ok(None);
    };
    Ok(Some(lists.known(&tls::crl_issuers(layout, Kind::Server)?)?))
}

/// Describes the number and the age of lists, for people.
pub fn age(lists: &CrlSet) -> String {
    let age = clock::now_unix().saturating_sub(lists.this_update());
    format!("number {}, {} old", lists.number(), clock::span(u64::try_from(age).unwrap_or(0)))
}
