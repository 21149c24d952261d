//! Healing: the proof of a loss for each command, and the making of the next connection.

use std::{io, time::Duration};

use rcmd_protocol::{
    frame::Frame,
    io::ConnectionError,
    outcome::{ErrorKind, Outcome, WireError},
};
use tokio::time::{Instant, timeout};

use super::{ConnectionDriver, Healing, NextDial, Proof};
use crate::{
    error::Error,
    link::{
        channel::Channel,
        connection::{Connection, PeerWork, Silence},
        dial::{ByteStream, DialError, Dialing},
        notices::Notice,
    },
};

impl ConnectionDriver {
    /// Takes the end of the connection, and decides what it proves for each channel.
    pub(super) async fn lost(&mut self, ended: ConnectionError) {
        let Some(connection) = self.connection.take() else { return };
        self.numbers.clear();
        self.healing.racing_since = None;
        let greeted = connection.hello.is_some();
        let reason = match &ended {
            ConnectionError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                "it was cut off".to_owned()
            }
            ended => ended.to_string(),
        };
        let verdict = match ended {
            ConnectionError::Protocol(fault) => {
                // Nothing that this server says can be relied on.
                let failure = fault.failure();
                let message = format!("{} broke the protocol: {}", self.host, failure.message);
                self.end_all(&WireError { message, ..failure }, Proof::None);
                return connection.close(PeerWork::Busy).await;
            }
            // A server that was started anew may have no room for all at once.
            ConnectionError::ClosedByPeer(failure)
                if failure.kind == ErrorKind::Busy
                    && !self.channels.values().all(Channel::is_fresh) =>
            {
                None
            }
            ConnectionError::ClosedByPeer(failure)
                if failure.kind == ErrorKind::Busy && !greeted =>
            {
                return self.hold_off(&failure);
            }
            // Its certificate ended in the middle; whoever dials again has another, or learns why not.
            ConnectionError::ClosedByPeer(failure) if failure.kind == ErrorKind::Tls && greeted => {
                None
            }
            // The server judges a client before it takes any start from it.
            ConnectionError::ClosedByPeer(failure) if !greeted => {
                Some((failure, Proof::NothingRan))
            }
            ConnectionError::ClosedByPeer(failure) => Some((failure, Proof::None)),
            ConnectionError::Io(error) if !greeted => {
                self.connector.refusal(error).ok().map(|failure| (failure, Proof::NothingRan))
            }
            ConnectionError::Io(_)
            | ConnectionError::Closed
            | ConnectionError::Gone(_)
            | ConnectionError::Slow => None,
        };
        if let Some((failure, proof)) = verdict {
            return self.end_all(&failure, proof);
        }
        self.detach_all(Instant::now(), &reason);
        self.dial_soon();
    }

    /// Puts to rest the commands that may be sent again, because the server has no room for this connection now.
    fn hold_off(&mut self, failure: &WireError) {
        for channel in self.channels.values_mut() {
            if channel.resting().is_none() && !channel.rest(failure) {
                let _ended = channel.conclude(Outcome::NotStarted, failure.clone());
            }
        }
        self.channels.retain(|_, channel| channel.resting().is_some());
        self.rest();
    }

    /// Puts those that have rested onto the connection, or has one made.
    fn wake(&mut self, now: Instant) {
        let rested = |channel: &Channel| channel.resting().is_some_and(|at| now >= at);
        let ids: Vec<_> =
            self.channels.iter().filter(|(_, of)| rested(of)).map(|(&id, _)| id).collect();
        for id in ids {
            match (&self.connection, self.channels.get_mut(&id)) {
                (None, Some(channel)) => {
                    channel.wake(now);
                    self.dial_soon();
                }
                _ => self.attach_to(id, Channel::attach_to),
            }
        }
    }

    /// Keeps a connection that was silent and speaks again, instead of the one that was being made beside it:
    /// it was only slow. Returns whether there is a connection that needs no other.
    pub(super) fn recover(&mut self) -> bool {
        let speaks = self.connection.as_ref().is_some_and(Connection::is_answered);
        if speaks && let Some(since) = self.healing.racing_since.take() {
            self.healing.next = NextDial::Unwanted;
            self.healing.backoff.reset();
            for channel in self.channels.values() {
                channel.notice(Notice::Resumed(since.elapsed()));
            }
        }
        speaks
    }

    pub(super) fn detach_all(&mut self, since: Instant, reason: &str) {
        for channel in self.channels.values_mut().filter(|channel| channel.resting().is_none()) {
            channel.lose(since);
            channel.notice(Notice::Lost(reason.to_owned()));
        }
        self.healing.lost = Some(reason.to_owned());
    }

    /// Ends all commands for one reason.
    pub(super) fn end_all(&mut self, failure: &WireError, proof: Proof) {
        for channel in self.channels.values_mut() {
            let _ended = if proof == Proof::NothingRan && channel.is_fresh() {
                channel.conclude(Outcome::NotStarted, failure.clone())
            } else {
                channel.end_without(failure.clone())
            };
        }
        self.channels.clear();
        self.numbers.clear();
        self.rest();
    }

    /// Returns whether no other connection is being made.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.healing.next, NextDial::Unwanted)
    }

    pub(super) fn dial_soon(&mut self) {
        if self.is_idle() && !self.channels.is_empty() {
            self.healing.next = NextDial::Due(Instant::now() + self.healing.backoff.pause());
        }
    }

    pub(super) fn dial_error(&mut self, dial_error: DialError) {
        self.healing.next = NextDial::Unwanted;
        if dial_error.is_final && self.connection.is_none() {
            return self.end_all(&dial_error.error.into(), Proof::None);
        }
        self.healing.dial_error = Some(dial_error.error);
        self.dial_soon();
    }

    /// Takes a new connection. The one before is dropped first, with all that it may still have
    /// said: only then do the offsets that each channel states stay true.
    pub(super) fn adopt(&mut self, stream: Box<dyn ByteStream>) {
        self.healing.next = NextDial::Unwanted;
        self.healing.dial_error = None;
        if self.recover() {
            return;
        }
        self.healing.racing_since = None;
        if let Some(old) = self.connection.take() {
            let since = old.since().unwrap_or_else(Instant::now);
            self.channels.values_mut().for_each(|channel| channel.lose(since));
        }
        self.numbers.clear();
        self.connection = Some(Connection::new(stream, self.connector.compression()));
        if self.suspended {
            self.tell(Frame::Suspend);
        }
        let awake = self.channels.iter().filter(|(_, channel)| channel.resting().is_none());
        let ids: Vec<_> = awake.map(|(&id, _)| id).collect();
        ids.into_iter().for_each(|id| self.attach_to(id, Channel::attach_to));
    }

    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        self.recover();
        if self.healing.next.due().is_some_and(|due| now >= due) {
            // One that gets no answer must leave time for another within the grace.
            let attempt = within(self.grace() / 2, self.connector.dial());
            self.healing.next = NextDial::Running(attempt);
        }
        self.give_up(now);
        self.hurry(now);
        self.wake(now);
        if let Some(patience) = self.patience()
            && let Some(connection) = &mut self.connection
            && let Silence::Since(since) = connection.silence(now, patience)
            && self.is_idle()
        {
            self.healing.racing_since = Some(since);
            let silent = now.duration_since(since).as_secs_f32();
            for channel in self.channels.values() {
                channel.notice(Notice::Lost(format!("nothing was heard for {silent:.1} s")));
            }
            self.dial_soon();
        }
    }

    pub(super) fn give_up(&mut self, now: Instant) {
        let grace = self.grace();
        let late =
            |channel: &Channel| channel.deadline(grace).is_some_and(|deadline| now >= deadline);
        let ids: Vec<_> =
            self.channels.iter().filter(|(_, channel)| late(channel)).map(|(&id, _)| id).collect();
        for id in ids {
            let asks = self.channels.get(&id).is_some_and(Channel::asks);
            let failure = self.grace_is_over(asks);
            if let Some(channel) = self.channels.get_mut(&id) {
                let next = channel.end_without(failure);
                self.advance(id, next);
            }
        }
    }

    /// Sees to the commands whose host is late.
    fn hurry(&mut self, now: Instant) {
        if self.suspended {
            return;
        }
        let late = |channel: &Channel| channel.overdue().is_some_and(|at| now >= at);
        let ids: Vec<_> =
            self.channels.iter().filter(|(_, channel)| late(channel)).map(|(&id, _)| id).collect();
        for id in ids {
            let Some(channel) = self.channels.get_mut(&id) else { continue };
            let on = channel.ch().is_some();
            let next = channel.hurry(now, self.connection.as_mut().filter(|_| on));
            self.advance(id, next);
        }
    }

    /// Returns the failure of a command that was not taken up again, or with `asks` of a question that was
    /// not answered, of which nothing can have run.
    pub(super) fn grace_is_over(&self, asks: bool) -> WireError {
        let Healing { lost, dial_error, .. } = &self.healing;
        let lost = lost.as_deref().unwrap_or("it was never made");
        let mut message = format!("the connection to {} was lost ({lost})", self.host);
        match dial_error {
            Some(dial_error) => {
                message.push_str(&format!(" and could not be made again: {dial_error}"))
            }
            None if asks => message.push_str(" and the question was not answered in time"),
            None => message.push_str(" and the command was not taken up again in time"),
        }
        let doctor = format!("Try `rcmd-client doctor {}`", self.host);
        let hint = match asks {
            true => format!("{doctor}; nothing was asked to run."),
            false => format!("{doctor}; look on the host for what the command did."),
        };
        WireError::new(ErrorKind::Lost, message).hint(hint)
    }
}

/// Limits the time of an attempt.
fn within(limit: Duration, dialing: Dialing) -> Dialing {
    Box::pin(async move {
        timeout(limit, dialing).await.unwrap_or_else(|_| {
            let late = WireError::new(ErrorKind::Unreachable, "there was no answer in time");
            Err(DialError { error: Error::Answer(late), is_final: false })
        })
    })
}
