//! How many hosts at once the limit of descriptors bears.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are not for connections: the standard ones, the runtime's, files of output,
/// look-ups of names.
const KEPT_BACK: u64 = 64;
/// Descriptors of a host: its connection, and another beside it while that heals.
const EACH: u64 = 2;

/// Raises the limit of descriptors as far as this process may, and returns how many of `wanted` hosts
/// it bears at once, at least 1.
pub(super) fn bear(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_mul(EACH) + KEPT_BACK;
    let Some(current) = limit.current.filter(|&current| current < needed) else { return wanted };
    let raised = limit.maximum.map_or(needed, |maximum| maximum.min(needed)).max(current);
    let set = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit });
    borne(wanted, if set.is_ok() { raised } else { current })
}

fn borne(wanted: usize, descriptors: u64) -> usize {
    let hosts = descriptors.saturating_sub(KEPT_BACK) / EACH;
    usize::try_from(hosts).unwrap_or(usize::MAX).clamp(1, wanted.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_bears_two_descriptors_a_host_beside_what_is_kept_back() {
        assert_eq!(borne(64, 1024), 64);
        assert_eq!(borne(1000, 1024), 480);
        assert_eq!(borne(1000, 3), 1, "one host at a time always works");
    }
}
