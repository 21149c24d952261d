//! The time that a connection may be silent before it is doubted.

use std::time::Duration;

/// The silence after something was sent, before a sign of life is asked for.
const ASK: Duration = Duration::from_secs(1);
/// The silence after something was sent, before another connection is made.
const SILENT: Duration = Duration::from_secs(3);
/// The least part of a grace that is counted with: below it a link that is only slow would be
/// doubted all the time, whatever the server asks for.
const LEAST: Duration = Duration::from_millis(100);

/// The times that a connection may be silent.
///
/// A server that has lost its side of a connection, as when a firewall forgot it, kills the commands
/// when the grace is over, and says nothing that arrives. So a third of the grace is for noticing that
/// nothing comes, a third for the answer to a ping, and the last for another connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Patience {
    /// The silence before a sign of life is asked for, if nothing was sent.
    pub(crate) idle: Duration,
    /// The silence after something was sent, before a sign of life is asked for.
    pub(crate) ask: Duration,
    /// The silence after something was sent, before another connection is made.
    pub(crate) silent: Duration,
}

impl Patience {
    /// Returns the times for commands that outlive their connection for `grace`.
    pub(crate) fn within(grace: Duration) -> Self {
        let third = (grace / 3).max(LEAST);
        Self { idle: third, ask: ASK.min(third / 3), silent: SILENT.min(third) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_the_grace_is_left_for_another_connection() {
        for millis in [300, 1_000, 3_000, 10_000, 60_000, 3_600_000] {
            let grace = Duration::from_millis(millis);
            let Patience { idle, ask, silent } = Patience::within(grace);
            assert!(idle + silent <= grace * 2 / 3, "{grace:?}");
            assert!(ask < silent && silent <= SILENT, "{grace:?}");
        }
    }

    #[test]
    fn no_server_makes_a_client_ask_without_end() {
        let least = Patience::within(Duration::ZERO);
        assert_eq!((least.idle, least.silent), (LEAST, LEAST));
    }
}
