//! Notices about the connection and about our signals while a command runs. Short disturbances are not reported.

use std::time::Duration;

use rcmd_client::{Notice, Signal};
use tokio::time::Instant;

use crate::signals::{Action, PATIENCE};

/// The time within which a restored connection, a free host or the end of a command that was signaled makes a
/// notice unnecessary.
const SILENT: Duration = Duration::from_secs(1);

/// The notices that are pending and those that were given.
#[derive(Debug, Default)]
pub(crate) struct LinkNotices {
    /// A loss that is not reported yet, and the time to report it.
    pending: Option<(Instant, String)>,
    /// True if a loss was reported, but not its end.
    told: bool,
    busy: Busy,
}

/// The state of the notice that the host is busy.
#[derive(Debug, Default)]
enum Busy {
    #[default]
    No,
    Pending(Instant, String),
    Told,
}

impl LinkNotices {
    /// Takes a notice. Returns the text to print now, if any.
    pub(crate) fn handle(&mut self, notice: &Notice, now: Instant) -> Option<String> {
        match notice {
            Notice::Lost(_) => {
                // Further attempts do not delay the report.
                if !self.told && self.pending.is_none() {
                    self.pending = Some((now + SILENT, notice.to_string()));
                }
                None
            }
            Notice::Resumed(_) => {
                self.pending = None;
                std::mem::take(&mut self.told).then(|| notice.to_string())
            }
            Notice::Busy(_) => {
                if matches!(self.busy, Busy::No) {
                    self.busy = Busy::Pending(now + SILENT, notice.to_string());
                }
                None
            }
            other => {
                self.handle_start();
                Some(other.to_string())
            }
        }
    }

    /// Notes that the command has started or has its place in the queue, so that the host is no longer busy.
    pub(crate) fn handle_start(&mut self) {
        self.busy = Busy::No;
    }

    /// Returns whether no notice is pending and no reported loss has yet to end.
    pub(crate) fn is_calm(&self) -> bool {
        self.pending.is_none() && !self.told && matches!(self.busy, Busy::No)
    }

    /// Returns when to call [`LinkNotices::handle_timeout`].
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let lost = self.pending.as_ref().map(|(at, _)| *at);
        let busy = match &self.busy {
            Busy::Pending(at, _) => Some(*at),
            Busy::No | Busy::Told => None,
        };
        lost.into_iter().chain(busy).min()
    }

    /// Handles the time of [`LinkNotices::timeout`]. Returns the text to print now, if any.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<String> {
        if let Busy::Pending(at, text) = &mut self.busy
            && *at <= now
        {
            let text = std::mem::take(text);
            self.busy = Busy::Told;
            return Some(text);
        }
        let (_, text) = self.pending.take_if(|(at, _)| *at <= now)?;
        self.told = true;
        Some(text)
    }
}

/// Notices about signals that are passed on to a command, which may ignore them.
#[derive(Debug, Default)]
pub(crate) struct SignalNotices {
    /// A signal that was passed on, and when to tell of it.
    pending: Option<(Instant, Signal)>,
    /// True once it was told that what runs is killed.
    told_kill: bool,
}

impl SignalNotices {
    /// Takes what is done about what runs. Returns what to say about it now.
    pub(crate) fn handle(&mut self, action: Action, now: Instant) -> Option<String> {
        match action {
            Action::Pass(signal) => {
                // The same signal once more does not make the first one any younger.
                self.pending.get_or_insert((now + SILENT, signal));
                None
            }
            Action::Kill => {
                self.pending = None;
                let is_news = !std::mem::replace(&mut self.told_kill, true);
                is_news.then(|| "what still runs is killed".to_owned())
            }
            Action::GiveUp(_) => None,
        }
    }

    /// Returns when to call [`SignalNotices::handle_timeout`].
    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.pending.map(|(at, _)| at)
    }

    /// Notes that the time of [`SignalNotices::timeout`] came. Returns what to say now.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<String> {
        let (_, signal) = self.pending.take_if(|(at, _)| *at <= now)?;
        let next = match signal {
            Signal::INT | Signal::QUIT => "interrupt again to kill it".to_owned(),
            _ => {
                format!("it is killed {} s after the signal, or if interrupted", PATIENCE.as_secs())
            }
        };
        Some(format!("{signal} was passed on, and what runs has not ended; {next}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_heeded_at_once_is_not_told_and_an_ignored_one_with_what_to_do() {
        let (mut news, now) = (SignalNotices::default(), Instant::now());
        assert_eq!(news.handle(Action::Pass(Signal::INT), now), None);
        assert_eq!(news.timeout(), Some(now + SILENT));
        assert_eq!(news.handle_timeout(now + SILENT / 2), None);
        assert_eq!(
            news.handle_timeout(now + SILENT).unwrap(),
            "SIGINT was passed on, and what runs has not ended; interrupt again to kill it"
        );
        assert_eq!(news.timeout(), None);
        let kill = news.handle(Action::Kill, now + SILENT);
        assert_eq!(kill.unwrap(), "what still runs is killed");
        assert_eq!(news.handle(Action::Kill, now + SILENT), None, "it is known");
        assert_eq!(news.handle(Action::GiveUp(Signal::INT), now + SILENT), None);
    }

    #[test]
    fn a_kill_before_the_first_signal_was_told_is_told_alone() {
        let (mut news, now) = (SignalNotices::default(), Instant::now());
        news.handle(Action::Pass(Signal::INT), now);
        assert!(news.handle(Action::Kill, now).is_some());
        assert_eq!(news.timeout(), None);
    }

    #[test]
    fn after_term_the_time_of_the_kill_is_told_and_a_second_term_delays_nothing() {
        let (mut news, now) = (SignalNotices::default(), Instant::now());
        news.handle(Action::Pass(Signal::TERM), now);
        news.handle(Action::Pass(Signal::TERM), now + SILENT / 2);
        let told = news.handle_timeout(now + SILENT).unwrap();
        assert!(
            told.starts_with("SIGTERM was passed on") && told.contains("killed 5 s after"),
            "{told}"
        );
    }

    fn lost() -> Notice {
        Notice::Lost("connection reset".to_owned())
    }

    #[test]
    fn a_short_loss_is_never_mentioned() {
        let (mut news, now) = (LinkNotices::default(), Instant::now());
        assert_eq!(news.handle(&lost(), now), None);
        let resumed = Notice::Resumed(Duration::from_millis(300));
        assert_eq!(news.handle(&resumed, now + Duration::from_millis(300)), None);
        assert_eq!(news.timeout(), None);
    }

    #[test]
    fn a_long_loss_is_told_once_and_so_is_its_end() {
        let (mut news, now) = (LinkNotices::default(), Instant::now());
        news.handle(&lost(), now);
        assert_eq!(news.handle_timeout(now), None);
        assert_eq!(news.handle(&lost(), now + SILENT / 2), None);
        assert_eq!(news.timeout(), Some(now + SILENT));
        assert!(news.handle_timeout(now + SILENT).unwrap().contains("connection lost"));
        assert_eq!(news.handle(&lost(), now + SILENT), None);
        let resumed = Notice::Resumed(Duration::from_millis(3200));
        assert_eq!(news.handle(&resumed, now + SILENT).unwrap(), "resumed after 3.2 s");
        assert_eq!(news.handle(&resumed, now + SILENT), None);
    }

    #[test]
    fn a_host_that_is_busy_for_long_is_told_once() {
        let busy = Notice::Busy("full".to_owned());
        let (mut news, now) = (LinkNotices::default(), Instant::now());
        assert_eq!(news.handle(&busy, now), None);
        assert_eq!(news.handle(&busy, now + SILENT / 2), None);
        assert_eq!(news.timeout(), Some(now + SILENT));
        assert_eq!(news.handle_timeout(now + SILENT).unwrap(), "busy (full); trying again");
        assert_eq!(news.handle(&busy, now + SILENT), None);
        assert_eq!(news.timeout(), None);
    }

    #[test]
    fn a_host_that_is_busy_for_a_moment_is_never_mentioned() {
        let (mut news, now) = (LinkNotices::default(), Instant::now());
        assert_eq!(news.handle(&Notice::Busy("full".to_owned()), now), None);
        news.handle_start();
        assert_eq!(news.timeout(), None);
    }
}
