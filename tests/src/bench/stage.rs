//! The stage for rows: rcmd's server, and the peers, each started when it is first asked for.

use std::cell::{OnceCell, RefCell};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use rcmd_certs::Layout;
use rcmd_client::{Client, Config, Target};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::Options;
use super::measure::quiet;
use super::peers::{AsyncSsh, Dropbear, OpenSsh, ParallelSsh, Startups};
use crate::World;
use crate::binaries::try_binaries;

/// A peer, or why there is none.
type Peer<T> = OnceCell<Result<T, String>>;

pub(crate) struct Stage {
    pub(crate) options: Options,
    world: World,
    openssh: Peer<OpenSsh>,
    dropbear: Peer<Dropbear>,
    asyncssh: Peer<AsyncSsh>,
    /// OpenSSH's server that lets in as many strangers as it does by default.
    openssh_as_it_comes: Peer<OpenSsh>,
    parallel_ssh: Peer<ParallelSsh>,
    /// Programs that a row looked for and did not find.
    absent: RefCell<Vec<String>>,
    folder: TempDir,
}

impl Stage {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            options: options.clone(),
            world: new_world()?,
            openssh: OnceCell::new(),
            dropbear: OnceCell::new(),
            asyncssh: OnceCell::new(),
            openssh_as_it_comes: OnceCell::new(),
            parallel_ssh: OnceCell::new(),
            absent: RefCell::default(),
            folder: tempfile::tempdir()?,
        })
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::new(self.world.dir())
    }

    pub(crate) fn openssh(&self) -> Option<&OpenSsh> {
        let start = || found(OpenSsh::start(&self.part("openssh")?, Startups::Raised));
        self.openssh.get_or_init(start).as_ref().ok()
    }

    /// Returns OpenSSH with its default limits, or none where [`Stage::openssh`] returns none.
    pub(crate) fn openssh_as_it_comes(&self) -> Option<&OpenSsh> {
        self.openssh()?;
        let start = || found(OpenSsh::start(&self.part("openssh-default")?, Startups::Default));
        self.openssh_as_it_comes.get_or_init(start).as_ref().ok()
    }

    pub(crate) fn dropbear(&self) -> Option<&Dropbear> {
        self.dropbear.get_or_init(|| found(Dropbear::start(&self.part("dropbear")?))).as_ref().ok()
    }

    /// Returns asyncssh, which takes some seconds to install, or none without OpenSSH's server or
    /// for a quick run.
    pub(crate) fn asyncssh(&self) -> Option<&AsyncSsh> {
        let server = self.openssh()?;
        if self.options.quick {
            return None;
        }
        let install = || found(AsyncSsh::install(&self.part("asyncssh")?, server));
        self.asyncssh.get_or_init(install).as_ref().ok()
    }

    /// Takes some seconds for its installation; not for a quick run.
    pub(crate) fn parallel_ssh(&self) -> Option<&ParallelSsh> {
        if self.options.quick {
            return None;
        }
        let install = || found(ParallelSsh::install(&self.part("parallel-ssh")?));
        self.parallel_ssh.get_or_init(install).as_ref().ok()
    }

    /// Notes that a row looked for something that is not there.
    pub(crate) fn miss(&self, what: &anyhow::Error) {
        let (mut absent, what) = (self.absent.borrow_mut(), format!("{what:#}"));
        if !absent.contains(&what) {
            absent.push(what);
        }
    }

    fn part(&self, name: &str) -> Result<std::path::PathBuf, String> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).map_err(|error| error.to_string())?;
        Ok(folder)
    }

    /// Returns the programs that were looked for and not found.
    pub(crate) fn missing(&self) -> Vec<String> {
        let openssh = self.openssh.get().and_then(|peer| peer.as_ref().err());
        let dropbear = self.dropbear.get().and_then(|peer| peer.as_ref().err());
        let asyncssh = self.asyncssh.get().and_then(|peer| peer.as_ref().err());
        let as_it_comes = self.openssh_as_it_comes.get().and_then(|peer| peer.as_ref().err());
        let parallel_ssh = self.parallel_ssh.get().and_then(|peer| peer.as_ref().err());
        let peers = [openssh, dropbear, asyncssh, as_it_comes, parallel_ssh];
        peers.into_iter().flatten().chain(self.absent.borrow().iter()).cloned().collect()
    }

    /// Returns the command of `rcmd-client` up to the host, with `--exec` or `--shell`; the command
    /// for the host is to follow.
    pub(crate) fn rcmd(&self, mode: &str) -> Result<Command> {
        let mut command = quiet(&try_binaries()?.client);
        command.arg("--dir").arg(self.world.dir()).arg(mode).arg(self.world.target());
        Ok(command)
    }

    /// Connects the library's client to the world, within `runtime`.
    pub(crate) fn connect(&self, runtime: &Runtime) -> Result<Client> {
        runtime.block_on(connect(self.world.dir(), &self.world.target()))
    }
}

fn found<T>(started: Result<T>) -> Result<T, String> {
    started.map_err(|error| format!("{error:#}"))
}

/// Starts a world whose server is out of reach of a terminal's Ctrl-C: the outer process ends it.
pub(crate) fn new_world() -> Result<World> {
    World::builder().own_group().try_start()
}

pub(crate) async fn connect(dir: &Path, target: &str) -> Result<Client> {
    let config = Config::from_dir(dir).context("the client's files")?;
    let target: Target = target.parse()?;
    Client::connect(&config, &target).await.context("can't connect")
}

/// Makes a runtime of one thread, as `rcmd-client` has it.
pub(crate) fn one_thread() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Returns a port that was free a moment ago, for programs that can't pick one themselves.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
