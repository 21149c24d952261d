//! One authenticated connection: passes its frames to the handlers and jobs, and its end to all of
//! its jobs.

use std::{collections::HashMap, sync::Arc};

use rcmd_certs::{text::printable, tls::Revalidation};
use rcmd_protocol::{
    connection::Role,
    error::ProtocolError,
    frame::{Frame, Kind, capability},
    io::{self, ConnectionError, Reader, Sender},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadHalf},
    sync::SetOnce,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use crate::{
    admission::{
        budget::{ReadingShare, Share},
        slots::ConnectionSlot,
    },
    config::limits::{self, CLOSE},
    job::{JobHandle, Message, Sink},
    request::{Answer, attach, dry_run, start},
    state::ServerState,
    trust::Peer,
};

/// The least number of channels at which those of ended jobs are removed. A refused job ends before
/// its client has sent `done`, which it may never do.
const SWEEP: usize = 64;

/// A channel's job, and the generation of the attachment.
struct Channel {
    job: JobHandle,
    generation: u64,
}

struct Connection<S> {
    state: Arc<ServerState>,
    peer: Arc<Peer>,
    reader: Reader<ReadHalf<S>>,
    link: Sender,
    /// The protocol error that a job found in what the client sent.
    broken: Arc<SetOnce<ProtocolError>>,
    channels: HashMap<u32, Channel>,
    /// The number of channels at which those of ended jobs are removed next.
    sweep_at: usize,
    /// The memory that compression takes of the budget, if the client asked for compression.
    compression: Option<Share>,
}

/// Serves a connection until it ends. `hello_guard` is dropped when the client's hello has come.
pub(crate) async fn serve<S, G>(
    state: Arc<ServerState>,
    peer: Peer,
    slot: ConnectionSlot,
    stream: S,
    hello_guard: G,
) where
    S: AsyncRead + AsyncWrite + Send + 'static,
    G: Send,
{
    let keepalive = state.settings.keepalive;
    // The slice is computed now, so that the first command does not wait for it.
    state.policy.load().slice(peer.principal());
    let (mut reader, writer, link) = io::split(stream, Role::Server, keepalive);
    reader.join(slot.readers());
    reader.count_held(ReadingShare::new(state.jobs.budget.of(peer.user())));
    link.send(state.hello());
    // The writer is also aborted when this future is dropped, as at the deadline for the hello: it
    // holds half the socket.
    let mut writing = AbortOnDropHandle::new(state.tasks.spawn(writer.run()));
    let mut connection = Connection {
        broken: Arc::default(),
        peer: Arc::new(peer),
        state,
        reader,
        link,
        channels: HashMap::new(),
        sweep_at: SWEEP,
        compression: None,
    };
    let (judged, who) = (Arc::clone(&connection.state), Arc::clone(&connection.peer));
    let mut resumable = true;
    let ended = tokio::select! {
        ended = connection.read(hello_guard) => ended,
        (cut, failure) = judged.trust.watch_peer(&who) => {
            warn!(peer = %who, serial = who.identity().serial(), reason = %cut, "cut");
            judged.jobs.audit.cut(&who, &cut.to_string());
            connection.link.send(Frame::Error(failure));
            // A peer with a newer certificate may reconnect with that one; a revoked peer has none.
            resumable = cut != Revalidation::Revoked;
            ConnectionError::Closed
        }
        written = &mut writing => match written {
            Ok(Err(ended)) => ended,
            Ok(Ok(())) | Err(_) => ConnectionError::Closed,
        },
    };
    connection.reader.part().pass();
    connection.lose(&ended, resumable).await;
    connection.link.close();
    // A task that has ended must not be polled again.
    if !writing.is_finished() && timeout(CLOSE, &mut writing).await.is_err() {
        writing.abort();
    }
    drop(slot);
}

impl<S: AsyncRead + AsyncWrite> Connection<S> {
    async fn read<G>(&mut self, hello_guard: G) -> ConnectionError {
        match self.next().await {
            Ok(Frame::Hello(hello)) => {
                debug!(peer = %self.peer, agent = ?hello.agent, "connected");
                if hello.capabilities.iter().any(|wish| wish == capability::ZSTD) {
                    self.compress();
                }
            }
            Ok(_) => return ConnectionError::Closed,
            Err(ended) => return ended,
        }
        drop(hello_guard);
        let part = self.reader.part();
        loop {
            let frame = match self.next().await {
                Ok(frame) => frame,
                Err(ended) => return ended,
            };
            if let Err(fault) = part.until(self.take(frame)).await {
                self.link.send(Frame::Error(fault.failure()));
                return ConnectionError::Protocol(fault);
            }
        }
    }

    /// Begins to compress and permits the client to, if the budget of one stream covers the memory
    /// for it.
    fn compress(&mut self) {
        let budget = self.state.jobs.budget.of(self.peer.user());
        if budget.each() >= limits::COMPRESSION {
            let share = self.compression.insert(Share::new(budget));
            share.set(limits::COMPRESSION as usize);
            self.reader.allow_compression();
            self.link.send(Frame::Compress);
        }
    }

    async fn next(&mut self) -> Result<Frame, ConnectionError> {
        tokio::select! {
            frame = self.reader.next() => frame,
            fault = self.broken.wait() => Err(ConnectionError::Protocol(fault.clone())),
            () = self.state.closing.cancelled() => Err(ConnectionError::Closed),
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<(), ProtocolError> {
        let Some(ch) = frame.channel() else { return Ok(()) };
        let (generation, answer) = match frame {
            Frame::Start(frame) => {
                let generation = frame.generation;
                let sink = self.sink(ch, generation);
                (generation, start::start(&self.state, &self.peer, frame, sink).await?)
            }
            Frame::Ask(frame) => {
                let generation = frame.generation;
                let sink = self.sink(ch, generation);
                (generation, dry_run::dry_run(&self.state, &self.peer, &frame, sink).await?)
            }
            Frame::Attach(frame) => {
                let generation = frame.generation;
                let sink = self.sink(ch, generation);
                (generation, attach::attach(&self.state, &self.peer, frame, sink).await)
            }
            frame => {
                self.pass_on(ch, frame).await;
                return Ok(());
            }
        };
        match answer {
            Answer::Job(job) => self.insert(ch, Channel { job, generation }),
            Answer::Answered => {}
            Answer::Pause(pause) => tokio::select! {
                () = sleep(pause) => {}
                () = self.state.closing.cancelled() => {}
            },
        }
        Ok(())
    }

    fn insert(&mut self, ch: u32, channel: Channel) {
        if self.channels.len() >= self.sweep_at {
            self.channels.retain(|_, channel| !channel.job.is_gone());
            self.sweep_at = (2 * self.channels.len()).max(SWEEP);
        }
        self.channels.insert(ch, channel);
    }

    fn sink(&self, ch: u32, generation: u64) -> Sink {
        Sink { link: self.link.clone(), ch, generation, broken: Arc::clone(&self.broken) }
    }

    /// Passes a frame to the job of its channel. A channel that no longer has a job is not an
    /// error: the client could not know yet.
    async fn pass_on(&mut self, ch: u32, frame: Frame) {
        let done = frame.kind() == Kind::Done;
        if let Some(Channel { job, generation }) = self.channels.get(&ch) {
            let message = Message::Frame { generation: *generation, frame };
            if !job.tell(message).await || done {
                self.channels.remove(&ch);
            }
        }
    }

    async fn lose(&mut self, ended: &ConnectionError, resumable: bool) {
        let resumable = resumable && !matches!(ended, ConnectionError::Protocol(_));
        match ended {
            ConnectionError::Closed => debug!(peer = %self.peer, "disconnected"),
            ended => {
                // The reason may contain what the peer wrote.
                let reason = printable(&ended.to_string());
                info!(peer = %self.peer, reason, jobs = self.channels.len(), "lost");
            }
        }
        for (_, Channel { job, generation }) in self.channels.drain() {
            job.tell(Message::Lost { generation, resumable }).await;
        }
    }
}
