//! The number of hosts or commands at once: as many as were asked for, as far as memory and descriptors bear
//! them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::settings::Verbosity;
use crate::text::{self, Tone};

/// Descriptors that are not for connections: the standard ones, the runtime's, files of output,
/// look-ups of names.
const KEPT_BACK: u64 = 64;
/// Descriptors for files of output, as many as are open at a time.
const FILES: u64 = 128;
/// Descriptors of a host: its connection, and another beside it while that heals.
const EACH: u64 = 2;

/// The things of which a run has several at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtOnce {
    /// Hosts on which one command runs.
    Hosts,
    /// Commands, of which each keeps its output until its end.
    Commands,
}

/// Returns how many of `wanted` hosts or commands run at once: as many as the memory of the run and the limit of
/// descriptors bear. `memory` is its bytes, and `bears` the number that they are enough for. The limit is raised
/// as far as this process may; `files` is true if output goes to files as well. If fewer than `wanted` run at
/// once, a notice says so.
pub(crate) fn fitted(
    what: AtOnce,
    wanted: usize,
    (memory, bears): (u64, usize),
    files: bool,
    verbosity: Verbosity,
) -> usize {
    let by_memory = bears.min(wanted).max(1);
    let fanout = bear(by_memory, files);
    if fanout < wanted && verbosity > Verbosity::Quiet {
        let (noun, more) = match what {
            AtOnce::Hosts => ("hosts", ""),
            AtOnce::Commands => ("commands", "; with a smaller --max-output more"),
        };
        let message = match fanout < by_memory {
            true => format!(
                "the limit of descriptors bears {fanout} {noun} at once, not {wanted}; see `ulimit -Hn`"
            ),
            false => format!(
                "the {} MiB of memory of a run bear {fanout} {noun} at once, not {wanted}{more}",
                memory >> 20
            ),
        };
        text::say(&text::line(Tone::Notice, &message));
    }
    fanout
}

/// Raises the limit of descriptors as far as this process may, and returns how many of `wanted` hosts
/// it bears at once, at least 1.
fn bear(wanted: usize, files: bool) -> usize {
    let kept_back = if files { KEPT_BACK + FILES } else { KEPT_BACK };
    let limit = getrlimit(Resource::Nofile);
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_mul(EACH) + kept_back;
    let Some(current) = limit.current.filter(|&current| current < needed) else { return wanted };
    let raised = limit.maximum.map_or(needed, |maximum| maximum.min(needed)).max(current);
    let set = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit });
    borne(wanted, if set.is_ok() { raised } else { current }, kept_back)
}

fn borne(wanted: usize, descriptors: u64, kept_back: u64) -> usize {
    let hosts = descriptors.saturating_sub(kept_back) / EACH;
    usize::try_from(hosts).unwrap_or(usize::MAX).clamp(1, wanted.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_bears_two_descriptors_a_host_beside_what_is_kept_back() {
        assert_eq!(borne(64, 1024, KEPT_BACK), 64);
        assert_eq!(borne(1000, 1024, KEPT_BACK), 480);
        assert_eq!(borne(1000, 1024, KEPT_BACK + FILES), 416);
        assert_eq!(borne(1000, 3, KEPT_BACK), 1, "one host at a time always works");
    }
}
