//! Signing revocation lists.

use std::time::{Duration, UNIX_EPOCH};

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls_pki_types::CertificateRevocationListDer;

use super::{authority::Authority, error::AuthorityError, params::in_calendar};

/// An entry of a list.
#[derive(Clone, Debug)]
pub(crate) struct RevokedEntry {
    /// The serial number's bytes.
    pub serial: Vec<u8>,
    /// The time at which it was revoked, in Unix time.
    pub at: i64,
    /// The reason that the list states, if any.
    pub reason: Option<RevocationReason>,
}

impl Authority {
    /// Signs a revocation list (RFC 5280 section 5). Times are Unix times.
    pub(crate) fn sign_list(
        &self,
        number: u64,
        (this_update, next_update): (i64, i64),
        revoked: &[RevokedEntry],
    ) -> Result<CertificateRevocationListDer<'static>, AuthorityError> {
        let params = CertificateRevocationListParams {
            this_update: moment(this_update).into(),
            next_update: moment(next_update).into(),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|entry| RevokedCertParams {
                    serial_number: SerialNumber::from(entry.serial.clone()),
                    revocation_time: moment(entry.at).into(),
                    reason_code: entry.reason,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.der().clone())
    }
}

fn moment(unix: i64) -> std::time::SystemTime {
    in_calendar(UNIX_EPOCH + Duration::from_secs(u64::try_from(unix).unwrap_or(0)))
}
