//! The hot paths of the protocol, each alone: `hot_paths PATH TIMES`. The benchmark counts their instructions
//! (`bench instructions`). The difference of two counts does not contain the cost of starting the program.

use std::{error::Error, hint::black_box};

use bytes::{Bytes, BytesMut};
use rcmd_protocol::{
    digest::Algorithm,
    frame::{Data, Decoder, Frame, Hello, Stream, Window},
    stream::{RecvStream, SendStream},
};

/// The error of a run.
type Failed = Box<dyn Error>;

fn main() -> Result<(), Failed> {
    let mut words = std::env::args().skip(1);
    let usage = "usage: hot_paths PATH TIMES";
    let path = words.next().ok_or(usage)?;
    let times: u64 = words.next().ok_or(usage)?.parse()?;
    let (large, small) = (Bytes::from(vec![7; 64 * 1024]), Bytes::from_static(b"a line of text\n"));
    match path.as_str() {
        "encode-data-64k" => encode(times, |number| data(number, &large)),
        "decode-data-64k" => decode(times, large.len(), &data(12_345, &large)),
        "encode-data-15" => encode(times, |number| data(number, &small)),
        "decode-data-15" => decode(times, small.len(), &data(12_345, &small)),
        "encode-window" => encode(times, window),
        "decode-window" => decode(times, 0, &window(12_345)),
        "stream-64k-digested" => stream(times, &large),
        "stream-15-digested" => stream(times, &small),
        other => Err(format!("there is no path {other:?}").into()),
    }
}

fn data(number: u64, payload: &Bytes) -> Frame {
    let offset = number.wrapping_mul(payload.len() as u64);
    Frame::Data(Data {
        ch: 1,
        stream: Stream::Stdout,
        offset,
        time: None,
        payload: payload.clone(),
    })
}

fn window(number: u64) -> Frame {
    let got = number.wrapping_mul(65_536);
    Frame::Window(Window { ch: 1, stream: Stream::Stdout, got, upto: got + 1_048_576 })
}

/// Encodes headers alone, as the programs do: payloads go to the socket from their own memory.
fn encode(times: u64, frame: impl Fn(u64) -> Frame) -> Result<(), Failed> {
    let mut out = BytesMut::with_capacity(1024);
    for number in 0..times {
        out.clear();
        black_box(frame(black_box(number))).encode_header(&mut out)?;
        black_box(&out);
    }
    Ok(())
}

/// Decodes the same header again and again, each before a payload of `length` zeros. The zeros are pages that
/// the kernel has cleared, so that no payload is copied: that would be most of the count.
fn decode(times: u64, length: usize, frame: &Frame) -> Result<(), Failed> {
    let (mut decoder, mut buffer, mut header) =
        (Decoder::default(), BytesMut::new(), BytesMut::new());
    Frame::Hello(Hello::default()).encode(&mut buffer)?;
    decoder.decode(&mut buffer)?.ok_or("no hello")?;
    frame.encode_header(&mut header)?;
    let step = header.len() + length;
    let mut frames = BytesMut::zeroed(step * usize::try_from(times)?);
    for one in frames.chunks_exact_mut(step) {
        if let Some(start) = one.get_mut(..header.len()) {
            start.copy_from_slice(&header);
        }
    }
    for _ in 0..times {
        black_box(decoder.decode(&mut frames)?.ok_or("no frame")?);
    }
    Ok(())
}

/// Moves data from the sender's log to the receiver, with windows and BLAKE3 on both sides.
fn stream(times: u64, piece: &Bytes) -> Result<(), Failed> {
    let mut outgoing = SendStream::new(Stream::Stdout, Algorithm::Blake3);
    let mut incoming = RecvStream::new(Stream::Stdout, Algorithm::Blake3);
    for _ in 0..times {
        outgoing.append(piece.clone(), None);
        while let Some(data) = outgoing.next(1) {
            let new = incoming.data(data.offset, data.payload)?;
            incoming.consume(new.len() as u64);
        }
        if let Some(window) = incoming.window_due(1) {
            outgoing.window(window.got, window.upto)?;
        }
    }
    Ok(())
}
