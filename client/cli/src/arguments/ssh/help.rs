//! The help of `ssh`.

use clap::{Arg, ArgAction, Command, ValueHint};

use super::options::{OPTIONS, SshOption};

/// The end of the help. Lines of a table fit every terminal.
const EXAMPLE: &str = "\
Example:
  rsync -a -e rcmd-ssh site/ web1:/srv/site/

Exit status: that of the command; 128 + N if signal N ended it; 126 or 127 if
it could not be executed or was not found; 255 if rcmd failed.";

/// The end of the long help.
const MORE: &str = "\
Examples:
  rsync -a -e rcmd-ssh site/ web1:/srv/site/
  GIT_SSH=rcmd-ssh git clone ssh://git@web1/srv/project.git
  scp -S /usr/local/bin/rcmd-ssh web1:/etc/hosts .

Other options of ssh have no meaning here and are ignored, or are refused with
the reason; docs/ssh.md lists all. Options are read again behind the host, up to
the first word that is none.

The words of the command are joined, as ssh does. A line of plain words is sent
as a program and its arguments, any other to the shell of the account.

Exit status: that of the command; 128 + N if signal N ended it; 126 or 127 if
it could not be executed or was not found; 255 if rcmd failed.";

/// Returns the subcommand, for its help, for completions and for the manual. Its options are read by
/// [`read`](super::read), since clap has no options that go on behind a host.
pub(crate) fn command(program: &'static str) -> Command {
    let command = Command::new(program)
        .bin_name(program)
        .about("Run a command as ssh does, for programs that call ssh")
        .override_usage(format!("{program} [OPTIONS] [--] [USER@]HOST COMMAND..."))
        .disable_version_flag(true)
        .max_term_width(100)
        .after_help(EXAMPLE)
        .after_long_help(MORE);
    let shown = OPTIONS.iter().filter(|option| !option.help.is_empty());
    let command = shown.fold(command, |command, option| command.arg(option.shown()));
    command
        .arg(
            Arg::new("dir")
                .long("dir")
                .value_name("DIR")
                .value_hint(ValueHint::DirPath)
                .help("Certificates [default: $RCMD_DIR, ~/.config/rcmd]"),
        )
        .arg(
            Arg::new("words")
                .value_name("HOST COMMAND")
                .num_args(0..)
                .trailing_var_arg(true)
                .hide(true)
                .value_hint(ValueHint::CommandWithArguments),
        )
}

impl SshOption {
    /// Returns the option as clap shows it.
    fn shown(&self) -> Arg {
        let letter = char::from(self.letter);
        // Nothing is read by this name; it has to be another one for each option.
        let arg = Arg::new(self.help).short(letter).help(self.help);
        let arg = arg.hide_short_help(b"46TV".contains(&self.letter));
        match self.value {
            "" => arg.action(ArgAction::Count),
            "FILE" => arg.value_name("FILE").value_hint(ValueHint::FilePath),
            value => arg.value_name(value).action(ArgAction::Append),
        }
    }
}
