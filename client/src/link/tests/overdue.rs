//! Hosts that do not keep to what they were asked for: none holds its client by its word alone.

use super::*;

/// The time limit of the commands here, and how much later their host is late.
const LIMIT: Duration = Duration::from_secs(60);
const SLACK: Duration = Duration::from_secs(30);
const LAST_WORD: Duration = Duration::from_secs(5);

/// Starts a command with a time limit on channel 1, and returns it with the time at which it began.
async fn limited() -> (Handle, Host, Peer, Child, Instant) {
    let (link, mut host) = client();
    let mut child = echo(&link).timeout(LIMIT).spawn().await.unwrap();
    let mut peer = host.greet('a').await;
    peer.expect_start().await;
    peer.say(started(1)).await;
    child.started().await.unwrap();
    (link, host, peer, child, Instant::now())
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_end_a_command_in_time_is_told_to_and_then_left() {
    let (_link, _host, mut peer, mut child, began) = limited().await;
    assert_eq!(peer.expect_answering().await, Frame::Cancel { ch: 1 });
    assert_eq!(began.elapsed().as_secs(), (LIMIT + SLACK).as_secs());
    let report = child.wait().await;
    assert_eq!(verdict(&report), (Outcome::Unknown, Some(ErrorKind::Lost)));
    assert_eq!(began.elapsed().as_secs(), (LIMIT + SLACK + LAST_WORD).as_secs());
    assert!(report.error.unwrap().message.contains("did not end the command"));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_comes_late_is_still_the_end() {
    let (_link, _host, mut peer, mut child, _) = limited().await;
    assert_eq!(peer.expect_answering().await, Frame::Cancel { ch: 1 });
    peer.say_end(1, b"").await;
    assert_eq!(child.wait().await.outcome, Outcome::Exited);
}

#[tokio::test(start_paused = true)]
async fn a_command_without_a_limit_may_run_for_as_long_as_it_likes() {
    let (_link, _host, mut peer, mut child, _) = running().await;
    peer.only_answer_for(Duration::from_secs(6 * 3600)).await;
    peer.say_end(1, b"").await;
    assert_eq!(child.wait().await.outcome, Outcome::Exited);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_its_time_is_not_the_hosts_fault() {
    let (_link, _host, mut peer, mut child, _) = limited().await;
    peer.say(data(1, 0, b"hello")).await;
    peer.only_answer_for(LIMIT + 10 * SLACK).await;
    let mut stdout = child.stdout.take().unwrap();
    assert_eq!(stdout.chunk().await.unwrap().bytes, "hello");
    assert_eq!(peer.expect_answering().await, Frame::Cancel { ch: 1 });
}

#[tokio::test(start_paused = true)]
async fn output_that_comes_over_a_slow_link_is_waited_for_and_a_trickle_is_not() {
    const PIECE: &[u8] = &[b'x'; 20_000];
    for (piece, waits) in [(PIECE, true), (&PIECE[..100], false)] {
        let (_link, _host, mut peer, mut child, _) = limited().await;
        let mut stdout = child.stdout.take().unwrap();
        tokio::spawn(async move { while stdout.chunk().await.is_some() {} });
        peer.only_answer_for(LIMIT).await;
        let mut came = 0;
        let mut cancelled = false;
        for _ in 0..10 {
            peer.say(data(1, came, piece)).await;
            came += piece.len() as u64;
            let wait = Duration::from_secs(10);
            let frame = tokio::time::timeout(wait, peer.expect_answering()).await;
            cancelled |= matches!(frame, Ok(Frame::Cancel { .. }));
        }
        assert_eq!(cancelled, !waits, "{} bytes at a time", piece.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_stopped_gives_its_host_time_anew() {
    let (link, _host, mut peer, mut child, _) = limited().await;
    peer.only_answer_for(LIMIT + SLACK / 3).await;
    link.order(Order::Suspend);
    assert_eq!(peer.expect_answering().await, Frame::Suspend);
    tokio::time::sleep(SLACK).await;
    link.order(Order::Resume);
    assert_eq!(peer.expect_answering().await, Frame::Resume);
    peer.only_answer_for(SLACK / 3).await;
    peer.say_end(1, b"").await;
    assert_eq!(child.wait().await.outcome, Outcome::Exited);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_away_when_the_time_is_over_is_not_waited_for() {
    let (_link, mut host) = client();
    let mut child = echo(&_link).timeout(LIMIT).spawn().await.unwrap();
    let mut peer = host.accept().await;
    peer.expect_hello().await;
    peer.say(hello_with_grace('a', 3_600_000)).await;
    peer.expect_start().await;
    peer.say(started(1)).await;
    child.started().await.unwrap();
    let began = Instant::now();
    host.set_down(true);
    drop(peer);
    assert_eq!(verdict(&child.wait().await), (Outcome::Unknown, Some(ErrorKind::Lost)));
    assert_eq!(began.elapsed().as_secs(), (LIMIT + SLACK).as_secs());
}

#[tokio::test(start_paused = true)]
async fn no_host_makes_its_client_try_for_longer_than_an_hour() {
    let (link, mut host) = client();
    let mut child = echo(&link).spawn().await.unwrap();
    let mut peer = host.accept().await;
    peer.expect_hello().await;
    peer.say(hello_with_grace('a', rcmd_protocol::limits::INTEGER)).await;
    peer.expect_start().await;
    peer.say(started(1)).await;
    child.started().await.unwrap();
    let lost = Instant::now();
    host.set_down(true);
    drop(peer);
    assert_eq!(verdict(&child.wait().await), (Outcome::Unknown, Some(ErrorKind::Lost)));
    assert_eq!(lost.elapsed().as_secs(), 3600);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_its_host_leaves_waiting_is_given_up_after_an_hour() {
    let lock = Duration::from_secs(7200);
    let (link, mut host) = client();
    let mut child = echo(&link).lock("deploy", lock).spawn().await.unwrap();
    let mut peer = host.accept().await;
    peer.expect_hello().await;
    peer.say(locks::able('a')).await;
    peer.expect_start().await;
    peer.say(Frame::Queued { ch: 1, position: 1 }).await;
    let asked = Instant::now();
    assert_eq!(peer.expect_answering().await, Frame::Cancel { ch: 1 });
    assert_eq!(asked.elapsed().as_secs(), 3600 + lock.as_secs() + SLACK.as_secs());
    assert_eq!(verdict(&child.wait().await), (Outcome::Unknown, Some(ErrorKind::Lost)));
}
