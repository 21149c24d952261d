//! The command line of `runs`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Parser, ValueEnum, ValueHint};
use rcmd_protocol::outcome::{ErrorKind, WireError};

use super::Refused;

/// The commands that find a run and show it.
const SHOW: &str = "`rcmd-client runs` lists the runs with their IDs, `rcmd-client runs show ID` shows one, \
    `rcmd-client runs show last` the last one.";

const USAGE: &str = "rcmd-client runs [--json]
       rcmd-client runs show ID|last [--json]";

const MORE: &str = "\
Examples:
  rcmd-client runs                 list the recorded runs, the latest one last
  rcmd-client runs show last       show how each host of the latest run ended
  rcmd-client run --resume last    continue the latest run

The latest 100 runs over sets of hosts are recorded in DIR/runs, which only you can read: the command, the \
hosts and the end of each, but no output.

Exit status: 0, or 125 if there is no such run or its record cannot be read.";

/// List the runs over many hosts, or show one.
#[derive(Debug, Parser)]
#[command(
    name = "rcmd-client runs",
    bin_name = "rcmd-client runs",
    override_usage = USAGE,
    disable_version_flag = true,
    max_term_width = 100
)]
#[command(after_long_help = MORE)]
pub(crate) struct RunsArguments {
    /// Folder of certificates and records [default: $RCMD_DIR, ~/.config/rcmd]
    ///
    /// A run is recorded in the folder whose certificate it used. The default is $RCMD_DIR, else
    /// $XDG_CONFIG_HOME/rcmd, else ~/.config/rcmd.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// Print one line of JSON for each run, or for each host of one run
    #[arg(long)]
    pub(crate) json: bool,
    /// Show one run and how each host ended
    #[arg(value_name = "show", value_enum, hide_possible_values = true)]
    pub(crate) action: Option<Action>,
    /// ID of the run, or last
    #[arg(value_name = "ID|last")]
    pub(crate) run: Option<String>,
}

impl RunsArguments {
    /// Reads the command line of `runs`.
    ///
    /// # Errors
    /// [`Refused`] if the words make no sense, such as `show` without a run, or ask for help.
    pub(crate) fn read<'a>(typed: impl Iterator<Item = &'a OsString>) -> Result<Self, Refused> {
        let refused =
            |message: String| Refused::Usage(WireError::new(ErrorKind::Usage, message).hint(SHOW));
        let typed = Self::try_parse_from(typed).map_err(|error| {
            // No other value can be wrong.
            match error.get(ContextKind::InvalidValue) {
                Some(ContextValue::String(value)) if error.use_stderr() => {
                    refused(format!("`{value}` stands where `show` can"))
                }
                _ => Refused::from(error),
            }
        })?;
        match (typed.action, &typed.run) {
            (Some(Action::Show), None) => Err(refused("`runs show` names no run".to_owned())),
            _ => Ok(typed),
        }
    }
}

/// An action other than listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Action {
    Show,
}
