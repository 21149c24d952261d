//! Renewal of the client's certificate, if the client enrolled with a token.
//!
//! The client is not a daemon: it renews after a command, and before one only if its certificate has expired. If
//! two clients renew at once, the second waits for the first, and then has nothing to do.
#![expect(
    clippy::disallowed_methods,
    reason = "the program that uses the client, between its commands"
)]

use std::fs::File;
use std::io;
use std::time::Duration;

use rcmd_certs::{
    Layout,
    clock::{self, BACKDATE, span},
    enroll::{ClockOff, Kind, Member},
    tls,
    x509::Certificate,
};
use rustix::fs::{FlockOperation, flock};

use crate::error::Error;

/// The time that a connection takes at most, in seconds, unless the caller sets a longer limit.
const ON_THE_WAY: i64 = 10;

/// The condition for a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The certificate has expired, or will before a connection can be made with it.
    Ended,
    /// Two thirds of the certificate's life are over.
    Due,
    /// No condition: the certificate is renewed at once.
    Now,
}

/// The result of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The certificate was not renewed: it was not time, or this client did not enroll with a token.
    No,
    /// The certificate was renewed. Contains the clocks of both sides if they are far apart.
    Yes(Option<ClockOff>),
}

/// Returns whether the certificate is to be renewed. The certificate of a client that did not enroll with a token
/// is not. One that can't be read is renewed only with [`When::Now`]: a connection reports the fault.
pub fn is_time(layout: &Layout, when: When) -> bool {
    if !rcmd_certs::files::exists(&layout.contact(Kind::Client)) {
        return false;
    }
    let leaf = || tls::load_leaf(&layout.client_cert());
    let now = clock::now_unix();
    match when {
        When::Now => true,
        When::Ended => leaf().is_ok_and(|leaf| now > usable_until(&leaf)),
        When::Due => leaf().is_ok_and(|leaf| now >= leaf.not_after.saturating_sub(life(&leaf) / 3)),
    }
}

/// Returns the last time, in Unix time, to begin a connection with a certificate. The server checks it during the
/// connection, and a certificate that was valid when it was read may have expired by then.
pub(crate) fn usable_until(leaf: &Certificate) -> i64 {
    leaf.not_after.saturating_sub((life(leaf) / 6).min(ON_THE_WAY))
}

fn life(leaf: &Certificate) -> i64 {
    // The validity of certificates begins a little before they are signed.
    let begin = leaf.not_before.saturating_add_unsigned(BACKDATE.as_secs());
    leaf.not_after.saturating_sub(begin).max(0)
}

/// Returns whether the certificate has expired or can't be read.
pub(crate) fn has_ended(layout: &Layout) -> bool {
    tls::load_leaf(&layout.client_cert()).map_or(true, |leaf| clock::now_unix() > leaf.not_after)
}

/// Renews the certificate of a folder, if the condition holds.
///
/// # Errors
/// Kind `tls`, with advice: the authority refuses, or can't be reached. The certificate is not changed.
///
/// # Cancel safety
/// Files are written whole or not at all, also if the future is dropped.
pub async fn renew(layout: &Layout, when: When) -> Result<Renewed, Error> {
    if !is_time(layout, when) {
        return Ok(Renewed::No);
    }
    // Under sudo, files of root would lock out the user whose identity this is.
    rcmd_certs::files::check_key(&layout.client_key())?;
    let _turn = turn(layout)
        .await
        .map_err(|source| Error::RenewalLock { folder: layout.client_dir(), source })?;
    // Another process may have renewed it while this one waited.
    if !is_time(layout, when) {
        return Ok(Renewed::No);
    }
    let renewed = async {
        match Member::load(layout, Kind::Client)? {
            Some(member) => member.renew().await.map(Some),
            None => Ok(None),
        }
    };
    match renewed.await {
        Ok(None) => Ok(Renewed::No),
        Ok(Some(fetched)) => {
            // The file described a failure that is over.
            let _ = std::fs::remove_file(failure_file(layout));
            Ok(Renewed::Yes(fetched.clock))
        }
        Err(source) => {
            let error = Error::Renewal { certificate: standing(layout), source: Box::new(source) };
            let _ = std::fs::write(failure_file(layout), error.to_string());
            Err(error)
        }
    }
}

/// Renews a certificate that has expired or is about to, before a connection that needs it.
///
/// # Errors
/// As of [`renew`]; also if the authority does not answer by `limit`. Failing to renew a valid certificate is not
/// an error.
///
/// # Cancel safety
/// Files are written whole or not at all, also if the future is dropped.
pub(crate) async fn renew_within(limit: Duration, layout: &Layout) -> Result<Renewed, Error> {
    let renewing = tokio::time::timeout(limit, renew(layout, When::Ended));
    let renewed = renewing.await.unwrap_or(Err(Error::RenewalTimeout));
    renewed.or_else(|error| if has_ended(layout) { Err(error) } else { Ok(Renewed::No) })
}

/// Returns the reason why the last renewal failed, if no later one succeeded.
pub fn last_failure(layout: &Layout) -> Option<String> {
    let path = failure_file(layout);
    let text = rcmd_certs::files::read_public(&path).ok()?;
    Some(rcmd_certs::text::printable(&String::from_utf8_lossy(&text)))
}

fn failure_file(layout: &Layout) -> std::path::PathBuf {
    layout.client_dir().join("renewal-failed")
}

/// Returns the file of the certificate and its state, for people.
fn standing(layout: &Layout) -> String {
    let cert = rcmd_certs::files::shown(&layout.client_cert());
    match tls::load_leaf(&layout.client_cert()) {
        Ok(leaf) => match u64::try_from(leaf.not_after.saturating_sub(clock::now_unix())) {
            Ok(left) => format!("{cert} expires in {}", span(left)),
            Err(_) => format!("{cert} has expired"),
        },
        Err(_) => format!("{cert} cannot be read"),
    }
}

/// Waits for other processes that renew the same certificate. Dropping the file releases the lock.
async fn turn(layout: &Layout) -> io::Result<File> {
    let path = layout.client_dir().join(".renew.lock");
    let locked = tokio::task::spawn_blocking(move || {
        // A lock needs no write permission; the file may belong to another user of this folder.
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => File::create(&path)?,
            opened => opened?,
        };
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    });
    locked.await.map_err(io::Error::other)?
}
