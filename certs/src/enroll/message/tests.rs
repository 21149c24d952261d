//! Tests of the forms that `docs/enrollment.md` specifies, and of bytes in no such form.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::tls::AUTHORITY_ALPN;

fn secret() -> Secret {
    String::from("AAECAwQFBgcICQoLDA0ODxAREhM").try_into().unwrap()
}

#[test]
fn asks_stand_on_the_wire_as_documented() {
    let enroll = MemberRequest::Enroll {
        secret: secret(),
        name: Some("web07".into()),
        request: Der(vec![0x30, 0, 0xff]),
        time: 1_795_240_000,
    };
    for (ask, text) in [
        (
            enroll,
            r#"{"ask":"enroll","secret":"AAECAwQFBgcICQoLDA0ODxAREhM","name":"web07","request":"MAD/","time":1795240000}"#,
        ),
        (MemberRequest::Renew { time: 1 }, r#"{"ask":"renew","time":1}"#),
        (
            MemberRequest::Lists { newer_than: 7, wait: 60 },
            r#"{"ask":"lists","newer_than":7,"wait":60}"#,
        ),
    ] {
        assert_eq!(serde_json::to_string(&ask).unwrap(), text);
        assert_eq!(serde_json::from_str::<MemberRequest>(text).unwrap(), ask);
    }
}

#[test]
fn answers_stand_on_the_wire_as_documented() {
    let der = || Der(vec![0x30, 0]);
    for (body, text) in [
        (
            ResponseBody::Certificate { chain: vec![der()], roots: vec![der()], renew_until: 9 },
            r#"{"time":5,"answer":"certificate","chain":["MAA="],"roots":["MAA="],"renew_until":9}"#,
        ),
        (
            ResponseBody::Lists { number: 8, lists: vec![der()], roots: vec![] },
            r#"{"time":5,"answer":"lists","number":8,"lists":["MAA="]}"#,
        ),
        (ResponseBody::Unchanged { number: 8 }, r#"{"time":5,"answer":"unchanged","number":8}"#),
        (
            ResponseBody::Refused { reason: RefusalReason::UsedToken, message: "used".into() },
            r#"{"time":5,"answer":"refused","reason":"used_token","message":"used"}"#,
        ),
    ] {
        let answer = MemberResponse { time: 5, body };
        assert_eq!(serde_json::to_string(&answer).unwrap(), text);
        assert_eq!(serde_json::from_str::<MemberResponse>(text).unwrap(), answer);
    }
}

#[test]
fn a_reason_of_tomorrow_is_still_a_refusal() {
    let text = r#"{"time":5,"answer":"refused","reason":"moon_phase","message":"no","more":[1]}"#;
    let answer: MemberResponse = serde_json::from_str(text).unwrap();
    let refused = ResponseBody::Refused { reason: RefusalReason::Other, message: "no".into() };
    assert_eq!(answer.body, refused);
}

#[test]
fn the_manual_names_every_reason_and_every_form() {
    let manual = include_str!("../../../../docs/enrollment.md");
    for reason in [
        RefusalReason::UnknownToken,
        RefusalReason::UsedToken,
        RefusalReason::ExpiredToken,
        RefusalReason::RevokedToken,
        RefusalReason::Name,
        RefusalReason::Request,
        RefusalReason::Clock,
        RefusalReason::Stranger,
        RefusalReason::Revoked,
        RefusalReason::Late,
        RefusalReason::Busy,
        RefusalReason::Internal,
    ] {
        let word = serde_json::to_value(reason).unwrap();
        let word = format!("`{}`", word.as_str().unwrap());
        assert!(manual.contains(&word), "docs/enrollment.md lacks {word}");
    }
    for word in
        ["| `enroll` |", "| `renew` |", "| `lists` |", "| `certificate` |", "| `unchanged` |"]
    {
        assert!(manual.contains(word), "docs/enrollment.md lacks {word}");
    }
    assert!(manual.contains(std::str::from_utf8(AUTHORITY_ALPN).unwrap()));
    assert!(manual.contains(&format!("0.0.0.0:{DEFAULT_PORT}")));
}

fn read_all(bytes: &[u8], limit: u32) -> io::Result<Option<serde_json::Value>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(read(&mut &*bytes, limit))
}

fn framed(json: &[u8]) -> Vec<u8> {
    [&u32::try_from(json.len()).unwrap().to_be_bytes(), json].concat()
}

#[test]
fn a_message_is_whole_within_its_limit_or_an_error() {
    let message = framed(b"{\"a\":1}");
    assert_eq!(read_all(&message, 7).unwrap(), Some(json!({"a": 1})));
    assert_eq!(read_all(&message, 6).unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(read_all(b"\0\0\0\0", 7).unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert!(read_all(b"", 7).unwrap().is_none());
    for length in 1..message.len() {
        let error = read_all(&message[..length], 7).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length}");
    }
}

#[test]
fn nesting_without_end_is_refused_and_not_followed() {
    let deep = framed(&[b'['; 16_000]);
    assert_eq!(read_all(&deep, MAX_REQUEST).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

proptest! {
    #[test]
    fn any_bytes_are_answered_without_a_panic(bytes: Vec<u8>, json in "\\PC{0,60}") {
        let _ = read_all(&bytes, MAX_REQUEST);
        let _ = serde_json::from_slice::<MemberRequest>(&bytes);
        let _ = serde_json::from_str::<MemberRequest>(&json);
        let _ = serde_json::from_str::<MemberResponse>(&json);
    }
}
