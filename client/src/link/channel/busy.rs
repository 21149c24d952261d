//! A host that is busy: when to come again, and when to stop trying.

use std::time::Duration;

use rcmd_protocol::{
    ids::Key,
    outcome::{ErrorKind, Failure},
};
use tokio::time::Instant;

use super::{Channel, StartSent, State};
use crate::link::{backoff::spread, input::Input, progress::Notice};

impl Channel {
    /// Rests until the host wants to be asked again. False when it is not to be asked again: it did
    /// not say when, or that is later than anybody waits for, or nobody wants the command any more.
    pub(in crate::link) fn rest(&mut self, failure: &Failure) -> bool {
        let now = Instant::now();
        let Some(wait) = failure.retry_after_ms.filter(|_| failure.kind == ErrorKind::Busy) else {
            return false;
        };
        let again_at = now.checked_add(spread(Duration::from_millis(wait)));
        let until = *self.busy_retry.until.get_or_insert(now + self.busy_retry.limit);
        let Some(again_at) = again_at.filter(|&at| at <= until) else { return false };
        if self.is_unwanted() || !self.input.as_mut().is_none_or(Input::rewind) {
            return false;
        }
        // The host may still hold the key of what it has just refused; its caller's own is kept.
        if !self.body.keep() {
            let Ok(key) = Key::random() else { return false };
            self.key = key;
        }
        self.sent = StartSent::Never;
        self.state = State::Detached;
        self.lost = None;
        self.job = None;
        self.busy_retry.answer = Some(failure.clone());
        self.busy_retry.again_at = Some(again_at);
        self.notice(Notice::Busy(failure.message.clone()));
        true
    }

    /// When it wants to be put onto a connection again.
    pub(in crate::link) fn resting(&self) -> Option<Instant> {
        self.busy_retry.again_at
    }

    /// Rests no more.
    pub(in crate::link) fn wake(&mut self) {
        self.busy_retry.again_at = None;
    }

    /// When nobody waits for the host any more: at once, when the command was signalled or cancelled
    /// before it ran.
    pub(super) fn busy_retry_ends(&self) -> Option<Instant> {
        let until = self.busy_retry.until.filter(|_| self.sent == StartSent::Never)?;
        Some(if self.is_unwanted() { Instant::now() } else { until })
    }

    /// Why it did not start, if that was the last thing that the host said.
    pub(super) fn turned_away(&mut self) -> Option<Failure> {
        self.busy_retry.answer.take().filter(|_| self.sent == StartSent::Never)
    }

    fn is_unwanted(&self) -> bool {
        self.cancelled || !self.signals.is_empty()
    }
}
