//! Durations on command lines and in client.toml.

use std::time::Duration;

use rcmd_certs::clock::{self, LONGEST_SPAN};

/// Reads a duration such as `30s`, `5m` or `1h 30m`. A number without a unit means seconds.
///
/// # Errors
/// Advice on what to write, if the text is not a duration, or is zero or more than ten years.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let duration = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => Some(clock::parse_span(text)?),
    };
    match duration {
        None => Err("write a number with a unit, such as 30s, 5m or 1h 30m".to_owned()),
        Some(Duration::ZERO) => Err("it must be greater than zero".to_owned()),
        Some(duration) if duration > LONGEST_SPAN => {
            Err("it must be at most ten years (3650d)".to_owned())
        }
        Some(duration) => Ok(duration),
    }
}

/// Reads a duration, or `0`.
///
/// # Errors
/// As of [`parse`].
pub(crate) fn parse_or_none(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" { Ok(Duration::ZERO) } else { parse(text) }
}

/// Reads a time limit. Words that mean "no limit" in other programs are refused.
///
/// # Errors
/// As of [`parse`], or the advice to leave the option out.
pub(crate) fn parse_limit(text: &str) -> Result<Duration, String> {
    match text.trim() {
        "0" | "0s" | "inf" | "infinity" | "infinite" | "none" | "never" | "unlimited" | "off" => {
            Err("for no limit, leave the option out".to_owned())
        }
        text => parse(text),
    }
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
        assert_eq!(parse("1h30m"), parse("90 minutes"));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("2w"), parse("14days"));
    }

    #[test]
    fn what_is_no_duration_is_refused_with_what_to_write() {
        for text in
            ["", "x", "-1", "5 parsecs", "0", "0s", "inf", "NaN", "1e300", "11000d", "s", "5:30"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("18446744073709551615s 500ms 500ms").is_err());
        assert!(parse(&"1h ".repeat(1000)).is_err());
    }

    #[test]
    fn what_means_no_limit_elsewhere_is_refused() {
        assert!(parse_limit("infinity").unwrap_err().contains("leave the option out"));
        assert!(parse_limit("0").is_err() && parse_limit("5m").is_ok());
        assert!(parse("5M").unwrap_err().contains("write 5m for minutes"));
    }
}
