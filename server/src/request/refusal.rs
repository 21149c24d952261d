//! Answers to requests that do not run. The more often a peer asks in vain, the later it is
//! answered.
//!
//! | requests | delay |
//! | --- | --- |
//! | refused for lack of room | [`turn_away`]: up to 1 s; past that the identity's connections are not read, one after the other |
//! | denied, failed, malformed, dry runs | [`gate`]: by identity, before the next request is looked at |

use std::{sync::Arc, time::Duration};

use rcmd_protocol::{
    frame::{Frame, Refusal},
    outcome::{ErrorKind, WireError},
};

use super::Answer;
use crate::{
    admission::Backoff,
    audit,
    job::{self, Sink},
    state::ServerState,
    trust::Peer,
};

/// Answers why there is no room. The more often an identity is refused, the later it is answered,
/// so that it is refused at the pace of [`Admission::refuse`], however fast it asks.
///
/// [`Admission::refuse`]: crate::admission::Admission::refuse
pub(super) fn turn_away(
    state: &Arc<ServerState>,
    peer: &Peer,
    failure: WireError,
    answer: impl FnOnce(WireError) + Send + 'static,
) -> Answer {
    if failure.kind != ErrorKind::Busy {
        count_denied(state, peer, 0);
    }
    let Backoff { delay, pause_reading } = backoff(state, peer, &failure);
    if delay.is_zero() {
        answer(failure);
        return Answer::Answered;
    }
    let state = Arc::clone(state);
    state.clone().tasks.spawn(async move { answer(delayed(&state, failure, delay).await) });
    if pause_reading { Answer::Pause(delay) } else { Answer::Answered }
}

/// Returns how late a peer is to be answered with this failure.
pub(super) fn backoff(state: &ServerState, peer: &Peer, failure: &WireError) -> Backoff {
    if failure.kind != ErrorKind::Busy {
        return Backoff { delay: Duration::ZERO, pause_reading: false };
    }
    let quota = state.jobs.limits.load().quota_of(peer.identity());
    state.jobs.admission.refuse(peer.user(), &quota)
}

/// Waits before a failure is answered, and subtracts that time from the time after which to try
/// again.
pub(super) async fn delayed(state: &ServerState, failure: WireError, delay: Duration) -> WireError {
    if delay.is_zero() {
        return failure;
    }
    wait(state, delay).await;
    let waited = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    let left = failure.retry_after_ms.map(|wait| wait.saturating_sub(waited).max(1));
    WireError { retry_after_ms: left, ..failure }
}

/// Waits as long as a peer must, if it asked for too much that does not run.
pub(super) async fn gate(state: &ServerState, peer: &Peer) {
    let quota = state.jobs.limits.load().quota_of(peer.identity());
    wait(state, state.jobs.admission.gate(peer.user(), &quota)).await;
}

/// Counts a request of `size` bytes that does not run and was recorded.
pub(super) fn count_denied(state: &ServerState, peer: &Peer, size: usize) {
    let quota = state.jobs.limits.load().quota_of(peer.identity());
    let recorded = audit::of_what_does_not_run(size);
    state.jobs.admission.count_denied(peer.user(), &quota, recorded);
}

/// Checks that a peer may have more written. While disk space is scarce, the rest is kept for
/// others.
///
/// # Errors
/// `resources`, if the peer had much written lately.
pub(super) fn check_disk(state: &ServerState, peer: &Peer) -> Result<(), WireError> {
    let jobs = &state.jobs;
    let quota = jobs.limits.load().quota_of(peer.identity());
    if jobs.audit.is_scarce() && jobs.admission.wrote_much(peer.user(), &quota) {
        return Err(audit::scarce());
    }
    Ok(())
}

async fn wait(state: &ServerState, delay: Duration) {
    if delay.is_zero() {
        return;
    }
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = state.closing.cancelled() => {}
    }
}

/// Answers that nothing has started.
pub(super) fn refuse(state: &ServerState, sink: &Sink, failure: WireError) -> Answer {
    state.jobs.counts.refused(&failure.kind);
    sink.link.send(job::not_started(sink.ch, failure));
    Answer::Answered
}

/// Answers that a job can't be attached to, for this reason.
pub(super) fn refused(sink: &Sink, reason: Refusal) -> Answer {
    sink.link.send(Frame::Refused { ch: sink.ch, reason, generation: None });
    Answer::Answered
}
