//! The library parallel-ssh, from a virtual environment of its own: one process, no `ssh`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{OpenSsh, python_with};
use crate::bench::measure::quiet;

const VERSION: &str = "2.16.0.post1";
const SCRIPT: &str = include_str!("parallel_ssh.py");

pub(crate) struct ParallelSsh(PathBuf);

impl ParallelSsh {
    pub(crate) fn install(folder: &Path) -> Result<Self> {
        Ok(Self(python_with(folder, "parallel-ssh", VERSION)?))
    }

    /// Returns a command that runs `line` on so many hosts, all of them this server, and prints a
    /// line `nNUMBER: TEXT` for each that answered.
    pub(crate) fn command(
        &self,
        server: &OpenSsh,
        line: &str,
        at_once: usize,
        count: usize,
    ) -> Command {
        let [port, user, key, _] = server.coordinates();
        let mut command = quiet(&self.0);
        command.args(["-c", SCRIPT, &port, &user, &key]);
        command.args([&at_once.to_string(), &count.to_string(), line]);
        command
    }
}
