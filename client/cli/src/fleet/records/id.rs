//! Names of runs.

use std::fmt;

/// The bits of a name that are random; those above are its time.
const RANDOM_BITS: u32 = 20;

/// The name of a run: 16 hexadecimal digits, of which 11 are the milliseconds since 1970 at which it began
/// and 5 are random. The later run has the greater name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RunId(u64);

impl RunId {
    /// Returns the name of a run that begins now, in milliseconds since 1970. It is greater than that of
    /// the last one even when the clock was set back.
    pub(super) fn next(last: Option<Self>, now: u64, random: u32) -> Self {
        let after = last.map_or(0, |last| (last.0 >> RANDOM_BITS) + 1);
        let time = now.max(after).min(u64::MAX >> RANDOM_BITS);
        let random = u64::from(random) & ((1 << RANDOM_BITS) - 1);
        Self((time << RANDOM_BITS) | random)
    }

    /// Reads a name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let fits = text.len() == 16 && text.bytes().all(is_digit);
        fits.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_sixteen_digits_and_reads_back() {
        let id = RunId::next(None, 1_764_279_676_123, 0xabcd_ef01);
        assert_eq!(id.to_string(), "19ac7436cdbdef01");
        assert_eq!(RunId::parse(&id.to_string()), Some(id));
        for text in ["", "last", "19AC7436CDBDEF01", "19ac7436cdbdef0", "+9ac7436cdbdef01"] {
            assert_eq!(RunId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_later_run_has_a_greater_name_whatever_the_clock_says() {
        let mut last = RunId::next(None, 1_000, u32::MAX);
        for now in [1_000, 1_000, 5, 0, 2_000, u64::MAX] {
            let next = RunId::next(Some(last), now, 0);
            assert!(next > last, "{now}: {last} {next}");
            last = next;
        }
        // There is no later time; nothing overflows.
        assert!(
            RunId::next(Some(RunId(u64::MAX)), 0, 0).0 >> RANDOM_BITS == u64::MAX >> RANDOM_BITS
        );
    }
}
