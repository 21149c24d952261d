//! `rcmd-certs serve`: the authority's listener.
//!
//! ```text
//! members ---- TLS -----> listener -> session --+
//!                                               +--> worker (one thread, owns the state)
//! commands -- Unix socket --> admin_socket -----+      ^              |
//!                                               upkeep-+              +--> new revocation lists, to
//!                                                                          sessions that wait for them
//! ```
//!
//! One thread owns the [`AuthorityState`] and serves requests in order, so that two uses of a token
//! cannot race. Every wait for a peer has a deadline; every queue and every number of peers has a limit.

use std::{
    net::SocketAddr,
    sync::{Arc, RwLock},
};

use rcmd_certs::{clock, enroll::message::DEFAULT_PORT, listen::Listener, paths::Layout};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info};

use crate::state::AuthorityState;

mod admin_socket;
mod error;
mod listener;
mod session;
mod shared;
mod slots;
mod upkeep;
mod worker;

pub use error::ServeError;

use shared::Shared;
use slots::Slots;
use worker::Worker;

/// The options of serving.
#[derive(Clone, Debug, Default)]
pub struct ListenOptions {
    /// The addresses to listen on; those of the settings if empty.
    pub listen: Vec<SocketAddr>,
    /// The names by which members reach this host; they go into tokens with the port.
    pub names: Vec<String>,
}

/// An authority that serves and already accepts connections.
pub struct Serving {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").field("addresses", &self.addresses).finish()
    }
}

impl Serving {
    /// Opens the state, signs new revocation lists, listens, and accepts.
    ///
    /// # Errors
    /// [`ServeError`] when one of these fails.
    pub async fn start(layout: &Layout, options: &ListenOptions) -> Result<Self, ServeError> {
        let state = AuthorityState::open(layout)?;
        let now = clock::now_unix();
        let wanted = listen_on(state.settings().listen.as_slice(), options);
        let listeners = wanted.iter().map(|&address| {
            Listener::bind(address, &wanted)
                .map_err(|source| ServeError::Listen { address: address.to_string(), source })
        });
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        let addresses = listeners.iter().zip(&wanted).map(|(listener, wanted)| {
            let address = wanted.to_string();
            listener.address().map_err(|source| ServeError::Listen { address, source })
        });
        let addresses = addresses.collect::<Result<Vec<SocketAddr>, _>>()?;
        state.listening(&reached_by(&addresses, &options.names))?;
        state.publish(now)?;
        let config = upkeep::listener_config(&state, now)?;
        let socket = admin_socket::bind(layout).await?;
        let every = state.settings().list_every;

        let (worker, updates) = Worker::start(state)?;
        let shared = Arc::new(Shared {
            worker,
            updates,
            tls: RwLock::new(config),
            slots: Arc::new(Slots::new()),
            list_every: watch::Sender::new(every),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        for listener in listeners {
            shared.tasks.spawn(listener::serve(listener, Arc::clone(&shared)));
        }
        shared.tasks.spawn(admin_socket::run(Arc::clone(&shared), socket));
        shared.tasks.spawn(upkeep::run(Arc::clone(&shared)));
        Ok(Self { shared, addresses })
    }

    /// Reads the settings again, and signs new lists and a new certificate for the listener. If the new settings
    /// are wrong, the old ones stay in use and the reason is logged. A change of addresses needs a restart.
    pub async fn reload(&self) {
        let reloaded = self.shared.worker.run(|state| {
            let settings = state.reload_settings()?;
            state.publish(clock::now_unix())?;
            Ok(settings)
        });
        match reloaded.await {
            Ok(settings) => {
                self.shared.list_every.send_replace(settings.list_every);
                info!("settings reloaded");
                upkeep::renew_listener(&self.shared).await;
            }
            Err(error) => error!(%error, "settings not reloaded; the old ones stay in use"),
        }
    }

    /// Returns the addresses that it listens on, with the ports that were taken.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Waits until the thread that owns the state ends, which happens only by a fault.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn failed(&self) {
        self.shared.worker.ended().await;
    }

    /// Stops serving: no new peers are accepted, requests in progress are finished, and those who wait for lists
    /// are sent away.
    pub async fn stop(self, layout: &Layout) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        admin_socket::remove(layout).await;
    }
}

fn listen_on(settings: &[SocketAddr], options: &ListenOptions) -> Vec<SocketAddr> {
    let given = if options.listen.is_empty() { settings } else { &options.listen };
    if given.is_empty() {
        vec![SocketAddr::from(([0, 0, 0, 0], DEFAULT_PORT))]
    } else {
        given.to_vec()
    }
}

/// Returns the addresses for tokens: the names with the port, else the addresses themselves, or this
/// host's name for an address that stands for all of them.
fn reached_by(addresses: &[SocketAddr], names: &[String]) -> Vec<String> {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut reached = Vec::new();
    for address in addresses {
        let port = address.port();
        if !names.is_empty() {
            reached.extend(names.iter().map(|name| format!("{name}:{port}")));
        } else if address.ip().is_unspecified() {
            reached.push(format!("{node}:{port}"));
        } else {
            reached.push(address.to_string());
        }
    }
    reached.retain(|address| rcmd_certs::enroll::token::is_address(address));
    reached.dedup();
    reached
}
