//! The peers, each with private keys and configuration on a loopback port.

mod asyncssh;
pub(crate) mod copying;
mod dropbear;
mod many_hosts;
mod openssh;
mod parallel_ssh;

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

pub(crate) use asyncssh::AsyncSsh;
pub(crate) use dropbear::Dropbear;
pub(crate) use many_hosts::{PROGRAMS, Task};
pub(crate) use openssh::{OpenSsh, Startups};
pub(crate) use parallel_ssh::ParallelSsh;

use crate::proc;
use crate::skip::need_tool;
use crate::wait::{eventually, poll_for};

/// A peer's server, killed with all below it when dropped.
struct Daemon(Child);

impl Daemon {
    fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let name = command.get_program().to_string_lossy().into_owned();
        Ok(Self(command.spawn().with_context(|| format!("can't run {name}"))?))
    }

    /// Waits until `ready` returns true, while the program runs.
    fn until(&mut self, what: &str, mut ready: impl FnMut() -> bool) -> Result<()> {
        let mut ended = None;
        let found = poll_for(Duration::from_secs(15), || {
            ended = self.0.try_wait().ok().flatten();
            (ended.is_some() || ready()).then_some(())
        });
        match (ended, found) {
            (Some(status), _) => bail!("{what} ended at once with {status}"),
            (None, Some(())) => Ok(()),
            (None, None) => bail!("{what} did not get ready"),
        }
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn processes_below(&self) -> usize {
        proc::descendants(self.pid()).len()
    }

    /// Waits until no more processes than these are left below it: the kernel accounts what an ended
    /// one used to its parent when that takes notice of its end.
    fn settle(&self, resting: usize) {
        eventually("the sessions of a peer end", || self.processes_below() <= resting);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let below = proc::descendants(self.pid());
        let _ = self.0.kill();
        let _ = self.0.wait();
        below.iter().for_each(proc::Process::kill);
    }
}

fn accepts(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn tool(name: &str, package: &str) -> Result<PathBuf> {
    need_tool(name).map_err(|name| anyhow::anyhow!("{name}; apt-get install {package}"))
}

/// Runs a tool that prepares something.
fn prepare(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("can't run {name}"))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed ({}): {}", output.status, told.trim());
    }
    Ok(())
}

/// Installs this package of this version into a virtual environment in this folder, and returns the
/// path of its Python.
fn python_with(folder: &Path, package: &str, version: &str) -> Result<PathBuf> {
    let python = tool("python3", "python3 python3-venv")?;
    prepare(Command::new(python).args(["-m", "venv"]).arg(folder.join("v")))
        .with_context(|| format!("{package}: apt-get install python3-venv"))?;
    let python = folder.join("v/bin/python");
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "-q", "--disable-pip-version-check"]);
    let pinned = format!("{package}=={version}");
    prepare(install.arg(&pinned)).with_context(|| format!("{package}: pip install {pinned}"))?;
    Ok(python)
}

/// Returns the name of the user that this runs as.
fn user() -> Result<String> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?;
    Ok(user.context("this user has no entry in /etc/passwd")?.name)
}
