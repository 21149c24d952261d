//! Certificates, keys and revocation lists as they are in use.

use std::{
    sync::{Arc, Mutex, PoisonError},
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

/// The longest sleep before the clock is read again: it may be set meanwhile.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(60);

/// What the server trusts now, and the way to change it without dropping a connection.
#[derive(Debug)]
pub struct Trust {
    layout: Layout,
    files: ServerFiles,
    side: watch::Sender<ServerSide>,
    /// The lists in use; held while they are replaced, so that two replacements never mix.
    lists: Mutex<Option<CrlSet>>,
}

/// The reason why nothing can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Certificates or keys.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// `server/authority.toml`.
    #[error(transparent)]
    Member(#[from] EnrollError),
}

impl Trust {
    /// Loads certificates, keys and lists from the folder. Lists that can't be used are logged and
    /// left where they are.
    ///
    /// # Errors
    /// When certificates or keys can't be used.
    pub fn load(layout: &Layout) -> Result<Self, TrustError> {
        let files = ServerFiles::from(layout);
        let lists = match known_lists(layout) {
            Ok(lists) => lists,
            Err(error) => {
                let file = layout.server_list();
                error!(file = %file.display(), %error, "revocation list not taken; there is none until the authority gives one");
                None
            }
        };
        let side = tls::server_side(&files, &needed(layout, lists.as_ref())?)?;
        let (side, _) = watch::channel(side);
        Ok(Self { layout: layout.clone(), files, side, lists: Mutex::new(lists) })
    }

    /// Returns TLS for the next handshake, with the verifier of clients in it.
    pub fn side(&self) -> ServerSide {
        self.side.borrow().clone()
    }

    /// Returns the lists in use.
    pub fn lists(&self) -> Option<CrlSet> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads certificates, keys and the list's file again. The old ones stay in use if something is
    /// wrong.
    ///
    /// # Errors
    /// When certificates or keys can't be used; then nothing has changed.
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
                warn!(%error, in_use = age, "revocation list not taken; the last good one stays");
                lists.clone()
            }
        };
        let side = tls::server_side(&self.files, &needed(&self.layout, next.as_ref())?)?;
        *lists = next;
        self.side.send_replace(side);
        Ok(())
    }

    /// Installs lists from the authority: checks them, writes them to disk, and checks all
    /// connections against them.
    ///
    /// # Errors
    /// When they are refused; then the ones before stay in use.
    pub fn install(&self, new: CrlSet) -> Result<(), InstallError> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let authorities = tls::crl_issuers(&self.layout, Kind::Server)?;
        let new = new.accept(lists.as_ref(), &authorities, clock::now_unix())?;
        let side = tls::server_side(&self.files, &Revocation::Known(new.clone()))?;
        // In use before it is written, and even if it can't be: what is revoked is revoked.
        self.side.send_replace(side);
        let written = new.write(&self.layout.server_list());
        let revoked: usize = new.all().iter().map(|list| list.revoked.len()).sum();
        info!(number = new.number(), revoked, "revocation list taken");
        *lists = Some(new);
        Ok(written?)
    }

    /// Waits until the certificate of a connected peer ends, is revoked, or is no longer trusted.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future loses nothing.
    pub async fn watch_peer(&self, peer: &Peer) -> (Revalidation, WireError) {
        let mut side = self.side.subscribe();
        // The handshake has just verified it, unless what is trusted has changed since.
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
    /// They were refused.
    #[error(transparent)]
    Refused(#[from] CrlRefused),
    /// The server's own files.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// They are in use, and could not be written.
    #[error("the list is in use and could not be written: {0}")]
    Write(#[from] rcmd_certs::files::FileError),
}

/// Returns which lists TLS checks clients against: a server with an authority to fetch them from
/// needs them, and others use those that they have.
fn needed(layout: &Layout, lists: Option<&CrlSet>) -> Result<Revocation, EnrollError> {
    Ok(match lists {
        Some(lists) => Revocation::Known(lists.clone()),
        None if Member::load(layout, Kind::Server)?.is_some() => Revocation::Missing,
        None => Revocation::NotNeeded,
    })
}

/// Reads the lists that lie in the folder, as far as trusted authorities signed them.
fn known_lists(layout: &Layout) -> Result<Option<CrlSet>, InstallError> {
    let Some(lists) = CrlSet::load(&layout.server_list()).map_err(CrlRefused::from)? else {
        return Ok(None);
    };
    Ok(Some(lists.known(&tls::crl_issuers(layout, Kind::Server)?)?))
}

/// Describes the number and age of lists, for people.
pub fn age(lists: &CrlSet) -> String {
    let age = clock::now_unix().saturating_sub(lists.this_update());
    format!("number {}, {} old", lists.number(), clock::span(u64::try_from(age).unwrap_or(0)))
}
