//! A model of two honest ends with one job between them, over a link that splits, delays and breaks. They do
//! what `docs/protocol.md` specifies, with the parts that the real programs use.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use rcmd_protocol::{
    connection::{PeerState, Role},
    digest::Algorithm,
    frame::{
        Attach, Attached, End, Exit, Frame, Hello, OutputOffsets, Refusal, ServerHello, Start,
        StartBody, Started, Stream, StreamTotal,
    },
    ids::{Instance, JobId, Key},
    limits::{CHUNK, CREDIT},
    outbox::Outbox,
    request::Request,
    stream::{RecvStream, SendStream},
};

const ALGORITHM: Algorithm = Algorithm::Blake3;
const OUTPUTS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

/// One event. Numbers of bytes are upper bounds.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The command writes to stdout (0) or stderr (1).
    Write(usize, usize),
    /// The command reads its stdin.
    Read(usize),
    /// The client's user types.
    Type(usize),
    /// The client's user takes output away.
    Take(usize, usize),
    /// A side hands this many frames to its link: the client (0) or the server (1).
    Send(usize, usize),
    /// This many bytes arrive at the client (0) or the server (1).
    Arrive(usize, usize),
    /// The link breaks. The bytes under way are lost, and the client comes back.
    Cut,
}

impl Step {
    /// Returns a step for any three bytes.
    pub fn read([what, which, size]: [u8; 3]) -> Self {
        let which = usize::from(which % 2);
        let bytes = usize::from(size) * usize::from(size) * if what & 128 == 0 { 1 } else { 16 };
        match what % 16 {
            0..=2 => Self::Write(which, bytes),
            3 | 4 => Self::Read(bytes),
            5 | 6 => Self::Type(bytes),
            7 | 8 => Self::Take(which, bytes),
            9..=11 => Self::Send(which, usize::from(size % 32)),
            12..=14 => Self::Arrive(which, bytes),
            _ => Self::Cut,
        }
    }
}

/// Returns the byte of a stream at an offset, always the same one.
fn byte(stream: usize, offset: usize) -> u8 {
    let mixed = (offset as u64 ^ (stream as u64) << 60).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

fn script(stream: usize, length: usize) -> Bytes {
    (0..length).map(|offset| byte(stream, offset)).collect()
}

/// One side of a connection, and the bytes on their way to it.
struct Side {
    connection: PeerState,
    outbox: Outbox,
    buffer: BytesMut,
    coming: VecDeque<u8>,
}

impl Side {
    fn new(role: Role, now: Instant, hello: Hello) -> Self {
        let connection = PeerState::new(role, Duration::from_secs(15), now);
        let (buffer, coming) = (BytesMut::new(), VecDeque::new());
        let mut side = Self { connection, outbox: Outbox::default(), buffer, coming };
        side.push(Frame::Hello(hello));
        side
    }

    fn push(&mut self, frame: Frame) {
        self.outbox.push(frame).unwrap();
    }

    fn receive(&mut self, count: usize, now: Instant) -> Vec<Frame> {
        let count = count.min(self.coming.len());
        self.buffer.extend(self.coming.drain(..count));
        let decoded = || self.connection.decode(&mut self.buffer, now).unwrap();
        std::iter::from_fn(decoded).collect()
    }
}

/// Hands frames of one side to its link.
fn send(from: &mut Side, to: &mut Side, frames: usize) {
    for _ in 0..frames {
        let Some(frame) = from.outbox.pop() else {
            break;
        };
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes).unwrap();
        to.coming.extend(bytes);
    }
}

struct Job {
    id: JobId,
    generation: u64,
    outputs: [SendStream; 2],
    written: [usize; 2],
    stdin: RecvStream,
    input: Vec<u8>,
    unread: u64,
    ends_sent: [bool; 2],
    exit_sent: bool,
}

/// Two ends and the link between them.
pub struct World {
    now: Instant,
    scripts: [Bytes; 3],
    body: StartBody,
    /// The client's channel on this connection.
    ch: u32,
    instance: Instance,
    server: Side,
    job: Option<Job>,
    forgotten: bool,
    client: Side,
    generation: u64,
    started: bool,
    /// True if stdin may be sent on this connection: only after `attached` has named the offset.
    ready: bool,
    outputs: [RecvStream; 2],
    received: [Vec<u8>; 2],
    taken: [u64; 2],
    stdin: SendStream,
    typed: usize,
    stdin_end_sent: bool,
    exit: Option<Exit>,
}

fn key() -> Key {
    Key::from_text(b"model")
}

impl World {
    /// Returns a world whose command is to write so many bytes to stdout and stderr, and to read so many from stdin.
    pub fn new([stdout, stderr, stdin]: [usize; 3]) -> Self {
        let now = Instant::now();
        let request = Request::exec(["model"]).stdin(true).build().unwrap();
        let body = StartBody::new(&request).with_digests(vec!["blake3".to_owned()]);
        let instance = Instance::from_hex(&"7".repeat(32)).unwrap();
        let mut world = Self {
            now,
            scripts: [script(0, stdout), script(1, stderr), script(2, stdin)],
            body,
            ch: 0,
            instance,
            server: Side::new(Role::Server, now, Hello::default()),
            job: None,
            forgotten: false,
            client: Side::new(Role::Client, now, Hello::default()),
            generation: 0,
            started: false,
            ready: false,
            outputs: OUTPUTS.map(|stream| RecvStream::new(stream, ALGORITHM)),
            received: [Vec::new(), Vec::new()],
            taken: [0; 2],
            stdin: SendStream::new(Stream::Stdin, ALGORITHM),
            typed: 0,
            stdin_end_sent: false,
            exit: None,
        };
        world.connect();
        world
    }

    /// Makes a new connection, with both hellos and the client's start or attach under way.
    fn connect(&mut self) {
        let server = ServerHello {
            instance: self.instance,
            grace_ms: 10_000,
            retain_ms: 600_000,
            keepalive_ms: 15_000,
        };
        let hello = Hello { server: Some(server), ..Hello::default() };
        self.server = Side::new(Role::Server, self.now, hello);
        self.client = Side::new(Role::Client, self.now, Hello::default());
        self.stdin_end_sent = false;
        match self.generation {
            0 => self.start(),
            _ => self.attach(),
        }
    }

    fn start(&mut self) {
        self.generation += 1;
        self.ch = self.client.connection.open_channel().unwrap();
        let (ch, generation, body) = (self.ch, self.generation, self.body.clone());
        self.client.push(Frame::Start(Start { ch, key: key(), generation, body }));
        self.ready = true;
    }

    fn attach(&mut self) {
        self.generation += 1;
        self.ready = false;
        self.ch = self.client.connection.open_channel().unwrap();
        let [stdout, stderr] = [0, 1].map(|index| self.outputs[index].received());
        let received = OutputOffsets { stdout, stderr };
        let (ch, generation, digest) = (self.ch, self.generation, self.body.digest());
        let attach = Attach { ch, key: key(), generation, digest, received };
        self.client.push(Frame::Attach(attach));
    }

    /// Lets one event happen, and both sides act on it.
    pub fn step(&mut self, step: Step) {
        match step {
            Step::Write(index, size) => {
                let Some(job) = &mut self.job else { return };
                let room = job.outputs[index].room() as usize;
                let from = job.written[index];
                let size = size.min(room).min(CHUNK).min(self.scripts[index].len() - from);
                job.outputs[index].append(self.scripts[index].slice(from..from + size), None);
                job.written[index] += size;
                assert!(job.outputs[index].retained() <= CREDIT + CHUNK as u64);
            }
            Step::Read(size) => {
                let Some(job) = &mut self.job else { return };
                let count = job.unread.min(size as u64);
                job.unread -= count;
                job.stdin.consume(count);
            }
            Step::Type(size) => {
                let room = self.stdin.room() as usize;
                let size = size.min(room).min(CHUNK).min(self.scripts[2].len() - self.typed);
                self.stdin.append(self.scripts[2].slice(self.typed..self.typed + size), None);
                self.typed += size;
                assert!(self.stdin.retained() <= CREDIT + CHUNK as u64);
            }
            Step::Take(index, size) => {
                let count = (self.outputs[index].received() - self.taken[index]).min(size as u64);
                self.outputs[index].consume(count);
                self.taken[index] += count;
            }
            Step::Send(0, frames) => send(&mut self.client, &mut self.server, frames),
            Step::Send(_, frames) => send(&mut self.server, &mut self.client, frames),
            Step::Arrive(0, size) => {
                for frame in self.client.receive(size, self.now) {
                    self.at_client(frame);
                }
            }
            Step::Arrive(_, size) => {
                for frame in self.server.receive(size, self.now) {
                    self.at_server(frame);
                }
            }
            Step::Cut => {
                if self.exit.is_none() {
                    self.connect();
                }
            }
        }
        self.pump_client();
        self.pump_server();
    }

    fn pump_client(&mut self) {
        if !self.ready {
            return;
        }
        let ch = self.ch;
        for incoming in &mut self.outputs {
            if let Some(window) = incoming.window_due(ch) {
                self.client.push(Frame::Window(window));
            }
        }
        while let Some(data) = self.stdin.next(ch) {
            self.client.push(Frame::Data(data));
        }
        let all = self.typed == self.scripts[2].len() && self.stdin.is_drained();
        if all && !self.stdin_end_sent {
            self.stdin_end_sent = true;
            let (total, digest) = (self.stdin.total(), self.stdin.finish());
            self.client.push(Frame::End(End {
                ch,
                stream: Stream::Stdin,
                total,
                digest,
                open: false,
            }));
        }
    }

    fn at_client(&mut self, frame: Frame) {
        let index = |stream| usize::from(stream == Stream::Stderr);
        match frame {
            Frame::Hello(_) => {}
            Frame::Started(_) => self.started = true,
            Frame::Attached(attached) => {
                self.started = true;
                self.ready = true;
                assert_eq!(attached.output.stdout, self.outputs[0].received());
                assert_eq!(attached.output.stderr, self.outputs[1].received());
                assert_eq!(self.stdin.resume(attached.stdin), Ok(attached.stdin));
                self.stdin_end_sent = attached.stdin_ended;
                for incoming in &mut self.outputs {
                    self.client.push(Frame::Window(incoming.window(attached.ch)));
                }
            }
            Frame::Refused { reason: Refusal::UnknownKey, .. } => {
                assert!(!self.started, "a job that ran is not known");
                self.stdin.resume(0).unwrap();
                self.start();
            }
            Frame::Data(data) => {
                let index = index(data.stream);
                let end = data.offset + data.payload.len() as u64;
                assert!(end <= self.taken[index] + CREDIT, "past the credit");
                let new = self.outputs[index].data(data.offset, data.payload).unwrap();
                self.received[index].extend_from_slice(&new);
            }
            Frame::End(end) => self.outputs[index(end.stream)].end(end.total, end.digest).unwrap(),
            Frame::Window(window) => self.stdin.window(window.got, window.upto).unwrap(),
            Frame::Exit { ch, exit } => {
                for (incoming, total) in self.outputs.iter().zip([exit.stdout(), exit.stderr()]) {
                    assert_eq!(incoming.ended(), Some((total.bytes, total.digest.unwrap())));
                }
                self.client.push(Frame::Done { ch });
                self.exit = Some(exit);
            }
            frame => panic!("a client got {frame:?}"),
        }
    }

    fn at_server(&mut self, frame: Frame) {
        match frame {
            Frame::Hello(_) => {}
            Frame::Start(start) => {
                start.body.request().unwrap();
                assert!(self.job.is_none(), "the client starts a job that it has");
                let job = Job {
                    id: JobId::parse("0123456789abcdef").unwrap(),
                    generation: start.generation,
                    outputs: OUTPUTS.map(|stream| SendStream::new(stream, ALGORITHM)),
                    written: [0; 2],
                    stdin: RecvStream::new(Stream::Stdin, ALGORITHM),
                    input: Vec::new(),
                    unread: 0,
                    ends_sent: [false; 2],
                    exit_sent: false,
                };
                let (ch, digest) = (start.ch, ALGORITHM);
                let started =
                    Started { ch, job: job.id.clone(), digest, started_at: 1, note: None };
                self.server.push(Frame::Started(started));
                self.job = Some(job);
            }
            Frame::Attach(attach) => self.attached(&attach),
            Frame::Data(data) => {
                let job = self.job.as_mut().unwrap();
                let new = job.stdin.data(data.offset, data.payload).unwrap();
                job.unread += new.len() as u64;
                job.input.extend_from_slice(&new);
                assert!(job.unread <= CREDIT, "past the credit");
            }
            Frame::End(end) => self.job.as_mut().unwrap().stdin.end(end.total, end.digest).unwrap(),
            Frame::Window(window) => {
                let job = self.job.as_mut().unwrap();
                let outgoing = &mut job.outputs[usize::from(window.stream == Stream::Stderr)];
                outgoing.window(window.got, window.upto).unwrap();
            }
            Frame::Done { .. } => self.forgotten = true,
            frame => panic!("a server got {frame:?}"),
        }
    }

    fn attached(&mut self, attach: &Attach) {
        let &Attach { ch, .. } = attach;
        let Some(job) = &mut self.job else {
            let reason = Refusal::UnknownKey;
            return self.server.push(Frame::Refused { ch, reason, generation: None });
        };
        assert!(attach.generation > job.generation);
        job.generation = attach.generation;
        let attached = Attached {
            ch,
            job: job.id.clone(),
            digest: ALGORITHM,
            started_at: Some(1),
            stdin: job.stdin.received(),
            stdin_ended: job.stdin.ended().is_some(),
            number: 0,
            output: OutputOffsets {
                stdout: job.outputs[0].resume(attach.received.stdout).unwrap(),
                stderr: job.outputs[1].resume(attach.received.stderr).unwrap(),
            },
        };
        (job.ends_sent, job.exit_sent) = ([false; 2], false);
        self.server.push(Frame::Attached(attached));
        self.server.push(Frame::Window(job.stdin.window(ch)));
    }

    /// Sends what credit allows from the server, when the job is attached to this connection.
    fn pump_server(&mut self) {
        let Some(job) = &mut self.job else { return };
        if job.generation != self.generation {
            return;
        }
        let ch = self.ch;
        if let Some(window) = job.stdin.window_due(ch) {
            self.server.push(Frame::Window(window));
        }
        for (index, outgoing) in job.outputs.iter_mut().enumerate() {
            while let Some(data) = outgoing.next(ch) {
                self.server.push(Frame::Data(data));
            }
            let all = job.written[index] == self.scripts[index].len() && outgoing.is_drained();
            if all && !job.ends_sent[index] {
                job.ends_sent[index] = true;
                let (total, digest) = (outgoing.total(), outgoing.finish());
                let stream = OUTPUTS[index];
                self.server.push(Frame::End(End { ch, stream, total, digest, open: false }));
            }
        }
        let over = job.ends_sent == [true; 2] && job.stdin.ended().is_some() && job.unread == 0;
        if over && !job.exit_sent {
            job.exit_sent = true;
            let [stdout, stderr] = [0, 1].map(|index| StreamTotal {
                bytes: job.outputs[index].total(),
                digest: job.outputs[index].finished(),
            });
            let exit = Exit::exited(0, 2).with_output(stdout, stderr).with_times(Some(1), Some(1));
            self.server.push(Frame::Exit { ch, exit });
        }
    }

    /// Runs the world until the client has its verified end. Panics if the end never comes, or if a byte was lost,
    /// doubled or changed.
    pub fn finish(&mut self) {
        let all = usize::MAX;
        for _ in 0..400 {
            if self.exit.is_some() && self.forgotten {
                break;
            }
            for index in [0, 1] {
                self.step(Step::Write(index, all));
                self.step(Step::Take(index, all));
                self.step(Step::Send(index, all));
            }
            self.step(Step::Type(all));
            self.step(Step::Arrive(0, all));
            self.step(Step::Arrive(1, all));
            self.step(Step::Read(all));
        }
        assert!(self.exit.is_some() && self.forgotten, "the two wait for each other");
        for index in [0, 1] {
            assert!(self.received[index] == self.scripts[index], "{} differs", OUTPUTS[index]);
        }
        assert!(self.job.as_ref().is_some_and(|job| job.input == self.scripts[2]));
    }
}
