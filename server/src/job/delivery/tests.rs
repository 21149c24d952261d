//! Tests of a delivery without a process: events are put in, and the frames to the connection are
//! checked.

use std::time::Duration;

use rcmd_protocol::{
    connection::Role,
    digest::StreamHasher,
    frame::Window,
    io::{self, Writer},
    outcome::{ErrorKind, WireError},
    signal::Signal,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, DuplexStream, WriteHalf};

use super::*;
use crate::admission::budget::Budget;

/// A connection whose frames are read when a test asks what was sent.
struct Wire {
    writer: Writer<WriteHalf<DuplexStream>>,
    other: DuplexStream,
    link: io::Sender,
}

impl Wire {
    fn new(generation: u64) -> (Self, Sink) {
        let (own, other) = tokio::io::duplex(4 << 20);
        let (_, writer, link) = io::split(own, Role::Server, Duration::from_secs(60));
        let sink = Sink { link: link.clone(), ch: 7, generation, broken: Arc::default() };
        (Self { writer, other, link }, sink)
    }

    /// Returns the headers of all frames that were sent.
    async fn sent(mut self) -> Vec<Value> {
        self.link.close();
        self.writer.run().await.unwrap();
        let mut bytes = Vec::new();
        self.other.read_to_end(&mut bytes).await.unwrap();
        let mut rest = bytes.as_slice();
        let mut headers = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk() {
            let (header, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            let header: Value = serde_json::from_slice(header).unwrap();
            rest = &after[header["len"].as_u64().unwrap_or(0) as usize..];
            headers.push(header);
        }
        headers
    }

    async fn kinds(self) -> Vec<String> {
        let kind = |header: &Value| header["type"].as_str().unwrap().to_owned();
        self.sent().await.iter().map(kind).collect()
    }
}

const OPTIONS: StartOptions = StartOptions {
    algorithm: Algorithm::Sha256,
    timeout_ms: 0,
    grace_ms: None,
    timestamps: false,
    stdin: true,
    credit: rcmd_protocol::limits::CREDIT,
};

const PATIENCE: Patience =
    Patience { grace: Duration::from_secs(10), retain: Duration::from_secs(600) };

fn delivery(sink: Sink) -> Delivery {
    let budget = Arc::new(Budget::new(1 << 30)).of("a");
    Delivery::new(JobId::random().unwrap(), OPTIONS, sink, PATIENCE, &budget)
}

fn output(stream: OutputStream, text: &'static str) -> Event {
    Event::Output { stream, bytes: text.into(), time: None }
}

/// Simulates a command that writes `out` and ends.
fn run_to_its_end(delivery: &mut Delivery) {
    delivery.take(Event::Started(5));
    delivery.take(output(OutputStream::Stdout, "out"));
    for stream in [OutputStream::Stderr, OutputStream::Stdout] {
        delivery.take(Event::OutputEnded { stream, is_open: false });
    }
    let exit = delivery.complete(Exit::exited(3, 9), Duration::from_millis(4));
    delivery.ended(exit);
    delivery.flush();
}

#[tokio::test]
async fn the_end_of_each_stream_comes_after_its_data_and_the_exit_last() {
    let (wire, sink) = Wire::new(1);
    run_to_its_end(&mut delivery(sink));
    let sent = wire.sent().await;
    let kinds: Vec<_> = sent.iter().map(|header| header["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["started", "data", "end", "end", "exit"]);
    assert_eq!((&sent[2]["stream"], &sent[3]["stream"]), (&"stdout".into(), &"stderr".into()));
    let exit = &sent[4];
    assert_eq!((&exit["code"], &exit["stdout_bytes"]), (&3.into(), &3.into()), "{exit}");
    assert_eq!((&exit["started_at"], &exit["duration_ms"]), (&5.into(), &4.into()), "{exit}");
}

#[tokio::test]
async fn an_exit_waits_for_output_without_credit() {
    let (wire, sink) = Wire::new(1);
    let mut delivery = delivery(sink);
    delivery.take(Event::Started(5));
    for _ in 0..17 {
        let bytes = vec![7; 64 << 10].into();
        delivery.take(Event::Output { stream: OutputStream::Stdout, bytes, time: None });
    }
    for stream in [OutputStream::Stdout, OutputStream::Stderr] {
        delivery.take(Event::OutputEnded { stream, is_open: false });
    }
    let exit = delivery.complete(Exit::exited(0, 9), Duration::ZERO);
    delivery.ended(exit);
    delivery.flush();
    assert!(!delivery.stdout.end_sent() && !delivery.stderr.end_sent());
    let (got, upto) = (1 << 20, 2 << 20);
    let window = Window { ch: 7, stream: Stream::Stdout, got, upto };
    assert_eq!(delivery.frame(1, Frame::Window(window)), None);
    delivery.flush();
    assert_eq!(wire.kinds().await.split_off(18), ["end", "end", "exit"]);
}

#[tokio::test]
async fn what_never_had_a_process_has_an_exit_alone() {
    for (exit, kind) in [
        (Exit::not_started(WireError::new(ErrorKind::Busy, "no"), 9), "not_started"),
        (
            Exit::unknown(WireError::new(ErrorKind::Lost, "?"), 9).with_times(Some(5), None),
            "unknown",
        ),
    ] {
        let (wire, sink) = Wire::new(1);
        let mut delivery = delivery(sink);
        delivery.ended(exit);
        delivery.flush();
        let sent = wire.sent().await;
        assert_eq!((sent.len(), &sent[0]["outcome"]), (1, &kind.into()), "{sent:?}");
    }
}

#[tokio::test]
async fn the_end_of_a_stream_that_was_stopped_before_the_start_comes_after_it() {
    let (wire, sink) = Wire::new(1);
    let mut delivery = delivery(sink);
    let stop = Frame::Stop { ch: 7, stream: Stream::Stderr };
    let action = Action::Process(Control::ReaderGone(OutputStream::Stderr));
    assert_eq!(delivery.frame(1, stop), Some(action));
    delivery.flush();
    run_to_its_end(&mut delivery);
    assert_eq!(wire.kinds().await, ["started", "data", "end", "end", "exit"]);
}

#[tokio::test]
async fn a_later_connection_gets_what_it_has_not_and_the_one_before_is_told() {
    let (first, sink) = Wire::new(1);
    let mut delivery = delivery(sink);
    run_to_its_end(&mut delivery);
    let (second, sink) = Wire::new(2);
    let received = OutputOffsets { stdout: 1, stderr: 0 };
    delivery.attach(Attachment::new(sink, Some(received)));
    let (third, sink) = Wire::new(2);
    delivery.attach(Attachment::new(sink, Some(received)));
    let sent = first.sent().await;
    let refused = sent.last().unwrap();
    assert_eq!((&refused["reason"], &refused["generation"]), (&"superseded".into(), &2.into()));
    let sent = second.sent().await;
    let kinds: Vec<_> = sent.iter().map(|header| header["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["attached", "window", "data", "end", "end", "exit"]);
    assert_eq!((&sent[2]["offset"], &sent[2]["len"]), (&1.into(), &2.into()));
    assert_eq!(third.kinds().await, ["refused"], "it is no later one");
}

#[tokio::test]
async fn frames_become_orders_and_those_of_an_older_connection_nothing() {
    let (_wire, sink) = Wire::new(4);
    let mut delivery = delivery(sink);
    let data = |offset| {
        let payload = "abc".into();
        Frame::Data(Data { ch: 7, stream: Stream::Stdin, offset, time: None, payload })
    };
    let process = |control| Some(Action::Process(control));
    assert_eq!(delivery.frame(3, data(0)), None);
    assert_eq!(delivery.frame(4, data(0)), process(Control::InputData("abc".into())));
    assert_eq!(delivery.frame(4, data(1)), process(Control::InputData("c".into())));
    assert_eq!(delivery.frame(4, data(0)), None, "it was here before");
    let mut hasher = StreamHasher::new(Algorithm::Sha256);
    hasher.update(b"abcc");
    let end =
        |digest| Frame::End(End { ch: 7, stream: Stream::Stdin, total: 4, digest, open: false });
    let other = StreamHasher::new(Algorithm::Sha256).finish();
    assert_eq!(delivery.frame(4, end(other)), process(Control::Kill(Reason::Corrupt)));
    assert_eq!(delivery.frame(4, end(hasher.finish())), process(Control::InputEnd));
    let signal = |number| Frame::Signal { ch: 7, number, signal: Signal::INT };
    assert_eq!(delivery.frame(4, signal(2)), process(Control::Signal(Signal::INT)));
    assert_eq!(delivery.frame(4, signal(2)), None, "it was carried out");
    let stop = Frame::Stop { ch: 7, stream: Stream::Stdout };
    assert_eq!(delivery.frame(4, stop), process(Control::ReaderGone(OutputStream::Stdout)));
    assert_eq!(delivery.frame(4, Frame::Cancel { ch: 7 }), process(Control::Kill(Reason::Client)));
    assert_eq!(delivery.frame(4, Frame::Done { ch: 7 }), Some(Action::Done));
    assert_eq!(delivery.frame(4, data(9)), process(Control::Kill(Reason::Client)), "a gap");
}

#[tokio::test]
async fn a_command_that_closed_its_input_is_told_of_and_takes_no_more() {
    let (wire, sink) = Wire::new(1);
    let mut delivery = delivery(sink);
    delivery.take(Event::Started(5));
    delivery.take(Event::InputClosed);
    let payload = "abc".into();
    let data = Frame::Data(Data { ch: 7, stream: Stream::Stdin, offset: 0, time: None, payload });
    assert_eq!(delivery.frame(1, data), None);
    assert_eq!(wire.kinds().await, ["started", "stop"]);
}

#[tokio::test]
async fn a_client_that_is_gone_is_waited_for_unless_it_broke_the_protocol() {
    let (_wire, sink) = Wire::new(1);
    let mut delivery = delivery(sink);
    assert_eq!(delivery.lost(0, false), None, "it was superseded");
    assert_eq!((delivery.lost(1, true), delivery.gone_at().is_some()), (None, true));
    let (_again, sink) = Wire::new(2);
    delivery.attach(Attachment::new(sink, None));
    assert_eq!(delivery.gone_at(), None);
    assert_eq!(delivery.lost(2, false), Some(Action::Process(Control::Kill(Reason::Client))));
    delivery.ended(Exit::exited(0, 9));
    assert!(delivery.gone_at().is_some(), "its end is not kept for ever");
}
