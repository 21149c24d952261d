//! The life of a server: set up, listen, reload, stop.

pub mod instance;
pub mod log;
pub mod renewal;
pub mod shutdown;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
};

use anyhow::{Context as _, Result};
use rcmd_certs::{Layout, signature::Signer, tls};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::{
    audit::Audit,
    cli::Options,
    config::{Settings, limits::Limits},
    daemon::{instance::InstanceFile, shutdown::shutdown},
    job::{Message, idempotency::IdempotencyLog},
    net::{PendingHandshakes, listener::Listener},
    policy::{self, Rules},
    process::{self, Processes, TreeLimits},
    state::ServerState,
    trust::Trust,
};

const CANT_SPAWN: &str = "the server can't start processes as server.toml says";

/// Runs a server until it is told to stop.
///
/// # Errors
/// What keeps it from starting, with the file or address and what to do.
pub fn run(options: Options) -> Result<()> {
    let layout = Layout::for_host(options.dir.as_deref());
    let settings = Settings::load(&layout, options.listen)?;
    let trust = Trust::load(&layout)?;
    let policy = policy::file::load(&settings.policy, &settings.host)?;
    let limits = settings.limits.cut_to(process::descriptor_limit());
    if options.check_config {
        return report(&settings, &limits, &policy);
    }
    warn_of_certificates(&settings);
    tell_of_policy(&settings, &policy);
    // Before there is a second thread: this changes the whole process.
    process::prepare_self().context("the server can't set up its own process")?;
    let audit = Audit::open(&settings.audit, Signer::of(&settings.files)?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served =
        runtime.block_on(serve(layout, settings, limits, trust, policy, Arc::clone(&audit)));
    // No task is left then, so that nothing is written behind the end.
    drop(runtime);
    audit.close();
    served
}

fn report(settings: &Settings, limits: &Limits, policy: &Rules) -> Result<()> {
    let mut out = io::stdout();
    for address in &settings.listen {
        writeln!(out, "listen       {address}")?;
    }
    writeln!(out, "certificate  {}", settings.files.cert.display())?;
    writeln!(out, "grace        {:?}", settings.grace)?;
    writeln!(out, "running      {} commands at once, {} queued", limits.running, limits.queued)?;
    writeln!(out, "connections  {}", limits.connections)?;
    writeln!(out, "starts       {}", limits.starts)?;
    writeln!(out, "one user     {}", limits.quota_for("", &[]))?;
    for user in limits.user.keys() {
        writeln!(out, "user {user:7} {}", limits.quota_for(user, &[]))?;
    }
    for group in limits.group.keys() {
        let of = limits.quota_for("", std::slice::from_ref(group));
        writeln!(out, "group {group:6} {of}")?;
    }
    match process::probe(settings.spawn, &limits.tree).context(CANT_SPAWN)? {
        Ok(below) => writeln!(out, "spawn        in cgroups below {}", below.display())?,
        Err(why) if limits.tree != TreeLimits::default() => return Err(no_tree_limits(why)),
        Err(None) => writeln!(out, "spawn        portable, as server.toml says")?,
        Err(Some(why)) => writeln!(out, "spawn        portable: {why}")?,
    }
    match policy.is_missing() {
        true => writeln!(out, "policy       none, so that everything is denied")?,
        false => writeln!(out, "policy       {} rules", policy.len())?,
    }
    let findings = tls::check_server(&settings.files)?;
    if let Some(finding) = findings.first() {
        anyhow::bail!("{finding}");
    }
    writeln!(out, "the configuration is good")?;
    Ok(())
}

/// What is wrong with the certificates, and yet no reason not to start: the clock that counts is the
/// peer's.
fn warn_of_certificates(settings: &Settings) {
    match tls::check_server(&settings.files) {
        Ok(findings) => findings.iter().for_each(|finding| warn!("{finding}")),
        Err(error) => warn!(%error, "certificates could not be checked"),
    }
}

/// Says by which rules the server judges.
fn tell_of_policy(settings: &Settings, policy: &Rules) {
    let file = settings.policy.display();
    if policy.is_missing() {
        warn!(%file, "there is no policy, so that everything is denied; `rcmd-server policy init` writes one");
    } else {
        info!(%file, rules = policy.len(), "policy");
    }
    for warning in policy.warnings() {
        warn!(%file, line = warning.line, column = warning.column, "{}", warning.message);
    }
}

/// Says how commands are started and held, and what they may use.
fn tell_of_spawn(settings: &Settings, processes: &Processes, why: Option<io::Error>) -> Result<()> {
    match (processes.cgroups(), why) {
        (Some((base, limits)), _) => info!(cgroup = %base.display(), ?limits, "spawn"),
        (None, why) => {
            if settings.limits.tree != TreeLimits::default() {
                return Err(no_tree_limits(why));
            }
            let why = why.map(|why| why.to_string());
            info!(portable = true, why, "spawn");
        }
    }
    Ok(())
}

fn no_tree_limits(why: Option<io::Error>) -> anyhow::Error {
    let why = why.map_or("spawn is \"portable\"".to_owned(), |why| why.to_string());
    anyhow::anyhow!("[limits.tree] can't be kept without cgroups: {why}")
}

async fn serve(
    layout: Layout,
    settings: Settings,
    limits: Limits,
    trust: Trust,
    policy: Rules,
    audit: Arc<Audit>,
) -> Result<()> {
    let idempotency = IdempotencyLog::open(&settings.keys)?;
    let (processes, why) = Processes::new(settings.spawn, &limits.tree).context(CANT_SPAWN)?;
    tell_of_spawn(&settings, &processes, why)?;
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

    // Not among the tracked tasks: it ends with the runtime.
    let _orphans = tokio::task::JoinSet::from_iter([orphans]);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;

    renewal::begin(&layout, &state).await;
    let listening = listen(&state)?;
    // For `rcmd-server status`; a server that can't say that it runs does so all the same.
    let _instance = InstanceFile::begin(&layout, listening)
        .inspect_err(|error| warn!(%error, "`rcmd-server status` will not see this server"));
    renewal::spawn(&layout, &state);
    loop {
        tokio::select! {
            _ = terminate.recv() => {
                shutdown(&state, &mut terminate).await;
                return Ok(());
            }
            _ = interrupt.recv() => {
                shutdown(&state, &mut interrupt).await;
                return Ok(());
            }
            _ = hangup.recv() => reload(&layout, &state).await,
        }
    }
}

/// Gives the addresses, with the ports that were taken.
fn listen(state: &Arc<ServerState>) -> Result<Vec<SocketAddr>> {
    let limits = &state.settings.limits;
    info!(
        running = limits.running,
        queued = limits.queued,
        connections = limits.connections,
        unauthenticated = limits.unauthenticated,
        "limits"
    );
    let (pending, numbers) = (Arc::new(PendingHandshakes::default()), Arc::new(AtomicU64::new(0)));
    let mut listeners = Vec::new();
    for &address in &state.settings.listen {
        let listener = Listener::bind(address).with_context(|| {
            format!("can't listen on {address}; choose another with --listen ADDR:PORT")
        })?;
        listeners.push(listener);
    }
    let mut out = io::stdout();
    let addresses = listeners.iter().map(Listener::address).collect();
    for listener in listeners {
        writeln!(out, "listening on {}", listener.address())?;
        let run = listener.run(Arc::clone(state), Arc::clone(&pending), Arc::clone(&numbers));
        state.tasks.spawn(run);
    }
    out.flush()?;
    Ok(addresses)
}

/// Reads limits of identities again; what is wrong leaves the old ones in use.
fn reload_limits(layout: &Layout, state: &ServerState) {
    let audit = &state.jobs.audit;
    match Settings::load(layout, state.settings.listen.clone()) {
        Ok(settings) => {
            state.relimit(&settings.limits);
            audit.reloaded("limits", None, None);
            info!("limits of identities reloaded");
        }
        Err(error) => {
            audit.reloaded("limits", Some(error.to_string()), None);
            error!(%error, "limits not reloaded; the old ones stay in use");
        }
    }
}

/// Reads limits, certificates, keys and policy again; what is wrong leaves the old ones in use.
async fn reload(layout: &Layout, state: &ServerState) {
    reload_limits(layout, state);
    let (settings, audit) = (&state.settings, &state.jobs.audit);
    match policy::file::load(&settings.policy, &settings.host) {
        Ok(policy) => {
            tell_of_policy(settings, &policy);
            let policy = Arc::new(policy);
            audit.reloaded("policy", None, None);
            state.policy.store(Arc::clone(&policy));
            info!("policy reloaded");
            for job in state.registry.all_live() {
                job.tell(Message::Judge(Arc::clone(&policy))).await;
            }
        }
        Err(error) => {
            audit.reloaded("policy", Some(error.to_string()), None);
            error!(%error, "policy not reloaded; the old one stays in use");
        }
    }
    match state.reload_trust("certificates") {
        Ok(()) => {
            warn_of_certificates(&state.settings);
            info!("certificates reloaded");
        }
        Err(error) => error!(%error, "certificates not reloaded; the old ones stay in use"),
    }
}
