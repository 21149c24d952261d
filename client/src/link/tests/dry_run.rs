//! Hosts that are asked what they would do, and run nothing.

use rcmd_protocol::frame::{Verdict, capability};

use super::*;

/// Returns the hello of a server that can do these things.
fn able(capabilities: &[&str]) -> Frame {
    let Frame::Hello(mut hello) = hello('a') else { panic!("a hello") };
    hello.capabilities = capabilities.iter().map(|&one| one.to_owned()).collect();
    Frame::Hello(hello)
}

const ALL: [&str; 3] = [capability::EXEC, capability::ASK, capability::LOCK];

fn permitted(ch: u32) -> Frame {
    Frame::Verdict(Verdict { ch, answer: Ok(Some("yes".to_owned())) })
}

/// Starts a dry run of a command with a lock and with everything else that a start may have.
fn asking(link: &Handle) -> tokio::task::JoinHandle<Result<String, WireError>> {
    let mut command = echo(link);
    command.arg("hi").env("A", "b").user("app").current_dir("/srv").stdin(Stdio::Piped);
    command.timeout(Duration::from_secs(9)).lock("deploy", Duration::from_secs(1));
    tokio::spawn(async move { command.dry_run().await.map_err(WireError::from) })
}

#[tokio::test(start_paused = true)]
async fn the_whole_request_is_asked_with_its_lock_and_the_verdict_is_the_answer() {
    let (link, mut host) = client();
    let answer = asking(&link);
    let mut peer = host.accept().await;
    peer.expect_hello().await;
    peer.say(able(&ALL)).await;
    let Frame::Ask(start) = peer.expect().await else { panic!("no question") };
    assert_eq!(start.body.payload(), "echo\0hi\0A=b\0/srv\0app\0");
    assert_eq!(start.body.lock().unwrap().name, "deploy");
    assert_eq!((start.body.timeout_ms(), start.body.stdin()), (9000, true));
    peer.say(permitted(1)).await;
    assert_eq!(answer.await.unwrap(), Ok("yes".to_owned()));
    drop(link);
    assert_eq!(peer.hear().await, None, "nothing more was said on its channel");
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_the_failure_that_a_start_would_have_had() {
    let (link, mut host) = client();
    let answer = asking(&link);
    let mut peer = host.accept().await;
    peer.say(able(&ALL)).await;
    while !matches!(peer.expect().await, Frame::Ask(_)) {}
    let denied = WireError::new(ErrorKind::Denied, "no").hint("Ask bob.");
    peer.say(Frame::Verdict(Verdict { ch: 1, answer: Err(denied.clone()) })).await;
    assert_eq!(answer.await.unwrap(), Err(denied));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_can_not_answer_all_of_it_is_never_asked() {
    for lacking in [[capability::EXEC, capability::ASK], [capability::EXEC, capability::LOCK]] {
        let (link, mut host) = client();
        let answer = asking(&link);
        let mut peer = host.accept().await;
        peer.expect_hello().await;
        peer.say(able(&lacking)).await;
        assert_eq!(answer.await.unwrap().unwrap_err().kind, ErrorKind::Protocol);
        drop(link);
        assert_eq!(peer.hear().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_that_was_lost_is_asked_again() {
    let (link, mut host) = client();
    let answer = asking(&link);
    for _ in 0..2 {
        let mut peer = host.accept().await;
        peer.say(able(&ALL)).await;
        while !matches!(peer.expect().await, Frame::Ask(_)) {}
    }
    let mut peer = host.accept().await;
    peer.say(able(&ALL)).await;
    while !matches!(peer.expect().await, Frame::Ask(_)) {}
    peer.say(permitted(1)).await;
    assert_eq!(answer.await.unwrap(), Ok("yes".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_question_whose_link_stays_broken_says_that_nothing_was_to_run() {
    for is_down in [true, false] {
        let (link, mut host) = client();
        let mut answer = asking(&link);
        let mut peer = host.accept().await;
        peer.say(able(&ALL)).await;
        while !matches!(peer.expect().await, Frame::Ask(_)) {}
        host.set_down(is_down);
        drop(peer);
        // A host that is not down takes connections and says nothing on them.
        let mut silent = Vec::new();
        let failure = loop {
            tokio::select! {
                answer = &mut answer => break answer.unwrap().unwrap_err(),
                peer = host.accept(), if !is_down => silent.push(peer),
            }
        };
        assert_eq!(failure.kind, ErrorKind::Lost, "{failure}");
        assert!(!failure.message.contains("the command"), "{failure}");
        let hint = failure.hint.unwrap();
        assert!(
            hint.contains("nothing was asked to run") && hint.contains("doctor web1"),
            "{hint}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_runs_where_nothing_was_to_run_breaks_the_protocol() {
    let (link, mut host) = client();
    let answer = asking(&link);
    let mut peer = host.accept().await;
    peer.say(able(&ALL)).await;
    while !matches!(peer.expect().await, Frame::Ask(_)) {}
    peer.say(started(1)).await;
    assert_eq!(answer.await.unwrap().unwrap_err().kind, ErrorKind::Protocol);
}
