//! A host that is busy: when to come again, and when to stop trying.

use std::time::Duration;

use rcmd_protocol::outcome::{ErrorKind, WireError};
use tokio::time::Instant;

use super::{
    Channel,
    busy_retry::BusyRetry,
    overdue::Overdue,
    state::{Job, Lost, StartSent, State},
};
use crate::link::{backoff, notices::Notice, order::Purpose};

impl Channel {
    /// Rests until the host wants to be asked again, as far as it is believed. Returns false when it is not to
    /// be asked again: it did not say when, or that is later than anybody waits for, or nobody wants the
    /// command any more.
    pub(in crate::link) fn rest(&mut self, failure: &WireError) -> bool {
        // What is only taken up is never sent as a start.
        if self.purpose == Purpose::Attach {
            return false;
        }
        let now = Instant::now();
        let Some(wait) = failure.retry_after_ms.filter(|_| failure.kind == ErrorKind::Busy) else {
            return false;
        };
        let answers = self.busy_retry.answers();
        let again_at = now + backoff::rest(Duration::from_millis(wait), answers);
        let until = self.busy_retry.ends(now);
        if again_at > until {
            return false;
        }
        if self.requests.are_some() || !self.streams.rewind_input() {
            return false;
        }
        // The host may still hold the key of what it has just refused; its caller's own is kept.
        if !self.start.body().keep() && !self.start.renew_key() {
            return false;
        }
        self.sent = StartSent::Never;
        self.overdue = Overdue::default();
        self.state = State::Resting { until: again_at };
        self.job = Job::Unnamed;
        let answers = answers.saturating_add(1);
        self.busy_retry = BusyRetry::Busy { until, answer: failure.clone(), answers };
        self.notice(Notice::Busy(failure.message.clone()));
        true
    }

    /// Returns when it wants to be put onto a connection again, if it rests.
    pub(in crate::link) fn resting(&self) -> Option<Instant> {
        match self.state {
            State::Resting { until } => Some(until),
            _ => None,
        }
    }

    /// Rests no more, and waits for a connection from `now` on.
    pub(in crate::link) fn wake(&mut self, now: Instant) {
        if let State::Resting { .. } = self.state {
            self.state = State::Detached { lost: Some(Lost { at: now, since: now }) };
        }
    }

    /// Returns when nobody waits for the host any more: at once, when the command was signalled or cancelled
    /// before it ran.
    pub(super) fn busy_retry_ends(&self) -> Option<Instant> {
        match self.busy_retry {
            BusyRetry::Busy { .. } if self.sent != StartSent::Never => None,
            BusyRetry::Busy { .. } if self.requests.are_some() => Some(Instant::now()),
            BusyRetry::Busy { until, .. } => Some(until),
            BusyRetry::Untried(_) => None,
        }
    }

    /// Returns why it did not start, if that was the last thing that the host said.
    pub(super) fn turned_away(&self) -> Option<WireError> {
        match &self.busy_retry {
            BusyRetry::Busy { answer, .. } if self.sent == StartSent::Never => Some(answer.clone()),
            BusyRetry::Busy { .. } | BusyRetry::Untried(_) => None,
        }
    }
}
