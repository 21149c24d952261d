//! Hosts that are busy, and when they are asked again.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Starts a command that tries for ten seconds.
async fn patient(link: &Handle) -> Child {
    echo(link).stdin(Stdio::Piped).busy_wait(10 * SECOND).spawn().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_start_is_sent_again_when_the_host_says_so_and_not_before() {
    let (link, mut host) = client();
    let mut child = patient(&link).await;
    child.stdin.as_mut().unwrap().send(Bytes::from_static(b"abc")).await.unwrap();
    let mut peer = host.greet('a').await;
    let first = peer.expect_start().await;
    assert!(matches!(peer.expect().await, Frame::Data(_)));
    // An answer comes later than what it answers.
    tokio::time::advance(Duration::from_millis(1)).await;
    let asked = Instant::now();
    peer.say(busy(1, 1000)).await;
    assert_eq!(peer.expect().await, Frame::Done { ch: 1 });

    let again = peer.expect_start().await;
    assert!(asked.elapsed() >= SECOND && asked.elapsed() <= 2 * SECOND, "{:?}", asked.elapsed());
    assert_ne!(again.key, first.key);
    assert_eq!((again.ch, again.body.digest()), (2, first.body.digest()));
    assert!(matches!(peer.expect().await, Frame::Data(data) if data.payload == "abc"));
    peer.say(started(2)).await;
    peer.say_end(2, b"").await;
    assert_eq!(child.notices().next().await, Some(Notice::Busy("full".to_owned())));
    assert_eq!(verdict(&child.wait().await), (Outcome::Exited, None));
}

#[tokio::test(start_paused = true)]
async fn the_caller_s_own_key_stays_the_same() {
    let (link, mut host) = client();
    let _child = echo(&link).key("k").busy_wait(10 * SECOND).spawn().await.unwrap();
    let mut peer = host.greet('a').await;
    peer.expect_start().await;
    peer.say(busy(1, 100)).await;
    assert_eq!(peer.expect().await, Frame::Done { ch: 1 });
    assert_eq!(peer.expect_start().await.key, key("k"));
}

#[tokio::test(start_paused = true)]
async fn a_busy_host_may_be_waited_for_without_a_limit() {
    let (link, mut host) = client();
    let _child = echo(&link).busy_wait(Duration::MAX).spawn().await.unwrap();
    let mut peer = host.greet('a').await;
    peer.expect_start().await;
    peer.say(busy(1, 100)).await;
    assert_eq!(peer.expect().await, Frame::Done { ch: 1 });
    assert_eq!(peer.expect_start().await.ch, 2);
}

#[tokio::test(start_paused = true)]
async fn busy_wait_ends_and_the_last_answer_is_the_report() {
    let (link, mut host) = client();
    let mut child = patient(&link).await;
    let mut peer = host.greet('a').await;
    let began = Instant::now();
    let asked = async {
        let mut asked = 0;
        while let Some(frame) = peer.hear().await {
            if let Frame::Start(start) = frame {
                asked += 1;
                peer.say(busy(start.ch, 2000)).await;
            }
        }
        asked
    };
    let report = async {
        let report = child.wait().await;
        assert!(began.elapsed() <= 10 * SECOND, "{:?}", began.elapsed());
        drop((child, link));
        report
    };
    let (asked, report) = tokio::join!(asked, report);
    assert!((4..=5).contains(&asked), "{asked}");
    assert_eq!((report.outcome, report.error), (Outcome::NotStarted, Some(full(2000))));
}

/// Answers `busy` with this time to each start of a command that tries for so long, and returns how many there
/// were.
async fn asked(retry_after_ms: u64, busy_wait: Duration) -> usize {
    let (link, mut host) = client();
    let mut child = echo(&link).busy_wait(busy_wait).spawn().await.unwrap();
    let mut peer = host.greet('a').await;
    let answering = async {
        let mut asked = 0;
        while let Some(frame) = peer.hear().await {
            if let Frame::Start(start) = frame {
                asked += 1;
                peer.say(busy(start.ch, retry_after_ms)).await;
            }
        }
        asked
    };
    let ending = async {
        let report = child.wait().await;
        drop((child, link));
        report
    };
    let (asked, report) = tokio::join!(answering, ending);
    assert_eq!((report.outcome, report.error), (Outcome::NotStarted, Some(full(retry_after_ms))));
    asked
}

#[tokio::test(start_paused = true)]
async fn a_host_that_says_to_come_again_at_once_is_asked_ever_more_slowly() {
    // After 50, 100, 200, 400 and 800 ms, and then each second, each made longer by up to a half.
    let asked = asked(0, 10 * SECOND).await;
    assert!((9..=14).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn who_would_have_to_wait_for_too_long_is_told_at_once() {
    let (link, mut host) = client();
    let mut child = patient(&link).await;
    let mut peer = host.greet('a').await;
    peer.expect_start().await;
    peer.say(busy(1, 10_001)).await;
    assert_eq!(verdict_at_once(&mut child).await, (Outcome::NotStarted, Some(ErrorKind::Busy)));
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_signalled_while_it_rests_is_given_up() {
    for cancel in [false, true] {
        let (link, mut host) = client();
        let mut child = patient(&link).await;
        let mut notices = child.notices();
        let mut peer = host.greet('a').await;
        peer.expect_start().await;
        peer.say(busy(1, 5000)).await;
        assert!(matches!(notices.next().await, Some(Notice::Busy(_))));
        if cancel {
            child.cancel()
        } else {
            child.signal(Signal::INT)
        }
        assert_eq!(verdict_at_once(&mut child).await, (Outcome::NotStarted, Some(ErrorKind::Busy)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_room_for_the_connection_is_dialled_again_later() {
    let (link, mut host) = client();
    let mut child = patient(&link).await;
    let mut peer = host.accept().await;
    // Not before there is a command that it is said to.
    while !matches!(peer.expect().await, Frame::Start(_)) {}
    let refused = Instant::now();
    peer.say(Frame::Error(full(1000))).await;
    drop(peer);
    let mut peer = host.greet('a').await;
    assert!(refused.elapsed() >= SECOND, "{:?}", refused.elapsed());
    peer.expect_start().await;
    peer.say(started(1)).await;
    peer.say_end(1, b"").await;
    assert_eq!(verdict(&child.wait().await), (Outcome::Exited, None));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_goes_away_while_it_is_busy_has_started_nothing() {
    let (link, mut host) = client();
    let mut child = patient(&link).await;
    let mut peer = host.greet('a').await;
    peer.expect_start().await;
    peer.say(busy(1, 1000)).await;
    assert_eq!(peer.expect().await, Frame::Done { ch: 1 });
    host.set_down(true);
    drop(peer);
    let report = child.wait().await;
    assert_eq!((report.outcome, report.error), (Outcome::NotStarted, Some(full(1000))));
    assert!(report.retry_safe);
}
