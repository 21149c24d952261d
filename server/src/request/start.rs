//! From a frame that asks for a command to the job that is it: read, resolve, judge, register, run.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcmd_protocol::{
    error::ProtocolError,
    frame::{Attach, Attached, End, Frame, OutputOffsets, Refusal, Start, Stream, Verdict},
    ids::{JobId, Key, RequestDigest},
    outcome::{ErrorKind, WireError},
    request::{Request, RequestError},
};
use tracing::{debug, info};

use crate::{
    admission::{Backoff, Entering, budget::Share},
    config::limits::REQUEST_ALWAYS,
    job::{
        self, Attachment, JobHandle, JobSpec, Message, Prepared, Sink, StartOptions,
        idempotency::KeyState, registry::Lookup,
    },
    policy::{self, AuthorizedRequest, PolicySlice, RequestContext},
    process::{Account, SpawnError},
    request::authorize::{self, ExecContext, Permitted, Refused},
    state::ServerState,
    trust::Peer,
};

/// What came of a frame that asks for a command.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The channel belongs to this job from now on.
    Job(JobHandle),
    /// It was refused, or is about to be.
    Refused,
    /// As [`Answer::Refused`], and the connection is not to be read for so long.
    Pause(Duration),
}

/// Starts a command, or attaches to the one that its key has started already. Nothing here waits for
/// the disk, the file system or the name service: that is left to a task of the start's own.
///
/// # Errors
/// When the start breaks the protocol.
pub(crate) async fn start(
    state: &Arc<ServerState>,
    peer: &Arc<Peer>,
    start: Start,
    sink: Sink,
) -> Result<Answer, ProtocolError> {
    let request = match start.body.request() {
        Ok(request) => request,
        Err(RequestError::Protocol(fault)) => return Err(fault),
        Err(RequestError::Refused(failure)) => {
            return Ok(no_request(state, peer, sink, failure));
        }
    };
    let Some(options) = StartOptions::of(&start.body) else {
        let failure = WireError::new(ErrorKind::Protocol, "none of the digests is known here")
            .hint("Every server has sha256.");
        return Ok(refuse(&sink, failure));
    };
    let (handle, registered) = job::register();
    let (user, key, digest) = (peer.user(), start.key, start.body.digest());
    let quota = state.jobs.limits.load().quota_of(peer.identity());
    match state.registry.claim(quota.channels, user, key, digest, &handle) {
        Err(failure) => {
            return Ok(turn_away(state, peer, failure, move |failure| _ = refuse(&sink, failure)));
        }
        Ok(Lookup::Job(job)) => {
            return Ok(match may_attach(state, peer, &sink) {
                true => take_up(job, sink, None).await,
                false => Answer::Refused,
            });
        }
        Ok(Lookup::Conflict) => return Ok(refused(&sink, Refusal::Conflict)),
        Ok(Lookup::Gone) => {
            return Ok(answer_kept(state, peer, &start, options, &sink, Refusal::Gone));
        }
        Ok(Lookup::Unknown) => {}
    }
    let reservation = KeyReservation {
        state: Arc::clone(state),
        user: user.to_owned(),
        key,
        job: handle.clone(),
        started: false,
    };
    if start.body.keep() && state.jobs.idempotency.find(user, key, digest).is_some() {
        return Ok(answer_kept(state, peer, &start, options, &sink, Refusal::Gone));
    }
    let id = match JobId::random() {
        Ok(id) => id,
        Err(error) => {
            let message = format!("no random numbers: {error}");
            return Ok(refuse(&sink, WireError::new(ErrorKind::Resources, message)));
        }
    };
    let admitted = match admit(state, peer, start.body.payload().len()) {
        Ok(admitted) => admitted,
        Err(failure) => {
            return Ok(not_admitted(
                reservation,
                Arc::clone(peer),
                id,
                request,
                digest,
                sink,
                failure,
            ));
        }
    };
    let spec = JobSpec {
        id: id.clone(),
        kept: start.body.keep().then_some(key),
        digest,
        peer: Arc::clone(peer),
        sink,
        options,
        lock: request.lock().cloned(),
    };
    let preparing = prepare(Arc::clone(state), Arc::clone(peer), id, request, digest, admitted);
    let jobs = Arc::clone(&state.jobs);
    // 10 KB, which a spawn would copy eight times.
    let life = Box::pin(registered.live(spec, preparing, jobs, reservation.ended()));
    state.tasks.spawn(async move {
        let mut reservation = reservation;
        reservation.started = life.await;
    });
    Ok(Answer::Job(handle))
}

/// Says whether a start would be permitted. It counts among the identity's commands until it is
/// answered, by a task of its own.
///
/// # Errors
/// When it breaks the protocol.
pub(crate) fn ask(
    state: &Arc<ServerState>,
    peer: &Arc<Peer>,
    start: &Start,
    sink: Sink,
) -> Result<Answer, ProtocolError> {
    let request = match start.body.request() {
        Err(RequestError::Protocol(fault)) => return Err(fault),
        Err(RequestError::Refused(failure)) => {
            say(peer, &sink, Err(failure));
            return Ok(Answer::Refused);
        }
        Ok(request) => request,
    };
    let quota = state.jobs.limits.load().quota_of(peer.identity());
    let counted = state.registry.count(quota.channels, peer.user());
    let counted =
        counted.and_then(|counted| Ok((counted, hold(state, start.body.payload().len())?)));
    let (state, peer) = (Arc::clone(state), Arc::clone(peer));
    let counted = match counted {
        Ok(counted) => counted,
        Err(failure) => {
            let asker = Arc::clone(&peer);
            return Ok(turn_away(&state, &peer, failure, move |failure| {
                say(&asker, &sink, Err(failure));
            }));
        }
    };
    state.clone().tasks.spawn(async move {
        let judged = would(&state, &peer, request).await;
        drop(counted);
        say(&peer, &sink, judged);
    });
    Ok(Answer::Refused)
}

/// Answers a question.
fn say(peer: &Peer, sink: &Sink, judged: Result<String, WireError>) {
    debug!(%peer, permitted = judged.is_ok(), "asked");
    let (note, failure) = match judged {
        Ok(note) => (Some(note), None),
        Err(failure) => (None, Some(failure)),
    };
    let permitted = failure.is_none();
    sink.link.send(Frame::Verdict(Verdict { ch: sink.ch, permitted, note, failure }));
}

/// What a start would run.
async fn would(
    state: &Arc<ServerState>,
    peer: &Peer,
    request: Request,
) -> Result<String, WireError> {
    let slice = state.policy.load().slice(peer.principal());
    let account = other_account(state, &slice, &request).await?;
    let context = RequestContext { source: peer.address().ip(), time: SystemTime::now() };
    let judge = {
        let state = Arc::clone(state);
        move || {
            let account = account.as_ref().unwrap_or(&state.account);
            let exec = ExecContext { account, path: &state.settings.path, job: "ask" };
            let (judged, facts) = authorize::dry_run(&slice, &request, exec, context)?;
            Ok::<_, Refused>(policy::permission(&judged, &facts))
        }
    };
    Ok(state.files.run(judge).await??)
}

/// A key that is taken in the registry; given back when dropped.
struct KeyReservation {
    state: Arc<ServerState>,
    user: String,
    key: Key,
    job: JobHandle,
    /// Whether anything has run under it, so that it must not be used again.
    started: bool,
}

impl KeyReservation {
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

impl Drop for KeyReservation {
    fn drop(&mut self) {
        self.state.registry.gone(&self.user, self.key, &self.job, self.started);
    }
}

/// What was reserved for a start before anything is looked at for it.
struct Admitted {
    entering: Entering,
    held: Share,
}

/// Reserves what a start of this size needs until it runs.
fn admit(state: &ServerState, peer: &Peer, size: usize) -> Result<Admitted, WireError> {
    if state.is_draining() {
        return Err(job::draining());
    }
    let quota = state.jobs.limits.load().quota_of(peer.identity());
    let entering = state.jobs.admission.try_start(peer.user(), &quota)?;
    Ok(Admitted { entering, held: hold(state, size)? })
}

/// Counts what is kept of a request of this size until it runs.
fn hold(state: &ServerState, size: usize) -> Result<Share, WireError> {
    let budget = &state.jobs.budget;
    if size > REQUEST_ALWAYS && !budget.has_room() {
        return Err(WireError::new(
            ErrorKind::Busy,
            "the server holds as much as it may for its clients",
        )
        .hint("Nothing ran; try again when commands that wait have started.")
        .retry_after_ms(1000));
    }
    let mut share = Share::new(Arc::clone(budget));
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
    let Some(name) = request.user() else { return Ok(None) };
    policy::authorize_early(slice, request)?;
    Ok(Some(state.accounts.find(name).await.map_err(SpawnError::from)?))
}

/// Turns down a start for which there is no room, once it is written down that it was asked for.
fn not_admitted(
    reservation: KeyReservation,
    peer: Arc<Peer>,
    id: JobId,
    request: Request,
    digest: RequestDigest,
    sink: Sink,
    failure: WireError,
) -> Answer {
    let state = Arc::clone(&reservation.state);
    let Backoff { delay, pause_reading } = lateness(&state, &peer, &failure);
    state.clone().tasks.spawn(async move {
        let audit = &state.jobs.audit;
        let failure = match audit.attempt(&peer, &id, &request, &digest) {
            Ok(_) => {
                audit.refused(&peer, &id, &failure);
                failure
            }
            Err(unwritable) => unwritable,
        };
        // Its key is free by the time that its client knows.
        drop(reservation);
        refuse(&sink, delayed(&state, failure, delay).await);
    });
    if pause_reading { Answer::Pause(delay) } else { Answer::Refused }
}

/// Writes down that a command was asked for, finds what it speaks of on this host, and has it judged.
async fn prepare(
    state: Arc<ServerState>,
    peer: Arc<Peer>,
    id: JobId,
    request: Request,
    digest: RequestDigest,
    admitted: Admitted,
) -> Result<Prepared, Refused> {
    state.jobs.audit.attempt(&peer, &id, &request, &digest)?;
    match look_into(&state, &peer, id, request, admitted).await {
        Err(Refused::Failed(failure)) => {
            let Backoff { delay, .. } = lateness(&state, &peer, &failure);
            Err(delayed(&state, failure, delay).await.into())
        }
        judged => judged,
    }
}

async fn look_into(
    state: &Arc<ServerState>,
    peer: &Arc<Peer>,
    id: JobId,
    request: Request,
    admitted: Admitted,
) -> Result<Prepared, Refused> {
    let slice = state.policy.load().slice(peer.principal());
    let account = other_account(state, &slice, &request).await?;
    let judge = {
        let (state, peer) = (Arc::clone(state), Arc::clone(peer));
        move || {
            let account = account.as_ref().unwrap_or(&state.account);
            let exec = ExecContext { account, path: &state.settings.path, job: id.as_str() };
            let permitted = authorize::permit(&slice, &peer, &request, exec);
            permitted.map(|permitted| (permitted, request))
        }
    };
    let (Permitted { permit, note, facts }, request) = state.files.run(judge).await??;
    let Admitted { entering, held } = admitted;
    Ok(Prepared { permit, authorized: AuthorizedRequest { request, facts }, held, note, entering })
}

/// Judges whether a peer may take up its own command now: rules, groups, address and time may be
/// others than at its start. What became of the command is then unknown to the client.
fn may_attach(state: &Arc<ServerState>, peer: &Arc<Peer>, sink: &Sink) -> bool {
    let context = RequestContext { source: peer.address().ip(), time: SystemTime::now() };
    let slice = state.policy.load().slice(peer.principal());
    let judged = policy::authorize_attach(&slice, peer.user(), context);
    let Err(denial) = judged else { return true };
    let (state, peer, sink) = (Arc::clone(state), Arc::clone(peer), sink.clone());
    // The audit is on the disk.
    state.clone().tasks.spawn(async move {
        state.jobs.audit.denied(&peer, None, &denial);
        info!(%peer, why = denial.kind.as_str(), rules = ?denial.rules, %denial, "denied");
        sink.link.send(job::unknown(sink.ch, denial.into()));
    });
    false
}

/// Takes a job up again.
pub(crate) async fn attach(
    state: &Arc<ServerState>,
    peer: &Arc<Peer>,
    attach: Attach,
    sink: Sink,
) -> Answer {
    if !may_attach(state, peer, &sink) {
        return Answer::Refused;
    }
    // Keys are kept for an identity, so that another's is as unknown as one that never was.
    match state.registry.find(peer.user(), attach.key, attach.digest) {
        Lookup::Job(job) => take_up(job, sink, Some(attach.received)).await,
        Lookup::Conflict => refused(&sink, Refusal::Conflict),
        Lookup::Gone => refused(&sink, Refusal::Gone),
        Lookup::Unknown => refused(&sink, Refusal::UnknownKey),
    }
}

async fn take_up(job: JobHandle, sink: Sink, received: Option<OutputOffsets>) -> Answer {
    let attachment = Attachment::new(sink, received);
    match job.tell(Message::Attach(attachment)).await {
        true => Answer::Job(job),
        false => Answer::Refused,
    }
}

/// Answers a start whose key is written down and whose job is no longer in memory.
fn answer_kept(
    state: &Arc<ServerState>,
    peer: &Arc<Peer>,
    start: &Start,
    options: StartOptions,
    sink: &Sink,
    otherwise: Refusal,
) -> Answer {
    if !may_attach(state, peer, sink) {
        return Answer::Refused;
    }
    let ch = sink.ch;
    match state.jobs.idempotency.find(peer.user(), start.key, start.body.digest()) {
        None => refused(sink, otherwise),
        Some(KeyState::Conflict) => refused(sink, Refusal::Conflict),
        Some(KeyState::Expired) => refuse(
            sink,
            WireError::new(ErrorKind::KeyExpired, "this key was used more than 7 days ago")
                .hint("Whatever it started has ended; use another --key to run it again."),
        ),
        Some(KeyState::Lost) => {
            let failure = WireError::new(
                ErrorKind::Lost,
                "this key was used, and the server was killed before its command ended",
            )
            .hint("Look on the host for what it did; use another --key to run it again.");
            sink.link.send(job::unknown(ch, failure));
            Answer::Refused
        }
        Some(KeyState::Ended { job, exit }) => {
            // What the command wrote is gone; the offsets say that there was something.
            sink.link.send(Frame::Attached(Attached {
                ch,
                job,
                digest: options.algorithm,
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
            Answer::Refused
        }
    }
}

/// Answers why there is no room. An identity that is turned away again and again is told so late: at
/// the pace of [`Admission::refuse`], whatever the pace of its asking.
///
/// [`Admission::refuse`]: crate::admission::Admission::refuse
fn turn_away(
    state: &Arc<ServerState>,
    peer: &Peer,
    failure: WireError,
    answer: impl FnOnce(WireError) + Send + 'static,
) -> Answer {
    let Backoff { delay, pause_reading } = lateness(state, peer, &failure);
    if delay.is_zero() {
        answer(failure);
        return Answer::Refused;
    }
    let state = Arc::clone(state);
    state.clone().tasks.spawn(async move { answer(delayed(&state, failure, delay).await) });
    if pause_reading { Answer::Pause(delay) } else { Answer::Refused }
}

/// Returns how late a peer is to be told this.
fn lateness(state: &ServerState, peer: &Peer, failure: &WireError) -> Backoff {
    if failure.kind != ErrorKind::Busy {
        return Backoff { delay: Duration::ZERO, pause_reading: false };
    }
    let quota = state.jobs.limits.load().quota_of(peer.identity());
    state.jobs.admission.refuse(peer.user(), &quota)
}

/// Waits before a failure is told; so much of the time to come again has passed then.
async fn delayed(state: &ServerState, failure: WireError, delay: Duration) -> WireError {
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

/// Rejects a malformed start. Nothing can be audited as an attempt, so only the refusal is recorded.
fn no_request(
    state: &Arc<ServerState>,
    peer: &Arc<Peer>,
    sink: Sink,
    failure: WireError,
) -> Answer {
    let (state, peer) = (Arc::clone(state), Arc::clone(peer));
    // The audit is on the disk.
    state.clone().tasks.spawn(async move {
        if let Ok(id) = JobId::random() {
            state.jobs.audit.refused(&peer, &id, &failure);
        }
        refuse(&sink, failure);
    });
    Answer::Refused
}

fn refuse(sink: &Sink, failure: WireError) -> Answer {
    sink.link.send(job::not_started(sink.ch, failure));
    Answer::Refused
}

fn refused(sink: &Sink, reason: Refusal) -> Answer {
    sink.link.send(Frame::Refused { ch: sink.ch, reason, generation: None });
    Answer::Refused
}
