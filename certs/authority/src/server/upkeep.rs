//! Regular work without a request: new lists every hour, a new certificate for the listener every
//! day.

use std::{sync::Arc, time::Duration};

use rcmd_certs::{clock, fingerprint::Fingerprint, tls};
use rustls::ServerConfig;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tracing::{error, info};

use super::{error::ServeError, shared::Shared};
use crate::state::{AuthorityState, ListenerIdentity, Published};

/// The interval at which the listener's certificate is renewed: it is valid for three days.
const LISTENER_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) async fn run(shared: Arc<Shared>) {
    let mut list_every = shared.list_every.subscribe();
    let mut lists = every(*list_every.borrow_and_update());
    let mut listener = every(LISTENER_EVERY);
    let mut updates = shared.updates.clone();
    let mut signing = signer(&updates.borrow_and_update());
    loop {
        tokio::select! {
            () = shared.closing.cancelled() => return,
            Ok(()) = updates.changed() => {
                let now = signer(&updates.borrow_and_update());
                // After a rotation, members know the listener by another root.
                if now != signing {
                    signing = now;
                    renew_listener(&shared).await;
                }
            }
            Ok(()) = list_every.changed() => lists = every(*list_every.borrow_and_update()),
            _ = lists.tick() => {
                match shared.worker.run(|state| state.publish(clock::now_unix())).await {
                    Ok(lists) => info!(number = lists.number, "new revocation lists"),
                    Err(error) => error!(%error, "no new revocation lists"),
                }
            }
            _ = listener.tick() => renew_listener(&shared).await,
        }
    }
}

/// Returns an interval that ticks each `time`, and once after a suspension.
fn every(time: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + time, time);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Returns the fingerprint of the root that signs.
fn signer(lists: &Option<Arc<Published>>) -> Option<Fingerprint> {
    lists.as_ref().and_then(|lists| lists.roots.first().copied())
}

/// Makes a new certificate for the listener. If that fails, the old one stays in use.
pub(super) async fn renew_listener(shared: &Shared) {
    let made = shared.worker.run(|state| state.listener(clock::now_unix())).await;
    match made.map_err(ServeError::from).and_then(config) {
        Ok(config) => shared.set_tls(config),
        Err(error) => error!(%error, "no new certificate for the listener"),
    }
}

/// Returns the listener's first configuration.
pub(super) fn listener_config(
    state: &AuthorityState,
    now: i64,
) -> Result<Arc<ServerConfig>, ServeError> {
    config(state.listener(now)?)
}

fn config(identity: ListenerIdentity) -> Result<Arc<ServerConfig>, ServeError> {
    Ok(tls::listener_config(identity.chain, identity.key)?)
}
