//! The local socket, `control.sock` in the server's run folder: what operators of this host ask a
//! running server for.
//!
//! | module | holds |
//! | --- | --- |
//! | `place` | the socket's file: made whole, locked, removed |
//! | `serve` | the thread that answers, so that no worker of the runtime does |
//! | `ask` | the asking side, for the subcommands |
//!
//! A connection carries one request and one response, each a length and JSON, as messages between a
//! member and its authority are. The peer is known by its user ID, which the kernel tells: root and
//! the server's own user are answered, nobody else.

mod ask;
mod place;
mod serve;

use serde::{Deserialize, Serialize};

pub(crate) use self::{
    ask::{AskError, ask},
    place::{ControlError, ControlSocket},
    serve::start,
};
use crate::state::Snapshot;

/// The maximum bytes of a request.
const REQUEST: u32 = 4096;
/// The maximum bytes of a response: 16 KiB for each of a thousand jobs.
const RESPONSE: u32 = 16 << 20;

/// What an operator asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ControlRequest {
    /// The state of the server.
    Snapshot,
    /// The end of a job.
    Kill {
        /// The job's ID.
        job: String,
    },
}

/// The server's answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ControlResponse {
    /// The state of the server.
    Snapshot(Box<Snapshot>),
    /// The job is told to end.
    Killed {
        /// The user that asked for the job.
        user: String,
        /// True if it was told before, and nothing was done now.
        again: bool,
    },
    /// Nothing was done.
    Refused {
        /// The reason, and what to do.
        message: String,
    },
}
