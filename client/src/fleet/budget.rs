//! The memory of a run, and how the targets that run at once share it.

use rcmd_protocol::limits::CREDIT;

/// Bytes that a connection takes beside the output that is ahead of the caller: its tasks and channels,
/// buffers of TLS and of frames.
const CONNECTION: u64 = 64 * 1024;
/// Bytes that compression takes beside that, both directions together: windows, tables and blocks.
const COMPRESSION: u64 = 1024 * 1024;
/// The least credit of a stream, in bytes: less would cost a round trip for each few lines.
const LEAST_CREDIT: u64 = 16 * 1024;
/// The streams of a target.
const STREAMS: u64 = 2;

/// The part of a run's memory that belongs to its connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Bytes for all of them together.
    share: u64,
    /// Bytes that each takes without output.
    connection: u64,
}

impl Budget {
    /// Returns the budget of a run that may hold so many bytes. Three eighths are for connections; the rest is
    /// for what the caller does with the output, and for the process itself.
    pub(super) fn new(memory: u64, compress: bool) -> Self {
        let connection = if compress { CONNECTION + COMPRESSION } else { CONNECTION };
        Self { share: memory / 8 * 3, connection }
    }

    /// Returns how many of `wanted` targets it bears at once, at least 1.
    pub(super) fn bear(self, wanted: usize) -> usize {
        let borne = self.share / (self.connection + STREAMS * LEAST_CREDIT);
        usize::try_from(borne).unwrap_or(usize::MAX).min(wanted).max(1)
    }

    /// Returns the bytes that each stream of so many targets may be ahead of the caller.
    pub(super) fn credit(self, targets: usize) -> u64 {
        let targets = u64::try_from(targets.max(1)).unwrap_or(u64::MAX);
        let output = (self.share / targets).saturating_sub(self.connection);
        (output / STREAMS).clamp(LEAST_CREDIT, CREDIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn whatever_is_asked_for_all_connections_together_stay_within_their_share() {
        for compress in [false, true] {
            for memory in [8 * MIB, 64 * MIB, 256 * MIB, 1 << 40] {
                let budget = Budget::new(memory, compress);
                for wanted in [1, 2, 63, 64, 65, 1000, 4096, 100_000, usize::MAX] {
                    let targets = budget.bear(wanted);
                    assert!((1..=wanted).contains(&targets));
                    let each = budget.connection + STREAMS * budget.credit(targets);
                    let all = each * u64::try_from(targets).unwrap();
                    assert!(all <= memory / 8 * 3, "{memory} {wanted}: {targets} take {all}");
                }
            }
        }
    }

    #[test]
    fn a_run_of_256_mib_has_a_thousand_at_once_and_less_ahead_the_more_there_are() {
        let budget = Budget::new(256 * MIB, false);
        assert_eq!(budget.bear(64), 64);
        assert_eq!(budget.bear(100_000), 1024);
        assert_eq!(Budget::new(256 * MIB, true).bear(100_000), 87);
        assert_eq!(budget.credit(1), CREDIT);
        assert_eq!(budget.credit(64), 736 * 1024);
        assert_eq!(budget.credit(1024), LEAST_CREDIT);
    }

    #[test]
    fn one_target_runs_also_where_the_memory_bears_none() {
        let budget = Budget::new(0, true);
        assert_eq!((budget.bear(100), budget.credit(1)), (1, LEAST_CREDIT));
        assert_eq!(budget.bear(0), 1, "a run of none at a time would never end");
    }
}
