//! The link against a scripted server, in virtual time. Each test reads as a transcript.

use std::time::Duration;

use bytes::Bytes;
use rcmd_protocol::{
    frame::{Frame, Refusal, Stream},
    limits::{CHUNK, CREDIT},
    outcome::{ErrorKind, Outcome, WireError},
    signal::Signal,
};
use tokio::{io::AsyncReadExt as _, time::Instant};

use crate::{
    Child, Notice, Notices, Report, Stdio,
    link::order::{Handle, Order},
};

mod busy;
mod dry_run;
mod healing;
mod locks;
mod overdue;
mod script;
mod silence;
mod transfers;

use script::*;

/// Returns the outcome and the kind of error.
fn verdict(report: &Report) -> (Outcome, Option<ErrorKind>) {
    (report.outcome, report.error.as_ref().map(|error| error.kind))
}

/// Waits for the verdict on a command, which must be given by what was said, and not by the grace.
async fn verdict_at_once(child: &mut Child) -> (Outcome, Option<ErrorKind>) {
    let asked = Instant::now();
    let report = child.wait().await;
    assert!(asked.elapsed() < Duration::from_secs(1), "it took {:?}", asked.elapsed());
    verdict(&report)
}

#[tokio::test(start_paused = true)]
async fn hello_and_start_leave_together_and_a_verified_end_is_answered_done() {
    let (link, mut host) = client();
    let mut child = echo(&link).arg("hi").spawn().await.unwrap();
    let mut peer = host.accept().await;
    peer.expect_hello().await;
    let start = peer.expect_start().await;
    assert_eq!(start.body.payload(), "echo\0hi\0");
    peer.say(hello('a')).await;
    peer.say(started(1)).await;
    assert_eq!(child.started().await.unwrap().job, job().as_str());
    peer.say(data(1, 0, b"hi\n")).await;
    peer.say_end(1, b"hi\n").await;
    let report = child.wait().await;
    assert_eq!((report.outcome, report.code, report.stdout_bytes), (Outcome::Exited, Some(0), 3));
    assert_eq!(report.stdout_digest, Some(digest(b"hi\n").to_string()));
    assert_eq!(peer.expect().await, Frame::Done { ch: 1 });
    let mut stdout = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut stdout).await.unwrap();
    assert_eq!(stdout, b"hi\n");
    assert_eq!(child.wait().await, report, "it may be asked for again");
}

#[tokio::test(start_paused = true)]
async fn a_start_goes_by_the_name_that_was_asked_for_also_after_a_change() {
    let (link, mut host) = client();
    let mut command = echo(&link);
    command.key("k");
    let before = command.start_id().unwrap();
    let named = command.arg("hi").start_id().unwrap();
    assert_eq!(before.key, named.key);
    assert_ne!(before.digest, named.digest);
    let _child = command.spawn().await.unwrap();
    let mut peer = host.accept().await;
    peer.expect_hello().await;
    let start = peer.expect_start().await;
    assert_eq!((start.key, start.body.digest()), (named.key, named.digest));
}

/// Starts a command on channel 1 of a greeted server.
async fn running() -> (Handle, Host, Peer, Child, Notices) {
    let (link, mut host) = client();
    let mut child = echo(&link).stdin(Stdio::Piped).spawn().await.unwrap();
    let mut peer = host.greet('a').await;
    peer.expect_start().await;
    peer.say(started(1)).await;
    child.started().await.unwrap();
    let notices = child.notices();
    (link, host, peer, child, notices)
}

#[tokio::test(start_paused = true)]
async fn credit_is_given_back_while_the_rest_still_comes() {
    const PIECE: &[u8] = &[0; CHUNK];
    let (_link, _host, mut peer, mut child, _) = running().await;
    let mut stdout = child.stdout.take().unwrap();
    tokio::spawn(async move { while stdout.chunk().await.is_some() {} });
    for offset in (0..CREDIT).step_by(CHUNK) {
        peer.say(data(1, offset, PIECE)).await;
    }
    loop {
        let Frame::Window(window) = peer.expect().await else { panic!("no window") };
        if window.upto > CREDIT {
            assert!(window.got < CREDIT, "all of it had come by then");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_whose_digest_differs_is_corrupt_and_cancels_the_command() {
    let (_link, _host, mut peer, mut child, _) = running().await;
    peer.say(data(1, 0, b"hi\n")).await;
    peer.say(end(1, Stream::Stdout, b"ho\n")).await;
    let report = child.wait().await;
    assert_eq!(verdict(&report), (Outcome::Unknown, Some(ErrorKind::Corrupt)));
    assert_eq!(report.exit_status(), 255);
    assert_eq!(peer.expect().await, Frame::Cancel { ch: 1 });
}

#[tokio::test(start_paused = true)]
async fn an_exit_that_differs_from_the_ends_is_corrupt() {
    let (_link, _host, mut peer, mut child, _) = running().await;
    peer.say(end(1, Stream::Stdout, b"")).await;
    peer.say(end(1, Stream::Stderr, b"")).await;
    peer.say(exit(1, b"x")).await;
    assert_eq!(verdict_at_once(&mut child).await, (Outcome::Unknown, Some(ErrorKind::Corrupt)));
}

#[tokio::test(start_paused = true)]
async fn an_exit_before_the_ends_breaks_the_protocol_and_is_no_zero() {
    let (_link, _host, mut peer, mut child, _) = running().await;
    peer.say(end(1, Stream::Stdout, b"")).await;
    peer.say(exit(1, b"")).await;
    assert_eq!(verdict_at_once(&mut child).await, (Outcome::Unknown, Some(ErrorKind::Protocol)));
    let mut told = None;
    while let Some(frame) = peer.hear().await {
        if let Frame::Error(failure) = frame {
            told = Some(failure.kind);
        }
    }
    assert_eq!(told, Some(ErrorKind::Protocol));
}

#[tokio::test(start_paused = true)]
async fn output_before_the_start_breaks_the_protocol() {
    let (link, mut host) = client();
    let mut child = echo(&link).spawn().await.unwrap();
    let mut peer = host.greet('a').await;
    peer.say(data(1, 0, b"hi\n")).await;
    assert_eq!(verdict_at_once(&mut child).await, (Outcome::Unknown, Some(ErrorKind::Protocol)));
}

#[tokio::test(start_paused = true)]
async fn what_the_server_says_of_a_command_that_did_not_start_is_reported() {
    let (link, mut host) = client();
    let mut child = echo(&link).spawn().await.unwrap();
    let mut peer = host.greet('a').await;
    peer.expect_start().await;
    peer.say(Frame::Queued { ch: 1, position: 4 }).await;
    peer.say(busy(1, 500)).await;
    assert_eq!(child.notices().next().await, Some(Notice::Queued(4)));
    assert_eq!(child.started().await, None);
    let report = child.wait().await;
    assert_eq!(
        (report.outcome, &report.error, report.retry_safe),
        (Outcome::NotStarted, &Some(full(500)), true)
    );
    assert_eq!(report.exit_status(), 125);
}

#[tokio::test(start_paused = true)]
async fn a_kind_of_error_that_the_client_does_not_know_is_reported_as_text() {
    let later = WireError::new(ErrorKind::parse("unreachable_there").unwrap(), "no way");
    for outcome in [Outcome::NotStarted, Outcome::Unknown] {
        let (link, mut host) = client();
        let mut child = echo(&link).spawn().await.unwrap();
        let mut peer = host.greet('a').await;
        peer.expect_start().await;
        peer.say(failed(1, outcome, later.clone())).await;
        assert_eq!(verdict_at_once(&mut child).await, (outcome, Some(later.kind)));
        let report = child.wait().await;
        let status = if outcome == Outcome::NotStarted { 125 } else { 255 };
        assert_eq!(report.exit_status(), status);
        let shown = serde_json::to_value(&report).unwrap();
        assert_eq!(shown["error"]["kind"], "unreachable_there");
    }
    let (link, mut host) = client();
    let mut child = echo(&link).spawn().await.unwrap();
    let mut peer = host.accept().await;
    peer.expect_hello().await;
    peer.say(Frame::Error(later.clone())).await;
    assert_eq!(verdict_at_once(&mut child).await, (Outcome::NotStarted, Some(later.kind)));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_before_its_hello_has_started_nothing() {
    let (link, mut host) = client();
    let mut child = echo(&link).spawn().await.unwrap();
    let mut peer = host.accept().await;
    peer.expect_hello().await;
    peer.expect_start().await;
    peer.say(Frame::Error(WireError::new(ErrorKind::Denied, "no"))).await;
    assert_eq!(verdict_at_once(&mut child).await, (Outcome::NotStarted, Some(ErrorKind::Denied)));
    assert!(host.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn credit_rises_as_output_is_consumed_and_not_before() {
    let (_link, _host, mut peer, mut child, _) = running().await;
    let mut stdout = child.stdout.take().unwrap();
    let block: &'static [u8] = vec![7; 65_536].leak();
    for n in 0..8 {
        peer.say(data(1, n * 65_536, block)).await;
    }
    let quarter = CREDIT / 4;
    assert_eq!(peer.expect().await, window(1, Stream::Stdout, quarter, CREDIT));
    assert_eq!(peer.expect().await, window(1, Stream::Stdout, 2 * quarter, CREDIT));
    for _ in 0..4 {
        stdout.chunk().await.unwrap();
    }
    // The fourth is still in the caller's hands.
    stdout.chunk().await.unwrap();
    assert_eq!(peer.expect().await, window(1, Stream::Stdout, 2 * quarter, CREDIT + quarter));
}

#[tokio::test(start_paused = true)]
async fn stdin_waits_for_room_and_ends_with_a_digest_of_all() {
    let (_link, _host, mut peer, mut child, _) = running().await;
    let mut stdin = child.stdin.take().unwrap();
    let all = vec![3; CREDIT as usize + 1];
    let sending = tokio::spawn({
        let all = Bytes::from(all.clone());
        async move {
            stdin.send(all).await.unwrap();
            stdin.finish().await;
        }
    });
    let mut at = 0;
    while at < CREDIT {
        let Frame::Data(data) = peer.expect().await else { panic!("no data") };
        assert_eq!(data.offset, at);
        at += data.payload.len() as u64;
    }
    assert!(!sending.is_finished(), "one byte has no room");
    peer.say(window(1, Stream::Stdin, 100, CREDIT + 100)).await;
    assert!(matches!(peer.expect().await, Frame::Data(data) if data.offset == CREDIT));
    assert_eq!(peer.expect().await, end(1, Stream::Stdin, &all));
    sending.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn stdin_that_nobody_reads_any_more_is_a_broken_pipe() {
    let (_link, _host, mut peer, mut child, _) = running().await;
    peer.say(Frame::Stop { ch: 1, stream: Stream::Stdin }).await;
    let mut stdin = child.stdin.take().unwrap();
    let error = loop {
        if let Err(error) = stdin.send(Bytes::from_static(b"x")).await {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_goes_stops_the_stream_and_its_total_is_not_compared() {
    let (_link, _host, mut peer, mut child, _) = running().await;
    peer.say(data(1, 0, b"y\n")).await;
    assert_eq!(child.stdout.as_mut().unwrap().chunk().await.unwrap().bytes, "y\n");
    drop(child.stdout.take());
    assert_eq!(peer.expect().await, Frame::Stop { ch: 1, stream: Stream::Stdout });
    peer.say_end(1, b"y\ny\n").await;
    let report = child.wait().await;
    assert_eq!((report.outcome, report.truncated), (Outcome::Exited, true));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_dropped_is_cancelled() {
    let (_link, _host, mut peer, child, _) = running().await;
    drop(child);
    let mut heard = Vec::new();
    for _ in 0..3 {
        heard.push(peer.expect().await);
    }
    assert!(heard.contains(&Frame::Cancel { ch: 1 }), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn the_connection_is_closed_when_the_last_handle_goes() {
    let (link, mut host, mut peer, mut child, _) = running().await;
    peer.say_end(1, b"").await;
    child.wait().await;
    drop((child, link));
    while peer.hear().await.is_some() {}
    assert!(host.arriving_ended().await, "the task and its dialer are gone");
}

#[tokio::test(start_paused = true)]
async fn signals_are_numbered_and_sent_at_once() {
    let (_link, _host, mut peer, child, _) = running().await;
    child.signal(Signal::INT);
    child.signal(Signal::TERM);
    child.cancel();
    assert_eq!(peer.expect().await, Frame::Signal { ch: 1, number: 1, signal: Signal::INT });
    assert_eq!(peer.expect().await, Frame::Signal { ch: 1, number: 2, signal: Signal::TERM });
    assert_eq!(peer.expect().await, Frame::Cancel { ch: 1 });
}
