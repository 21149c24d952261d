//! The maximum size of records, so that no line is longer than its readers accept.
//!
//! | part | bound |
//! | --- | --- |
//! | a request | [`REQUEST`](rcmd_protocol::limits::PAYLOAD) on the wire, a third more as [`Text`](super::text::Text) |
//! | a message about a failure | [`WORDS`] bytes |
//! | names of rules | [`RULES`], each of [`RULE`] bytes |
//! | commands without an end | [`RUNNING`] |

use super::record::Event;

/// The maximum bytes of a message about a failure.
const WORDS: usize = 4096;
/// The maximum number of rules that are named.
const RULES: usize = 32;
/// The maximum bytes of a rule's name.
const RULE: usize = 256;
/// The maximum number of commands that may run at once: a file begins with a list of all of them.
pub(crate) const RUNNING: usize = 128 * 1024;

impl Event {
    /// Returns the event with its messages and lists cut to the maximum of a record.
    pub(super) fn bounded(mut self) -> Self {
        match &mut self {
            Self::Start { rules, .. } => cut_rules(rules),
            Self::Denial { rules, reason, .. } => {
                cut_rules(rules);
                cut(reason, WORDS);
            }
            Self::Refusal { message, .. } => cut(message, WORDS),
            Self::End(end) => end.message.iter_mut().for_each(|message| cut(message, WORDS)),
            Self::Reload { failure, .. } | Self::Enrollment { failure, .. } => {
                failure.iter_mut().for_each(|failure| cut(failure, WORDS));
            }
            Self::Cut { reason, .. } | Self::Gap { reason, .. } => cut(reason, WORDS),
            Self::Open { .. }
            | Self::Server { .. }
            | Self::Attempt(_)
            | Self::Transfer(_)
            | Self::Ask { .. }
            | Self::TurnedAway { .. }
            | Self::Kill { .. }
            | Self::Checkpoint { .. }
            | Self::Removed { .. } => {}
        }
        self
    }
}

fn cut_rules(rules: &mut Vec<String>) {
    let more = rules.len().saturating_sub(RULES);
    rules.truncate(RULES);
    rules.iter_mut().for_each(|rule| cut(rule, RULE));
    if more > 0 {
        rules.push(format!("{more} more"));
    }
}

fn cut(text: &mut String, limit: usize) {
    if text.len() > limit {
        text.truncate((0..=limit).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

    use rcmd_protocol::{
        limits::{ARGUMENTS, PAYLOAD, SETTINGS, STRING},
        request::Request,
    };

    use super::{
        super::{
            asked::{BEGINNING, size},
            chain::LINE_LIMIT,
            record::{Asked, Attempt, EndRecord, Opening, Previous, Record, Torn},
            redact::Redactor,
            text::{Text, write_json},
            transfers::TransferNote,
        },
        *,
    };
    use crate::{policy::access::FileFacts, process::Uid, transfer::message::Totals};

    /// The maximum bytes of a line beside its event: number, time, hash.
    const FRAME: usize = 256;

    fn length(event: Event) -> usize {
        let (mut line, event) = (Vec::new(), event.bounded());
        let time = "2026-01-31T20:00:00.000000Z";
        write_json(&Record { seq: u64::MAX, time, event: &event }, &mut line).unwrap();
        line.len()
    }

    /// Returns requests of the maximum size, of the bytes that take the most room.
    fn largest() -> Vec<Request> {
        let mut all = Vec::new();
        for byte in [b"\x01", b"\xff", b"-"] {
            for string in [1, 2, 32, 33, 127, STRING - 1] {
                let string = byte.repeat(string);
                let fit = (PAYLOAD / (string.len() + 1)).max(1);
                let args = fit.min(ARGUMENTS);
                let settings = (fit - args).min(SETTINGS);
                let mut builder = Request::exec(vec![string.clone(); args]);
                builder.envs(vec![
                    [b"A=", &string[..string.len().saturating_sub(2)]].concat();
                    settings
                ]);
                all.extend(builder.build());
            }
        }
        all
    }

    fn words() -> String {
        "\u{1}".repeat(64 * 1024)
    }

    #[test]
    fn no_request_makes_a_line_that_is_too_long_whatever_its_bytes_are() {
        let masks = ["--password", "\u{1}*", "-*", "*a*="].map(str::to_owned);
        let redactors = [Redactor::default(), Redactor::new(&masks).unwrap()];
        let requests = largest();
        assert!(requests.iter().any(|request| size(request) > PAYLOAD - PAYLOAD / 8));
        for (request, redactor) in
            requests.iter().flat_map(|r| redactors.iter().map(move |m| (r, m)))
        {
            let whole = Asked::of(request, redactor, usize::MAX);
            let start = Event::Start {
                job: "x".repeat(16),
                peer: "x".repeat(64),
                user: Text::of(&[1; 4096]),
                program: Text::of(&[1; 4096]),
                cwd: Text::of(&[1; 4096]),
                rules: vec![words(); 2 * RULES],
                request: Some(Box::new(whole)),
            };
            assert!(length(start) + FRAME <= LINE_LIMIT, "{:?}", &request.args()[0].first());
            let attempt = Attempt {
                job: "x".repeat(16),
                peer: "x".repeat(64),
                groups: vec!["x".repeat(64); 64],
                break_glass: true,
                address: "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".to_owned(),
                mode: "exec".to_owned(),
                asked: Asked::of(request, redactor, BEGINNING),
                size: Some(u64::MAX),
                digest: "0".repeat(64),
            };
            // Anybody with a certificate may cause this much: a few KiB, whatever the request
            // consists of.
            assert!(length(Event::Attempt(Box::new(attempt))) + FRAME <= 20 * 1024);
        }
    }

    #[test]
    fn no_other_record_makes_a_line_that_is_too_long() {
        let end = EndRecord {
            job: "x".repeat(16),
            outcome: "not_started".to_owned(),
            code: Some(255),
            signal: Some("SIGRTMIN+15".to_owned()),
            kind: Some("not_executable".to_owned()),
            message: Some(words()),
            stdout_bytes: u64::MAX,
            stderr_bytes: u64::MAX,
            duration_ms: Some(u64::MAX),
        };
        let file = FileFacts {
            path: OsString::from_vec(vec![1; 8192]).into(),
            account: "app".into(),
            uid: Uid::ROOT,
            size: 0,
            lock: None,
        };
        let files = std::iter::repeat_n(&file, 4096);
        let said = Totals { bytes: u64::MAX, failed: u64::MAX, ..Totals::default() };
        let transfer = TransferNote::of(&"p".repeat(64), "receive", files);
        let transfer = transfer.ended(u64::MAX, Some(said)).event(&"x".repeat(16));
        let torn = Some(Torn { bytes: u64::MAX, sha256: "0".repeat(64) });
        let file = "audit-18446744073709551615.jsonl".to_owned();
        let previous = Previous { file, seq: u64::MAX, hash: "0".repeat(64), torn };
        let [job, peer, kind] = ["j", "p", "k"].map(|text| text.repeat(64));
        for event in [
            Event::End(Box::new(end)),
            transfer,
            Event::Denial {
                job: Some(job.clone()),
                peer: peer.clone(),
                why: kind.clone(),
                rules: vec![words(); 2 * RULES],
                reason: words(),
            },
            Event::Refusal { job, peer: peer.clone(), kind: kind.clone(), message: words() },
            Event::Reload { what: kind.clone(), failure: Some(words()) },
            Event::Enrollment { what: kind.clone(), failure: Some(words()) },
            Event::Cut { peer, address: kind, reason: words() },
            Event::Gap { missed: u64::MAX, reason: words() },
            Event::Open {
                reason: Opening::SyncFailed,
                previous: Some(previous),
                running: vec!["x".repeat(16); RUNNING],
            },
        ] {
            let shown = format!("{:.40}", format!("{event:?}"));
            assert!(length(event) + FRAME <= LINE_LIMIT, "{shown}");
        }
    }
}
