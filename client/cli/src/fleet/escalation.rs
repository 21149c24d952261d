//! The stages of ending a run by signals.

use std::time::Duration;

use rcmd_client::{Child, Signal};
use tokio::time::Instant;

/// The time from the signal that is passed on to the kill.
const PATIENCE: Duration = Child::PATIENCE;

/// The time from the kill to the end of waiting for the commands to end.
pub(crate) const LAST_ENDS: Duration = Duration::from_secs(3);

/// A step towards the end of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Begin no further host, and show where each stands.
    Stop,
    /// Pass this signal on to what runs, too.
    Pass(Signal),
    /// Kill the commands that run.
    Kill,
}

/// Returns what a person is told at an interrupt. `nothing` is what begins no more, such as "no further
/// host"; `passed` is the signal that what runs gets, if it gets one.
pub(crate) fn announcement(nothing: &str, passed: Option<Signal>) -> String {
    match passed {
        None => format!("interrupted: {nothing} begins; again to interrupt what runs"),
        Some(signal) => format!(
            "interrupted: {nothing} begins, and what runs gets {signal}; in {}, or if interrupted again, it is \
             killed",
            humantime::format_duration(PATIENCE)
        ),
    }
}

/// The stage that signals have brought a run to.
///
/// ```text
///          INT, QUIT            INT, QUIT, TERM, HUP         5 s or INT, QUIT
///   Calm ------------> Stopped ----------------------> Passed ----------------> Killed
///     |                                                  ^
///     +---------------- TERM, HUP -----------------------+
/// ```
#[derive(Debug, Default)]
pub(crate) struct Escalation {
    stage: Stage,
    /// The first signal, which the exit status tells.
    first: Option<Signal>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Calm,
    Stopped,
    Passed {
        until: Instant,
    },
    Killed,
}

impl Escalation {
    /// Takes a signal. Returns what is to be done, if that is anything new.
    pub(crate) fn handle_signal(&mut self, signal: Signal, now: Instant) -> Option<Step> {
        self.first.get_or_insert(signal);
        let interrupts = signal == Signal::INT || signal == Signal::QUIT;
        match self.stage {
            Stage::Calm if interrupts => {
                self.stage = Stage::Stopped;
                Some(Step::Stop)
            }
            Stage::Calm | Stage::Stopped => {
                self.stage = Stage::Passed { until: now + PATIENCE };
                Some(Step::Pass(signal))
            }
            Stage::Passed { .. } if interrupts => {
                self.stage = Stage::Killed;
                Some(Step::Kill)
            }
            Stage::Passed { .. } | Stage::Killed => None,
        }
    }

    /// Returns when to call [`Escalation::handle_timeout`].
    pub(crate) fn timeout(&self) -> Option<Instant> {
        match self.stage {
            Stage::Passed { until } => Some(until),
            Stage::Calm | Stage::Stopped | Stage::Killed => None,
        }
    }

    /// Notes that the time of [`Escalation::timeout`] came. Returns what is to be done.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Step> {
        match self.stage {
            Stage::Passed { until } if until <= now => {
                self.stage = Stage::Killed;
                Some(Step::Kill)
            }
            _ => None,
        }
    }

    /// Returns the first signal, if there was one.
    pub(crate) fn first(&self) -> Option<Signal> {
        self.first
    }

    /// Returns whether nobody waits for a reader that is slow any more.
    pub(crate) fn is_impatient(&self) -> bool {
        self.stage == Stage::Killed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_interrupt_stops_the_second_is_passed_on_and_the_third_kills() {
        let (mut escalation, now) = (Escalation::default(), Instant::now());
        assert_eq!(escalation.handle_signal(Signal::INT, now), Some(Step::Stop));
        assert_eq!(escalation.timeout(), None, "nobody is hurried");
        let second = escalation.handle_signal(Signal::INT, now);
        assert_eq!(second, Some(Step::Pass(Signal::INT)));
        assert_eq!(escalation.handle_signal(Signal::INT, now), Some(Step::Kill));
        assert_eq!(escalation.handle_signal(Signal::INT, now), None);
        assert!(escalation.is_impatient());
    }

    #[test]
    fn term_is_the_first_two_at_once_and_five_seconds_later_it_kills() {
        for signal in [Signal::TERM, Signal::HUP] {
            let (mut escalation, now) = (Escalation::default(), Instant::now());
            assert_eq!(escalation.handle_signal(signal, now), Some(Step::Pass(signal)));
            assert_eq!(escalation.handle_signal(signal, now), None, "it does not hurry");
            assert_eq!(escalation.handle_timeout(now), None);
            assert_eq!(escalation.timeout(), Some(now + PATIENCE));
            assert_eq!(escalation.handle_timeout(now + PATIENCE), Some(Step::Kill));
            assert_eq!(escalation.first(), Some(signal));
        }
    }
}
