//! From a frame that asks for a command to the job that is it: read, resolve, judge, register, run.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcmd_protocol::{
    fault::Fault,
    frame::{Attach, Attached, End, Frame, Refusal, Start, Stream, Verdict},
    ids::{JobId, Key},
    outcome::{ErrorKind, Failure},
    request::{Request, RequestError},
};
use tracing::{debug, info};

use crate::{
    admission::{Backoff, budget::Share},
    config::limits::REQUEST_ALWAYS,
    job::{
        self, Attachment, Beginning, JobHandle, Message, Sink, Wishes, idempotency::KeyState,
        registry::Lookup,
    },
    judging::{self, Ground, Permitted, Refused},
    policy::{self, AuthorizedRequest, Denial, PolicySlice, RequestContext},
    process::{Account, SpawnError},
    state::ServerState,
    trust::Peer,
};

/// Starts a command, or attaches to the one that its key has started already. Gives the job that the
/// channel belongs to from now on; none when it was answered with a refusal.
///
/// # Errors
/// When the start breaks the protocol.
pub async fn start(
    state: &Arc<ServerState>,
    peer: &Arc<Peer>,
    start: Start,
    sink: Sink,
) -> Result<Option<JobHandle>, Fault> {
    let request = match Request::from_start(&start) {
        Ok(request) => request,
        Err(RequestError::Fault(fault)) => return Err(fault),
        Err(RequestError::Refused(failure)) => {
            return Ok(no_request(state, peer, &sink, failure));
        }
    };
    let Some(wishes) = Wishes::of(&start) else {
        let failure = Failure::new(ErrorKind::Protocol, "none of the digests is known here")
            .hint("Every server has sha256.");
        return Ok(refuse(&sink, failure));
    };
    let (handle, registered) = job::register();
    let (user, key, digest) = (peer.user(), start.key, start.digest);
    let quota = state.jobs.limits.load().quota_of(peer.identity());
    match state.registry.claim(quota.channels, user, key, digest, &handle) {
        Err(failure) => return Ok(turn_away(state, peer, sink, failure).await),
        Ok(Lookup::Job(_)) if !may_attach(state, peer, &sink) => return Ok(None),
        Ok(Lookup::Job(job)) => return Ok(take_up(job, sink, None).await),
        Ok(Lookup::Conflict) => return Ok(refused(&sink, Refusal::Conflict)),
        Ok(Lookup::Gone) => {
            return Ok(answer_kept(state, peer, &start, wishes, &sink, Refusal::Gone));
        }
        Ok(Lookup::Unknown) => {}
    }
    let claim = Claim {
        state: Arc::clone(state),
        user: user.to_owned(),
        key,
        job: handle.clone(),
        started: false,
    };
    if start.keep && state.jobs.idempotency.find(user, key, digest).is_some() {
        return Ok(answer_kept(state, peer, &start, wishes, &sink, Refusal::Gone));
    }
    let id = match attempt(state, peer, &request, &start) {
        Ok(id) => id,
        Err(failure) => return Ok(refuse(&sink, failure)),
    };
    let beginning = match prepare(state, peer, id.clone(), request, &start, wishes, &sink).await {
        Ok(beginning) => beginning,
        Err(failure) => {
            // A denial is written down where it is made, with the rules that decided.
            if failure.kind != ErrorKind::Denied {
                state.jobs.audit.refused(peer, &id, &failure);
            }
            // Its key is free by the time that its client knows.
            drop(claim);
            return Ok(turn_away(state, peer, sink, failure).await);
        }
    };
    let jobs = Arc::clone(&state.jobs);
    // 10 KB, which a spawn would copy eight times.
    let life = Box::pin(registered.live(beginning, jobs, claim.ended()));
    state.tasks.spawn(async move {
        let mut claim = claim;
        claim.started = life.await;
    });
    Ok(Some(handle))
}

/// Says whether a start would be permitted.
///
/// # Errors
/// When it breaks the protocol.
pub async fn ask(
    state: &ServerState,
    peer: &Peer,
    start: &Start,
    sink: &Sink,
) -> Result<(), Fault> {
    let judged = match Request::from_start(start) {
        Err(RequestError::Fault(fault)) => return Err(fault),
        Err(RequestError::Refused(failure)) => Err(failure),
        Ok(request) => would(state, peer, &request).await,
    };
    debug!(%peer, permitted = judged.is_ok(), "asked");
    let (note, failure) = match judged {
        Ok(note) => (Some(note), None),
        Err(failure) => (None, Some(failure)),
    };
    let permitted = failure.is_none();
    sink.link.send(Frame::Verdict(Verdict { ch: sink.ch, permitted, note, failure }));
    Ok(())
}

/// What a start would run.
async fn would(state: &ServerState, peer: &Peer, request: &Request) -> Result<String, Failure> {
    let slice = state.policy.load().slice(peer.principal());
    let account = other_account(state, &slice, request).await?;
    let account = account.as_ref().unwrap_or(&state.account);
    let ground = Ground { account, path: &state.settings.path, job: "ask" };
    let context = RequestContext { source: peer.address().ip(), time: SystemTime::now() };
    let (judged, facts) = judging::rehearse(&slice, request, ground, context)?;
    Ok(policy::permission(&judged, &facts))
}

/// A key that is taken in the registry; given back when dropped.
struct Claim {
    state: Arc<ServerState>,
    user: String,
    key: Key,
    job: JobHandle,
    /// Whether anything has run under it, so that it must not be used again.
    started: bool,
}

impl Claim {
    /// Frees the key at once when nothing has run under it: its client may try again.
    fn ended(&self) -> impl FnOnce(bool) + Send + use<> {
        let registry = Arc::clone(&self.state.registry);
        let (user, key, job) = (self.user.clone(), self.key, self.job.clone());
        move |started| match started {
            true => registry.ended(&user, key, &job),
            false => registry.gone(&user, key, &job, false),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.state.registry.gone(&self.user, self.key, &self.job, self.started);
    }
}

/// Counts what is kept of a request until it runs.
fn hold(jobs: &job::Shared, request: &Start) -> Result<Share, Failure> {
    let size = request.payload.len();
    if size > REQUEST_ALWAYS && !jobs.budget.has_room() {
        return Err(Failure::new(
            ErrorKind::Busy,
            "the server holds as much as it may for its clients",
        )
        .hint("Nothing ran; try again when commands that wait have started.")
        .retry_after_ms(1000));
    }
    let mut share = Share::new(Arc::clone(&jobs.budget));
    // Once to be run, and once to be judged again when the rules change meanwhile.
    share.set(size.saturating_mul(2));
    Ok(share)
}

/// The account that a request names, if it names one. Who may run nothing learns nothing of who
/// exists here.
async fn other_account(
    state: &ServerState,
    slice: &PolicySlice,
    request: &Request,
) -> Result<Option<Account>, Refused> {
    let Some(name) = &request.user else { return Ok(None) };
    policy::authorize_early(slice, request)?;
    Ok(Some(state.accounts.find(name).await.map_err(SpawnError::from)?))
}

/// Names the job that there will be, and writes down that it was asked for.
fn attempt(
    state: &ServerState,
    peer: &Peer,
    request: &Request,
    start: &Start,
) -> Result<JobId, Failure> {
    let id = JobId::random().map_err(|error| {
        Failure::new(ErrorKind::Resources, format!("no random numbers: {error}"))
    })?;
    state.jobs.audit.attempt(peer, &id, request, &start.digest)?;
    Ok(id)
}

/// Finds what the request speaks of on this host, and has it judged.
async fn prepare(
    state: &ServerState,
    peer: &Arc<Peer>,
    id: JobId,
    request: Request,
    start: &Start,
    wishes: Wishes,
    sink: &Sink,
) -> Result<Beginning, Failure> {
    if state.is_draining() {
        return Err(job::draining());
    }
    let quota = state.jobs.limits.load().quota_of(peer.identity());
    state.jobs.admission.try_start(peer.user(), &quota)?;
    let held = hold(&state.jobs, start)?;
    let slice = state.policy.load().slice(peer.principal());
    let refused = |refused| match refused {
        Refused::Denied(denial) => denied(state, peer, Some(&id), denial),
        Refused::Failed(error) => error.into(),
    };
    let account = other_account(state, &slice, &request).await.map_err(refused)?;
    let account = account.as_ref().unwrap_or(&state.account);
    let ground = Ground { account, path: &state.settings.path, job: id.as_str() };
    let Permitted { permit, note, facts } =
        judging::permit(&slice, peer, &request, ground).map_err(refused)?;
    Ok(Beginning {
        id,
        kept: start.keep.then_some(start.key),
        digest: start.digest,
        permit,
        lock: request.lock.clone(),
        authorized: AuthorizedRequest { request, facts },
        held,
        note,
        sink: sink.clone(),
        wishes,
    })
}

/// What a denial leaves behind: its line in the log, and what the client is told. Every denial comes
/// by here, once.
fn denied(state: &ServerState, peer: &Peer, job: Option<&JobId>, denial: Denial) -> Failure {
    state.jobs.audit.denied(peer, job, &denial);
    info!(%peer, why = denial.kind.as_str(), rules = ?denial.rules, %denial, "denied");
    denial.into()
}

/// Judges whether a peer may take up its own command now: rules, groups, address and time may be
/// others than at its start. What became of the command is then unknown to the client.
fn may_attach(state: &ServerState, peer: &Peer, sink: &Sink) -> bool {
    let context = RequestContext { source: peer.address().ip(), time: SystemTime::now() };
    let slice = state.policy.load().slice(peer.principal());
    let judged = policy::authorize_attach(&slice, peer.user(), context);
    let Err(denial) = judged else { return true };
    sink.link.send(job::unknown(sink.ch, denied(state, peer, None, denial)));
    false
}

/// Takes a job up again. Gives the job that the channel belongs to from now on.
pub async fn attach(
    state: &Arc<ServerState>,
    peer: &Arc<Peer>,
    attach: Attach,
    sink: Sink,
) -> Option<JobHandle> {
    if !may_attach(state, peer, &sink) {
        return None;
    }
    // Keys are kept for an identity, so that another's is as unknown as one that never was.
    match state.registry.find(peer.user(), attach.key, attach.digest) {
        Lookup::Job(job) => take_up(job, sink, Some((attach.stdout, attach.stderr))).await,
        Lookup::Conflict => refused(&sink, Refusal::Conflict),
        Lookup::Gone => refused(&sink, Refusal::Gone),
        Lookup::Unknown => refused(&sink, Refusal::UnknownKey),
    }
}

async fn take_up(job: JobHandle, sink: Sink, received: Option<(u64, u64)>) -> Option<JobHandle> {
    let attachment = Attachment::new(sink, received);
    job.tell(Message::Attach(attachment)).await.then_some(job)
}

/// Answers a start whose key is written down and whose job is no longer in memory.
fn answer_kept(
    state: &ServerState,
    peer: &Peer,
    start: &Start,
    wishes: Wishes,
    sink: &Sink,
    otherwise: Refusal,
) -> Option<JobHandle> {
    if !may_attach(state, peer, sink) {
        return None;
    }
    let ch = sink.ch;
    match state.jobs.idempotency.find(peer.user(), start.key, start.digest) {
        None => refused(sink, otherwise),
        Some(KeyState::Conflict) => refused(sink, Refusal::Conflict),
        Some(KeyState::Expired) => refuse(
            sink,
            Failure::new(ErrorKind::KeyExpired, "this key was used more than 7 days ago")
                .hint("Whatever it started has ended; use another --key to run it again."),
        ),
        Some(KeyState::Lost) => {
            let failure = Failure::new(
                ErrorKind::Lost,
                "this key was used, and the server was killed before its command ended",
            )
            .hint("Look on the host for what it did; use another --key to run it again.");
            sink.link.send(job::unknown(ch, failure));
            None
        }
        Some(KeyState::Ended { job, exit }) => {
            // What the command wrote is gone; the offsets say that there was something.
            sink.link.send(Frame::Attached(Attached {
                ch,
                job,
                digest: wishes.algorithm,
                started_at: exit.started_at,
                stdin: 0,
                stdin_ended: true,
                number: 0,
                stdout: exit.stdout_bytes,
                stderr: exit.stderr_bytes,
            }));
            let streams = [
                (Stream::Stdout, exit.stdout_bytes, exit.stdout_digest),
                (Stream::Stderr, exit.stderr_bytes, exit.stderr_digest),
            ];
            for (stream, total, digest) in streams {
                if let Some(digest) = digest {
                    sink.link.send(Frame::End(End { ch, stream, total, digest, open: exit.open }));
                }
            }
            sink.link.send(Frame::Exit(rcmd_protocol::frame::Exit { ch, ..*exit }));
            None
        }
    }
}

/// Says why nothing runs. An identity that is turned away again and again is told so late: at the
/// pace of [`Admission::refuse`], whatever the pace of its asking.
///
/// [`Admission::refuse`]: crate::admission::Admission::refuse
async fn turn_away(
    state: &Arc<ServerState>,
    peer: &Peer,
    sink: Sink,
    failure: Failure,
) -> Option<JobHandle> {
    if failure.kind != ErrorKind::Busy {
        return refuse(&sink, failure);
    }
    let quota = state.jobs.limits.load().quota_of(peer.identity());
    let Backoff { delay, pause_reading } = state.jobs.admission.refuse(peer.user(), &quota);
    if delay.is_zero() {
        return refuse(&sink, failure);
    }
    let closing = state.closing.clone();
    let answer = async move {
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = closing.cancelled() => {}
        }
        refuse(&sink, sooner(failure, delay));
    };
    if pause_reading {
        answer.await;
    } else {
        state.tasks.spawn(answer);
    }
    None
}

/// The same for one who has waited for the answer: so much of the time to come again has passed.
fn sooner(failure: Failure, delay: Duration) -> Failure {
    let waited = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    let left = failure.retry_after_ms.map(|wait| wait.saturating_sub(waited).max(1));
    Failure { retry_after_ms: left, ..failure }
}

/// Turns down what makes no request, so that no attempt can be written down but only this.
fn no_request(
    state: &ServerState,
    peer: &Peer,
    sink: &Sink,
    failure: Failure,
) -> Option<JobHandle> {
    if let Ok(id) = JobId::random() {
        state.jobs.audit.refused(peer, &id, &failure);
    }
    refuse(sink, failure)
}

fn refuse(sink: &Sink, failure: Failure) -> Option<JobHandle> {
    sink.link.send(job::not_started(sink.ch, failure));
    None
}

fn refused(sink: &Sink, reason: Refusal) -> Option<JobHandle> {
    sink.link.send(Frame::Refused { ch: sink.ch, reason, generation: None });
    None
}
