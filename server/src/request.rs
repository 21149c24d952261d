//! Requests: from the frame that asks for a command to the job that the frame starts.
//!
//! | module | holds |
//! | --- | --- |
//! | [`start`](mod@start) | a start: reserves its key and room for it, then becomes a task of its own |
//! | [`dry_run`](mod@dry_run) | answers what a start would be answered |
//! | [`attach`](mod@attach) | attaches to a running job, or answers what is recorded of one |
//! | [`authorize`] | finds on this host what a request names, and has it judged |
//! | `roots` | finds what a transfer begins with |
//! | `finder` | looks at the host, in turn |
//! | `refusal` | answers to requests that do not run, and when they are due |

pub(crate) mod attach;
pub(crate) mod authorize;
pub(crate) mod dry_run;
pub(crate) mod finder;
mod refusal;
mod roots;
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

/// The result of a frame that asks for a command.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The channel belongs to this job from now on.
    Job(JobHandle),
    /// The request has been answered, or will be.
    Answered,
    /// The request has been answered, or will be, and the connection is not read for this time.
    Pause(Duration),
}

/// Reserves memory for a request of `size` bytes, which is kept until it runs.
///
/// # Errors
/// `busy`, if the identity's memory is used up.
fn hold(state: &ServerState, peer: &Peer, size: usize) -> Result<Share, WireError> {
    let budget = state.jobs.budget.of(peer.user());
    if size > REQUEST_ALWAYS && !budget.has_room() {
        return Err(WireError::new(
            ErrorKind::Busy,
            "the memory limit for this identity is reached",
        )
        .hint("Nothing ran; try again when waiting commands have started.")
        .retry_after_ms(1000));
    }
    let mut share = Share::new(budget);
    // The request is kept once to be run, and once to be judged again if the rules change
    // meanwhile.
    share.set(size.saturating_mul(2));
    Ok(share)
}

/// Returns the account that a request names, if it names one. An identity that may run nothing does
/// not learn which accounts exist here.
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
