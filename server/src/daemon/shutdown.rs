//! The end of a server: nothing new, time for what runs, then verified exits.

use std::{sync::Arc, time::Duration};

use tokio::signal::unix::Signal;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::{
    config::limits::{CLOSE, DRAIN, DRAIN_TERM_TO_KILL},
    job::{Message, Urgency},
    state::Service,
};

/// Ends a service in order; another signal on `again` skips the wait.
pub async fn shutdown(service: &Arc<Service>, again: &mut Signal) {
    service.drain();
    info!(running = service.registry.live(), "stopping: waiting for commands to end");
    if !ended_within(service, DRAIN, again).await {
        tell_all(service, Urgency::Term).await;
        // The job itself follows its SIGTERM with SIGKILL after the same time.
        if !ended_within(service, DRAIN_TERM_TO_KILL, again).await {
            tell_all(service, Urgency::Kill).await;
            if !ended_within(service, DRAIN_TERM_TO_KILL, again).await {
                warn!(running = service.registry.live(), "stopping: some did not end");
            }
        }
    }
    // Ends are on their way; a client that takes them closes its connection.
    sleep(Duration::from_millis(100)).await;
    service.closing.cancel();
    service.tasks.close();
    let _ = timeout(CLOSE, service.tasks.wait()).await;
    info!("stopped");
}

async fn tell_all(service: &Service, urgency: Urgency) {
    for job in service.registry.all_live() {
        job.tell(Message::Stop(urgency)).await;
    }
}

/// Whether all commands end in time; false at once when a signal says not to wait.
async fn ended_within(service: &Service, time: Duration, again: &mut Signal) -> bool {
    let deadline = Instant::now() + time;
    while service.registry.live() > 0 {
        tokio::select! {
            _ = again.recv() => return false,
            () = sleep(Duration::from_millis(20)) => {}
        }
        if Instant::now() >= deadline {
            return service.registry.live() == 0;
        }
    }
    true
}
