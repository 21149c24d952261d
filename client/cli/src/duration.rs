//! Durations as people type them.

use std::time::Duration;

/// The longest that is taken: every clock that it is added to can still tell the time.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// The units that are taken, in any spelling of these. A month and a year are none: their length is a
/// matter of opinion, and `5M` is what people type who mean minutes.
const UNITS: &[&str] = &[
    "ns", "nsec", "nanos", "us", "usec", "ms", "msec", "millis", "s", "sec", "secs", "second",
    "seconds", "m", "min", "mins", "minute", "minutes", "h", "hr", "hrs", "hour", "hours", "d",
    "day", "days", "w", "wk", "wks", "week", "weeks",
];
/// Characters and digits of a number that are read: past them the sum could be more than can be held.
const TEXT: usize = 64;
const DIGITS: usize = 12;

const TOO_LONG: &str = "at most ten years can be counted";
const WRITE: &str = "write a number with a unit, such as 30s, 5m or 1h 30m";

/// Reads `30s`, `5m` or `1h 30m`; a plain number counts seconds.
///
/// # Errors
/// When it is no duration, zero, or more than ten years; the text says what to write.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let duration = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => {
            check_units(text)?;
            if text.len() > TEXT
                || text.split(|c: char| !c.is_ascii_digit()).any(|n| n.len() > DIGITS)
            {
                return Err(TOO_LONG.to_owned());
            }
            humantime::parse_duration(text).ok()
        }
    };
    match duration {
        None => Err(WRITE.to_owned()),
        Some(Duration::ZERO) => Err("it must be more than nothing".to_owned()),
        Some(duration) if duration > LONGEST => Err(TOO_LONG.to_owned()),
        Some(duration) => Ok(duration),
    }
}

fn check_units(text: &str) -> Result<(), String> {
    let mut units = text.split(|c: char| !c.is_alphabetic()).filter(|unit| !unit.is_empty());
    match units.find(|unit| !UNITS.contains(unit)) {
        None => Ok(()),
        Some("M") => Err(format!(
            "M is no unit here: write {} for minutes, or a number of days such as 150d for months",
            text.replace('M', "m")
        )),
        Some(unit) if UNITS.contains(&&*unit.to_lowercase()) => {
            Err(format!("units are written small: {}", text.to_lowercase()))
        }
        Some(unit) => Err(format!("{unit:?} is no unit here; {WRITE}")),
    }
}

/// Reads a duration, or `0` for no time at all.
///
/// # Errors
/// The text of [`parse`].
pub(crate) fn parse_or_none(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" { Ok(Duration::ZERO) } else { parse(text) }
}

/// Reads a limit, without which there is none: what means "no limit" elsewhere is not taken.
///
/// # Errors
/// The text of [`parse`], or to leave the option out.
pub(crate) fn parse_limit(text: &str) -> Result<Duration, String> {
    match text.trim() {
        "0" | "0s" | "inf" | "infinity" | "infinite" | "none" | "never" | "unlimited" | "off" => {
            Err("leave the option out for no limit".to_owned())
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
    fn a_unit_of_another_program_is_refused_by_name() {
        let refused = |text| parse(text).unwrap_err();
        assert!(refused("5M").contains("write 5m for minutes"), "{}", refused("5M"));
        assert!(refused("1H").ends_with("1h") && refused("30S").ends_with("30s"));
        assert!(refused("2months").contains("\"months\"") && refused("1y").contains("\"y\""));
        assert!(parse_limit("infinity").unwrap_err().contains("leave the option out"));
        assert!(parse_limit("0").is_err() && parse_limit("5m").is_ok());
    }
}
