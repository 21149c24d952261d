//! asyncssh, from a virtual environment of its own, against OpenSSH's server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::{OpenSsh, prepare, tool};
use crate::bench::measure::quiet;

const VERSION: &str = "2.24.1";
const SCRIPT: &str = include_str!("asyncssh.py");

pub(crate) struct AsyncSsh {
    python: PathBuf,
    coordinates: [String; 4],
}

impl AsyncSsh {
    pub(crate) fn install(folder: &Path, server: &OpenSsh) -> Result<Self> {
        let python = tool("python3", "python3 python3-venv")?;
        prepare(Command::new(python).args(["-m", "venv"]).arg(folder.join("v")))
            .context("asyncssh: apt-get install python3-venv")?;
        let python = folder.join("v/bin/python");
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "-q", "--disable-pip-version-check"]);
        prepare(install.arg(format!("asyncssh=={VERSION}")))
            .with_context(|| format!("asyncssh: pip install asyncssh=={VERSION}"))?;
        Ok(Self { python, coordinates: server.coordinates() })
    }

    /// `line`, `count` times over one connection, `at_once` at a time; the script prints the rate, the
    /// median and the 99th percentile in milliseconds.
    pub(crate) fn command(&self, line: &str, at_once: usize, count: usize) -> Command {
        let mut command = quiet(&self.python);
        command.args(["-c", SCRIPT]).args(&self.coordinates);
        command.args([&at_once.to_string(), &count.to_string(), line]);
        command
    }

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
