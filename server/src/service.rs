//! What all connections of a server share.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use rcmd_protocol::{
    frame::{Frame, Hello, ServerHello},
    ids::Instance,
    outcome::{ErrorKind, Failure},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::Admission,
    budget::Budget,
    config::Settings,
    job,
    keys::KeyLog,
    limits::{HELD, Limits},
    process::{Account, Processes},
    registry::Registry,
};

/// What all connections of a server share.
#[derive(Debug)]
pub struct Service {
    /// As configured, with the limits cut to the machine.
    pub settings: Settings,
    /// TLS as it is now; a reload puts another in its place.
    pub tls: ArcSwap<rustls::ServerConfig>,
    /// What jobs need.
    pub jobs: Arc<job::Shared>,
    /// Which jobs there are.
    pub registry: Arc<Registry>,
    /// Whom commands run as.
    pub account: Account,
    /// Every task of the server runs in it.
    pub tasks: TaskTracker,
    /// Ends all connections.
    pub closing: CancellationToken,
    instance: Instance,
    draining: AtomicBool,
    connections: Mutex<HashMap<String, usize>>,
}

/// A place among an identity's connections; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    service: Arc<Service>,
    user: String,
}

impl Service {
    /// A service that is ready for connections.
    ///
    /// # Errors
    /// When the kernel gives no randomness.
    pub fn new(
        mut settings: Settings,
        limits: Limits,
        tls: Arc<rustls::ServerConfig>,
        keys: KeyLog,
        processes: Processes,
        account: Account,
    ) -> io::Result<Self> {
        let jobs = job::Shared {
            admission: Arc::new(Admission::new(&limits)),
            budget: Arc::new(Budget::new(HELD)),
            keys: Arc::new(keys),
            processes,
            grace: settings.grace,
            retain: settings.retain,
        };
        let registry = Arc::new(Registry::new(limits.channels, settings.retain));
        settings.limits = limits;
        Ok(Self {
            settings,
            tls: ArcSwap::new(tls),
            jobs: Arc::new(jobs),
            registry,
            account,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            instance: Instance::random()?,
            draining: AtomicBool::new(false),
            connections: Mutex::default(),
        })
    }

    /// The server's hello.
    pub fn hello(&self) -> Frame {
        let ms =
            |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Frame::Hello(Hello {
            agent: concat!("rcmd-server/", env!("CARGO_PKG_VERSION")).to_owned(),
            capabilities: vec!["exec".to_owned()],
            server: Some(ServerHello {
                instance: self.instance,
                grace_ms: ms(self.settings.grace),
                retain_ms: ms(self.settings.retain),
                keepalive_ms: ms(self.settings.keepalive),
            }),
        })
    }

    /// Whether nothing new is started any more.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Starts nothing new from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// A seat for one more connection of this identity.
    ///
    /// # Errors
    /// `busy` when it has as many as it may.
    pub fn seat(self: &Arc<Self>, user: &str) -> Result<Seat, Failure> {
        let limit = self.settings.limits.connections;
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let count = connections.entry(user.to_owned()).or_default();
        if *count >= limit {
            let message = format!("this identity has {limit} connections already");
            return Err(Failure::new(ErrorKind::Busy, message)
                .hint("Close some, or raise limits.connections and the server's LimitNOFILE.")
                .retry_after_ms(1000));
        }
        *count += 1;
        Ok(Seat { service: Arc::clone(self), user: user.to_owned() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut connections =
            self.service.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = connections.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.user);
            }
        }
    }
}
