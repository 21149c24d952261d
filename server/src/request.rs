//! From a frame that asks for a command to the job that it becomes.
//!
//! | module | holds |
//! | --- | --- |
//! | [`start`](mod@start) | a key and room for it, then a task of its own |
//! | [`dry_run`](mod@dry_run) | what a start would be answered |
//! | [`attach`](mod@attach) | a job that is taken up again, and what is left of one |
//! | [`authorize`] | what a request speaks of, found on this host and judged |
//! | `finder` | having the host looked at, in turn |
//! | `refusal` | answers to what does not run, and when they are due |

pub(crate) mod attach;
pub(crate) mod authorize;
pub(crate) mod dry_run;
pub(crate) mod finder;
mod refusal;
pub(crate) mod start;

use std::time::Duration;

use rcmd_protocol::{
    outcome::{ErrorKind, WireError},
    request::Request,
};

use crate::{
    admission::budget::Share,
    config::limits::REQUEST_ALWAYS,
    job::{JobHandle, Rejection},
    policy::{self, PolicySlice},
    process::{Account, SpawnError},
    state::ServerState,
    trust::Peer,
};

/// What came of a frame that asks for a command.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The channel belongs to this job from now on.
    Job(JobHandle),
    /// It is answered, or is about to be.
    Answered,
    /// As [`Answer::Answered`], and the connection is not to be read for so long.
    Pause(Duration),
}

/// Counts what is kept of a request of this size until it runs.
fn hold(state: &ServerState, peer: &Peer, size: usize) -> Result<Share, WireError> {
    let budget = state.jobs.budget.of(peer.user());
    if size > REQUEST_ALWAYS && !budget.has_room() {
        return Err(WireError::new(
            ErrorKind::Busy,
            "the server holds as much as it may for this identity",
        )
        .hint("Nothing ran; try again when commands that wait have started.")
        .retry_after_ms(1000));
    }
    let mut share = Share::new(budget);
    // Once to be run, and once to be judged again when the rules change meanwhile.
    share.set(size.saturating_mul(2));
    Ok(share)
}

/// The account that a request names, if it names one. Who may run nothing learns nothing of who
/// exists here.
async fn other_account(
    state: &ServerState,
    slice: &PolicySlice,
    request: &Request,
) -> Result<Option<Account>, Rejection> {
    let Some(name) = request.user() else { return Ok(None) };
    policy::authorize_early(slice, request)?;
    let _turn = state.turns.accounts.take(&slice.principal().user).await?;
    Ok(Some(state.looks.account(name).await.map_err(SpawnError::from)?))
}
