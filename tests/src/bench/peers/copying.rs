//! Programs that copy files by way of OpenSSH, and `cp`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::tool;
use crate::bench::measure::quiet;

/// The name of the host in the configuration of `ssh`.
pub(crate) const HOST: &str = "files";

pub(crate) const SCP: &str = "scp";
pub(crate) const FAST_SCP: &str = "scp, aes128-gcm";
pub(crate) const SFTP: &str = "sftp";
pub(crate) const RSYNC: &str = "rsync -a";
pub(crate) const FAST_RSYNC: &str = "rsync -a, aes128-gcm";
pub(crate) const WHOLE_RSYNC: &str = "rsync -a --whole-file";
pub(crate) const LOCAL: &str = "cp, on the spot";

/// The options of `ssh` for the quickest that OpenSSH offers.
const FASTEST: [&str; 4] =
    ["-o", "KexAlgorithms=curve25519-sha256", "-c", "aes128-gcm@openssh.com"];

/// The way that files go, seen from the program that is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the host.
    Push,
    /// From the host.
    Fetch,
}

/// A file or a tree to be copied. A tree becomes `to`.
#[derive(Clone, Copy)]
pub(crate) struct Copying<'a> {
    pub(crate) from: &'a Path,
    pub(crate) to: &'a Path,
    pub(crate) is_tree: bool,
    pub(crate) direction: Direction,
    /// The configuration of `ssh` in which [`HOST`] is a host.
    pub(crate) config: &'a Path,
    /// A folder for the file that `sftp` reads.
    pub(crate) folder: &'a Path,
}

/// Returns the command by which a program of this name copies.
///
/// # Errors
///
/// When the program is missing, which says how to install it, or a path can't be written as it wants it.
pub(crate) fn copier(name: &str, copying: &Copying<'_>) -> Result<Command> {
    match name {
        SCP => copying.scp(&[]),
        FAST_SCP => copying.scp(&FASTEST),
        SFTP => copying.sftp(),
        RSYNC => copying.rsync(&[], &[]),
        FAST_RSYNC => copying.rsync(&[], &FASTEST),
        WHOLE_RSYNC => copying.rsync(&["--whole-file"], &[]),
        _ => Ok(copying.local()),
    }
}

impl Copying<'_> {
    /// Returns source and destination as programs take them: the one on the host begins with the host's name and a
    /// colon.
    pub(crate) fn ends(&self, host: &str) -> [OsString; 2] {
        let there = |path: &Path| {
            let mut text = OsString::from(format!("{host}:"));
            text.push(path);
            text
        };
        match self.direction {
            Direction::Push => [self.from.into(), there(self.to)],
            Direction::Fetch => [there(self.from), self.to.into()],
        }
    }

    fn scp(&self, options: &[&str]) -> Result<Command> {
        let mut command = quiet(tool("scp", "openssh-client")?);
        command.arg("-q").arg("-F").arg(self.config).args(options);
        command.args(self.is_tree.then_some("-r")).args(self.ends(HOST));
        Ok(command)
    }

    fn sftp(&self) -> Result<Command> {
        let verb = match self.direction {
            Direction::Push => "put",
            Direction::Fetch => "get",
        };
        let option = if self.is_tree { " -r" } else { "" };
        let (from, to) = (text(self.from)?, text(self.to)?);
        let batch = self.folder.join("sftp-batch");
        fs::write(&batch, format!("{verb}{option} \"{from}\" \"{to}\"\n"))?;
        let mut command = quiet(tool("sftp", "openssh-client")?);
        command.arg("-q").arg("-F").arg(self.config).arg("-b").arg(batch).arg(HOST);
        Ok(command)
    }

    fn rsync(&self, own: &[&str], options: &[&str]) -> Result<Command> {
        let mut command = quiet(tool("rsync", "rsync")?);
        let shell = ["ssh", "-F", text(self.config)?].into_iter().chain(options.iter().copied());
        command.arg("-a").args(own).arg("-e").arg(shell.collect::<Vec<_>>().join(" "));
        let [mut from, to] = self.ends(HOST);
        if self.is_tree {
            from.push("/");
        }
        command.args([from, to]);
        Ok(command)
    }

    /// Returns the command of `cp`, which knows no host.
    fn local(&self) -> Command {
        let mut command = quiet("cp");
        command.args(self.is_tree.then_some("-r"));
        command.args([self.from, self.to].map(Path::as_os_str));
        command
    }
}

fn text(path: &Path) -> Result<&str> {
    OsStr::to_str(path.as_os_str()).context("the temporary folder's name is not UTF-8")
}
