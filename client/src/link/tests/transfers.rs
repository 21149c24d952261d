//! Transfers of files, which a server need not know.

use rcmd_protocol::{
    frame::capability,
    request::{Request, TransferVerb},
};

use super::*;
use crate::Command;

fn fetch(link: &Handle) -> Command {
    let verb = TransferVerb::Send { is_literal: false };
    let mut command = Command::of(link.clone(), Request::transfer(verb, ["/srv/a", "b"]));
    command.stdin(Stdio::Piped);
    command
}

#[tokio::test(start_paused = true)]
async fn a_transfer_is_asked_for_when_the_server_has_said_that_it_knows_them() {
    let (link, mut host) = client();
    let mut child = fetch(&link).spawn().await.unwrap();
    let mut peer = host.accept().await;
    peer.expect_hello().await;
    let Frame::Hello(mut hello) = hello('a') else { panic!("a hello") };
    hello.capabilities = vec![capability::EXEC.to_owned(), capability::TRANSFER.to_owned()];
    peer.say(Frame::Hello(hello)).await;
    let start = peer.expect_start().await;
    assert_eq!(start.body.payload(), "send\0--\0/srv/a\0b\0");
    peer.say(started(1)).await;
    peer.say_end(1, b"").await;
    assert_eq!(verdict(&child.wait().await), (Outcome::Exited, None));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_knows_no_transfers_is_never_asked_for_one() {
    let (link, mut host) = client();
    let mut child = fetch(&link).spawn().await.unwrap();
    let mut peer = host.greet('a').await;
    assert_eq!(verdict_at_once(&mut child).await, (Outcome::NotStarted, Some(ErrorKind::Protocol)));
    let failure = child.wait().await.error.unwrap();
    assert!(failure.message.contains("does not know `transfer`"), "{failure}");
    assert!(failure.hint.unwrap().contains("older than this client"));
    drop((child, link));
    assert_eq!(peer.hear().await, None);
}
