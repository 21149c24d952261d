//! Answers to what does not run. Whoever asks again and again is answered ever later.

use std::{sync::Arc, time::Duration};

use rcmd_protocol::{
    frame::{Frame, Refusal},
    outcome::{ErrorKind, WireError},
};

use super::Answer;
use crate::{
    admission::Backoff,
    job::{self, Sink},
    state::ServerState,
    trust::Peer,
};

/// Answers why there is no room. An identity that is turned away again and again is told so late: at
/// the pace of [`Admission::refuse`], whatever the pace of its asking.
///
/// [`Admission::refuse`]: crate::admission::Admission::refuse
pub(super) fn turn_away(
    state: &Arc<ServerState>,
    peer: &Peer,
    failure: WireError,
    answer: impl FnOnce(WireError) + Send + 'static,
) -> Answer {
    let Backoff { delay, pause_reading } = backoff(state, peer, &failure);
    if delay.is_zero() {
        answer(failure);
        return Answer::Answered;
    }
    let state = Arc::clone(state);
    state.clone().tasks.spawn(async move { answer(delayed(&state, failure, delay).await) });
    if pause_reading { Answer::Pause(delay) } else { Answer::Answered }
}

/// Returns how late a peer is to be told this failure.
pub(super) fn backoff(state: &ServerState, peer: &Peer, failure: &WireError) -> Backoff {
    if failure.kind != ErrorKind::Busy {
        return Backoff { delay: Duration::ZERO, pause_reading: false };
    }
    let quota = state.jobs.limits.load().quota_of(peer.identity());
    state.jobs.admission.refuse(peer.user(), &quota)
}

/// Waits before a failure is told; so much of the time to come again has passed then.
pub(super) async fn delayed(state: &ServerState, failure: WireError, delay: Duration) -> WireError {
    if delay.is_zero() {
        return failure;
    }
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = state.closing.cancelled() => {}
    }
    let waited = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    let left = failure.retry_after_ms.map(|wait| wait.saturating_sub(waited).max(1));
    WireError { retry_after_ms: left, ..failure }
}

/// Answers that nothing has started.
pub(super) fn refuse(sink: &Sink, failure: WireError) -> Answer {
    sink.link.send(job::not_started(sink.ch, failure));
    Answer::Answered
}

/// Answers that a job is not to be had.
pub(super) fn refused(sink: &Sink, reason: Refusal) -> Answer {
    sink.link.send(Frame::Refused { ch: sink.ch, reason, generation: None });
    Answer::Answered
}
