//! How many hosts at once the limit of descriptors bears.

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

/// Returns how many of `wanted` hosts at once the limit bears once it is raised, and says so if they are
/// fewer; `files` if output goes to files as well.
pub(crate) fn fitted(wanted: usize, files: bool, verbosity: Verbosity) -> usize {
    let fanout = bear(wanted, files);
    if fanout < wanted && verbosity > Verbosity::Quiet {
        let message = format!(
            "the limit of descriptors bears {fanout} hosts at once, not {wanted}; see `ulimit -Hn`"
        );
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
