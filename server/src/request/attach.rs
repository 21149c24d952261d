//! Attaching to a running job, and answering what is recorded of one that has ended.

use std::sync::Arc;

use rcmd_protocol::{
    digest::{Algorithm, StreamDigest},
    frame::{Attach, Attached, End, Frame, OutputOffsets, Refusal, Start, Stream},
    outcome::{ErrorKind, WireError},
};
use tracing::info;

use super::{
    Answer, authorize,
    refusal::{check_disk, count_denied, gate, refuse, refused},
};
use crate::{
    job::{
        self, Attachment, JobHandle, Message, Sink, StartOptions, idempotency::KeyState,
        registry::Lookup,
    },
    policy::Access,
    state::ServerState,
    trust::Peer,
};

/// Attaches a connection to a job.
pub(crate) async fn attach(
    state: &Arc<ServerState>,
    peer: &Arc<Peer>,
    attach: Attach,
    sink: Sink,
) -> Answer {
    gate(state, peer).await;
    // Keys are kept for each identity: another's key is as unknown as one that was never used.
    let found = state.registry.find(peer.user(), attach.key, attach.digest);
    if !is_being_judged(&found) && !may_attach(state, peer, &sink) {
        return Answer::Answered;
    }
    let reason = match found {
        Lookup::Job(job) => return take_up(job, sink, Some(attach.received)).await,
        Lookup::Conflict => return refused(&sink, Refusal::Conflict),
        Lookup::Gone => Refusal::Gone,
        Lookup::Unknown => Refusal::UnknownKey,
    };
    // A key that is the client's own is written down, and outlives the job in memory.
    match state.jobs.idempotency.find(peer.user(), attach.key, attach.digest) {
        None => refused(&sink, reason),
        // A command was started under the key, so the answer is not that of a start.
        Some(KeyState::Expired) => refused(&sink, Refusal::Gone),
        Some(kept) => {
            let algorithm = agreed(&kept);
            tell(state, kept, algorithm, &sink)
        }
    }
}

/// Returns the algorithm by which a command's output was digested.
fn agreed(kept: &KeyState) -> Algorithm {
    let digest = match kept {
        KeyState::Ended { exit, .. } => exit.stdout().digest.or(exit.stderr().digest),
        KeyState::Conflict | KeyState::Expired | KeyState::Lost => None,
    };
    digest.map_or(Algorithm::Sha256, StreamDigest::algorithm)
}

/// Answers a start whose key is or was in use: attaches to the job, or answers what is recorded of
/// it.
pub(super) async fn answer_known(
    state: &Arc<ServerState>,
    peer: &Arc<Peer>,
    known: Lookup,
    start: &Start,
    options: StartOptions,
    sink: Sink,
) -> Answer {
    match known {
        Lookup::Conflict => return refused(&sink, Refusal::Conflict),
        _ if !is_being_judged(&known) && !may_attach(state, peer, &sink) => {
            return Answer::Answered;
        }
        Lookup::Job(job) => return take_up(job, sink, None).await,
        Lookup::Gone | Lookup::Unknown => {}
    }
    match state.jobs.idempotency.find(peer.user(), start.key, start.body.digest()) {
        Some(kept) => tell(state, kept, options.algorithm, &sink),
        None => refused(&sink, Refusal::Gone),
    }
}

/// Answers a start whose key is recorded and whose job is no longer in memory.
pub(super) async fn answer_kept(
    state: &Arc<ServerState>,
    peer: &Arc<Peer>,
    kept: KeyState,
    options: StartOptions,
    sink: &Sink,
) -> Answer {
    if may_attach(state, peer, sink) {
        tell(state, kept, options.algorithm, sink)
    } else {
        Answer::Answered
    }
}

async fn take_up(job: JobHandle, sink: Sink, received: Option<OutputOffsets>) -> Answer {
    let attachment = Attachment::new(sink, received);
    match job.tell(Message::Attach(attachment)).await {
        true => Answer::Job(job),
        false => Answer::Answered,
    }
}

/// Returns whether the job is not permitted yet. Nothing of it has run, and its own judgement
/// decides more about its client than [`may_attach`] could.
fn is_being_judged(found: &Lookup) -> bool {
    matches!(found, Lookup::Job(job) if !job.is_permitted())
}

/// Judges whether a peer may attach to its own command now: rules, groups, address and time may
/// differ from those at its start. If it may not, the client is answered that the outcome is
/// unknown.
fn may_attach(state: &Arc<ServerState>, peer: &Arc<Peer>, sink: &Sink) -> bool {
    let access = Access::Attach { owner: peer.user().to_owned() };
    let Err(denial) = authorize::access(state, peer, &access) else { return true };
    let recorded = match check_disk(state, peer) {
        Ok(()) => Some(state.jobs.audit.denied(peer, None, &denial)),
        Err(_) => {
            state.jobs.audit.turned_away(peer);
            None
        }
    };
    count_denied(state, peer, 0);
    info!(%peer, why = denial.kind.as_str(), rules = ?denial.rules, %denial, "denied");
    // The reader must not wait for the disk.
    let sink = sink.clone();
    state.tasks.spawn(async move {
        if let Some(recorded) = recorded {
            recorded.await;
        }
        sink.link.send(job::unknown(sink.ch, denial.into()));
    });
    false
}

/// Answers what is recorded of a key, with digests by this algorithm.
fn tell(state: &ServerState, kept: KeyState, algorithm: Algorithm, sink: &Sink) -> Answer {
    let ch = sink.ch;
    match kept {
        KeyState::Conflict => refused(sink, Refusal::Conflict),
        KeyState::Expired => refuse(
            state,
            sink,
            WireError::new(ErrorKind::KeyExpired, "this key was used more than 7 days ago")
                .hint("The command that it started has ended; to run it again, use another --key."),
        ),
        KeyState::Lost => {
            let failure = WireError::new(
                ErrorKind::Lost,
                "this key was used, and the server was killed before its command ended",
            )
            .hint("Check on the host what it did; to run it again, use another --key.");
            sink.link.send(job::unknown(ch, failure));
            Answer::Answered
        }
        KeyState::Ended { job, exit } => {
            // The command's output is no longer kept; the offsets show how much there was.
            sink.link.send(Frame::Attached(Attached {
                ch,
                job,
                digest: algorithm,
                started_at: exit.started_at(),
                stdin: 0,
                stdin_ended: true,
                number: 0,
                output: OutputOffsets { stdout: exit.stdout().bytes, stderr: exit.stderr().bytes },
            }));
            let streams = [(Stream::Stdout, exit.stdout()), (Stream::Stderr, exit.stderr())];
            for (stream, total) in streams {
                if let Some(digest) = total.digest {
                    let (total, open) = (total.bytes, exit.open());
                    sink.link.send(Frame::End(End { ch, stream, total, digest, open }));
                }
            }
            sink.link.send(Frame::Exit { ch, exit: *exit });
            Answer::Answered
        }
    }
}
