//! Commands on many connections of the library, which begin together.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use rcmd_client::{Child, Client, Stdio};

use crate::World;
use crate::bench::stage::connect;

/// The line of each command. It waits for a line of input, so that all commands are there before
/// the first byte of the first one.
const LINE: &str = "read go; exec head -c";
/// The limits of the server, with room for all commands at once, also within one identity.
const ROOM: &str = "[limits]\nrunning = 1100\nchannels = 2200\n\
                    [limits.peer]\nrunning = 1100\nchannels = 2200";

/// Starts a world whose server has room for all connections and commands.
///
/// # Errors
///
/// When it does not start.
pub(super) fn world() -> Result<World> {
    World::builder().own_group().config("keepalive = \"1h\"").config(ROOM).try_start()
}

#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) connections: usize,
    /// The number of commands on each connection.
    pub(super) each: usize,
}

impl Size {
    pub(super) fn commands(self) -> usize {
        self.connections * self.each
    }
}

pub(super) struct Group {
    clients: Vec<Client>,
    /// The commands, dealt to the connections in turn.
    pub(super) children: Vec<Child>,
}

impl Group {
    /// Connects, and starts commands that are to write so many zeros each.
    ///
    /// # Errors
    ///
    /// When one does not start.
    pub(super) async fn start(world: &World, size: Size, bytes: u64) -> Result<Self> {
        let (mut clients, mut children) = (Vec::new(), Vec::new());
        for _ in 0..size.connections {
            clients.push(connect(world.dir(), &world.target()).await?);
        }
        let line = format!("{LINE} {bytes} /dev/zero");
        for client in clients.iter().cycle().take(size.commands()) {
            let mut command = client.exec("/bin/sh");
            children.push(command.args(["-c", &line]).stdin(Stdio::Piped).spawn().await?);
        }
        for child in &mut children {
            child.started().await.context("a command does not start")?;
        }
        Ok(Self { clients, children })
    }

    /// Lets them write.
    ///
    /// # Errors
    ///
    /// When one is gone.
    pub(super) async fn release(&mut self) -> Result<()> {
        for child in &mut self.children {
            let mut stdin = child.stdin.take().context("no stdin")?;
            stdin.send(Bytes::from_static(b"\n")).await?;
            stdin.finish().await;
        }
        Ok(())
    }

    /// Kills them all.
    pub(super) async fn cancel(&mut self) {
        self.children.iter().for_each(Child::cancel);
        for mut child in self.children.drain(..) {
            drop((child.stdout.take(), child.stderr.take()));
            child.wait().await;
        }
    }

    /// Closes the connections.
    pub(super) async fn finish(self) {
        for client in self.clients {
            client.close().await;
        }
    }
}
