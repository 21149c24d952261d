//! A server from its start to its end: it loads its files, listens, and obeys signals.

pub(crate) mod instance;
mod listening;
mod local_socket;
pub mod log;
mod manager;
pub(crate) mod notices;
mod reload;
mod renewal;
mod shutdown;
mod upkeep;

use std::{
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use rcmd_certs::{Layout, signature::Signer};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use self::{
    instance::InstanceFile,
    manager::ServiceManager,
    notices::{CANT_SPAWN, log_policy, log_spawn, warn_of_certificates},
    shutdown::{StopSignal, leave, shutdown},
    upkeep::Upkeep,
};
use crate::{
    audit::Audit,
    config::{
        ServerSettings,
        limits::{DRAIN, HELD_DRAIN, Limits},
        listen::ListenAddress,
    },
    control::{self, ControlError, ControlSocket},
    job::idempotency::IdempotencyLog,
    policy::{self, Rules},
    process::{self, FromManager, Processes},
    state::ServerState,
    trust::Trust,
};

/// All that a server reads before it starts.
#[derive(Debug)]
pub struct Loaded {
    /// The folder of identity and configuration.
    pub(crate) layout: Layout,
    /// The configuration.
    pub(crate) settings: ServerSettings,
    /// The limits, reduced to what the machine allows.
    pub(crate) limits: Limits,
    /// Certificates, keys and revocation lists.
    pub(crate) trust: Trust,
    /// The policy.
    pub(crate) policy: Rules,
}

impl Loaded {
    /// Loads identity, configuration and policy from `dir`. If `listen` is not empty, or `metrics` is
    /// given, it replaces the addresses of the configuration.
    ///
    /// # Errors
    /// The file that can't be used, and the reason.
    pub fn load(
        dir: Option<&Path>,
        listen: Vec<ListenAddress>,
        metrics: Option<SocketAddr>,
    ) -> Result<Self> {
        let layout = Layout::for_host(dir);
        let mut settings = ServerSettings::load(&layout, listen)?;
        settings.metrics = metrics.or(settings.metrics);
        let trust = Trust::load(&layout)?;
        let policy =
            policy::file::load(&settings.data.policy, &settings.host, settings.vocabulary)?;
        let limits = settings.limits.cut_to(process::descriptor_limit());
        Ok(Self { layout, settings, limits, trust, policy })
    }
}

/// Prepares the process for a server, and returns what the service manager passed to it. The process must not have a
/// second thread yet.
///
/// # Errors
/// If the kernel refuses, or what was passed does not fit together.
pub fn prepare() -> Result<FromManager> {
    process::prepare_self().context("the server cannot set up its own process")
}

/// Runs a server until it is stopped, in a process that was prepared for it. `passed` is what [`prepare`] returned.
///
/// # Errors
/// The reason why it can't start, with the file or address and advice on what to do.
pub fn run(loaded: Loaded, passed: FromManager) -> Result<()> {
    let settings = &loaded.settings;
    warn_of_certificates(settings);
    log_policy(settings, &loaded.policy);
    let audit = Audit::open(&settings.audit, Signer::of(&settings.identity)?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(loaded, passed, Arc::clone(&audit)));
    // No task is left then, so nothing is written after the end.
    drop(runtime);
    audit.close();
    served
}

async fn serve(loaded: Loaded, passed: FromManager, audit: Arc<Audit>) -> Result<()> {
    let Loaded { layout, settings, limits, trust, policy } = loaded;
    let idempotency = IdempotencyLog::open(&settings.data.keys)?;
    let (processes, why) = Processes::new(settings.spawn, &limits.tree).context(CANT_SPAWN)?;
    log_spawn(&settings, &processes, why)?;
    let orphans = processes.clone().reap_orphans();
    let account = process::Account::current();
    let state = Arc::new(ServerState::new(
        settings,
        limits,
        trust,
        policy,
        idempotency,
        audit,
        processes,
        account,
    )?);

    // Not tracked: these tasks end with the runtime.
    let _orphans = tokio::task::JoinSet::from_iter([orphans]);
    let _helpers = tokio::task::JoinSet::from_iter([state.looks.clone().tend()]);
    let mut terminate = StopSignal::catch("SIGTERM", SignalKind::terminate())?;
    let mut interrupt = StopSignal::catch("SIGINT", SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;

    renewal::begin(&layout, &state).await;
    // All that may fail is made before the server listens.
    let upkeep = Upkeep::prepare()?;
    let (_control, local) = local_socket(&state)?.unzip();
    control::start(local, listen_for_metrics(&state)?, &state)?;
    let manager = Arc::new(ServiceManager::of(&passed));
    let mut listening = listening::listen(&state, passed.sockets)?;
    // For `rcmd-server status`; a server that can't write the file runs all the same.
    let _instance = InstanceFile::begin(&state.settings.folders, listening.addresses.clone())
        .inspect_err(|error| warn!(%error, "`rcmd-server status` will not see this server"));
    upkeep.start(&layout, &state, &manager, hangup)?;
    let addresses: Vec<_> = listening.addresses.iter().map(ToString::to_string).collect();
    manager.ready(&format!("listening on {}", addresses.join(", "))).await;
    let is_held = listening.is_held;
    let idle = idle_exit(&state, is_held);
    let watched = manager.keep_watchdog(&mut listening.pulses, &state);
    let lived = async {
        let again = tokio::select! {
            () = terminate.recv() => &mut terminate,
            () = interrupt.recv() => &mut interrupt,
            () = idle => {
                manager.stopping("idle").await;
                return leave(&state).await;
            }
        };
        manager.stopping("waiting for commands to end").await;
        let drain = if is_held { HELD_DRAIN } else { DRAIN };
        shutdown(&state, drain, again).await;
    };
    tokio::select! {
        () = watched => {}
        () = lived => {}
    }
    Ok(())
}

/// Makes the local socket. A server whose folder takes none runs all the same.
///
/// # Errors
/// If another server has the socket.
fn local_socket(state: &ServerState) -> Result<Option<(ControlSocket, UnixListener)>> {
    match ControlSocket::bind(&state.settings.folders.run) {
        Ok(bound) => Ok(Some(bound)),
        Err(error @ ControlError::Taken(_)) => Err(error.into()),
        Err(error) => {
            warn!(%error, "`rcmd-server ps`, `kill` and `status` will not reach this server");
            Ok(None)
        }
    }
}

/// Starts to listen for metrics, if there is an address for that.
///
/// # Errors
/// If the address is taken or not ours.
fn listen_for_metrics(state: &ServerState) -> Result<Option<TcpListener>> {
    let Some(address) = state.settings.metrics else { return Ok(None) };
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok((listener.local_addr()?, listener))
    });
    let (address, listener) = bound.with_context(|| {
        format!("cannot listen on {address} for metrics; choose another with --metrics ADDR:PORT")
    })?;
    info!(%address, "metrics");
    Ok(Some(listener))
}

/// Waits until the server has been idle for the time that the configuration says, and closes it for guests. Waits for
/// ever if it says none, or if nobody would start another server: `is_held` is true if the service manager does.
async fn idle_exit(state: &ServerState, is_held: bool) {
    match state.settings.idle_exit {
        Some(time) if is_held => state.presence.closed_when_idle_for(time).await,
        Some(_) => {
            warn!(
                "idle_exit has no effect: this server has sockets of its own, and nobody would start it again"
            );
            std::future::pending().await
        }
        None => std::future::pending().await,
    }
}
