//! asyncssh, from a virtual environment of its own, against OpenSSH's server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use super::{OpenSsh, python_with};
use crate::bench::measure::quiet;

const VERSION: &str = "2.24.1";
const SCRIPT: &str = include_str!("asyncssh.py");

pub(crate) struct AsyncSsh {
    python: PathBuf,
    coordinates: [String; 4],
}

impl AsyncSsh {
    pub(crate) fn install(folder: &Path, server: &OpenSsh) -> Result<Self> {
        let python = python_with(folder, "asyncssh", VERSION)?;
        Ok(Self { python, coordinates: server.coordinates() })
    }

    /// Returns a command that runs `line` `count` times over one connection, `at_once` at a time;
    /// the script prints the rate, the median and the 99th percentile in milliseconds.
    pub(crate) fn command(&self, line: &str, at_once: usize, count: usize) -> Command {
        let mut command = quiet(&self.python);
        command.args(["-c", SCRIPT]).args(&self.coordinates);
        command.args([&at_once.to_string(), &count.to_string(), line]);
        command
    }

    /// Runs the command of [`AsyncSsh::command`], and returns the three figures that it prints.
    ///
    /// # Errors
    ///
    /// When the script failed.
    pub(crate) fn rate(&self, line: &str, at_once: usize, count: usize) -> Result<[f64; 3]> {
        let mut command = self.command(line, at_once, count);
        let output = command.stdout(Stdio::piped()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let figures: Vec<f64> = text.split_ascii_whitespace().flat_map(str::parse).collect();
        match figures.try_into() {
            Ok(figures) => Ok(figures),
            Err(_) => bail!("asyncssh: {}", String::from_utf8_lossy(&output.stderr).trim()),
        }
    }
}
