//! Renewal of the client's certificate, if it came by a token.
//!
//! The client is no daemon: it renews in its own time after a command, and before one only if its
//! certificate has ended. Two clients that renew at once wait for each other, and the second finds
//! that there is nothing left to do.
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

/// Seconds that a connection takes at most, unless more patience was asked for.
const ON_THE_WAY: i64 = 10;

/// When to renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// If the certificate has ended, or would before a connection could be made with it.
    Ended,
    /// If two thirds of its life are over.
    Due,
    /// In any case.
    Now,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// There was nothing to do, or nobody to ask: no token brought this certificate.
    No,
    /// There is a new certificate; the clocks, if they are far apart.
    Yes(Option<ClockOff>),
}

/// Returns whether it is time. A certificate that no token brought is not renewed, and one that can't be
/// read only when that is asked for: whoever uses it says why.
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

/// Returns the last moment to begin a connection with a certificate. The server judges it when the
/// connection is made, and one that was good when it was read may have ended by then.
pub(crate) fn usable_until(leaf: &Certificate) -> i64 {
    leaf.not_after.saturating_sub((life(leaf) / 6).min(ON_THE_WAY))
}

fn life(leaf: &Certificate) -> i64 {
    // Certificates begin a little before they were signed.
    let begin = leaf.not_before.saturating_add_unsigned(BACKDATE.as_secs());
    leaf.not_after.saturating_sub(begin).max(0)
}

/// Returns whether the certificate's time is over, or it can't be read.
pub(crate) fn has_ended(layout: &Layout) -> bool {
    tls::load_leaf(&layout.client_cert()).map_or(true, |leaf| clock::now_unix() > leaf.not_after)
}

/// Renews the certificate of this folder if it is time.
///
/// # Errors
/// Kind `tls`, with what to do: the authority refuses, or can't be reached. The certificate is as
/// it was.
///
/// # Cancel safety
/// Nothing is half written when it is dropped.
pub async fn renew(layout: &Layout, when: When) -> Result<Renewed, Error> {
    if !is_time(layout, when) {
        return Ok(Renewed::No);
    }
    // Under sudo the identity may be another user's, whom files of root would lock out.
    rcmd_certs::files::check_key(&layout.client_key())?;
    let _turn = turn(layout)
        .await
        .map_err(|source| Error::RenewalLock { folder: layout.client_dir(), source })?;
    // Somebody else may have done it while we waited.
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
            // It told of a failure that is over now.
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

/// Renews a certificate that has ended or is about to, before a connection that has no other one.
///
/// # Errors
/// The failures of [`renew`]; also when the authority does not answer by `limit`. Failing to renew
/// what is still good is none.
///
/// # Cancel safety
/// Nothing is half written when it is dropped.
pub(crate) async fn renew_within(limit: Duration, layout: &Layout) -> Result<Renewed, Error> {
    let renewing = tokio::time::timeout(limit, renew(layout, When::Ended));
    let renewed = renewing.await.unwrap_or(Err(Error::RenewalTimeout));
    renewed.or_else(|error| if has_ended(layout) { Err(error) } else { Ok(Renewed::No) })
}

/// Returns why the last attempt to renew failed, if it did and none succeeded since.
pub fn last_failure(layout: &Layout) -> Option<String> {
    let path = failure_file(layout);
    let text = rcmd_certs::files::read_public(&path).ok()?;
    Some(rcmd_certs::text::printable(&String::from_utf8_lossy(&text)))
}

fn failure_file(layout: &Layout) -> std::path::PathBuf {
    layout.client_dir().join("renewal-failed")
}

/// Returns the file of the certificate and how it stands with it, for people.
fn standing(layout: &Layout) -> String {
    let cert = rcmd_certs::files::shown(&layout.client_cert());
    match tls::load_leaf(&layout.client_cert()) {
        Ok(leaf) => match u64::try_from(leaf.not_after.saturating_sub(clock::now_unix())) {
            Ok(left) => format!("{cert} ends in {}", span(left)),
            Err(_) => format!("{cert} has ended"),
        },
        Err(_) => format!("{cert} cannot be read"),
    }
}

/// Waits for those who renew the same certificate. The lock goes with the file.
async fn turn(layout: &Layout) -> io::Result<File> {
    let path = layout.client_dir().join(".renew.lock");
    let locked = tokio::task::spawn_blocking(move || {
        // A lock takes no right to write; the file may be another's who used this folder before.
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => File::create(&path)?,
            opened => opened?,
        };
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    });
    locked.await.map_err(io::Error::other)?
}
