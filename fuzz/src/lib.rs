//! What the fuzz targets do, as plain functions, so that an ordinary test can do the same with the
//! inputs that were saved. Each panics when an invariant is broken.

mod model;
mod streams;
mod strict;

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rcmd_protocol::{
    codec::Decoder,
    connection::{Connection, Role},
    frame::{Frame, Hello, Mode, Start},
    ids::Key,
    limits,
    request::{Request, RequestError},
};

pub use model::{Step, World};

/// Bytes from a peer, in pieces: the first byte says who it is, the second the size of the pieces.
/// Any pieces give the same frames; lengths past a limit never pass; what was read can be written.
pub fn frame(data: &[u8]) {
    let [who, size, bytes @ ..] = data else {
        return;
    };
    let role = if who % 2 == 0 { Role::Server } else { Role::Client };
    let at_once = read(role, bytes, bytes.len().max(1));
    let in_pieces = read(role, bytes, usize::from(*size).max(1));
    assert_eq!(at_once, in_pieces);
    let mut limit = limits::HEADER_BEFORE_HELLO as u64;
    let mut rest = bytes;
    for frame in &at_once.0 {
        let mut prefix = [0; 4];
        prefix.copy_from_slice(&rest[..4]);
        let length = u64::from(u32::from_be_bytes(prefix));
        assert!(length > 0 && length <= limit, "a header of {length} bytes past {limit}");
        limit = limits::HEADER as u64;
        rest = &rest[4 + length as usize + frame.payload().len()..];
        rewritten(frame);
    }
    if let Some(prefix) = rest.first_chunk() {
        let length = u64::from(u32::from_be_bytes(*prefix));
        assert!(at_once.1 || (length > 0 && length <= limit), "{length} bytes are waited for");
    }
}

/// The frames, and whether the last bytes were a fault.
fn read(role: Role, bytes: &[u8], size: usize) -> (Vec<Frame>, bool) {
    let now = Instant::now();
    let mut connection = Connection::new(role, Duration::from_secs(1), now);
    if role == Role::Client {
        connection.open_channel();
    }
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    for piece in bytes.chunks(size) {
        buffer.extend_from_slice(piece);
        loop {
            match connection.decode(&mut buffer, now) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(fault) => {
                    rewritten(&Frame::Error(fault.failure()));
                    return (frames, true);
                }
            }
        }
        assert!(buffer.len() <= 4 + limits::HEADER + limits::PAYLOAD + size);
    }
    (frames, false)
}

/// What was read is written and read again as the same.
fn rewritten(frame: &Frame) {
    let mut bytes = BytesMut::new();
    if frame.encode(&mut bytes).is_err() {
        // A hello of many escapes can be longer than it came.
        assert!(matches!(frame, Frame::Hello(_)));
        return;
    }
    let mut decoder = Decoder::default();
    let mut hello = BytesMut::new();
    Frame::Hello(Hello::default()).encode(&mut hello).unwrap();
    decoder.decode(&mut hello).unwrap();
    assert_eq!(decoder.decode(&mut bytes).unwrap().as_ref(), Some(frame));
    assert!(bytes.is_empty());
}

/// A header, and the same as a value so deep in another: what is taken for a frame is one object,
/// strict at every level, as another reader of JSON sees it.
pub fn header(data: &[u8]) {
    one_header(data);
    let levels = data.len() % (limits::DEPTH + 2);
    let (open, close) = ("[".repeat(levels), "]".repeat(levels));
    let before = format!(r#"{{"type":"suspend","x":{open}"#);
    one_header(&[before.as_bytes(), data, close.as_bytes(), b"}"].concat());
}

fn one_header(data: &[u8]) {
    let mut bytes = BytesMut::new();
    Frame::Hello(Hello::default()).encode(&mut bytes).unwrap();
    let mut decoder = Decoder::default();
    decoder.decode(&mut bytes).unwrap();
    bytes.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(data);
    let Ok(frame) = decoder.decode(&mut bytes) else { return };
    assert!(!data.is_empty() && data.len() <= limits::HEADER);
    strict::check(data);
    if let Some(frame) = frame {
        rewritten(&frame);
    }
}

/// A start: counts from the first bytes, the rest its payload. What is taken for a request gives the
/// same payload and digest again, and is within the limits.
pub fn request(data: &[u8]) {
    let [argc, envc, flags, payload @ ..] = data else {
        return;
    };
    let args = vec![Vec::new(); usize::from(*argc)];
    let env = vec![Vec::new(); usize::from(*envc)];
    let cwd = (flags & 1 != 0).then(Vec::new);
    let user = (flags & 8 != 0).then(Vec::new);
    let mode = if flags & 2 != 0 { Mode::Shell } else { Mode::Exec };
    let counts =
        Request { mode, args, env, cwd, user, stdin: flags & 4 != 0, timeout_ms: 0, lock: None };
    let mut start = Start {
        ch: 1,
        key: Key::from_text(b""),
        generation: 1,
        digest: counts.digest(payload),
        mode,
        argc: u64::from(*argc),
        envc: u64::from(*envc),
        cwd: flags & 1 != 0,
        user: flags & 8 != 0,
        stdin: flags & 4 != 0,
        timeout_ms: 0,
        lock: None,
        grace_ms: None,
        digests: Vec::new(),
        keep: false,
        timestamps: false,
        payload: Bytes::copy_from_slice(payload),
    };
    match Request::from_start(&start) {
        Ok(request) => {
            assert_eq!(request.encode(), payload);
            assert_eq!(request.digest(payload), start.digest);
            assert_eq!(request.check(), Ok(()));
            assert!(payload.len() <= limits::PAYLOAD && !request.args[0].is_empty());
            assert!(request.mode == Mode::Exec || request.args.len() == 1);
            assert!(request.env.iter().all(|setting| setting.iter().skip(1).any(|&b| b == b'=')));
            let strings = request.args.iter().chain(&request.env).chain(&request.cwd);
            let strings = strings.chain(&request.user);
            assert!(strings.clone().all(|string| string.len() < limits::STRING));
            assert_eq!(strings.count(), payload.iter().filter(|&&byte| byte == 0).count());
            start.timeout_ms = 1;
            assert!(matches!(Request::from_start(&start), Err(RequestError::Fault(_))));
        }
        Err(RequestError::Fault(fault)) => rewritten(&Frame::Error(fault.failure())),
        Err(RequestError::Refused(failure)) => rewritten(&Frame::Error(failure)),
    }
}

/// Two honest ends over a link that splits, delays and breaks; or one stream whose other end says
/// anything, against a simple account of what it may.
pub fn connection(data: &[u8]) {
    let [which, rest @ ..] = data else { return };
    match which % 3 {
        0 => streams::incoming(rest),
        1 => streams::outgoing(rest),
        _ => {
            let [out, err, input, steps @ ..] = rest else {
                return;
            };
            // A few hundred bytes or a few thousand; interleavings.rs goes past the credit.
            let length = |byte: &u8| usize::from(*byte) * usize::from(*byte) / 8;
            let mut world = World::new([length(out), length(err), length(input)]);
            for step in steps.chunks_exact(3).take(300) {
                world.step(Step::read([step[0], step[1], step[2]]));
            }
            world.finish();
        }
    }
}
