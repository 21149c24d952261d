//! A server that says what a test has it say, over a pipe in memory.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rcmd_protocol::{
    digest::{Algorithm, StreamDigest, StreamHasher},
    frame::{
        Attach, Attached, Data, Decoder, End, Exit, Frame, Hello, Mode, OutputOffsets, Refusal,
        ServerHello, Start, Started, Stream, StreamTotal, Window,
    },
    ids::{Instance, JobId, Key},
    outcome::{ErrorKind, Outcome, WireError},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::mpsc,
};

use crate::{
    Command,
    error::Error,
    link::{
        dial::{Compression, Connector, DialError, Dialing},
        open,
        order::Handle,
    },
};

/// A host at which the connections of a client arrive, until the test takes it down.
pub(super) struct Host {
    arriving: mpsc::UnboundedReceiver<DuplexStream>,
    down: Arc<AtomicBool>,
}

struct Script {
    arrive: mpsc::UnboundedSender<DuplexStream>,
    down: Arc<AtomicBool>,
}

impl Script {
    fn connect(&self) -> DuplexStream {
        let (near, far) = duplex(2 * 1024 * 1024);
        self.arrive.send(far).expect("the test still listens");
        near
    }
}

impl Connector for Script {
    fn dial(&self) -> Dialing {
        let result = if self.down.load(Ordering::Relaxed) {
            let down = WireError::new(ErrorKind::Unreachable, "the host is down");
            Err(DialError { error: Error::Answer(down), is_final: false })
        } else {
            Ok(Box::new(self.connect()) as _)
        };
        Box::pin(async { result })
    }

    fn compression(&self) -> Compression {
        Compression::Off
    }

    fn refusal(&self, error: io::Error) -> Result<WireError, io::Error> {
        Err(error)
    }
}

/// Opens a client whose first connection has just been made.
pub(super) fn client() -> (Handle, Host) {
    let (arrive, arriving) = mpsc::unbounded_channel();
    let down = Arc::<AtomicBool>::default();
    let script = Script { arrive, down: Arc::clone(&down) };
    let first = Box::new(script.connect());
    (open("web1".to_owned(), Box::new(script), first), Host { arriving, down })
}

/// Returns the command `echo`, not sent yet; it is sent once only if the host is busy.
pub(super) fn echo(link: &Handle) -> Command {
    let mut command = Command::new(link.clone(), Mode::Exec, "echo".as_ref());
    command.busy_wait(Duration::ZERO);
    command
}

impl Host {
    /// Waits for the next connection.
    pub(super) async fn accept(&mut self) -> Peer {
        let stream = self.arriving.recv().await.expect("the client dials");
        Peer { stream, decoder: Decoder::default(), buffer: BytesMut::new() }
    }

    /// Waits for the next connection, and exchanges both hellos.
    pub(super) async fn greet(&mut self, instance: char) -> Peer {
        let mut peer = self.accept().await;
        peer.expect_hello().await;
        peer.say(hello(instance)).await;
        peer
    }

    /// Returns whether no connection has arrived.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.arriving.try_recv().is_err()
    }

    /// Returns whether nothing can arrive any more.
    pub(super) async fn arriving_ended(&mut self) -> bool {
        self.arriving.recv().await.is_none()
    }

    pub(super) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }
}

/// The server's end of one connection. Dropped, it is cut.
pub(super) struct Peer {
    stream: DuplexStream,
    decoder: Decoder,
    buffer: BytesMut,
}

impl Peer {
    /// Reads the next frame; none at the end of the connection.
    pub(super) async fn hear(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.buffer).expect("a valid frame") {
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.buffer).await.expect("a readable pipe") == 0 {
                return None;
            }
        }
    }

    pub(super) async fn expect(&mut self) -> Frame {
        self.hear().await.expect("a frame, not the end")
    }

    /// Reads the next frame that is no ping, and answers each ping.
    pub(super) async fn expect_answering(&mut self) -> Frame {
        loop {
            match self.expect().await {
                Frame::Ping { number } => self.say(Frame::Pong { number }).await,
                frame => return frame,
            }
        }
    }

    /// Answers pings for so long; nothing else comes meanwhile.
    pub(super) async fn only_answer_for(&mut self, time: Duration) {
        let frame = tokio::time::timeout(time, self.expect_answering()).await;
        assert!(frame.is_err(), "{frame:?}");
    }

    pub(super) async fn expect_hello(&mut self) {
        assert!(matches!(self.expect().await, Frame::Hello(_)));
    }

    pub(super) async fn expect_start(&mut self) -> Start {
        match self.expect().await {
            Frame::Start(start) => start,
            other => panic!("{other:?} instead of a start"),
        }
    }

    pub(super) async fn expect_attach(&mut self) -> Attach {
        match self.expect().await {
            Frame::Attach(attach) => attach,
            other => panic!("{other:?} instead of an attach"),
        }
    }

    pub(super) async fn say(&mut self, frame: Frame) {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes).expect("a frame within limits");
        self.stream.write_all(&bytes).await.expect("a writable pipe");
    }

    /// Sends both ends and the exit of a command that wrote `stdout` and ended with 0.
    pub(super) async fn say_end(&mut self, ch: u32, stdout: &[u8]) {
        self.say(end(ch, Stream::Stdout, stdout)).await;
        self.say(end(ch, Stream::Stderr, b"")).await;
        self.say(exit(ch, stdout)).await;
    }
}

pub(super) fn instance(name: char) -> Instance {
    Instance::from_hex(&name.to_string().repeat(32)).expect("a hexadecimal digit")
}

/// Returns the hello of the server process of this name, with a grace of 10 s.
pub(super) fn hello(name: char) -> Frame {
    hello_with_grace(name, 10_000)
}

/// Returns the hello of the server process of this name, with this grace in milliseconds.
pub(super) fn hello_with_grace(name: char, grace_ms: u64) -> Frame {
    let server = ServerHello {
        instance: instance(name),
        grace_ms,
        retain_ms: 600_000,
        keepalive_ms: 15_000,
    };
    Frame::Hello(Hello { server: Some(server), ..Hello::default() })
}

pub(super) fn job() -> JobId {
    JobId::parse("0123456789abcdef").expect("a job's name")
}

pub(super) fn started(ch: u32) -> Frame {
    let digest = Algorithm::Blake3;
    Frame::Started(Started { ch, job: job(), digest, started_at: 7, note: None })
}

pub(super) fn attached(ch: u32, stdin: u64, number: u64, stdout: u64) -> Frame {
    Frame::Attached(Attached {
        ch,
        job: job(),
        digest: Algorithm::Blake3,
        started_at: Some(7),
        stdin,
        stdin_ended: false,
        number,
        output: OutputOffsets { stdout, stderr: 0 },
    })
}

pub(super) fn refused(ch: u32, reason: Refusal) -> Frame {
    Frame::Refused { ch, reason, generation: None }
}

pub(super) fn data(ch: u32, offset: u64, bytes: &'static [u8]) -> Frame {
    let payload = Bytes::from_static(bytes);
    Frame::Data(Data { ch, stream: Stream::Stdout, offset, time: None, payload })
}

pub(super) fn digest(bytes: &[u8]) -> StreamDigest {
    let mut hasher = StreamHasher::new(Algorithm::Blake3);
    hasher.update(bytes);
    hasher.finish()
}

pub(super) fn end(ch: u32, stream: Stream, bytes: &[u8]) -> Frame {
    let (total, digest) = (bytes.len() as u64, digest(bytes));
    Frame::End(End { ch, stream, total, digest, open: false })
}

pub(super) fn exit(ch: u32, stdout: &[u8]) -> Frame {
    let total =
        |bytes: &[u8]| StreamTotal { bytes: bytes.len() as u64, digest: Some(digest(bytes)) };
    let exit =
        Exit::exited(0, 9).with_output(total(stdout), total(b"")).with_times(Some(7), Some(2));
    Frame::Exit { ch, exit }
}

/// Returns the end of a command that did not run because the host was busy, with the time in
/// milliseconds after which the host may be asked again.
pub(super) fn busy(ch: u32, retry_after_ms: u64) -> Frame {
    failed(ch, Outcome::NotStarted, full(retry_after_ms))
}

/// Returns the end of a command of which nothing else is known.
pub(super) fn failed(ch: u32, outcome: Outcome, failure: WireError) -> Frame {
    let exit = Exit::new(outcome, None, None, Some(failure), 9).expect("an end that says how");
    Frame::Exit { ch, exit }
}

pub(super) fn full(retry_after_ms: u64) -> WireError {
    WireError::new(ErrorKind::Busy, "full").retry_after_ms(retry_after_ms)
}

pub(super) fn window(ch: u32, stream: Stream, got: u64, upto: u64) -> Frame {
    Frame::Window(Window { ch, stream, got, upto })
}

pub(super) fn key(text: &str) -> Key {
    Key::from_text(text.as_bytes())
}
