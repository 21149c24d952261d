//! Records in words.

use rcmd_certs::clock::milliseconds;

use crate::audit::record::{EndRecord, Event, Lifecycle, Opening, TransferRecord};

/// Returns how a command ended, and how long it took.
pub(super) fn ended(end: &EndRecord) -> String {
    let how = match (end.code, &end.signal) {
        (Some(code), _) => format!("{} {code}", end.outcome),
        (None, Some(signal)) => format!("{} {signal}", end.outcome),
        (None, None) => end.outcome.clone(),
    };
    let time = end.duration_ms.map(|ms| format!(", {}", milliseconds(ms))).unwrap_or_default();
    match &end.kind {
        Some(kind) => format!("{how}, {kind}{time}"),
        None => format!("{how}{time}"),
    }
}

/// Returns what is shown of a transfer behind its end. What its process said is marked so.
pub(super) fn transferred(transfer: &TransferRecord) -> String {
    let denied = match transfer.denied {
        0 => String::new(),
        count => format!("; {count} folders denied"),
    };
    let Some(said) = &transfer.said else { return denied };
    let mut told = format!("; it said {} files, {} bytes", said.files, said.bytes);
    for (count, what) in [(said.deleted, "deleted"), (said.failed, "failed")] {
        if count > 0 {
            told += &format!(", {count} {what}");
        }
    }
    denied + &told
}

/// Returns peer and description of an event that is not about a command; `-` is the server itself.
pub(super) fn other(event: &Event) -> Option<(&str, String)> {
    Some(match event {
        Event::Server { state: Lifecycle::Started, version, .. } => {
            ("-", format!("server {version} started"))
        }
        Event::Server { state: Lifecycle::Stopped, .. } => ("-", "server stopped".to_owned()),
        Event::Open { reason: Opening::SyncFailed, .. } => {
            ("-", "the file before this could not be synced".to_owned())
        }
        Event::Reload { what, failure: None } => ("-", format!("{what} reloaded")),
        Event::Reload { what, failure: Some(failure) } => {
            ("-", format!("{what} not reloaded ({failure})"))
        }
        Event::Cut { peer, address, reason } => (peer, format!("cut at {address} ({reason})")),
        Event::Kill { job, peer, uid } => (peer, format!("job {job} ended by uid {uid}")),
        Event::Enrollment { what, failure: None } => ("-", what.clone()),
        Event::Enrollment { what, failure: Some(failure) } => {
            ("-", format!("{what} failed ({failure})"))
        }
        Event::TurnedAway { peer, count } => (peer, format!("{count} starts turned away")),
        Event::Open { reason: Opening::Lost, .. } => {
            ("-", "the file before this was removed or moved".to_owned())
        }
        Event::Gap { missed, reason } => {
            ("-", format!("{missed} records not written, nothing ran ({reason})"))
        }
        Event::Removed { file, .. } => {
            ("-", format!("{file} deleted, as it was older than is kept"))
        }
        _ => return None,
    })
}
