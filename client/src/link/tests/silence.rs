//! Connections on which nothing comes: noticed while the command still lives on the other side.

use super::*;

/// Starts a command on channel 1 of a server with this grace, in milliseconds.
async fn running_with_grace(grace_ms: u64) -> (Handle, Host, Peer, Child) {
    let (link, mut host) = client();
    let mut child = echo(&link).spawn().await.unwrap();
    let mut peer = host.accept().await;
    peer.expect_hello().await;
    peer.say(hello_with_grace('a', grace_ms)).await;
    peer.expect_start().await;
    peer.say(started(1)).await;
    child.started().await.unwrap();
    (link, host, peer, child)
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_is_asked_after_a_third_of_the_grace_and_replaced_within_it() {
    for grace_ms in [1_000, 6_000, 10_000] {
        let grace = Duration::from_millis(grace_ms);
        let (_link, mut host, mut peer, mut child) = running_with_grace(grace_ms).await;
        let quiet = Instant::now();
        assert!(matches!(peer.expect().await, Frame::Ping { .. }));
        assert!(quiet.elapsed() <= grace / 3 + Duration::from_millis(10), "{:?}", quiet.elapsed());
        // Nothing is answered: the server's side of the connection is gone.
        let mut second = host.greet('a').await;
        let late = grace * 2 / 3 + Duration::from_millis(10);
        assert!(quiet.elapsed() <= late, "{:?} of {grace:?}", quiet.elapsed());
        second.expect_attach().await;
        second.say(attached(1, 0, 0, 0)).await;
        second.say_end(1, b"").await;
        assert_eq!(child.wait().await.outcome, Outcome::Exited);
    }
}

#[tokio::test(start_paused = true)]
async fn the_grace_that_a_command_asks_for_counts_too() {
    let (link, mut host) = client();
    let mut child = echo(&link).grace(Duration::from_secs(3)).spawn().await.unwrap();
    let mut peer = host.greet('a').await;
    peer.expect_start().await;
    peer.say(started(1)).await;
    child.started().await.unwrap();
    let quiet = Instant::now();
    let _second = host.greet('a').await;
    assert!(quiet.elapsed() <= Duration::from_millis(2_010), "{:?}", quiet.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_is_asked_on_and_keeps_its_connection() {
    let (_link, mut host, mut peer, _child) = running_with_grace(10_000).await;
    peer.only_answer_for(Duration::from_secs(60)).await;
    assert!(host.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn without_a_command_only_the_keepalive_asks() {
    let (_link, _host, mut peer, mut child) = running_with_grace(1_000).await;
    peer.say_end(1, b"").await;
    child.wait().await;
    assert_eq!(peer.expect().await, Frame::Done { ch: 1 });
    let quiet = Instant::now();
    assert!(matches!(peer.expect().await, Frame::Ping { .. }));
    assert_eq!(quiet.elapsed().as_secs(), 15);
}
