//! Durations as people type them.

use std::time::Duration;

/// The longest that is taken: every clock that it is added to can still tell the time.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Reads `30s`, `5m` or `1h 30m`; a plain number counts seconds.
///
/// # Errors
/// When it is no duration, zero, or more than ten years; the text says what to write.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let duration = match text.trim().parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text.trim()).ok(),
    };
    match duration {
        None => Err("write a number with a unit, such as 30s, 5m or 1h 30m".to_owned()),
        Some(Duration::ZERO) => Err("it must be more than nothing".to_owned()),
        Some(duration) if duration > LONGEST => Err("at most ten years can be counted".to_owned()),
        Some(duration) => Ok(duration),
    }
}

/// Reads a duration, or `0` for no time at all.
///
/// # Errors
/// The text of [`parse`].
pub(crate) fn parse_or_none(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" { Ok(Duration::ZERO) } else { parse(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_number_counts_seconds() {
        assert_eq!(parse("30"), Ok(Duration::from_secs(30)));
        assert_eq!(parse("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("30s"), parse("30"));
        assert_eq!(parse("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_no_duration_is_refused_with_what_to_write() {
        for text in ["", "x", "-1", "5 parsecs", "0", "0s", "inf", "NaN", "1e300", "11years"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
