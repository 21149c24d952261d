//! The state that all connections of a server share.

mod counts;
mod snapshot;

use std::{io, sync::Arc};

use arc_swap::ArcSwap;
use rcmd_certs::{Identity, clock, listen::Strangers, signature::Signer};
use rcmd_protocol::{
    frame::{Frame, Hello, ServerHello, capability},
    ids::Instance,
    outcome::WireError,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::{
    counts::{ConnectionCounts, HandshakeFault},
    snapshot::{KillResult, Snapshot},
};
use crate::{
    admission::{
        Admission,
        budget::Budget,
        folders::OpenFolders,
        judging::JudgingShares,
        locks::Locks,
        presence::Presence,
        slots::{ConnectionSlot, ConnectionSlots},
        turns::Turns,
    },
    audit::Audit,
    config::{
        ServerSettings,
        limits::{self, ACCOUNTS, DIGESTS, FOLDERS_OF_EACH, HELD, LOOKS, Limits, RETRIES},
    },
    job::{self, counts::JobCounts, idempotency::IdempotencyLog, registry::Registry},
    policy::Rules,
    process::{self, Account, Looks, OwnProgram, Processes},
    trust::{Trust, TrustError},
};

/// The names of what this server supports beyond the frames of version 1.
const CAPABILITIES: [&str; 5] =
    [capability::EXEC, capability::ASK, "user", capability::LOCK, capability::TRANSFER];

/// The state that all connections of a server share.
#[derive(Debug)]
pub(crate) struct ServerState {
    /// The configuration, with the limits reduced to what the machine allows.
    pub settings: ServerSettings,
    /// The certificates, keys and revocation lists in use.
    pub trust: Trust,
    /// The state that jobs share.
    pub jobs: Arc<job::Shared>,
    /// The policy in use; a reload replaces it.
    pub policy: ArcSwap<Rules>,
    /// The jobs, by identity and key.
    pub registry: Arc<Registry>,
    /// The account that commands run as by default.
    pub account: Account,
    /// The server's own program, which carries out transfers.
    pub own: OwnProgram,
    /// The service that looks at the host's files and accounts.
    pub looks: Looks,
    /// The turns at work that requests wait for.
    pub turns: StateTurns,
    /// The folders that transfers hold open before they begin.
    pub folders: Arc<OpenFolders>,
    /// The places of peers that have not shown who they are.
    pub strangers: Arc<Strangers>,
    /// Those for whom the server stays although it may end when it is idle.
    pub presence: Arc<Presence>,
    /// The counters of connections.
    pub counts: ConnectionCounts,
    /// The tracker of all tasks of the server.
    pub tasks: TaskTracker,
    /// The token that is cancelled to end all connections.
    pub closing: CancellationToken,
    /// The start of the server, in Unix time.
    began: i64,
    instance: Instance,
    draining: CancellationToken,
    slots: Arc<ConnectionSlots>,
}

/// The turns at work that requests wait for.
#[derive(Debug)]
pub(crate) struct StateTurns {
    /// The turns at looking at the host's files.
    pub looks: Arc<Turns>,
    /// The turns at reading programs to digest them.
    pub digests: Arc<Turns>,
    /// The turns at looking up accounts.
    pub accounts: Arc<Turns>,
    /// The turns at answering a ClientHello, of each part of the network.
    pub handshakes: Arc<Turns>,
    /// The turns at handshakes that a HelloRetryRequest makes longer, of each part of the network.
    pub retries: Arc<Turns>,
}

impl ServerState {
    /// Makes the state of a server that is ready for connections.
    ///
    /// # Errors
    /// If the threads can't be started, or the kernel provides no randomness.
    #[allow(clippy::too_many_arguments)] // The arguments are unrelated, and there is one caller.
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
            judging: JudgingShares::default(),
            counts: JobCounts::default(),
            idempotency: Arc::new(idempotency),
            locks: Arc::new(Locks::new(settings.data.locks.clone(), processes.clone())?),
            audit,
            user: account.name.clone(),
            processes,
            on_reload: settings.on_reload,
            grace: settings.grace,
            retain: settings.retain,
        };
        let presence = Presence::new();
        let registry =
            Arc::new(Registry::new(limits.channels, settings.retain, Arc::clone(&presence)));
        let strangers = Arc::new(Strangers::new(limits.unauthenticated));
        let slots = Arc::new(ConnectionSlots::new(limits.connections));
        let folders = OpenFolders::new(limits.folders, FOLDERS_OF_EACH);
        settings.limits = limits;
        Ok(Self {
            settings,
            trust,
            policy: ArcSwap::from_pointee(policy),
            jobs: Arc::new(jobs),
            registry,
            account,
            own: process::own_program()?,
            looks: Looks::start()?,
            turns: StateTurns {
                looks: Turns::new("looks at the host's files", LOOKS),
                digests: Turns::new("digests of programs", DIGESTS),
                accounts: Turns::new("look-ups of accounts", ACCOUNTS),
                handshakes: Turns::new("handshakes", limits::handshakes()),
                retries: Turns::new("handshakes with two hellos", RETRIES),
            },
            folders,
            strangers,
            presence,
            counts: ConnectionCounts::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            began: clock::now_unix(),
            instance: Instance::random()?,
            draining: CancellationToken::new(),
            slots,
        })
    }

    /// Returns the server's hello.
    pub(crate) fn hello(&self) -> Frame {
        let ms =
            |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Frame::Hello(Hello {
            agent: concat!("rcmd-server/", env!("CARGO_PKG_VERSION")).to_owned(),
            capabilities: CAPABILITIES.map(str::to_owned).into(),
            server: Some(ServerHello {
                instance: self.instance,
                grace_ms: ms(self.settings.grace),
                retain_ms: ms(self.settings.retain),
                keepalive_ms: ms(self.settings.keepalive),
            }),
        })
    }

    /// Reloads certificates, keys and the revocation list, and records the result in the audit,
    /// which the new key signs from then on.
    ///
    /// # Errors
    /// If they can't be used; nothing has changed then.
    pub(crate) fn reload_trust(&self, what: &str) -> Result<(), TrustError> {
        let reloaded = self.trust.reload();
        let failure = reloaded.as_ref().err().map(ToString::to_string);
        let signer = Signer::of(&self.settings.identity).ok().filter(|_| failure.is_none());
        self.jobs.audit.reloaded(what, failure, signer);
        reloaded
    }

    /// Applies the per-identity quotas of `newer`. Host-wide limits are fixed at start.
    pub(crate) fn relimit(&self, newer: &Limits) {
        let limits = self.jobs.limits.load().with_shares_of(newer);
        self.jobs.admission.relimit(&limits);
        self.jobs.limits.store(Arc::new(limits));
    }

    /// Returns whether the server no longer starts commands.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Makes the server start no further commands.
    pub(crate) fn drain(&self) {
        self.draining.cancel();
    }

    /// Returns the token that is cancelled when the server starts no further commands.
    pub(crate) fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Takes a slot for one more connection of this identity.
    ///
    /// # Errors
    /// `busy`, if the identity or the host has its maximum of connections.
    pub(crate) fn connection_slot(&self, who: &Identity) -> Result<ConnectionSlot, WireError> {
        self.slots.take(who.user(), self.jobs.limits.load().quota_of(who).connections)
    }
}
