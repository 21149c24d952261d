//! The options for many commands over one connection to each host.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::{Args, ValueHint};
use rcmd_protocol::outcome::{ErrorKind, WireError};

/// The default number of commands at a time.
const PARALLEL: u16 = 8;
/// The default number of bytes kept of each stream of a command.
const MAX_OUTPUT: u32 = 1024 * 1024;

/// The options for many commands over one connection.
#[derive(Args, Debug)]
pub(crate) struct CommandsOptions {
    /// Run each line of this file over one connection
    ///
    /// A line is a command for the remote shell or, if it begins with `[`, a JSON array of a program and
    /// its arguments, which are passed unchanged. Empty lines and lines that begin with `#` are ignored. If
    /// any line of FILE, which has at most 64 MiB, is invalid, nothing runs. `-` is standard input, which is
    /// read while commands run. The result of each command is printed as one line of JSON, with `line`,
    /// `stdout` and `stderr`; at a terminal as text, unless --json is given.
    ///
    /// On a set of hosts, each line runs on each host, over one connection to each, and a result also has
    /// `index`. Results are printed as commands end, and a summary follows. A line that is a JSON object
    /// names its own hosts: `{"hosts": "web[1-3]", "argv": ["ls", "-l"]}` or, instead of `argv`,
    /// `"shell": "LINE"`. If all lines do so, the command line names no host.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(conflicts_with_all = ["shell", "exec", "dry_run", "key", "result", "timestamps", "encoding"])]
    commands: Option<PathBuf>,
    /// Commands of --commands at a time [default: 8]
    ///
    /// From 1 to 1,024, over one connection. On a set, the limit holds for each host, and -f limits the
    /// commands on all hosts together.
    #[arg(long, value_name = "N", hide_short_help = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: Option<u16>,
    /// Print results as commands end, not in the order of the lines
    ///
    /// Each result has the number of its line. On a set, results are always printed so.
    #[arg(long, hide_short_help = true)]
    unordered: bool,
    /// Bytes to keep of each stream of a command [default: 1048576]
    ///
    /// The first bytes are kept, and the others dropped: `truncated` is then true. Sizes and digests are
    /// still those of the whole stream.
    #[arg(long, value_name = "BYTES", hide_short_help = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=1 << 30))]
    max_output: Option<u32>,
}

/// Many commands to run.
#[derive(Debug)]
pub(crate) struct Commands {
    /// The file with the lines; none stands for standard input.
    pub(crate) file: Option<PathBuf>,
    /// The number of commands at a time, at least 1.
    pub(crate) parallel: usize,
    /// True if results are printed in the order of the lines.
    pub(crate) ordered: bool,
    /// True if results are text for people instead of JSON.
    pub(crate) as_text: bool,
    /// The number of bytes kept of each stream of a command.
    pub(crate) max_output: usize,
}

impl CommandsOptions {
    /// Returns whether `--commands` was given.
    pub(crate) fn is_used(&self) -> bool {
        self.commands.is_some()
    }

    /// Returns the commands to run, if `--commands` was given. `words` are the words after the host.
    ///
    /// # Errors
    /// A usage error, with advice.
    pub(crate) fn take(
        &mut self,
        json: bool,
        words: &[OsString],
    ) -> Result<Option<Commands>, WireError> {
        let refused =
            |message: &str, hint: &str| Err(WireError::new(ErrorKind::Usage, message).hint(hint));
        let Some(file) = self.commands.take() else {
            // Not checked by clap: it does not require an option that conflicts with another one given.
            return match self.unordered || self.parallel.is_some() || self.max_output.is_some() {
                false => Ok(None),
                true => refused(
                    "--parallel, --unordered and --max-output need --commands",
                    "Leave them out, or name a file: `rcmd-client run --commands FILE HOST`.",
                ),
            };
        };
        if let Some(option) = words.first().and_then(|word| word.to_str())
            && option.starts_with('-')
        {
            let message = format!("`{option}` stands behind the hosts, where options end");
            let hint =
                format!("Write it before them: `rcmd-client run --commands FILE {option} HOSTS`.");
            return refused(&message, &hint);
        }
        if !words.is_empty() {
            return refused(
                "--commands cannot be combined with a command after the host",
                "Write the command into the file: `rcmd-client run --commands FILE HOST`.",
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
