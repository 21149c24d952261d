//! What may be typed for `runs`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum, ValueHint};

const USAGE: &str = "rcmd-client runs [--json]
       rcmd-client runs show ID|last [--json]";

const MORE: &str = "\
Examples:
  rcmd-client runs                 the runs that are recorded, the last one below
  rcmd-client runs show last       how each host of the last run ended
  rcmd-client run --resume last    go on with it: what is unknown or still runs is
                                   taken up, what failed or never started is run

The last 100 runs over sets of hosts are recorded in DIR/runs: what was asked for, the hosts, and how each \
ended, without what it wrote. The folder is yours alone.

Exit status: 0, or 125 when there is no such run, or it can't be read.";

/// Show the runs over many hosts, and how each host ended.
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
    /// Folder of certificates, with the records [default: $RCMD_DIR, ~/.config/rcmd]
    ///
    /// Without it $RCMD_DIR, else $XDG_CONFIG_HOME/rcmd, else ~/.config/rcmd. A run is recorded in the folder
    /// whose certificate it used.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// Print an object a run, or a host of one run, a line of JSON each
    #[arg(long)]
    pub(crate) json: bool,
    /// Show one run: each host with how it ended
    #[arg(value_name = "show", value_enum, requires = "run", hide_possible_values = true)]
    pub(crate) action: Option<Action>,
    /// Which one: its ID, or last
    #[arg(value_name = "ID|last")]
    pub(crate) run: Option<String>,
}

/// What is done beside listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Action {
    Show,
}
