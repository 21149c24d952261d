//! The subcommand `rcmd-server config`.

use std::{io::Write, path::PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use rcmd_certs::{Layout, files::shown, text::escaped};
use serde_json::json;

use crate::config::listing::{Setting, listing};

/// The subcommands of `rcmd-server config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting with its value and where it comes from
    Dump(DumpOptions),
}

/// The options of `config dump`.
#[derive(Debug, Args)]
#[command(
    after_help = "The text is a server.toml that means the same. A running server has what it read at \
    its start and at the last SIGHUP; `rcmd-server status` shows the limits that it has."
)]
pub struct DumpOptions {
    /// Server's folder [default: $RCMD_DIR, /etc/rcmd]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl ConfigCommand {
    /// Returns the place of the option `--dir`.
    pub(super) fn dir(&mut self) -> &mut Option<PathBuf> {
        let Self::Dump(options) = self;
        &mut options.dir
    }
}

/// Carries out the subcommand. Returns the exit status.
///
/// # Errors
/// The error in the configuration.
pub fn run(command: &ConfigCommand, out: &mut dyn Write) -> Result<u8> {
    let ConfigCommand::Dump(options) = command;
    let layout = Layout::for_host(options.dir.as_deref());
    let file = layout.server_toml();
    let settings = listing(&layout)?;
    if options.json {
        let file = file.to_string_lossy();
        writeln!(out, "{}", json!({ "file": file, "settings": settings }))?;
        return Ok(0);
    }
    writeln!(out, "# {}", shown(&file))?;
    for setting in settings {
        writeln!(out, "{}", line(&setting))?;
    }
    Ok(0)
}

/// Returns a setting as a line of TOML.
fn line(Setting { name, value, from }: &Setting) -> String {
    let name = escaped(name);
    match value.is_null() {
        true => format!("# {name} is not set"),
        // A string of JSON is one of TOML, and what could control a terminal is no part of a setting
        // that was accepted, but of a comment at most.
        false => format!("{name} = {}  # {}", escaped(&value.to_string()), from.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::listing::Source;

    #[test]
    fn a_line_is_toml() {
        let setting = |value| Setting { name: "a.b".to_owned(), value, from: Source::File };
        assert_eq!(line(&setting(json!(["x"]))), "a.b = [\"x\"]  # server.toml");
        assert_eq!(line(&setting(json!(null))), "# a.b is not set");
    }
}
