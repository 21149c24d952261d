//! A recorded conversation, cut everywhere: however the bytes come, the same frames come out, and an
//! incomplete frame never does.

// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rcmd_protocol::{
    connection::{PeerState, Role},
    digest::{Algorithm, StreamHasher},
    frame::{
        Data, End, Exit, Frame, Hello, ServerHello, Start, StartBody, Started, Stream, StreamTotal,
        Window,
    },
    ids::{Instance, JobId, Key},
    request::Request,
};

/// The frames and bytes that one side sends.
struct Recording {
    receiver: Role,
    frames: Vec<Frame>,
    bytes: Vec<u8>,
    /// The offsets at which a frame ends, and 0.
    boundaries: Vec<usize>,
}

impl Recording {
    fn new(receiver: Role, frames: Vec<Frame>) -> Self {
        let mut bytes = BytesMut::new();
        let mut boundaries = vec![0];
        for frame in &frames {
            frame.encode(&mut bytes).unwrap();
            boundaries.push(bytes.len());
        }
        Self { receiver, frames, bytes: bytes.to_vec(), boundaries }
    }

    /// Returns the number of frames that are complete in the first `length` bytes.
    fn whole(&self, length: usize) -> usize {
        self.boundaries.partition_point(|&end| end <= length) - 1
    }
}

/// The receiving side of a recording.
struct Receiver {
    connection: PeerState,
    buffer: BytesMut,
    frames: Vec<Frame>,
}

impl Receiver {
    fn of(recording: &Recording) -> Self {
        let mut connection =
            PeerState::new(recording.receiver, Duration::from_secs(15), Instant::now());
        if recording.receiver == Role::Client {
            assert_eq!(connection.open_channel(), Some(1));
        }
        Self { connection, buffer: BytesMut::new(), frames: Vec::new() }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        while let Some(frame) = self.connection.decode(&mut self.buffer, Instant::now()).unwrap() {
            self.frames.push(frame);
        }
    }

    fn is_between_frames(&self) -> bool {
        self.connection.is_between_frames(&self.buffer)
    }
}

fn ended(stream: Stream, bytes: &[u8]) -> End {
    let mut hasher = StreamHasher::new(Algorithm::Blake3);
    hasher.update(bytes);
    End { ch: 1, stream, total: bytes.len() as u64, digest: hasher.finish(), open: false }
}

fn data(stream: Stream, offset: u64, bytes: &'static [u8]) -> Frame {
    Frame::Data(Data { ch: 1, stream, offset, time: None, payload: Bytes::from_static(bytes) })
}

fn client() -> Recording {
    let mut request = Request::exec([&b"sort"[..], b"", b"\xff\n{}"]);
    request.env("LC_ALL=C").cwd("/tmp").stdin(true).timeout_ms(60_000);
    let body = StartBody::new(&request.build().unwrap())
        .with_digests(vec!["blake3".to_owned(), "sha256".to_owned()]);
    let start = Start { ch: 1, key: Key::from_text(b"splits"), generation: 1, body };
    let hello = Hello { agent: "test".to_owned(), ..Hello::default() };
    let frames = vec![
        Frame::Hello(hello),
        Frame::Start(start),
        data(Stream::Stdin, 0, b"b\n\0\0\0\x05{\"ty"),
        data(Stream::Stdin, 10, b"a\n"),
        Frame::End(ended(Stream::Stdin, b"b\n\0\0\0\x05{\"tya\n")),
        Frame::Window(Window { ch: 1, stream: Stream::Stdout, got: 7, upto: 1_048_583 }),
        Frame::Window(Window { ch: 1, stream: Stream::Stderr, got: 5, upto: 1_048_581 }),
        Frame::Done { ch: 1 },
    ];
    Recording::new(Role::Server, frames)
}

fn server() -> Recording {
    let stdout = ended(Stream::Stdout, b"one\ntwo");
    let stderr = ended(Stream::Stderr, b"oops\n");
    let total = |end: &End| StreamTotal { bytes: end.total, digest: Some(end.digest) };
    let exit = Exit::exited(0, 1_700_000_000_100)
        .with_output(total(&stdout), total(&stderr))
        .with_times(Some(1_700_000_000_000), Some(100));
    let hello = ServerHello {
        instance: Instance::random().unwrap(),
        grace_ms: 10_000,
        retain_ms: 600_000,
        keepalive_ms: 15_000,
    };
    let job = JobId::random().unwrap();
    let frames = vec![
        Frame::Hello(Hello { server: Some(hello), ..Hello::default() }),
        Frame::Queued { ch: 1, position: 1 },
        Frame::Started(Started {
            ch: 1,
            job,
            digest: Algorithm::Blake3,
            started_at: 1,
            note: None,
        }),
        data(Stream::Stdout, 0, b"one\n"),
        Frame::Window(Window { ch: 1, stream: Stream::Stdin, got: 12, upto: 1_048_588 }),
        data(Stream::Stderr, 0, b"oops\n"),
        data(Stream::Stdout, 4, b"two"),
        Frame::End(stdout),
        Frame::End(stderr),
        Frame::Exit { ch: 1, exit },
    ];
    Recording::new(Role::Client, frames)
}

#[test]
fn two_pieces_split_anywhere_give_the_same_frames() {
    for recording in [client(), server()] {
        for at in 0..=recording.bytes.len() {
            let mut receiver = Receiver::of(&recording);
            let (first, second) = recording.bytes.split_at(at);
            receiver.take(first);
            receiver.take(second);
            assert_eq!(receiver.frames, recording.frames, "split at {at}");
            assert!(receiver.is_between_frames());
        }
    }
}

#[test]
fn byte_by_byte_each_frame_comes_with_its_last_byte() {
    for recording in [client(), server()] {
        let mut receiver = Receiver::of(&recording);
        for (at, byte) in recording.bytes.iter().enumerate() {
            receiver.take(&[*byte]);
            assert_eq!(receiver.frames.len(), recording.whole(at + 1), "after byte {at}");
        }
        assert_eq!(receiver.frames, recording.frames);
    }
}

#[test]
fn a_truncation_gives_whole_frames_only_and_is_told_from_an_end() {
    for recording in [client(), server()] {
        for length in 0..=recording.bytes.len() {
            let mut receiver = Receiver::of(&recording);
            receiver.take(&recording.bytes[..length]);
            assert_eq!(receiver.frames, recording.frames[..recording.whole(length)], "{length}");
            let between = recording.boundaries.contains(&length);
            assert_eq!(receiver.is_between_frames(), between, "after {length} bytes");
        }
    }
}

#[test]
fn nothing_starts_before_its_request_is_whole() {
    let recording = client();
    let whole = recording.boundaries[2];
    for length in 0..=recording.bytes.len() {
        let mut receiver = Receiver::of(&recording);
        receiver.take(&recording.bytes[..length]);
        let started = receiver.frames.iter().find_map(|frame| match frame {
            Frame::Start(start) => Some(start.body.request().unwrap()),
            _ => None,
        });
        assert_eq!(started.is_some(), length >= whole, "after {length} bytes");
    }
}
