//! Time as a peer can waste it, on the core's own clock.

// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use rcmd_protocol::{
    connection::{Role, Timeout},
    error::ProtocolError,
    limits,
};

#[path = "support/victim.rs"]
#[allow(dead_code)] // Each test uses a part of it.
mod victim;
use victim::{ID, KEEPALIVE, Victim, start};

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
