//! The end of a server: no new commands, time for those that run, then signals.

use std::{sync::Arc, time::Duration};

use tokio::signal::unix::Signal;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::{
    config::limits::{CLOSE, DRAIN, DRAIN_TERM_TO_KILL},
    job::{Message, Urgency},
    state::ServerState,
};

/// Stops a server in order; another signal on `again` skips the wait.
pub(super) async fn shutdown(state: &Arc<ServerState>, again: &mut Signal) {
    state.drain();
    info!(running = state.registry.live(), "stopping: waiting for commands to end");
    if !ended_within(state, DRAIN, again).await {
        tell_all(state, Urgency::Term);
        // The job itself follows its SIGTERM with SIGKILL after the same time.
        if !ended_within(state, DRAIN_TERM_TO_KILL, again).await {
            tell_all(state, Urgency::Kill);
            if !ended_within(state, DRAIN_TERM_TO_KILL, again).await {
                warn!(running = state.registry.live(), "stopping: some did not end");
            }
        }
    }
    // Exits are on their way; a client that has them closes its connection.
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

/// Returns whether all commands end in time; false at once when a signal skips the wait.
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
