//! What a running server is asked about itself: by operators of the host at the local socket,
//! `control.sock` in its run folder, and by Prometheus at the listener for metrics.
//!
//! | module | holds |
//! | --- | --- |
//! | `place` | the socket's file: made whole, locked, removed |
//! | `serve` | the server's side of the local socket |
//! | `http`, `metrics` | the listener for metrics; the numbers in the forms of Prometheus |
//! | `ask` | the asking side, for the subcommands |
//!
//! A connection carries one request and one response, each a length and JSON, as messages between a
//! member and its authority are. The peer is known by its user ID, which the kernel tells: root and
//! the server's own user are answered, nobody else.
//!
//! One thread answers here, with a runtime of its own: however busy the server is, its operators are
//! answered, and however long an answer is, no command waits for it. It waits for no disk.

mod ask;
mod http;
mod metrics;
mod place;
mod serve;

use std::{io, net::TcpListener, os::unix::net::UnixListener, sync::Arc, thread};

use serde::{Deserialize, Serialize};

pub(crate) use self::{
    ask::{AskError, ask},
    place::{ControlError, ControlSocket, FileId, SocketFile},
};
use crate::state::{ServerState, Snapshot};

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

/// Starts the thread `control`, which answers at these listeners until the server closes. The server
/// waits a moment for its end.
///
/// # Errors
/// If the host can't start a thread, or has no descriptors left.
pub(crate) fn start(
    local: Option<UnixListener>,
    metrics: Option<TcpListener>,
    state: &Arc<ServerState>,
) -> io::Result<()> {
    if local.is_none() && metrics.is_none() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (state, counted) = (Arc::clone(state), state.tasks.token());
    let work = move || {
        runtime.block_on(async {
            tokio::select! {
                () = state.closing.cancelled() => {}
                () = served(local, async |listener| serve::serve(listener, &state).await) => {}
                () = served(metrics, async |listener| http::serve(listener, &state).await) => {}
            }
        });
        drop(counted);
    };
    thread::Builder::new().name("control".to_owned()).spawn(work).map(drop)
}

/// Serves a listener, if there is one. Never returns.
async fn served<L>(listener: Option<L>, serve: impl AsyncFnOnce(L)) {
    if let Some(listener) = listener {
        serve(listener).await;
    }
    std::future::pending().await
}
