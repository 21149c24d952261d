//! Notices about the connection while a command runs. Short disturbances are not reported.

use std::time::Duration;

use rcmd_client::Notice;
use tokio::time::Instant;

/// The time within which a restored connection or a free host makes a notice unnecessary.
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

#[cfg(test)]
mod tests {
    use super::*;

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
