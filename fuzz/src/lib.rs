//! The fuzz targets as plain functions, so that ordinary tests can run them over the saved inputs. Each
//! panics when an invariant is broken.

mod model;
mod streams;
mod strict;

use std::time::{Duration, Instant};

use bytes::BytesMut;
use rcmd_protocol::{
    connection::{PeerState, Role},
    frame::{Decoder, Frame, Hello, Mode, StartBody},
    limits,
    request::{Request, RequestError},
};
use sha2::{Digest as _, Sha256};

pub use model::{Step, World};

/// Reads bytes from a peer, in pieces: the first byte selects the peer, the second the size of the pieces. Any
/// pieces return the same frames, no length past a limit passes, and what was read can be written.
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

/// Returns the frames, and whether the last bytes were a fault.
fn read(role: Role, bytes: &[u8], size: usize) -> (Vec<Frame>, bool) {
    let now = Instant::now();
    let mut connection = PeerState::new(role, Duration::from_secs(1), now);
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

/// Checks that a frame is written and read back as the same.
fn rewritten(frame: &Frame) {
    let mut bytes = BytesMut::new();
    if frame.encode(&mut bytes).is_err() {
        // A hello with many escapes can be longer than it came.
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

/// Reads a header, and the same text as a value deep inside another header. What is accepted as a frame is one
/// object, strict at every level, as another reader of JSON sees it.
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

/// Reads a start: counts from the first bytes, the rest as its payload. An accepted request has the same
/// payload and digest again, and is within the limits.
pub fn request(data: &[u8]) {
    let [argc, envc, flags, payload @ ..] = data else {
        return;
    };
    let [cwd, is_shell, stdin, user] = [1, 2, 4, 8].map(|bit| flags & bit != 0);
    let mode = if is_shell { "shell" } else { "exec" };
    let facts = format!(
        "argc={argc}\nenvc={envc}\nmode={mode}\nuser={}\ncwd={}\ntimeout=0\ntty=0\nstdin={}\n",
        u8::from(user),
        u8::from(cwd),
        u8::from(stdin),
    );
    let digest = Sha256::new().chain_update(payload).chain_update(facts).finalize();
    let start = |timeout_ms: u64| {
        let header = format!(
            r#"{{"type":"start","ch":1,"key":"{}","generation":1,"digest":"{}","mode":"{mode}","argc":{argc},"envc":{envc},"cwd":{cwd},"user":{user},"stdin":{stdin},"timeout_ms":{timeout_ms},"len":{}}}"#,
            "0".repeat(32),
            hex::encode(digest),
            payload.len(),
        );
        let mut bytes = BytesMut::new();
        Frame::Hello(Hello::default()).encode(&mut bytes).unwrap();
        bytes.extend_from_slice(&u32::try_from(header.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(payload);
        let mut decoder = Decoder::default();
        decoder.decode(&mut bytes).unwrap();
        match decoder.decode(&mut bytes) {
            Ok(Some(Frame::Start(start))) => Some(start.body),
            other => {
                assert!(payload.len() > limits::PAYLOAD, "{other:?}");
                None
            }
        }
    };
    let Some(body) = start(0) else { return };
    match body.request() {
        Ok(request) => {
            assert_eq!(StartBody::new(&request), body);
            assert_eq!(request.to_builder().build(), Ok(request.clone()));
            assert!(payload.len() <= limits::PAYLOAD && !request.args()[0].is_empty());
            match request.mode() {
                Mode::Exec => {}
                Mode::Shell => assert_eq!(request.args().len(), 1),
                Mode::Transfer => {
                    let transfer = request.as_transfer().expect("a transfer that was checked");
                    let again = Request::transfer(transfer.verb, transfer.paths.to_vec()).build();
                    assert_eq!(again.unwrap().as_transfer(), Some(transfer));
                    assert!(request.env().is_empty() && request.cwd().is_none());
                }
            }
            assert!(request.env().iter().all(|setting| setting.iter().skip(1).any(|&b| b == b'=')));
            let strings = request.args().iter().chain(request.env()).map(Vec::as_slice);
            let strings = strings.chain(request.cwd()).chain(request.user());
            assert!(strings.clone().all(|string| string.len() < limits::STRING));
            assert_eq!(strings.count(), payload.iter().filter(|&&byte| byte == 0).count());
            let other = start(1).map(|body| body.request());
            assert!(matches!(other, Some(Err(RequestError::Protocol(_)))));
        }
        Err(RequestError::Protocol(fault)) => rewritten(&Frame::Error(fault.failure())),
        Err(RequestError::Refused(failure)) => rewritten(&Frame::Error(failure)),
    }
}

/// Runs two honest ends over a link that splits, delays and breaks; or one stream whose other end sends
/// anything, against a simple model of a stream.
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
