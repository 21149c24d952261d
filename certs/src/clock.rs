//! The clock of this machine, and times as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far a certificate's start lies in the past, so that a peer whose clock is a little behind
/// accepts it at once.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// Returns the time of this machine's clock, in Unix time. A clock before 1970 reads as 0.
pub fn now_unix() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Formats a moment in Unix time as RFC 3339 in UTC, which is how people compare clocks.
pub fn date(unix: i64) -> String {
    // The last second of the year 9999, past which RFC 3339 has no dates.
    const LAST: u64 = 253_402_300_799;
    let seconds = u64::try_from(unix).unwrap_or(0).min(LAST);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// Formats a number of seconds in the one unit that people would use, as in `3 hours`.
pub fn span(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_the_unit_that_people_use() {
        for (seconds, words) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7_200, "2 hours"),
            (172_800, "2 days"),
            (365 * 86_400, "365 days"),
        ] {
            assert_eq!(span(seconds), words);
        }
    }
}
