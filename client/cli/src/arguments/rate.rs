//! Rates on command lines, in bytes a second.

use std::num::NonZeroU64;

/// What to write instead of a text that is no rate.
const ADVICE: &str =
    "write a number with a unit, such as 500K, 1.5M (1,024s of bytes), 10MB (1,000s) or 20Mbit";

/// What to write instead of a unit that may mean bits or bytes.
const BITS_OR_BYTES: &str = "`b` may mean bits or bytes: write such as 10MB or 10Mbit";

/// The smallest rate, in bytes a second: with less, not even what both ends say to each other gets through.
const LEAST: u64 = 1024;

/// The units by which a number is multiplied, in bytes a second times eight.
const UNITS: [(&str, u64); 15] = [
    // As rsync has it.
    ("", 8 << 10),
    ("K", 8 << 10),
    ("k", 8 << 10),
    ("KiB", 8 << 10),
    ("M", 8 << 20),
    ("m", 8 << 20),
    ("MiB", 8 << 20),
    ("G", 8 << 30),
    ("g", 8 << 30),
    ("GiB", 8 << 30),
    ("B", 8),
    ("KB", 8_000),
    ("kB", 8_000),
    ("MB", 8_000_000),
    ("GB", 8_000_000_000),
];

/// The same for units whose case does not count.
const BITS: [(&str, u64); 4] =
    [("bit", 1), ("kbit", 1_000), ("mbit", 1_000_000), ("gbit", 1_000_000_000)];

/// Reads a rate, such as `500K`, `1.5M`, `10MB` or `20Mbit`, with `/s` or without. A number without a unit means KiB a
/// second, as for rsync.
///
/// # Errors
/// Advice on what to write, if the text is no rate, or is less than 1 KiB a second.
pub(crate) fn parse(text: &str) -> Result<NonZeroU64, String> {
    let text = text.trim();
    let text = text.strip_suffix("/s").unwrap_or(text);
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = unit.trim();
    let is_ambiguous = ["b", "kb", "mb", "gb"].contains(&unit.to_ascii_lowercase().as_str());
    let known = UNITS.iter().find(|(name, _)| *name == unit);
    let known = known.or_else(|| BITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name)));
    let bits = match known {
        Some((_, bits)) => *bits,
        None if is_ambiguous => return Err(BITS_OR_BYTES.to_owned()),
        None => return Err(ADVICE.to_owned()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let thousandths = thousandths(whole, fraction).ok_or(ADVICE)?;
    let rate = u128::from(thousandths) * u128::from(bits) / 8_000;
    let rate = u64::try_from(rate).map_err(|_| "it is more than any link has".to_owned())?;
    match NonZeroU64::new(rate).filter(|rate| rate.get() >= LEAST) {
        Some(rate) => Ok(rate),
        None if rate == 0 => Err("for no limit, leave the option out".to_owned()),
        None => Err("it must be at least 1K, which is 1,024 bytes a second".to_owned()),
    }
}

/// Returns a number in thousandths. What is past the third digit of its fraction does not count.
fn thousandths(whole: &str, fraction: &str) -> Option<u64> {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let fraction = format!("{fraction:0<3}");
    whole.checked_mul(1_000)?.checked_add(fraction.get(..3)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> u64 {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).get()
    }

    #[test]
    fn rates_mean_what_they_mean_to_rsync() {
        for (text, expected) in [
            ("1000", 1000 << 10),
            ("500K", 500 << 10),
            ("500k", 500 << 10),
            ("1.5M", 3 << 19),
            ("1.5m/s", 3 << 19),
            ("2 MiB/s", 2 << 20),
            ("1G", 1 << 30),
            (".5g", 1 << 29),
            ("10MB", 10_000_000),
            ("100kB", 100_000),
            ("4096B", 4_096),
            ("1.0009765625K", 1024),
        ] {
            assert_eq!(rate(text), expected, "{text}");
        }
    }

    #[test]
    fn bits_are_named_as_links_are_sold() {
        for text in ["20Mbit", "20mbit/s", "20000kbit", "0.02Gbit"] {
            assert_eq!(rate(text), 2_500_000, "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_gets_advice() {
        for (text, says) in [
            ("", "write a number"),
            ("fast", "write a number"),
            ("-1M", "write a number"),
            (".", "write a number"),
            ("1.2.3M", "write a number"),
            ("1T", "write a number"),
            ("1M5", "write a number"),
            ("99999999999999999999", "write a number"),
            ("9999999999999999G", "more than any link"),
            ("10mb", "10MB or 10Mbit"),
            ("10Mb", "10MB or 10Mbit"),
            ("80b", "10MB or 10Mbit"),
            ("0", "leave the option out"),
            ("0.0M", "leave the option out"),
            ("1023B", "at least 1K"),
            ("8kbit", "at least 1K"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
