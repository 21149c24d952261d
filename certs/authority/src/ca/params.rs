//! Parts of every certificate: names, serial numbers, dates.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{DistinguishedName, DnType};

use super::error::AuthorityError;

const DAY: u64 = 24 * 60 * 60;

/// The last second of X.509's calendar, 9999-12-31T23:59:59Z (RFC 5280 section 4.1.2.5).
pub(super) const END_OF_TIME: u64 = 253_402_300_799;

pub(super) fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// Returns 128 random bits for a serial number (RFC 5280 section 4.1.2.2: positive, at most 20 bytes; rcgen
/// writes them as a positive number).
pub(super) fn random_serial() -> Result<Vec<u8>, AuthorityError> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| AuthorityError::Random)?;
    // A first byte of zero would not be minimal DER, and a number of zero not positive.
    let [first, ..] = &mut bytes;
    *first = (*first).max(1);
    Ok(bytes.to_vec())
}

pub(super) fn days_after(start: SystemTime, days: u32) -> SystemTime {
    start + Duration::from_secs(u64::from(days) * DAY)
}

/// Returns the nearest moment that X.509 can write: 1970 to 9999, in whole seconds.
pub(super) fn in_calendar(moment: SystemTime) -> SystemTime {
    let seconds = moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    UNIX_EPOCH + Duration::from_secs(seconds.min(END_OF_TIME))
}
