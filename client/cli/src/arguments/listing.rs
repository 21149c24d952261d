//! The command lines of `ls` and `edit`.

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, ValueHint};

use rcmd_protocol::outcome::{ErrorKind, WireError};

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
The file is fetched into a private folder of $TMPDIR, and sent back if you
change it. If the file on the host has been changed since it was fetched,
nothing is sent: your version stays here, and its path is printed.

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
        let typed: Vec<_> = typed.collect();
        if let Some(word) = typed.iter().find_map(|word| letters_of_ls(word)) {
            let message = format!("{word} is an option of another program");
            return Err(Refused::Usage(WireError::new(ErrorKind::Usage, message).hint(LONG)));
        }
        let refused = |error: clap::Error| {
            let kind = error.kind();
            let names_user = typed.iter().any(|word| *word == "-l");
            match (Refused::from(error), kind) {
                (Refused::Usage(failure), clap::error::ErrorKind::MissingRequiredArgument)
                    if names_user =>
                {
                    Refused::Usage(failure.hint(LONG))
                }
                (refused, _) => refused,
            }
        };
        let matches = list_command().try_get_matches_from(&typed).map_err(refused)?;
        Self::from_arg_matches(&matches).map_err(refused)
    }
}

/// What to type in place of options of ls(1).
const LONG: &str = "Write --long for a long list; -l names a user. Names that begin with a dot are always listed, \
                    sorted by name.";

/// Returns a word of letters that ls(1) takes, such as `-la`. A user of such a name is written behind a blank.
fn letters_of_ls(word: &OsString) -> Option<&str> {
    let word = word.to_str()?;
    let letters = word.strip_prefix('-').filter(|letters| !letters.starts_with('-'))?;
    let is_of_ls = letters.chars().all(|letter| "aAdFhlrRStT1".contains(letter));
    (is_of_ls && letters != "l" && letters != "h" && !letters.is_empty()).then_some(word)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_ls_are_answered_with_those_of_this_one() {
        let read = |line: &[&str]| {
            let typed: Vec<_> = ["rcmd-client"].iter().chain(line).map(OsString::from).collect();
            ListArguments::read(typed.iter())
        };
        for line in [
            &["-la", "h:/x"][..],
            &["-l", "h:/x"],
            &["-a", "h:/x"],
            &["-lah", "h:"],
            &["-ltr", "h:"],
        ] {
            let Err(Refused::Usage(failure)) = read(line) else { panic!("{line:?}") };
            assert!(failure.hint.as_deref().unwrap().contains("--long"), "{line:?}: {failure:?}");
        }
        assert_eq!(read(&["-l", "la", "h:/x"]).unwrap().user.unwrap(), "la");
        assert_eq!(read(&["-lroot", "h:/x"]).unwrap().user.unwrap(), "root");
        assert!(read(&["--long", "h:/x"]).unwrap().long);
    }
}
