//! The command line of `runs`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum, ValueHint};

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
    #[arg(value_name = "show", value_enum, requires = "run", hide_possible_values = true)]
    pub(crate) action: Option<Action>,
    /// ID of the run, or last
    #[arg(value_name = "ID|last")]
    pub(crate) run: Option<String>,
}

/// An action other than listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Action {
    Show,
}
