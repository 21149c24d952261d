//! The clock of this machine, and times as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::{SignedDuration, civil::DateTime};

/// The time by which the validity of a certificate begins in the past, so that a peer whose clock is a little
/// behind accepts it at once.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// The longest span of time that is counted: ten years. Added to the present time, it stays within the range of every
/// clock.
pub const LONGEST_SPAN: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Returns the time of this machine's clock, in Unix time. A clock before 1970 reads as 0.
pub fn now_unix() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Returns the milliseconds since 1970 by this machine's clock. A clock before 1970 reads as 0.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The first second of the year 0 and the last one of the year 9999, in Unix time: RFC 3339 and certificates have
/// no others.
const YEARS: [i64; 2] = [-62_167_219_200, 253_402_300_799];

/// Formats a moment in Unix time as RFC 3339 in UTC, which is how people compare clocks. A moment outside the years 0
/// to 9999 is shown as the nearest one within.
pub fn date(unix: i64) -> String {
    // `jiff::Timestamp` ends a day before the year 9999 does.
    const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    let [first, last] = YEARS;
    format!("{}Z", EPOCH.saturating_add(SignedDuration::from_secs(unix.clamp(first, last))))
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

/// Formats how long something took, in milliseconds. What took less than one did not take no time.
pub fn milliseconds(count: u64) -> String {
    if count == 0 { "under 1 ms".to_owned() } else { format!("{count} ms") }
}

/// The units of a span of time. Months and years are left out: their length is not fixed, and people who type
/// `5M` mean minutes.
const UNITS: &[&str] = &[
    "ns", "nsec", "nanos", "us", "usec", "ms", "msec", "millis", "s", "sec", "secs", "second",
    "seconds", "m", "min", "mins", "minute", "minutes", "h", "hr", "hrs", "hour", "hours", "d",
    "day", "days", "w", "wk", "wks", "week", "weeks",
];
/// The most bytes in a span, and the most digits in a number of it: with more, the sum could be more than
/// can be held.
const SPAN_BYTES: usize = 64;
const SPAN_DIGITS: usize = 12;

/// Reads a span of time, such as `90s`, `24h` or `1h 30m`.
///
/// # Errors
/// Returns a message that says what to write instead.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    const WRITE: &str = "write a number with a unit, such as 30s, 5m or 1h 30m";
    let text = text.trim();
    let mut units = text.split(|c: char| !c.is_alphabetic()).filter(|unit| !unit.is_empty());
    match units.find(|unit| !UNITS.contains(unit)) {
        None => {}
        Some("M") => {
            let minutes = text.replace('M', "m");
            return Err(format!(
                "M is not a unit here: write {minutes} for minutes, or a number of days such as 150d for months"
            ));
        }
        Some(unit) if UNITS.contains(&&*unit.to_lowercase()) => {
            return Err(format!("units are written in lower case: {}", text.to_lowercase()));
        }
        Some(unit) => return Err(format!("{unit:?} is not a unit; {WRITE}")),
    }
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    if text.len() > SPAN_BYTES || numbers.any(|digits| digits.len() > SPAN_DIGITS) {
        return Err("it is too long".to_owned());
    }
    humantime::parse_duration(text).map_err(|_| WRITE.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_in_a_unit_of_another_program_is_refused_by_name() {
        let refused = |text| parse_span(text).unwrap_err();
        assert!(refused("5M").contains("write 5m for minutes"), "{}", refused("5M"));
        assert!(refused("1H").ends_with("1h") && refused("30S").ends_with("30s"));
        assert!(refused("2months").contains("\"months\"") && refused("1y").contains("\"y\""));
        for text in ["", "s", "5:30", "5 parsecs", "PT5M", "-1s", "1e3s"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
        assert_eq!(parse_span(" 1h 30m "), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_span("2w"), parse_span("14days"));
    }

    #[test]
    fn no_span_is_more_than_can_be_held() {
        for text in ["18446744073709551615s 500ms 500ms", "999999999999999w", &"1h ".repeat(1000)] {
            assert!(parse_span(text).is_err(), "{text}");
        }
        assert!(parse_span("999999999999w 999999999999w 999999999999w 999999999999w").is_ok());
    }

    #[test]
    fn what_took_less_than_a_millisecond_did_not_take_none() {
        assert_eq!(milliseconds(0), "under 1 ms");
        assert_eq!(milliseconds(12), "12 ms");
    }

    #[test]
    fn dates_are_those_that_a_certificate_can_have() {
        for (unix, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (1_767_323_045, "2026-01-02T03:04:05Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (253_402_300_800, "9999-12-31T23:59:59Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
            (-62_167_219_200, "0000-01-01T00:00:00Z"),
            (i64::MIN, "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(date(unix), shown);
        }
    }

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
