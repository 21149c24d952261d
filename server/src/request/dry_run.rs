//! Dry runs: answering what a start would be answered, without starting anything.

use std::{sync::Arc, time::SystemTime};

use rcmd_protocol::{
    error::ProtocolError,
    frame::{Frame, Start, Verdict},
    outcome::WireError,
    request::{Request, RequestError},
};
use tracing::debug;

use super::{
    Answer,
    authorize::{self, ExecContext},
    finder::Finder,
    hold, other_account,
    refusal::{check_disk, count_denied, gate, turn_away},
};
use crate::{
    job::Sink,
    policy::{self, RequestContext},
    state::ServerState,
    trust::Peer,
};

/// Answers whether a start would be permitted, in a task of its own. The dry run is written to the
/// audit before it is answered, and counts among the identity's commands until then.
///
/// # Errors
/// If the request breaks the protocol.
pub(crate) async fn dry_run(
    state: &Arc<ServerState>,
    peer: &Arc<Peer>,
    start: &Start,
    sink: Sink,
) -> Result<Answer, ProtocolError> {
    gate(state, peer).await;
    let size = start.body.payload().len();
    let request = match start.body.request() {
        Ok(request) => request,
        Err(RequestError::Protocol(fault)) => return Err(fault),
        Err(RequestError::Refused(failure)) => {
            count_denied(state, peer, 0);
            answer(peer, &sink, Err(failure));
            return Ok(Answer::Answered);
        }
    };
    let quota = state.jobs.limits.load().quota_of(peer.identity());
    let counted = state.registry.count(quota.channels, peer.user());
    let held = check_disk(state, peer).and_then(|()| hold(state, peer, size));
    let asker = Arc::clone(peer);
    let (counted, held) = match counted.and_then(|counted| Ok((counted, held?))) {
        Ok(reserved) => reserved,
        Err(failure) => {
            let busy = move |failure| answer(&asker, &sink, Err(failure));
            return Ok(turn_away(state, peer, failure, busy));
        }
    };
    let (judging, digest) = (Arc::clone(state), start.body.digest());
    state.tasks.spawn(async move {
        let asked = judging.jobs.audit.question(&request, digest);
        let judged = judge(&judging, &asker, request).await;
        drop(held);
        let recorded = judging.jobs.audit.asked(&asker, asked, judged.as_ref().err());
        // A dry run that can't be recorded is not answered.
        let judged = recorded.await.and(judged);
        count_denied(&judging, &asker, size);
        drop(counted);
        answer(&asker, &sink, judged);
    });
    Ok(Answer::Answered)
}

fn answer(peer: &Peer, sink: &Sink, judged: Result<String, WireError>) {
    debug!(%peer, permitted = judged.is_ok(), "asked");
    sink.link.send(Frame::Verdict(Verdict { ch: sink.ch, answer: judged.map(Some) }));
}

/// Judges a request. Returns a description of what it would run.
async fn judge(
    state: &Arc<ServerState>,
    peer: &Peer,
    request: Request,
) -> Result<String, WireError> {
    let slice = state.policy.load().slice(peer.principal());
    let account = other_account(state, &slice, &request).await?;
    let context = RequestContext::of(peer, SystemTime::now());
    let account = account.as_ref().unwrap_or(&state.account);
    let (path, finder) = (&state.settings.path, Finder::Server(state));
    let exec = ExecContext { account, path, job: "ask", finder };
    let (judged, facts) = authorize::dry_run(&slice, &request, exec, context).await?;
    Ok(policy::permission(&judged, &facts))
}
