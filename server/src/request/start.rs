//! A start: its key and room for it are reserved at once; the rest is done in a task of its own.

use std::{sync::Arc, time::SystemTime};

use rcmd_certs::clock;
use rcmd_protocol::{
    error::ProtocolError,
    frame::Start,
    ids::{JobId, RequestDigest},
    outcome::{ErrorKind, WireError},
    request::{Request, RequestError},
};

use super::{
    Answer,
    attach::{answer_kept, answer_known},
    authorize,
    finder::{ExecContext, Finder},
    hold, other_account,
    refusal::{backoff, check_disk, count_denied, delayed, gate, refuse, turn_away},
};
use crate::{
    admission::{Backoff, Entering, budget::Share},
    job::{
        self, JobSpec, Judged, Judging, Prepared, Rejection, Sink, StartOptions,
        card::About,
        registry::{KeyReservation, Reservation},
    },
    policy::{self, Access, RequestContext},
    state::ServerState,
    trust::Peer,
};

/// The maximum characters of an account's name that operators are shown: more than any account has.
const ACCOUNT: usize = 64;

/// Starts a command, or attaches to the one that its key has started already. Nothing here waits
/// for the disk, the file system or the name service: the job does, in a task of its own.
///
/// # Errors
/// If the start breaks the protocol.
pub(crate) async fn start(
    state: &Arc<ServerState>,
    peer: &Arc<Peer>,
    start: Start,
    sink: Sink,
) -> Result<Answer, ProtocolError> {
    gate(state, peer).await;
    let size = start.body.payload().len();
    let request = match start.body.request() {
        Ok(request) => request,
        Err(RequestError::Protocol(fault)) => return Err(fault),
        Err(RequestError::Refused(failure)) => {
            return Ok(no_request(state, peer, &sink, failure));
        }
    };
    let Some(options) = StartOptions::of(&start.body) else {
        let message = "the server supports none of the digest algorithms that the client offers";
        let failure = WireError::new(ErrorKind::Protocol, message)
            .hint("Update the client, or offer sha256, which every server supports.");
        return Ok(refuse(state, &sink, failure));
    };
    let id = match JobId::random() {
        Ok(id) => id,
        Err(error) => {
            let message = format!("the host's operating system gave no random numbers: {error}");
            let failure = WireError::new(ErrorKind::Resources, message);
            return Ok(refuse(state, &sink, failure.hint("Nothing ran; try again.")));
        }
    };
    let (handle, mailbox) = job::register(about(state, peer, &id, &request));
    let (user, key, digest) = (peer.user(), start.key, start.body.digest());
    let quota = state.jobs.limits.load().quota_of(peer.identity());
    let reservation = match state.registry.reserve(quota.channels, user, key, digest, &handle) {
        Ok(Reservation::New(reservation)) => reservation,
        Ok(Reservation::Known(known)) => {
            return Ok(answer_known(state, peer, known, &start, options, sink).await);
        }
        Err(failure) => {
            let owner = Arc::clone(state);
            let answer = move |failure| _ = refuse(&owner, &sink, failure);
            return Ok(turn_away(state, peer, failure, answer));
        }
    };
    let is_kept = start.body.keep();
    if is_kept && let Some(kept) = state.jobs.idempotency.find(user, key, digest) {
        return Ok(answer_kept(state, peer, kept, options, &sink).await);
    }
    let attempt = Attempt { id: id.clone(), request, digest };
    let room = match admit(state, peer, size) {
        Ok(room) => room,
        Err(failure) => {
            return Ok(not_admitted(state, peer, attempt, reservation, sink, failure));
        }
    };
    let spec = JobSpec {
        id,
        kept: is_kept.then_some(key),
        digest,
        peer: Arc::clone(peer),
        options,
        lock: attempt.request.lock().cloned(),
    };
    // Boxed, so that its memory is freed when it is done: the rest lives as long as the command.
    let preparing = prepare(Arc::clone(state), Arc::clone(peer), attempt, size, room);
    let preparing = Box::pin(preparing);
    let jobs = Arc::clone(&state.jobs);
    // Boxed because the future is large, and `spawn` would copy it several times.
    state.tasks.spawn(Box::pin(mailbox.live(spec, sink, preparing, jobs, reservation)));
    Ok(Answer::Job(handle))
}

/// Returns what operators see of a request.
fn about(state: &ServerState, peer: &Peer, id: &JobId, request: &Request) -> About {
    let own = || state.jobs.user.to_string_lossy().into_owned();
    let shown = |user: &[u8]| user.escape_ascii().map(char::from).take(ACCOUNT).collect();
    let account = request.user().map_or_else(own, shown);
    About {
        job: id.to_string(),
        user: peer.user().to_owned(),
        address: peer.origin().to_string(),
        account,
        command: state.jobs.audit.shown(request),
        asked_at: clock::now_ms(),
    }
}

/// A command that a client asks for.
struct Attempt {
    id: JobId,
    request: Request,
    digest: RequestDigest,
}

/// The reservations for a start, made before anything is looked at for it.
struct Room {
    entering: Entering,
    held: Share,
}

/// Reserves what a start of `size` bytes needs until it runs.
fn admit(state: &ServerState, peer: &Peer, size: usize) -> Result<Room, WireError> {
    if state.is_draining() {
        return Err(job::draining());
    }
    check_disk(state, peer)?;
    let quota = state.jobs.limits.load().quota_of(peer.identity());
    let entering = state.jobs.admission.try_start(peer.user(), &quota, size)?;
    Ok(Room { entering, held: hold(state, peer, size)? })
}

/// Refuses a start for which there is no room, after recording that it was asked for.
fn not_admitted(
    state: &Arc<ServerState>,
    peer: &Arc<Peer>,
    attempt: Attempt,
    reservation: KeyReservation,
    sink: Sink,
    failure: WireError,
) -> Answer {
    let Backoff { delay, pause_reading } = backoff(state, peer, &failure);
    let quota = state.jobs.limits.load().quota_of(peer.identity());
    // A peer that does not wait, or had much written, is only counted.
    let alone = failure.kind == ErrorKind::Busy
        && !pause_reading
        && state.jobs.admission.may_record(peer.user(), &quota);
    let (state, peer) = (Arc::clone(state), Arc::clone(peer));
    state.clone().tasks.spawn(async move {
        let failure = write_down(&state, &peer, attempt, alone, failure).await;
        // The key is free before the client can know of the refusal.
        drop(reservation);
        if failure.kind != ErrorKind::Busy {
            count_denied(&state, &peer, 0);
        }
        refuse(&state, &sink, delayed(&state, failure, delay).await);
    });
    if pause_reading { Answer::Pause(delay) } else { Answer::Answered }
}

/// Records that a start was refused. Returns the failure that its client is to be answered with.
async fn write_down(
    state: &ServerState,
    peer: &Peer,
    attempt: Attempt,
    alone: bool,
    failure: WireError,
) -> WireError {
    let (audit, Attempt { id, request, digest }) = (&state.jobs.audit, attempt);
    if !alone {
        audit.turned_away(peer);
        return failure;
    }
    match audit.attempt(peer, &id, &request, &digest).await {
        Ok(_) => {
            audit.refused(peer, &id, &failure).await;
            failure
        }
        Err(unwritable) => unwritable,
    }
}

/// Records that a command was asked for, finds on this host what it names, and has it judged.
async fn prepare(
    state: Arc<ServerState>,
    peer: Arc<Peer>,
    attempt: Attempt,
    size: usize,
    room: Room,
) -> Result<Prepared, Rejection> {
    let Attempt { id, request, digest } = attempt;
    // The record is written while the host is looked at, and before the result has any effect.
    let written = state.jobs.audit.attempt(&peer, &id, &request, &digest);
    let request = Arc::new(request);
    let judged = judge(&state, &peer, &id, &request).await;
    written.await?;
    let judged = judged.inspect_err(|_| count_denied(&state, &peer, size))?;
    let folders = {
        let (state, peer) = (Arc::clone(&state), Arc::clone(&peer));
        move |access: &Access| {
            let slice = state.policy.load().slice(peer.principal());
            let context = RequestContext::of(&peer, SystemTime::now());
            policy::authorize_access(&slice, access, context).map(drop)
        }
    };
    let again = {
        let request = Arc::clone(&request);
        move || -> Judging { Box::pin(async move { judge(&state, &peer, &id, &request).await }) }
    };
    let Room { entering, mut held } = room;
    // What was found is kept with the request, to be judged again if the rules change.
    held.set(size.saturating_mul(2).saturating_add(judged.facts.size()));
    let (again, folders) = (Box::new(again), Box::new(folders));
    Ok(Prepared { judged, again, folders, request, held, entering })
}

/// Finds on this host what a request names, and has it judged by the rules of this moment.
async fn judge(
    state: &ServerState,
    peer: &Arc<Peer>,
    id: &JobId,
    request: &Request,
) -> Result<Judged, Rejection> {
    let slice = state.policy.load().slice(peer.principal());
    let account = other_account(state, &slice, request).await?;
    let account = account.as_ref().unwrap_or(&state.account);
    let (path, finder) = (&state.settings.path, Finder::Server(state));
    let exec = ExecContext { account, path, job: id.as_str(), finder, own: Some(&state.own) };
    authorize::permit(&slice, peer, request, exec).await
}

/// Refuses a malformed start. There is no request to record as an attempt, so only the refusal is
/// recorded.
fn no_request(
    state: &Arc<ServerState>,
    peer: &Arc<Peer>,
    sink: &Sink,
    failure: WireError,
) -> Answer {
    count_denied(state, peer, 0);
    let (Ok(()), Ok(id)) = (check_disk(state, peer), JobId::random()) else {
        state.jobs.audit.turned_away(peer);
        return refuse(state, sink, failure);
    };
    let (recorded, sink) = (state.jobs.audit.refused(peer, &id, &failure), sink.clone());
    let owner = Arc::clone(state);
    state.tasks.spawn(async move {
        recorded.await;
        refuse(&owner, &sink, failure);
    });
    Answer::Answered
}
