//! What may be typed for `hosts`.

use std::path::PathBuf;

use clap::{Parser, ValueHint};

use crate::arguments::sets::SetOptions;

const EXAMPLES: &str = "\
Examples:
  rcmd-client hosts 'web[01-20],db1!web07'     names, without one of them
  rcmd-client hosts --fold --hosts-file FILE   the shortest text for a list";

const MORE: &str = "\
Examples:
  rcmd-client hosts 'web[01-20],db1!web07'     names, without one of them
  rcmd-client hosts --fold --hosts-file FILE   the shortest text for a list

A set is written in ClusterShell's syntax, read from left to right:
  web[01-20]      web01 to web20; zeros are part of a name
  n[1-9/2]        every second; dc[1-2]n[1-99] has two dimensions
  A,B  A!B        either of them; A without B
  A&B  A^B        those in both; those in one of them alone
  @web  @*        the hosts of a group; all that are known
  web*  db?       known hosts whose names fit

In a shell it stands in single quotes. A host is its name as it is written, with its port if it has one. \
A set has each once, in the order written, and at most 100,000.

FILE has an expression a line; `#` begins a comment. Hosts and groups are known from DIR/hosts.toml and /etc/rcmd/hosts.toml.

Exit status: 0, or 125 when that is no set, or an empty one.";

/// Show which hosts an expression means.
#[derive(Debug, Parser)]
#[command(
    name = "rcmd-client hosts",
    bin_name = "rcmd-client hosts",
    disable_version_flag = true,
    max_term_width = 100
)]
#[command(after_help = EXAMPLES, after_long_help = MORE)]
pub(crate) struct HostsArguments {
    /// Folder of hosts.toml [default: $RCMD_DIR, ~/.config/rcmd]
    ///
    /// Without it $RCMD_DIR, else $XDG_CONFIG_HOME/rcmd, else ~/.config/rcmd. What it has not is looked
    /// up in /etc/rcmd/hosts.toml.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// The set, such as web[01-20]
    #[arg(
        value_name = "EXPR",
        required_unless_present = "hosts_file",
        allow_hyphen_values = false
    )]
    pub(crate) expression: Option<String>,
    /// Print one expression with ranges, not each name
    #[arg(long)]
    pub(crate) fold: bool,
    /// Print how many there are
    #[arg(long, conflicts_with = "fold")]
    pub(crate) count: bool,
    /// Print an object a host, a line of JSON each
    #[arg(long, conflicts_with_all = ["fold", "count"])]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) set: SetOptions,
    /// No notices; errors are still printed
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Say which files were passed over
    #[arg(short, long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
}
