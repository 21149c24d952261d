//! The command lines of `ls` and `edit`.

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, ValueHint};

use super::{Common, Refused};

/// List files of a host.
#[derive(Debug, Parser)]
#[command(
    name = "rcmd-client ls",
    bin_name = "rcmd-client ls",
    override_usage = "rcmd-client ls [OPTIONS] HOST:PATH",
    disable_version_flag = true,
    args_override_self = true,
    max_term_width = 100
)]
#[command(after_help = "\
Example:
  rcmd-client ls --long web1:/srv    the home is `web1:`

Exit status: 0; 1 if the path cannot be listed; 125 if nothing was asked.")]
pub(crate) struct ListArguments {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Also print mode, owner, size, time and target
    #[arg(long)]
    pub(crate) long: bool,
    /// Remote user [default: that of the server]
    #[arg(short = 'l', long, value_name = "USER")]
    pub(crate) user: Option<OsString>,
    /// Folder or file of a host: HOST:PATH, HOST:PORT:PATH
    #[arg(value_name = "HOST:PATH", value_hint = ValueHint::Other)]
    pub(crate) place: OsString,
}

/// Edit a file of a host with $VISUAL or $EDITOR.
#[derive(Debug, Parser)]
#[command(
    name = "rcmd-client edit",
    bin_name = "rcmd-client edit",
    override_usage = "rcmd-client edit [OPTIONS] HOST:PATH",
    disable_version_flag = true,
    args_override_self = true,
    max_term_width = 100
)]
#[command(after_help = "\
The file is fetched into a private folder, and sent back if you change it. If
the file on the host has been changed meanwhile, nothing is sent: your version
stays here, and its path is printed.

Exit status: 0; 1 if it could not be fetched or sent back; 125 if nothing was
asked; that of the editor, if it fails.")]
pub(crate) struct EditArguments {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Remote user [default: that of the server]
    #[arg(short = 'l', long, value_name = "USER")]
    pub(crate) user: Option<OsString>,
    /// File of a host: HOST:PATH, HOST:PORT:PATH
    #[arg(value_name = "HOST:PATH", value_hint = ValueHint::Other)]
    pub(crate) place: OsString,
}

/// Returns the subcommand `ls`.
pub(crate) fn list_command() -> clap::Command {
    let help = "Print a JSON object for each entry";
    ListArguments::command().mut_arg("json", |arg| arg.help(help).long_help(help))
}

/// Returns the subcommand `edit`, which has no events.
pub(crate) fn edit_command() -> clap::Command {
    EditArguments::command().mut_arg("json", |arg| arg.hide(true))
}

impl ListArguments {
    /// Reads the command line of `ls`.
    ///
    /// # Errors
    /// [`Refused`] if an option is unknown or wrong, or help is asked for.
    pub(crate) fn read<'a>(typed: impl Iterator<Item = &'a OsString>) -> Result<Self, Refused> {
        Ok(Self::from_arg_matches(&list_command().try_get_matches_from(typed)?)?)
    }
}

impl EditArguments {
    /// Reads the command line of `edit`.
    ///
    /// # Errors
    /// [`Refused`] if an option is unknown or wrong, or help is asked for.
    pub(crate) fn read<'a>(typed: impl Iterator<Item = &'a OsString>) -> Result<Self, Refused> {
        Ok(Self::from_arg_matches(&edit_command().try_get_matches_from(typed)?)?)
    }
}
