//! Hosts that were not reached, or that refused this client: none of them is dialled again for each line.

use std::collections::HashMap;
use std::time::Duration;

use rcmd_client::WireError;
use tokio::time::Instant;

use crate::commands::dispatch::HostId;

/// The time after which a host is dialled again for a line of standard input, whose writer may have waited for
/// the host to come back.
const REST: Duration = Duration::from_secs(1);

/// The hosts that are not dialled.
#[derive(Debug)]
pub(super) struct Refusals {
    /// True if a host that was not reached counts as such for the whole run: all lines were there before.
    are_final: bool,
    /// The failure of each, and its time.
    by_host: HashMap<HostId, (WireError, Instant)>,
}

impl Refusals {
    /// Returns the refusals of a run that has tried no host; `are_final` is true for the lines of a file.
    pub(super) fn new(are_final: bool) -> Self {
        Self { are_final, by_host: HashMap::new() }
    }

    /// Adds a host that was not reached, or that refused this client.
    pub(super) fn add(&mut self, host: HostId, why: &WireError, now: Instant) {
        self.by_host.insert(host, (why.clone(), now));
    }

    /// Returns why a host is not dialled now; none if it may be.
    pub(super) fn of(&mut self, host: HostId, now: Instant) -> Option<WireError> {
        let (why, since) = self.by_host.get(&host)?;
        if self.are_final || now < *since + REST {
            return Some(why.clone());
        }
        self.by_host.remove(&host);
        None
    }
}

#[cfg(test)]
mod tests {
    use rcmd_client::ErrorKind;

    use super::*;

    fn why() -> WireError {
        WireError::new(ErrorKind::Tls, "no")
    }

    #[test]
    fn for_the_lines_of_a_file_a_refusal_holds_to_the_end() {
        let (mut refusals, now) = (Refusals::new(true), Instant::now());
        assert_eq!(refusals.of(0, now), None);
        refusals.add(0, &why(), now);
        assert_eq!(refusals.of(0, now + 1000 * REST), Some(why()));
        assert_eq!(refusals.of(1, now), None, "of another host nothing is known");
    }

    #[test]
    fn for_a_line_that_comes_later_a_host_is_tried_again() {
        let (mut refusals, now) = (Refusals::new(false), Instant::now());
        refusals.add(0, &why(), now);
        assert_eq!(refusals.of(0, now + REST / 2), Some(why()));
        assert_eq!(refusals.of(0, now + REST), None);
        refusals.add(0, &why(), now + REST);
        assert_eq!(refusals.of(0, now + REST), Some(why()));
    }
}
