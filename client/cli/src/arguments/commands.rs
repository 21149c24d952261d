//! What may be typed for many commands over one connection for each host, and what it means.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::{Args, ValueHint};
use rcmd_protocol::outcome::{ErrorKind, WireError};

/// Commands at once, unless said otherwise.
const PARALLEL: u16 = 8;
/// Bytes kept of each stream of a command, unless said otherwise.
const MAX_OUTPUT: u32 = 1024 * 1024;

/// Options of many commands over one connection.
#[derive(Args, Debug)]
pub(crate) struct CommandsOptions {
    /// Run each line of this file over one connection
    ///
    /// A line is a line for the shell there or, if it begins with `[`, a JSON array of a program and
    /// its arguments, passed exactly. Empty lines and those that begin with `#` are passed over. A
    /// FILE with a bad line runs nothing; `-` is standard input, read as lines are wanted. Prints the
    /// result object of each command as a line of JSON, with `line`, `stdout` and `stderr`; at a
    /// terminal as text, unless --json is given.
    ///
    /// On a set of hosts each line is run on each, over one connection for each host, and a result has
    /// `index` beside `host`; results come as commands end, and an account follows. A line that begins
    /// with `{"` names its own hosts, `{"hosts": "web[1-3]", "argv": ["ls", "-l"]}` or, in place of
    /// `argv`, `"shell": "LINE"`; where all lines do, no host stands on the command line.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(conflicts_with_all = ["shell", "exec", "dry_run", "key", "result", "timestamps", "encoding"])]
    commands: Option<PathBuf>,
    /// Run so many of --commands at once [default: 8]
    ///
    /// All over the one connection; from 1 to 1,024. Of several hosts it is so many on each, and -f limits
    /// how many run over all.
    #[arg(long, value_name = "N", hide_short_help = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: Option<u16>,
    /// Print results as commands end, not in the order of the lines
    ///
    /// A result names its line. Of several hosts they always come so.
    #[arg(long, hide_short_help = true)]
    unordered: bool,
    /// Keep so many bytes of each stream of a command [default: 1048576]
    ///
    /// The first ones. What is over is read and thrown away: `truncated` says so, and the counts and
    /// digests are still those of all.
    #[arg(long, value_name = "BYTES", hide_short_help = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=1 << 30))]
    max_output: Option<u32>,
}

/// Many commands to be run.
#[derive(Debug)]
pub(crate) struct Commands {
    /// Where the lines are; none is standard input.
    pub(crate) file: Option<PathBuf>,
    /// Commands at once, at least 1.
    pub(crate) parallel: usize,
    /// Whether results are printed in the order of the lines.
    pub(crate) ordered: bool,
    /// True if results are text for a person, and not JSON.
    pub(crate) as_text: bool,
    /// Bytes kept of each stream of a command.
    pub(crate) max_output: usize,
}

impl CommandsOptions {
    /// Returns whether `--commands` was typed.
    pub(crate) fn is_used(&self) -> bool {
        self.commands.is_some()
    }

    /// Returns the commands to run, if `--commands` was typed; `words` are those after the host.
    ///
    /// # Errors
    /// A usage failure, with its remedy.
    pub(crate) fn take(
        &mut self,
        json: bool,
        words: &[OsString],
    ) -> Result<Option<Commands>, WireError> {
        let refused =
            |message: &str, hint| Err(WireError::new(ErrorKind::Usage, message).hint(hint));
        let Some(file) = self.commands.take() else {
            // Not by clap: what the missing option conflicts with would excuse its absence.
            return match self.unordered || self.parallel.is_some() || self.max_output.is_some() {
                false => Ok(None),
                true => refused(
                    "--parallel, --unordered and --max-output are for --commands",
                    "Leave them out, or name a file: `rcmd-client run --commands FILE HOST`.",
                ),
            };
        };
        if !words.is_empty() {
            return refused(
                "--commands takes no command after the host",
                "Write it into the file: `rcmd-client run --commands FILE HOST`.",
            );
        }
        Ok(Some(Commands {
            file: Some(file).filter(|file| file.as_os_str() != "-"),
            parallel: self.parallel.unwrap_or(PARALLEL).into(),
            ordered: !self.unordered,
            as_text: !json && io::stdout().is_terminal(),
            max_output: usize::try_from(self.max_output.unwrap_or(MAX_OUTPUT))
                .unwrap_or(usize::MAX),
        }))
    }
}
