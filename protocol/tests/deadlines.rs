//! Deadlines against a peer that wastes time, on the core's own clock.

// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use rcmd_protocol::{
    connection::{Role, Timeout},
    error::ProtocolError,
    io::{ConnectionError, split},
    limits,
};
use tokio::io::AsyncWriteExt as _;

#[path = "support/victim.rs"]
#[allow(dead_code)] // Each test uses a part of it.
mod victim;
use victim::{HELLO, ID, KEEPALIVE, Victim, framed, start};

#[test]
fn a_header_that_trickles_is_a_fault_after_its_deadline() {
    let mut victim = Victim::server();
    let began = victim.now;
    let bytes = start(1);
    for (second, byte) in bytes[..10].iter().enumerate() {
        victim.now = began + Duration::from_secs(second as u64);
        victim.connection.heard(victim.now);
        assert_eq!(victim.take(&[*byte]), Ok(vec![]));
        assert_eq!(victim.connection.handle_timeout(victim.now), Ok(Timeout::Wait));
    }
    assert_eq!(victim.connection.timeout(), began + limits::HEADER_DEADLINE);
    victim.now = began + limits::HEADER_DEADLINE;
    assert_eq!(victim.connection.handle_timeout(victim.now), Err(ProtocolError::Trickle));
}

#[test]
fn a_header_in_time_and_a_slow_payload_are_no_trickle() {
    let mut victim = Victim::server();
    let bytes = start(1);
    let (begun, rest) = bytes.split_at(3);
    victim.take(begun).unwrap();
    victim.now += limits::HEADER_DEADLINE - Duration::from_millis(1);
    let (header, payload) = rest.split_at(rest.len() - 2);
    victim.take(header).unwrap();
    victim.now += limits::HEADER_DEADLINE;
    victim.connection.heard(victim.now);
    assert_eq!(victim.connection.handle_timeout(victim.now), Ok(Timeout::Wait));
    assert_eq!(victim.take(payload).unwrap().len(), 1);
}

#[test]
fn a_payload_that_trickles_ends_the_connection_by_its_length_and_is_no_fault() {
    let mut victim = Victim::server();
    let bytes = start(1);
    victim.take(&bytes[..bytes.len() - 2]).unwrap();
    let until = victim.now + limits::PAYLOAD_DEADLINE;
    while victim.now < until {
        victim.connection.heard(victim.now);
        assert!(matches!(victim.connection.handle_timeout(victim.now), Ok(Timeout::Wait)));
        victim.now += limits::HEADER_DEADLINE;
    }
    assert_eq!(victim.connection.late_at(), Some(until));
    assert_eq!(victim.connection.handle_timeout(victim.now), Ok(Timeout::Slow));
}

#[test]
fn a_payload_has_the_longer_the_larger_it_is_and_its_end_is_the_end_of_its_time() {
    let mut victim = Victim::server();
    let bytes = start(1);
    let (most, last) = bytes.split_at(bytes.len() - 1);
    victim.take(most).unwrap();
    assert!(victim.connection.late_at().is_some());
    assert_eq!(victim.take(last).unwrap().len(), 1);
    assert_eq!(victim.connection.late_at(), None);
    let promised = limits::PAYLOAD;
    let header =
        format!(r#"{{"type":"data","ch":1,"stream":"stdin","offset":0,"len":{promised}}}"#);
    victim.header(&header).unwrap();
    let longer = Duration::from_secs(promised as u64 / limits::PAYLOAD_RATE);
    assert_eq!(victim.connection.late_at(), Some(victim.now + limits::PAYLOAD_DEADLINE + longer));
}

#[test]
fn silence_is_asked_about_twice_and_then_ends_the_connection() {
    let mut victim = Victim::server();
    for number in 1..=2 {
        victim.now += KEEPALIVE;
        assert_eq!(victim.connection.timeout(), victim.now);
        assert_eq!(victim.connection.handle_timeout(victim.now), Ok(Timeout::Ping(number)));
    }
    victim.now += KEEPALIVE;
    assert_eq!(victim.connection.handle_timeout(victim.now), Ok(Timeout::Gone));
}

#[test]
fn a_suspended_client_may_be_silent_for_a_night() {
    let mut victim = Victim::server();
    victim.header(r#"{"type":"suspend"}"#).unwrap();
    for _ in 0..2_000 {
        victim.now = victim.connection.timeout();
        assert_eq!(victim.connection.handle_timeout(victim.now), Ok(Timeout::Wait));
    }
    victim.connection.heard(victim.now);
    victim.header(r#"{"type":"resume"}"#).unwrap();
    victim.now += KEEPALIVE;
    assert_eq!(victim.connection.handle_timeout(victim.now), Ok(Timeout::Ping(1)));
}

#[test]
fn a_server_s_keepalive_is_kept_within_reason() {
    for (said, taken) in [(0, 100), (15_000, 15_000), (limits::INTEGER, 3_600_000)] {
        let mut victim = Victim::new(Role::Client);
        let hello = format!(
            r#"{{"type":"hello","agent":"","capabilities":[],"instance":"{ID}","grace_ms":0,"retain_ms":0,"keepalive_ms":{said}}}"#
        );
        victim.header(&hello).unwrap();
        assert_eq!(victim.connection.timeout(), victim.now + Duration::from_millis(taken));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_gives_up_a_payload_that_trickles_and_the_peer_is_not_at_fault() {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let (mut reader, writer, _sender) = split(near, Role::Server, KEEPALIVE);
    tokio::spawn(writer.run());
    far.write_all(&framed(HELLO, b"")).await.unwrap();
    reader.next().await.unwrap();
    let digest = "0".repeat(64);
    let header = format!(
        r#"{{"type":"start","ch":1,"key":"{ID}","generation":1,"digest":"{digest}","mode":"exec","argc":1,"len":1000}}"#
    );
    far.write_all(&framed(&header, b"")).await.unwrap();
    let began = tokio::time::Instant::now();
    let trickle = async {
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            far.write_all(b"x").await.unwrap();
        }
    };
    let ended = tokio::select! {
        ended = reader.next() => ended.unwrap_err(),
        () = trickle => panic!("it was read to its end"),
    };
    assert!(matches!(ended, ConnectionError::Slow), "{ended}");
    assert!(began.elapsed() < limits::PAYLOAD_DEADLINE + Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_given_up_with_how_long_it_was_silent() {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let (mut reader, writer, _sender) = split(near, Role::Server, KEEPALIVE);
    tokio::spawn(writer.run());
    tokio::time::sleep(KEEPALIVE).await;
    far.write_all(&framed(HELLO, b"")).await.unwrap();
    reader.next().await.unwrap();
    let ConnectionError::Gone(silent) = reader.next().await.unwrap_err() else {
        panic!("it was not given up for its silence");
    };
    assert!((3 * KEEPALIVE..4 * KEEPALIVE).contains(&silent), "{silent:?}");
}
