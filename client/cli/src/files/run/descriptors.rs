//! How many hosts at once the limit of descriptors bears. Each has folders and files open here.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::settings::Verbosity;
use crate::text::{self, Tone};

/// Descriptors that are not for hosts.
const KEPT_BACK: u64 = 64;

/// Descriptors of a host: its connection and another beside it while that heals, the folders of the engine, and
/// files that were offered to be gone on with.
const EACH: u64 = 112;

/// Returns how many of these hosts are transferred with at once. The limit is raised as far as this process may; if
/// fewer than wanted can be, a notice says so.
pub(super) fn fitted(wanted: usize, verbosity: Verbosity) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_mul(EACH) + KEPT_BACK;
    let Some(current) = limit.current.filter(|current| *current < needed) else {
        return wanted.max(1);
    };
    let raised = limit.maximum.map_or(needed, |maximum| maximum.min(needed)).max(current);
    let set = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit });
    let fitted = borne(wanted, if set.is_ok() { raised } else { current });
    if fitted < wanted && verbosity > Verbosity::Quiet {
        let message = format!(
            "the limit of descriptors bears {fitted} hosts at once, not {wanted}; see `ulimit -Hn`"
        );
        text::say(&text::line(Tone::Notice, &message));
    }
    fitted
}

fn borne(wanted: usize, descriptors: u64) -> usize {
    let hosts = descriptors.saturating_sub(KEPT_BACK) / EACH;
    usize::try_from(hosts).unwrap_or(usize::MAX).clamp(1, wanted.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_bears_a_part_of_it_for_each_host_and_one_always() {
        assert_eq!(borne(16, 64 + 16 * 112), 16);
        assert_eq!(borne(16, 1024), 8);
        assert_eq!(borne(16, 3), 1);
        assert_eq!(borne(0, 1024), 1);
    }
}
