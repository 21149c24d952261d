//! The command line of `hosts`.

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
  web[01-20]      web01 to web20; zeros are part of the names
  n[1-9/2]        every second host; dc[1-2]n[1-99] has two ranges
  A,B  A!B        the hosts of A and of B; the hosts of A without those of B
  A&B  A^B        hosts that are in both; hosts that are in only one of them
  @web  @*        the hosts of a group; all known hosts
  web*  db?       known hosts whose names match

In a shell, put the expression in single quotes. Two names are the same host only if they are written in the \
same way, with the same port. A set has each host once, in the order written, and at most 100,000 hosts.

FILE has one expression on each line; `#` begins a comment. Known hosts and groups are those in \
DIR/hosts.toml and /etc/rcmd/hosts.toml.

Exit status: 0, or 125 if the expression is invalid or the set is empty.";

/// List the hosts of an expression.
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
    /// The default is $RCMD_DIR, else $XDG_CONFIG_HOME/rcmd, else ~/.config/rcmd. Hosts and groups that are
    /// not in it are looked up in /etc/rcmd/hosts.toml.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// Expression for hosts, such as web[01-20]
    #[arg(
        value_name = "EXPR",
        required_unless_present = "hosts_file",
        allow_hyphen_values = false
    )]
    pub(crate) expression: Option<String>,
    /// Print the set as one expression with ranges
    #[arg(long)]
    pub(crate) fold: bool,
    /// Print the number of hosts
    #[arg(long, conflicts_with = "fold")]
    pub(crate) count: bool,
    /// Print one line of JSON for each host
    #[arg(long, conflicts_with_all = ["fold", "count"])]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) set: SetOptions,
    /// Print errors but no notices
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Also name files that were ignored
    #[arg(short, long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
}
