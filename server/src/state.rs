//! What all connections of a server share.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use rcmd_certs::{Identity, signature::Signer};
use rcmd_protocol::{
    frame::{Frame, Hello, ServerHello, capability},
    ids::Instance,
    outcome::Failure,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::{
        Admission,
        budget::Budget,
        locks::Locks,
        slots::{ConnectionSlot, ConnectionSlots},
    },
    audit::Audit,
    config::{
        ServerSettings,
        limits::{HELD, Limits},
    },
    job::{self, idempotency::IdempotencyLog, registry::Registry},
    policy::Rules,
    process::{Account, Accounts, FileThreads, Processes},
    trust::{Trust, TrustError},
};

/// What all connections of a server share.
#[derive(Debug)]
pub(crate) struct ServerState {
    /// As configured, with the limits cut to the machine.
    pub settings: ServerSettings,
    /// Certificates, keys and revocation lists as they are now.
    pub trust: Trust,
    /// What jobs need.
    pub jobs: Arc<job::Shared>,
    /// Who may do what, as it is now; a reload puts another in its place.
    pub policy: ArcSwap<Rules>,
    /// Which jobs there are.
    pub registry: Arc<Registry>,
    /// Whom commands run as.
    pub account: Account,
    /// Whom else they may run as.
    pub accounts: Accounts,
    /// What looks at the host's files.
    pub files: FileThreads,
    /// Every task of the server runs in it.
    pub tasks: TaskTracker,
    /// Ends all connections.
    pub closing: CancellationToken,
    instance: Instance,
    draining: AtomicBool,
    slots: Arc<ConnectionSlots>,
}

impl ServerState {
    /// A service that is ready for connections.
    ///
    /// # Errors
    /// When the kernel gives no randomness.
    #[allow(clippy::too_many_arguments)] // Each is another thing, and there is one caller.
    pub(crate) fn new(
        mut settings: ServerSettings,
        limits: Limits,
        trust: Trust,
        policy: Rules,
        idempotency: IdempotencyLog,
        audit: Arc<Audit>,
        processes: Processes,
        account: Account,
    ) -> io::Result<Self> {
        let jobs = job::Shared {
            admission: Arc::new(Admission::new(&limits)),
            limits: ArcSwap::from_pointee(limits.clone()),
            budget: Arc::new(Budget::new(HELD)),
            idempotency: Arc::new(idempotency),
            locks: Arc::new(Locks::new(settings.locks.clone(), processes.clone())),
            audit,
            user: account.name.clone(),
            processes,
            on_reload: settings.on_reload,
            grace: settings.grace,
            retain: settings.retain,
        };
        let registry = Arc::new(Registry::new(limits.channels, settings.retain));
        let slots = Arc::new(ConnectionSlots::new(limits.connections));
        settings.limits = limits;
        Ok(Self {
            settings,
            trust,
            policy: ArcSwap::from_pointee(policy),
            jobs: Arc::new(jobs),
            registry,
            account,
            accounts: Accounts::start()?,
            files: FileThreads::start()?,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            instance: Instance::random()?,
            draining: AtomicBool::new(false),
            slots,
        })
    }

    /// The server's hello.
    pub(crate) fn hello(&self) -> Frame {
        let ms =
            |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Frame::Hello(Hello {
            agent: concat!("rcmd-server/", env!("CARGO_PKG_VERSION")).to_owned(),
            capabilities: [capability::EXEC, capability::ASK, "user", capability::LOCK]
                .map(str::to_owned)
                .into(),
            server: Some(ServerHello {
                instance: self.instance,
                grace_ms: ms(self.settings.grace),
                retain_ms: ms(self.settings.retain),
                keepalive_ms: ms(self.settings.keepalive),
            }),
        })
    }

    /// Reads certificates, keys and the revocation list again, and writes down what came of it: under
    /// the key that signs the audit from then on.
    ///
    /// # Errors
    /// When they can't be used; then nothing has changed.
    pub(crate) fn reload_trust(&self, what: &str) -> Result<(), TrustError> {
        let reloaded = self.trust.reload();
        let failure = reloaded.as_ref().err().map(ToString::to_string);
        let signer = Signer::of(&self.settings.files).ok().filter(|_| failure.is_none());
        self.jobs.audit.reloaded(what, failure, signer);
        reloaded
    }

    /// From now on identities may have what `newer` says. What the host bears stays as it was at start.
    pub(crate) fn relimit(&self, newer: &Limits) {
        let limits = self.jobs.limits.load().with_shares_of(newer);
        self.jobs.admission.relimit(&limits);
        self.jobs.limits.store(Arc::new(limits));
    }

    /// Whether nothing new is started any more.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Starts nothing new from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// A seat for one more connection of this identity.
    ///
    /// # Errors
    /// `busy` when it has as many as it may, or all seats are taken.
    pub(crate) fn connection_slot(&self, who: &Identity) -> Result<ConnectionSlot, Failure> {
        self.slots.take(who.user(), self.jobs.limits.load().quota_of(who).connections)
    }
}
