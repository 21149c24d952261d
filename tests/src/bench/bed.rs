//! A server of a row's own, with a configuration of its own, and warm commands on it.

use std::time::Duration;

use anyhow::{Result, ensure};
use rcmd_client::{Client, Command, Outcome};
use tokio::runtime::Runtime;

use super::rate::rate;
use super::stage::{connect, one_thread};
use crate::{World, skip};

/// The ways to spawn, as `spawn` in `server.toml` names them.
const WAYS: [&str; 2] = ["cgroup", "portable"];

/// Returns the ways to spawn that this machine has, and the reason for one that is left out.
pub(crate) fn ways() -> (Vec<&'static str>, Vec<String>) {
    match skip::need_cgroup() {
        Ok(()) => (WAYS.to_vec(), Vec::new()),
        Err(missing) => (vec![WAYS[1]], vec![format!("spawn = \"{}\": needs {missing}", WAYS[0])]),
    }
}

/// A server and one connection to it.
pub(crate) struct Bed {
    // Dropped first: they talk to the server.
    client: Client,
    runtime: Runtime,
    world: World,
}

impl Bed {
    /// Starts it with these lines in `server.toml`.
    ///
    /// # Errors
    ///
    /// When the server does not start or can't be reached.
    pub(crate) fn with(config: &str) -> Result<Self> {
        // The connection is driven only while it is measured; meanwhile it must not count as gone.
        let builder = World::builder().own_group().config("keepalive = \"1h\"").config(config);
        let world = builder.try_start()?;
        let runtime = one_thread()?;
        let client = runtime.block_on(connect(world.dir(), &world.target()))?;
        Ok(Self { client, runtime, world })
    }

    /// Starts a server that spawns in this way, and connects as [`Bed::with`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Bed::with`].
    pub(crate) fn spawning(way: &str, config: &str) -> Result<Self> {
        Self::with(&format!("spawn = \"{way}\"\n{config}"))
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    /// Runs `/bin/sh -c true` as [`rate`] does, each command changed by `change`.
    ///
    /// # Errors
    ///
    /// When one does not end with 0.
    pub(crate) fn commands(
        &self,
        at_once: usize,
        count: usize,
        change: fn(&mut Command),
    ) -> Result<[f64; 3]> {
        let client = self.client.clone();
        rate(&self.runtime, at_once, count, move || one(client.clone(), change))
    }
}

async fn one(client: Client, change: fn(&mut Command)) -> Result<()> {
    let mut command = client.exec("/bin/sh");
    command.args(["-c", "true"]);
    change(&mut command);
    let report = command.output().await?.report;
    ensure!(report.outcome == Outcome::Exited && report.code == Some(0), "it ended: {report:?}");
    Ok(())
}

/// Leaves a command as it is, for [`Bed::commands`].
pub(crate) fn plain(_: &mut Command) {}

/// Sets a time limit of 60 s, which no command reaches, for [`Bed::commands`].
pub(crate) fn limited(command: &mut Command) {
    command.timeout(Duration::from_secs(60));
}
