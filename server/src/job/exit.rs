//! The end of a job as a client receives it: outcomes, failures, exit frames.

use rcmd_certs::clock;
use rcmd_protocol::{
    frame::{Exit, Frame},
    outcome::{ErrorKind, Outcome, WireError},
    signal::Signal,
};

use super::action::Reason;
use crate::process::{ProcessExit, Survivor};

/// The maximum number of processes that a message names as not killed.
const NAMED: usize = 4;

/// Returns the exit of a process that ended with this status; `reason` is set if the server ended
/// it. `denied` makes the failure of a command that the policy no longer permits.
pub(super) fn exit_of_process(
    status: ProcessExit,
    reason: Option<Reason>,
    denied: impl FnOnce() -> WireError,
) -> Exit {
    let (code, signal) = match status {
        ProcessExit::Code(code) => (Some(code), None),
        ProcessExit::Signal(signal) => (None, Some(signal)),
        ProcessExit::Lost => (None, None),
    };
    let ended = ended_as(code, signal);
    let (outcome, failure) = match reason {
        Some(Reason::Timeout) => (Outcome::TimedOut, None),
        Some(Reason::Corrupt) => (Outcome::Unknown, Some(corrupt())),
        Some(Reason::Lost) => (ended, Some(lost())),
        Some(Reason::Stopping) => (ended, Some(stopped())),
        Some(Reason::Denied) => (ended, Some(denied())),
        Some(Reason::Operator) => (ended, Some(killed("ended the command"))),
        Some(Reason::Client) | None => (ended, None),
    };
    let now = clock::now_ms();
    // Without a status nothing is proved, whatever the reason was.
    Exit::new(outcome, code, signal, failure, now).unwrap_or_else(|_| Exit::unknown(untold(), now))
}

/// Returns the exit of a command whose tree had to end, and of which these processes still live.
pub(super) fn exit_with_survivors(left: &[Survivor]) -> Exit {
    let message = format!("it was to be ended, and could not be: {} may still run", list(left));
    let failure = WireError::new(ErrorKind::Lost, message)
        .hint("End it on the host, as that user or as root; then see what it did.");
    Exit::unknown(failure, clock::now_ms())
}

/// Names processes that could not be killed: the first of them, and the number of the others.
pub(super) fn list(left: &[Survivor]) -> String {
    let named = left.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match left.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn ended_as(code: Option<u8>, signal: Option<Signal>) -> Outcome {
    match (code, signal) {
        (Some(_), _) => Outcome::Exited,
        (None, Some(_)) => Outcome::Signaled,
        (None, None) => Outcome::Unknown,
    }
}

fn lost() -> WireError {
    WireError::new(
        ErrorKind::Lost,
        "the client was gone for longer than the grace, so the command was killed",
    )
}

fn stopped() -> WireError {
    WireError::new(ErrorKind::ServerStopped, "the server was stopped and ended the command")
        .hint("Start it again when the server is back.")
}

/// Returns the failure of a command with which an operator of the host did `what`.
pub(super) fn killed(what: &str) -> WireError {
    let message = format!("an operator of the host {what}");
    WireError::new(ErrorKind::ServerStopped, message)
        .hint("Ask the operators of the host before you start it again.")
}

pub(super) fn corrupt() -> WireError {
    WireError::new(ErrorKind::Corrupt, "the standard input did not arrive unchanged")
}

/// Returns the failure for a process whose status another has taken.
fn untold() -> WireError {
    WireError::new(ErrorKind::Lost, "the server could not learn how the command ended")
        .hint("Check on the host what the command did.")
}

pub(super) fn given_up(message: &str) -> WireError {
    WireError::new(ErrorKind::Busy, message)
}

/// Returns the failure of a start on a server that is stopping.
pub(crate) fn draining() -> WireError {
    WireError::new(ErrorKind::Busy, "the server is stopping and starts no new command")
        .hint("Try again when the server is running again.")
        .retry_after_ms(5000)
}

/// Returns the exit of a command that has no process to supervise. If it may have run all the same,
/// as `started_at` shows, its outcome is unknown, so that it is not started again.
pub(super) fn exit_without_process(started_at: Option<u64>, failure: WireError) -> Exit {
    let now = clock::now_ms();
    match started_at {
        Some(_) => Exit::unknown(failure, now).with_times(started_at, None),
        None => Exit::not_started(failure, now),
    }
}

/// Returns the exit frame of a command that did not start, with the reason.
pub(crate) fn not_started(ch: u32, failure: WireError) -> Frame {
    Frame::Exit { ch, exit: Exit::not_started(failure, clock::now_ms()) }
}

/// Returns the exit frame of a command whose end is unknown, with the reason.
pub(crate) fn unknown(ch: u32, failure: WireError) -> Frame {
    Frame::Exit { ch, exit: Exit::unknown(failure, clock::now_ms()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_may_have_run_is_unknown() {
        let failure = || WireError::new(ErrorKind::Lost, "why");
        let ran = exit_without_process(Some(7), failure());
        assert_eq!((ran.outcome(), ran.started_at()), (Outcome::Unknown, Some(7)));
        let never = exit_without_process(None, failure());
        assert_eq!((never.outcome(), never.started_at()), (Outcome::NotStarted, None));
    }
}
