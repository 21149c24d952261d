//! Clocks of a member and its authority that are too far apart.

use std::{fmt, time::Duration};

use crate::clock::{BACKDATE, span};

/// The difference of two clocks above which it is reported: the time by which certificates are backdated.
pub const CLOCK_TOLERANCE: Duration = BACKDATE;

/// Two clocks that disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOff {
    /// The time by this machine's clock, in Unix time.
    pub ours: i64,
    /// The time by the authority's clock, in Unix time.
    pub theirs: i64,
}

impl fmt::Display for ClockOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let which = if self.ours < self.theirs { "behind" } else { "ahead of" };
        let apart = span(self.ours.abs_diff(self.theirs));
        write!(
            f,
            "this machine's clock is {apart} {which} the authority's; \
             compare `date -u` on both machines and set the one that is wrong"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_named_with_how_much() {
        let off = ClockOff { ours: 1_000_000, theirs: 1_003_600 };
        assert!(off.to_string().contains("clock is 60 minutes behind the authority's"), "{off}");
        let off = ClockOff { ours: 1_003_600, theirs: 1_000_000 };
        assert!(off.to_string().contains("ahead of"), "{off}");
    }
}
