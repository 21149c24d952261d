//! `serve`: the authority's listener, from the start to the signal.

use std::{io::Write, net::SocketAddr};

use clap::Args;
use rcmd_authority::server::{ListenOptions, ServeError, Serving};
use rcmd_certs::{log, paths::Layout};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::{error::Error, options::DirOption};

#[derive(Args, Debug)]
pub(super) struct ServeOptions {
    #[command(flatten)]
    pub(super) dir: DirOption,
    /// Listen here; repeatable [default: 0.0.0.0:7264]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,
    /// Name of this host for members, written to tokens; repeatable [default: its own]
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
}

/// Raises the limit on descriptors as far as is allowed: each server that waits for lists holds one, and this
/// process starts no other process that the limit could affect.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    // If that is refused, the limits on peers follow from the present limit.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Serves until SIGTERM or SIGINT. On SIGHUP the settings are read again.
pub(super) async fn serve(options: ServeOptions, out: &mut impl Write) -> Result<(), Error> {
    let filter = EnvFilter::try_from_env("RCMD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let (queue, sums, _log) = log::to_stderr()?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(queue);
    lines.with_ansi(false).with_target(false).finish().with(sums).init();
    raise_descriptors();
    let layout: Layout = options.dir.layout();
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let how = ListenOptions { listen: options.listen, names: options.names };
    let serving = Serving::start(&layout, &how).await?;
    for address in serving.addresses() {
        writeln!(out, "listening on {address}")?;
    }
    out.flush()?;
    let failed = loop {
        tokio::select! {
            _ = terminate.recv() => break false,
            _ = interrupt.recv() => break false,
            () = serving.failed() => break true,
            _ = hangup.recv() => serving.reload().await,
        }
    };
    serving.stop(&layout).await;
    if failed { Err(ServeError::Stopped("see the log".into()).into()) } else { Ok(()) }
}
