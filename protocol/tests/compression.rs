//! Compression of a connection: both sides agree to it, it begins at a byte, and the layers above never notice.

// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rcmd_protocol::{
    connection::Role,
    error::ProtocolError,
    frame::{Data, Frame, Hello, ServerHello, Stream, capability},
    ids::Instance,
    io::{ConnectionError, Reader, Sender, split},
    limits::{self, CHUNK},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, duplex},
    time::timeout,
};

const KEEPALIVE: Duration = Duration::from_secs(15);
const LONG: Duration = Duration::from_secs(30);

struct Side {
    reader: Reader<ReadHalf<DuplexStream>>,
    sender: Sender,
}

impl Side {
    fn new(stream: DuplexStream, role: Role) -> Self {
        let (reader, writer, sender) = split(stream, role, KEEPALIVE);
        tokio::spawn(writer.run());
        Self { reader, sender }
    }

    async fn next(&mut self) -> Result<Frame, ConnectionError> {
        timeout(LONG, self.reader.next()).await.expect("a frame in time")
    }

    async fn expect(&mut self) -> Frame {
        self.next().await.expect("a frame")
    }
}

fn client_hello() -> Frame {
    let capabilities = vec![capability::ZSTD.to_owned()];
    Frame::Hello(Hello { agent: "client".to_owned(), capabilities, server: None })
}

fn server_hello() -> Frame {
    let instance = Instance::from_hex(&"f".repeat(32)).unwrap();
    let server = ServerHello { instance, grace_ms: 1, retain_ms: 1, keepalive_ms: 15_000 };
    Frame::Hello(Hello { server: Some(server), ..Hello::default() })
}

fn data(stream: Stream, offset: u64, length: usize) -> Frame {
    let payload = (0..length).map(|at| b"a line\n"[at % 7]).collect::<Vec<_>>();
    Frame::Data(Data { ch: 1, stream, offset, time: None, payload: Bytes::from(payload) })
}

/// Returns both sides with their hellos exchanged and channel 1 open.
async fn greeted(near: DuplexStream, far: DuplexStream) -> (Side, Side) {
    let (mut client, mut server) = (Side::new(near, Role::Client), Side::new(far, Role::Server));
    client.sender.send(client_hello());
    server.sender.send(server_hello());
    assert_eq!(server.expect().await, client_hello());
    assert_eq!(client.expect().await, server_hello());
    assert_eq!(client.reader.open_channel(), Some(1));
    (client, server)
}

fn agree(client: &mut Side, server: &mut Side) {
    client.reader.allow_compression();
    server.reader.allow_compression();
    server.sender.send(Frame::Compress);
}

#[tokio::test]
async fn frames_come_out_as_they_went_in_both_ways() {
    let (near, far) = duplex(1000);
    let (mut client, mut server) = greeted(near, far).await;
    agree(&mut client, &mut server);
    // Sent in one piece with the frame that begins compression.
    let said: Vec<_> = (0..40).map(|n| data(Stream::Stdout, n * 70_000, 70_000)).collect();
    said.iter().cloned().for_each(|frame| server.sender.send(frame));
    for frame in said {
        assert_eq!(client.expect().await, frame);
    }
    client.sender.send(Frame::Suspend);
    client.sender.send(Frame::Resume);
    assert_eq!(server.expect().await, Frame::Suspend);
    assert_eq!(server.expect().await, Frame::Resume);
}

/// Returns all bytes that come until the other side closes.
async fn all(mut stream: DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn what_goes_over_the_link_is_short() {
    let (near, far) = duplex(16 << 20);
    let server = Side::new(far, Role::Server);
    server.sender.send(server_hello());
    server.sender.send(Frame::Compress);
    (0..100).for_each(|n| server.sender.send(data(Stream::Stdout, n * CHUNK as u64, CHUNK)));
    server.sender.close();
    let bytes = all(near).await;
    assert!(bytes.len() < CHUNK, "{}", bytes.len());
}

#[tokio::test]
async fn nobody_compresses_unasked_nor_twice() {
    for asked in [false, true] {
        let (near, far) = duplex(1000);
        let (mut client, mut server) = greeted(near, far).await;
        if asked {
            client.reader.allow_compression();
            server.sender.send(Frame::Compress);
        }
        server.sender.send(Frame::Compress);
        let ended = client.next().await.unwrap_err();
        assert!(matches!(
            ended,
            ConnectionError::Protocol(ProtocolError::Unexpected { frame: "compress", .. })
        ));
        let told = match server.next().await {
            Err(ConnectionError::ClosedByPeer(failure)) => failure.message,
            // The client's own `compress` comes first, which nobody allowed here.
            Err(ConnectionError::Protocol(fault)) if asked => fault.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(told.contains("nobody agreed to it"), "{told}");
    }
}

/// Returns a client that was sent a hello and `compress`, and the other end of its stream.
async fn told_by_hand(tail: &[u8]) -> (Side, DuplexStream) {
    let (near, mut far) = duplex(1 << 20);
    let mut client = Side::new(near, Role::Client);
    client.reader.allow_compression();
    let mut bytes = BytesMut::new();
    server_hello().encode(&mut bytes).unwrap();
    Frame::Compress.encode(&mut bytes).unwrap();
    bytes.extend_from_slice(tail);
    far.write_all(&bytes).await.unwrap();
    assert_eq!(client.expect().await, server_hello());
    (client, far)
}

#[tokio::test]
async fn what_is_no_zstd_is_a_fault() {
    let (mut client, _far) = told_by_hand(b"no magic number").await;
    let ended = client.next().await.unwrap_err();
    assert!(matches!(&ended, ConnectionError::Protocol(ProtocolError::Compression(_))), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn bytes_of_which_nothing_comes_out_yet_are_a_sign_of_life() {
    let (mut client, mut far) = told_by_hand(&[]).await;
    // Compressed digits take half a byte each, and only a whole block is expanded.
    let digits: String = (0..200_u32).map(digits_of).collect();
    let block = compressed(digits.as_bytes());
    let trickle = async {
        for byte in &block[..20] {
            tokio::time::sleep(KEEPALIVE / 2).await;
            far.write_all(&[*byte]).await.unwrap();
        }
    };
    tokio::select! {
        ended = client.reader.next() => panic!("{ended:?}"),
        () = trickle => {}
    }
}

fn digits_of(number: u32) -> String {
    blake3::hash(&number.to_le_bytes()).to_hex().to_string()
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(limits::WINDOW_LOG).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_little_that_stands_for_very_many_frames_keeps_nobody_else_from_running() {
    let mut frames = BytesMut::new();
    (0..100_000).for_each(|_| Frame::Ping { number: 7 }.encode(&mut frames).unwrap());
    server_hello().encode(&mut frames).unwrap();
    let bomb = compressed(&frames);
    assert!(bomb.len() < 16 << 10, "{}", bomb.len());
    let (mut client, _far) = told_by_hand(&bomb).await;
    let turns = Arc::new(AtomicUsize::new(0));
    let others = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            others.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    // The second hello is the fault that ends the connection.
    assert!(matches!(
        client.next().await,
        Err(ConnectionError::Protocol(ProtocolError::Unexpected { .. }))
    ));
    assert!(turns.load(Ordering::Relaxed) > 5, "{turns:?}");
    other.abort();
}
