//! The end of a server: no new commands, time for running ones, then signals.

use std::{sync::Arc, time::Duration};

use tokio::signal::unix::Signal;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::{
    config::limits::{CLOSE, DRAIN, DRAIN_TERM_TO_KILL},
    job::{Message, Urgency},
    state::ServerState,
};

/// Stops a server in order. Another signal on `again` skips the current wait.
pub(super) async fn shutdown(state: &Arc<ServerState>, again: &mut Signal) {
    state.drain();
    info!(running = state.registry.live(), "stopping: waiting for commands to end");
    if !ended_within(state, DRAIN, again).await {
        tell_all(state, Urgency::Term);
        // After SIGTERM, the job itself sends SIGKILL after the same time.
        if !ended_within(state, DRAIN_TERM_TO_KILL, again).await {
            tell_all(state, Urgency::Kill);
            if !ended_within(state, DRAIN_TERM_TO_KILL, again).await {
                warn!(running = state.registry.live(), "stopping: some did not end");
            }
        }
    }
    // The exits are being sent; a client that has them closes its connection.
    sleep(Duration::from_millis(100)).await;
    state.closing.cancel();
    state.tasks.close();
    let _ = timeout(CLOSE, state.tasks.wait()).await;
    info!("stopped");
}

fn tell_all(state: &ServerState, urgency: Urgency) {
    for job in state.registry.all_live() {
        job.tell_soon(Message::Stop(urgency), &state.tasks);
    }
}

/// Returns whether all commands end in time. Returns false at once if a signal skips the wait.
async fn ended_within(state: &ServerState, time: Duration, again: &mut Signal) -> bool {
    let deadline = Instant::now() + time;
    while state.registry.live() > 0 {
        tokio::select! {
            _ = again.recv() => return false,
            () = sleep(Duration::from_millis(20)) => {}
        }
        if Instant::now() >= deadline {
            return state.registry.live() == 0;
        }
    }
    true
}
