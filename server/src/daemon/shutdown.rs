//! The end of a server: no new commands, time for running ones, then signals.

use std::{io, sync::Arc, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::{
    config::limits::{CLOSE, DRAIN_TERM_TO_KILL},
    job::{Message, Urgency},
    process::SignalSender,
    state::ServerState,
};

/// A signal that stops a server.
#[derive(Debug)]
pub(super) struct StopSignal {
    name: &'static str,
    sender: SignalSender,
    signals: Signal,
}

impl StopSignal {
    /// Catches a signal from now on; `name` is its name in the log.
    ///
    /// # Errors
    /// If no handler can be installed.
    pub(super) fn catch(name: &'static str, kind: SignalKind) -> io::Result<Self> {
        let sender = SignalSender::watch(kind.as_raw_value())?;
        Ok(Self { name, sender, signals: signal(kind)? })
    }

    /// Waits for the next signal.
    ///
    /// # Cancel safety
    /// No signal is lost if the future is dropped.
    pub(super) async fn recv(&mut self) {
        let _ = self.signals.recv().await;
    }
}

/// Stops a server in order after the signal `again`: commands have the time `drain` to end by themselves. Another
/// signal of this kind skips the current wait.
pub(super) async fn shutdown(state: &Arc<ServerState>, drain: Duration, again: &mut StopSignal) {
    state.drain();
    info!(
        signal = again.name,
        sender = %again.sender,
        running = state.registry.live(),
        "stopping: waiting for commands to end"
    );
    if !ended_within(state, drain, again).await {
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
    close(state).await;
}

/// Ends a server that nobody uses.
pub(super) async fn leave(state: &ServerState) {
    state.drain();
    info!("stopping: nobody has been here for the time of idle_exit");
    close(state).await;
}

async fn close(state: &ServerState) {
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
async fn ended_within(state: &ServerState, time: Duration, again: &mut StopSignal) -> bool {
    let deadline = Instant::now() + time;
    while state.registry.live() > 0 {
        tokio::select! {
            () = again.recv() => return false,
            () = sleep(Duration::from_millis(20)) => {}
        }
        if Instant::now() >= deadline {
            return state.registry.live() == 0;
        }
    }
    true
}
