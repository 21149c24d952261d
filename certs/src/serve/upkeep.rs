//! What has to be done although nobody asks: new lists every hour, a new certificate for the listener
//! every day.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{error, info};

use super::{ServeError, Service};
use crate::office::{ListenerIdentity, Office};
use crate::tls;

/// How often the listener's certificate is made anew: it is valid for three days.
const LISTENER_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) async fn run(service: Arc<Service>, lists_every: Duration) {
    let mut lists = interval_at(Instant::now() + lists_every, lists_every);
    let mut listener = interval_at(Instant::now() + LISTENER_EVERY, LISTENER_EVERY);
    // After a suspension once is enough.
    lists.set_missed_tick_behavior(MissedTickBehavior::Delay);
    listener.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = service.closing.cancelled() => return,
            _ = lists.tick() => {
                match service.clerk.ask(|office| office.publish(tls::now_unix())).await {
                    Ok(lists) => info!(number = lists.number, "new revocation lists"),
                    Err(error) => error!(%error, "no new revocation lists"),
                }
            }
            _ = listener.tick() => {
                let made = service.clerk.ask(|office| office.listener(tls::now_unix())).await;
                match made.map_err(ServeError::from).and_then(config) {
                    Ok(config) => service.set_tls(config),
                    Err(error) => error!(%error, "no new certificate for the listener"),
                }
            }
        }
    }
}

/// The listener's first configuration.
pub(super) fn listener_config(office: &Office, now: i64) -> Result<Arc<ServerConfig>, ServeError> {
    config(office.listener(now)?)
}

fn config(identity: ListenerIdentity) -> Result<Arc<ServerConfig>, ServeError> {
    Ok(tls::listener_config(identity.chain, identity.key)?)
}
