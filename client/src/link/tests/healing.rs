//! Losses, and what may be done after them.

use super::*;

#[tokio::test(start_paused = true)]
async fn after_a_cut_everything_goes_on_where_it_was() {
    let (_link, mut host, mut peer, mut child, mut notices) = running().await;
    let mut stdin = child.stdin.take().unwrap();
    stdin.send(Bytes::from_static(b"abcdef")).await.unwrap();
    child.signal(Signal::INT);
    child.signal(Signal::TERM);
    for _ in 0..3 {
        peer.expect().await;
    }
    peer.say(data(1, 0, b"hello")).await;
    let mut stdout = child.stdout.take().unwrap();
    assert_eq!(stdout.chunk().await.unwrap().bytes, "hello");
    drop(peer);

    let mut peer = host.greet('a').await;
    let attach = peer.expect_attach().await;
    assert_eq!((attach.ch, attach.received.stdout, attach.received.stderr), (1, 5, 0));
    peer.say(attached(1, 4, 1, 3)).await;
    assert_eq!(peer.expect().await, Frame::Signal { ch: 1, number: 2, signal: Signal::TERM });
    assert_eq!(peer.expect().await, window(1, Stream::Stdout, 5, CREDIT));
    assert_eq!(peer.expect().await, window(1, Stream::Stderr, 0, CREDIT));
    assert!(
        matches!(peer.expect().await, Frame::Data(data) if data.offset == 4 && data.payload == "ef")
    );
    peer.say(data(1, 3, b"lo, world")).await;
    let chunk = stdout.chunk().await.unwrap();
    assert_eq!((chunk.offset, chunk.bytes.as_ref()), (5, b", world".as_ref()));
    peer.say_end(1, b"hello, world").await;
    let report = child.wait().await;
    assert_eq!((report.outcome, report.truncated), (Outcome::Exited, false));
    assert!(matches!(notices.next().await, Some(Notice::Lost(_))));
    assert!(matches!(notices.next().await, Some(Notice::Resumed(_))));
    assert_eq!(notices.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn each_attach_has_a_higher_generation() {
    let (_link, mut host, peer, _child, _) = running().await;
    drop(peer);
    let mut before = 0;
    for _ in 0..3 {
        let mut peer = host.greet('a').await;
        let attach = peer.expect_attach().await;
        assert!(attach.generation > before);
        before = attach.generation;
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_gone_are_reported_as_truncated() {
    let (_link, mut host, peer, mut child, _) = running().await;
    drop(peer);
    let mut peer = host.greet('a').await;
    peer.expect_attach().await;
    peer.say(attached(1, 0, 0, 6)).await;
    peer.say(data(1, 6, b"world")).await;
    peer.say_end(1, b"hello world").await;
    let report = child.wait().await;
    assert_eq!((report.outcome, report.truncated), (Outcome::Exited, true));
}

/// Sends a start, and cuts the connection before its answer.
async fn asked(key: Option<&str>, greeted: bool) -> (Handle, Host, Child, u64) {
    let (link, mut host) = client();
    let mut command = echo(&link);
    if let Some(key) = key {
        command.key(key);
    }
    let child = command.spawn().await.unwrap();
    let mut peer = host.accept().await;
    peer.expect_hello().await;
    let start = peer.expect_start().await;
    if greeted {
        peer.say(hello('a')).await;
    }
    drop(peer);
    (link, host, child, start.generation)
}

#[tokio::test(start_paused = true)]
async fn a_start_that_the_same_server_never_had_is_sent_again() {
    let (_link, mut host, mut child, generation) = asked(None, true).await;
    let mut peer = host.greet('a').await;
    let attach = peer.expect_attach().await;
    assert!(attach.generation > generation);
    peer.say(refused(1, Refusal::UnknownKey)).await;
    let again = peer.expect_start().await;
    assert_eq!((again.ch, again.key), (2, attach.key));
    assert!(again.generation > attach.generation);
    peer.say(started(2)).await;
    peer.say_end(2, b"").await;
    assert_eq!(child.wait().await.outcome, Outcome::Exited);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_another_server_may_have_had_is_not_sent_again() {
    let (_link, mut host, mut child, _) = asked(None, true).await;
    let mut peer = host.greet('b').await;
    peer.expect_attach().await;
    peer.say(refused(1, Refusal::UnknownKey)).await;
    assert_eq!(verdict_at_once(&mut child).await, (Outcome::Unknown, Some(ErrorKind::Lost)));
}

#[tokio::test(start_paused = true)]
async fn a_cut_before_the_hello_leaves_open_who_had_the_start() {
    let (_link, mut host, mut child, _) = asked(None, false).await;
    let mut peer = host.greet('a').await;
    peer.expect_attach().await;
    peer.say(refused(1, Refusal::UnknownKey)).await;
    assert_eq!(verdict_at_once(&mut child).await, (Outcome::Unknown, Some(ErrorKind::Lost)));
    let report = child.wait().await;
    assert!(!report.retry_safe);
    assert!(report.error.unwrap().message.contains("broke before the server answered"));
}

#[tokio::test(start_paused = true)]
async fn a_key_of_the_callers_own_may_be_started_again_on_any_server() {
    for greeted in [true, false] {
        let (_link, mut host, _child, _) = asked(Some("deploy 7"), greeted).await;
        let mut peer = host.greet('b').await;
        assert_eq!(peer.expect_attach().await.key, key("deploy 7"));
        peer.say(refused(1, Refusal::UnknownKey)).await;
        let again = peer.expect_start().await;
        assert!(again.body.keep());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_started_again_after_it_had_started() {
    let (_link, mut host, peer, mut child, _) = running().await;
    drop(peer);
    let mut peer = host.greet('a').await;
    peer.expect_attach().await;
    peer.say(refused(1, Refusal::UnknownKey)).await;
    assert_eq!(verdict_at_once(&mut child).await, (Outcome::Unknown, Some(ErrorKind::Lost)));
}

#[tokio::test(start_paused = true)]
async fn a_start_below_another_clients_generation_is_sent_again_above_it() {
    let (link, mut host) = client();
    let mut child = echo(&link).key("k").spawn().await.unwrap();
    let mut peer = host.greet('a').await;
    let first = peer.expect_start().await;
    let theirs = first.generation + 1_000_000_000;
    let superseded =
        |ch| Frame::Refused { ch, reason: Refusal::Superseded, generation: Some(theirs) };
    peer.say(superseded(1)).await;
    let second = peer.expect_start().await;
    assert!(second.generation > theirs && second.ch == 2);
    peer.say(started(2)).await;
    peer.say(superseded(2)).await;
    assert_eq!(verdict_at_once(&mut child).await, (Outcome::Unknown, Some(ErrorKind::Lost)));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_stands_for_another_request_has_started_nothing() {
    let (link, mut host) = client();
    let mut child = echo(&link).key("k").spawn().await.unwrap();
    let mut peer = host.greet('a').await;
    peer.expect_start().await;
    peer.say(refused(1, Refusal::Conflict)).await;
    assert_eq!(
        verdict_at_once(&mut child).await,
        (Outcome::NotStarted, Some(ErrorKind::KeyConflict))
    );
}

#[tokio::test(start_paused = true)]
async fn past_the_grace_the_outcome_is_unknown() {
    let (_link, host, peer, mut child, _) = running().await;
    host.set_down(true);
    let cut = Instant::now();
    drop(peer);
    let report = child.wait().await;
    assert_eq!(verdict(&report), (Outcome::Unknown, Some(ErrorKind::Lost)));
    assert_eq!(cut.elapsed().as_secs(), 10);
    assert!(report.error.unwrap().message.contains("the host is down"));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_comes_back_within_the_grace_has_lost_nothing() {
    let (_link, mut host, peer, mut child, _) = running().await;
    host.set_down(true);
    drop(peer);
    tokio::time::sleep(Duration::from_secs(7)).await;
    host.set_down(false);
    let mut peer = host.greet('a').await;
    peer.expect_attach().await;
    peer.say(attached(1, 0, 0, 0)).await;
    peer.say_end(1, b"").await;
    assert_eq!(child.wait().await.outcome, Outcome::Exited);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_never_found_a_connection_did_not_start() {
    let (link, host, mut peer, mut child, _) = running().await;
    peer.say_end(1, b"").await;
    child.wait().await;
    host.set_down(true);
    drop(peer);
    // The loss is seen first, with nothing to heal for.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut second = echo(&link).spawn().await.unwrap();
    let report = second.wait().await;
    assert_eq!((report.outcome, report.retry_safe), (Outcome::NotStarted, true));
}

#[tokio::test(start_paused = true)]
async fn a_silent_link_is_pinged_after_1_s_and_replaced_after_3_s() {
    let (_link, mut host, mut peer, mut child, _) = running().await;
    let sent = Instant::now();
    child.signal(Signal::INT);
    assert!(matches!(peer.expect().await, Frame::Signal { .. }));
    assert!(matches!(peer.expect().await, Frame::Ping { .. }));
    assert_eq!(sent.elapsed().as_secs(), 1);
    // The old connection is still open.
    let mut second = host.greet('a').await;
    assert_eq!(sent.elapsed().as_secs(), 3);
    second.expect_attach().await;
    assert_eq!(peer.hear().await, None, "and is given up before the attach");
    second.say(attached(1, 0, 1, 0)).await;
    second.say_end(1, b"").await;
    assert_eq!(child.wait().await.outcome, Outcome::Exited);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_answers_the_ping_is_kept() {
    let (_link, mut host, mut peer, mut child, _) = running().await;
    child.signal(Signal::INT);
    assert!(matches!(peer.expect().await, Frame::Signal { .. }));
    let Frame::Ping { number } = peer.expect().await else { panic!("no ping") };
    peer.say(Frame::Pong { number }).await;
    peer.only_answer_for(Duration::from_secs(10)).await;
    assert!(host.is_quiet());
    peer.say_end(1, b"").await;
    assert_eq!(child.wait().await.outcome, Outcome::Exited);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_speaks_before_the_other_is_made_is_kept() {
    let (_link, mut host, mut peer, child, mut notices) = running().await;
    host.set_down(true);
    child.signal(Signal::INT);
    assert!(matches!(notices.next().await, Some(Notice::Lost(_))));
    peer.say(data(1, 0, b"slow")).await;
    assert!(matches!(notices.next().await, Some(Notice::Resumed(after)) if after.as_secs() >= 3));
    host.set_down(false);
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(host.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn a_suspended_client_takes_no_silence_for_a_loss() {
    let (link, mut host, mut peer, mut child, _) = running().await;
    link.order(Order::Suspend);
    assert_eq!(peer.expect().await, Frame::Suspend);
    tokio::time::sleep(Duration::from_secs(30)).await;
    link.order(Order::Resume);
    while peer.expect().await != Frame::Resume {}
    assert!(host.is_quiet());
    peer.say_end(1, b"").await;
    assert_eq!(child.wait().await.outcome, Outcome::Exited);
}

#[tokio::test(start_paused = true)]
async fn a_refused_certificate_on_the_way_back_ends_the_attempts() {
    let (_link, mut host, peer, mut child, _) = running().await;
    drop(peer);
    let cut = Instant::now();
    let mut peer = host.accept().await;
    peer.say(Frame::Error(WireError::new(ErrorKind::Denied, "revoked"))).await;
    assert_eq!(verdict_at_once(&mut child).await, (Outcome::Unknown, Some(ErrorKind::Denied)));
    assert!(cut.elapsed().as_secs() < 1);
}

#[tokio::test(start_paused = true)]
async fn every_command_of_a_connection_is_taken_up_again() {
    let (link, mut host) = client();
    let mut children = Vec::new();
    for _ in 0..3 {
        children.push(echo(&link).spawn().await.unwrap());
    }
    let mut peer = host.greet('a').await;
    for ch in 1..=3 {
        peer.expect_start().await;
        peer.say(started(ch)).await;
    }
    peer.say_end(1, b"").await;
    children.remove(0).wait().await;
    drop(peer);
    let mut peer = host.greet('a').await;
    for ch in 1..=2 {
        assert_eq!(peer.expect_attach().await.ch, ch);
        peer.say(attached(ch, 0, 0, 0)).await;
        peer.say_end(ch, b"").await;
    }
    for mut child in children {
        assert_eq!(child.wait().await.outcome, Outcome::Exited);
    }
}
