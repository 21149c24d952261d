//! Starts that need more of a server than every server can.

use rcmd_protocol::frame::capability;

use super::*;

/// Returns the hello of a server that knows locks.
pub(super) fn able(name: char) -> Frame {
    let Frame::Hello(mut hello) = hello(name) else { panic!("a hello") };
    hello.capabilities = vec![capability::EXEC.to_owned(), capability::LOCK.to_owned()];
    Frame::Hello(hello)
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_asked_for_when_the_server_has_said_that_it_knows_locks() {
    let (link, mut host) = client();
    let mut plain = echo(&link).spawn().await.unwrap();
    let mut locked = echo(&link).lock("deploy", Duration::ZERO).spawn().await.unwrap();
    let mut peer = host.accept().await;
    peer.expect_hello().await;
    assert_eq!(peer.expect_start().await.body.lock(), None);
    peer.say(able('a')).await;
    let start = peer.expect_start().await;
    assert_eq!((start.ch, start.body.lock().unwrap().name.clone()), (2, "deploy".to_owned()));
    for (ch, child) in [(1, &mut plain), (2, &mut locked)] {
        peer.say(started(ch)).await;
        peer.say_end(ch, b"").await;
        assert_eq!(verdict(&child.wait().await), (Outcome::Exited, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_knows_no_locks_is_never_asked_for_one() {
    let (link, mut host) = client();
    let mut child = echo(&link).lock("deploy", Duration::ZERO).spawn().await.unwrap();
    let mut peer = host.greet('a').await;
    assert_eq!(verdict_at_once(&mut child).await, (Outcome::NotStarted, Some(ErrorKind::Protocol)));
    drop((child, link));
    assert_eq!(peer.hear().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_before_the_hello_has_started_nothing_and_asks_again() {
    let (link, mut host) = client();
    let mut child = echo(&link).lock("deploy", Duration::ZERO).spawn().await.unwrap();
    let mut peer = host.accept().await;
    peer.expect_hello().await;
    drop(peer);
    let mut peer = host.accept().await;
    peer.expect_hello().await;
    peer.say(able('b')).await;
    peer.expect_start().await;
    peer.say(started(1)).await;
    peer.say_end(1, b"").await;
    assert_eq!(verdict(&child.wait().await), (Outcome::Exited, None));
}
