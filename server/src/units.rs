//! The units of configured limits: spans of time, sizes, rates, counts. Their errors contain an
//! example of what to write instead.

use std::{cmp::Ordering, fmt, time::Duration};

use rcmd_certs::clock;
use serde::{Deserialize, Deserializer, de::Error};

/// The longest span of any limit.
const DAY: Duration = Duration::from_secs(86_400);
/// The longest time that a handshake may be given.
pub(crate) const LONGEST_HANDSHAKE: Duration = Duration::from_secs(3600);

/// A span of time, written like `90s` or `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        clock::parse_span(&text).map(Self).map_err(|error| {
            D::Error::custom(format_args!("{text:?} is not a duration, such as \"90s\": {error}"))
        })
    }
}

/// A size in bytes, written like `64 MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    /// The smallest size: with less, no process fits into its memory, and every line would need a
    /// file.
    const LEAST: u64 = 4 << 10;

    fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = match unit.trim() {
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        let bytes = number.parse::<u64>().ok()?.checked_mul(unit)?;
        (bytes >= Self::LEAST).then_some(Self(bytes))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format_args!(
                "{text:?} is not a size of at least 4 KiB, such as \"64 MiB\""
            ))
        })
    }
}

/// A number of starts, or of answers, in a span of time, written like `20/s`, `600/10m` or `unlimited`. All of them
/// may happen at once; after that, one more in each corresponding part of the span. The greater
/// rate is the faster one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time from one to the next; zero for no limit.
    interval: Duration,
    /// The number that may happen at once.
    burst: u32,
}

impl Rate {
    /// Makes a rate of `burst` at once, and then one more in each interval.
    pub const fn new(burst: u32, interval: Duration) -> Self {
        Self { interval, burst }
    }

    /// The rate without a limit.
    pub const UNLIMITED: Self = Self { interval: Duration::ZERO, burst: u32::MAX };

    /// Returns the time from one to the next; zero for no limit.
    pub fn interval(self) -> Duration {
        self.interval
    }

    /// Returns the number of starts that may happen at once.
    pub fn burst(self) -> u32 {
        self.burst
    }

    fn parse(text: &str) -> Option<Self> {
        if text == "unlimited" {
            return Some(Self::UNLIMITED);
        }
        let (count, span) = text.split_once('/')?;
        let burst = count.trim().parse().ok().filter(|&count| count > 0)?;
        let span = span.trim();
        let bare = span.starts_with(|first: char| first.is_ascii_alphabetic());
        let span = clock::parse_span(&format!("{}{span}", if bare { "1" } else { "" }));
        let interval: Duration = span.ok().filter(|&span| span <= DAY)? / burst;
        (!interval.is_zero()).then_some(Self { interval, burst })
    }
}

impl Ord for Rate {
    fn cmp(&self, other: &Self) -> Ordering {
        other.interval.cmp(&self.interval).then(self.burst.cmp(&other.burst))
    }
}

impl PartialOrd for Rate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UNLIMITED => f.write_str("unlimited"),
            Self { interval, burst } => {
                write!(f, "{burst} in {}", humantime::format_duration(interval * burst))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format_args!(
                "{text:?} is not a rate; write \"20/s\", \"600/10m\" or \"unlimited\""
            ))
        })
    }
}

/// Reads a count, which must not be zero.
pub(crate) fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match usize::deserialize(deserializer)? {
        0 => Err(D::Error::custom("it must be at least 1")),
        count => Ok(count),
    }
}

pub(crate) fn up_to_a_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    between(deserializer, Duration::ZERO, DAY, "at most 24h")
}

pub(crate) fn handshake<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    between(deserializer, Duration::from_millis(100), LONGEST_HANDSHAKE, "100ms to 1h")
}

fn between<'de, D: Deserializer<'de>>(
    deserializer: D,
    least: Duration,
    most: Duration,
    remedy: &str,
) -> Result<Span, D::Error> {
    let span = Span::deserialize(deserializer)?;
    if (least..=most).contains(&span.0) {
        return Ok(span);
    }
    let written = humantime::format_duration(span.0);
    Err(D::Error::custom(format_args!("{written} is out of range; write {remedy}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_count_in_a_span() {
        let rate = |text| Rate::parse(text).map(|rate| (rate.interval, rate.burst));
        assert_eq!(rate("20/s"), Some((Duration::from_millis(50), 20)));
        assert_eq!(rate("600/10m"), Some((Duration::from_secs(1), 600)));
        assert_eq!(rate("1 / 1h 30m"), Some((Duration::from_secs(5400), 1)));
        assert_eq!(Rate::parse("unlimited"), Some(Rate::UNLIMITED));
        for text in ["", "20", "/s", "0/s", "-1/s", "1.5/s", "20/", "20/0s", "9/9", "1/1year"] {
            assert_eq!(Rate::parse(text), None, "{text}");
        }
        assert_eq!(Rate::parse("600/10m").unwrap().to_string(), "600 in 10m");
    }

    #[test]
    fn a_size_has_a_unit() {
        let size = |text| Size::parse(text).map(|size| size.0);
        assert_eq!(size("64 MiB"), Some(64 << 20));
        assert_eq!(size("4KiB"), Some(4096));
        assert_eq!(size("1 GiB"), Some(1 << 30));
        for text in ["", "64", "1 KiB", "1.5 GiB", "-1 MiB", "64 MB", "99999999999 GiB", "MiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn the_faster_rate_is_the_greater() {
        let order = ["1/h", "59/m", "1/s", "60/m", "2/s", "unlimited"];
        let rates = order.map(|text| Rate::parse(text).unwrap());
        assert!(rates.is_sorted(), "{rates:?}");
    }
}
