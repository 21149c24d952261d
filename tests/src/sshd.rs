//! OpenSSH's own server and client on a loopback port, to compare with.

use std::process::{Command, Stdio};

use anyhow::Result;
use tempfile::TempDir;

use crate::bench::peers::{OpenSsh, Startups};

/// A server of OpenSSH with a client that may run commands on it as this user. It ends when it is dropped.
pub struct Sshd {
    ssh: OpenSsh,
    _folder: TempDir,
}

impl Sshd {
    /// Starts a server.
    ///
    /// # Errors
    ///
    /// When a program is missing, or the server does not start.
    pub fn start() -> Result<Self> {
        let folder = TempDir::new()?;
        let ssh = OpenSsh::start(folder.path(), Startups::Default)?;
        Ok(Self { ssh, _folder: folder })
    }

    /// Returns a command of `ssh` up to the host; the words of the command are to follow.
    #[must_use]
    pub fn ssh(&self) -> Command {
        let mut ssh = self.ssh.default();
        ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ssh
    }
}
