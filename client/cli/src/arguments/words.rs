//! The words after the host: a line for the shell there, or a program and its arguments.

use std::ffi::{OsStr, OsString};

use rcmd_protocol::outcome::{ErrorKind, WireError};

/// The words after the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CommandSpec {
    /// One line for the shell of the remote user.
    Shell(OsString),
    /// A program and its arguments.
    Exec { program: OsString, arguments: Vec<OsString> },
}

impl CommandSpec {
    /// Reads the words: one is a line for the shell, several are a program, unless `shell` or `exec` is set.
    ///
    /// # Errors
    /// A usage error if there is no word, or if `shell` is set and there are several: ssh would join them
    /// with blanks, and so split a name that contains a blank.
    pub(crate) fn read(words: &[OsString], shell: bool, exec: bool) -> Result<Self, WireError> {
        match words {
            [] => Err(WireError::new(ErrorKind::Usage, "the command is missing after the host")
                .hint("Write a command, as in `rcmd-client HOST uptime`.")),
            [line] if !exec => Ok(Self::Shell(line.clone())),
            words if shell => Err(WireError::new(
                ErrorKind::Usage,
                format!("--shell takes the command as one argument, but there are {}", words.len()),
            )
            .hint(format!(
                "Put the whole line in quotes: rcmd-client --shell HOST {}",
                quoted(words)
            ))),
            [program, arguments @ ..] => {
                Ok(Self::Exec { program: program.clone(), arguments: arguments.to_vec() })
            }
        }
    }
}

impl CommandSpec {
    /// Returns advice on what to write, if the first word looks like an option of rcmd-client: options end at
    /// the host.
    pub(crate) fn misplaced(&self) -> Option<String> {
        self.misplaced_behind("the host", "HOST")
    }

    /// Returns the same for words behind this place, which a command line has as `hosts`.
    pub(crate) fn misplaced_behind(&self, place: &str, hosts: &str) -> Option<String> {
        let (Self::Shell(first) | Self::Exec { program: first, .. }) = self;
        let first = first.to_str().filter(|first| first.starts_with('-'))?;
        Some(match first {
            "--" => {
                format!("Everything behind {place} is the command, also this `--`: leave it out.")
            }
            option => {
                format!("Write options before {place}: `rcmd-client {option} {hosts} COMMAND...`.")
            }
        })
    }
}

/// Returns the words as one argument, quoted for a POSIX shell.
fn quoted(words: &[OsString]) -> String {
    let line = words.join(OsStr::new(" "));
    format!("'{}'", line.to_string_lossy().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_behind_the_host_is_known_by_its_dash() {
        let hint = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(OsString::from).collect();
            CommandSpec::read(&words, false, false).unwrap().misplaced()
        };
        assert!(hint(&["--", "ls"]).unwrap().contains("leave it out"));
        assert!(hint(&["--timeout", "5", "ls"]).unwrap().contains("`rcmd-client --timeout HOST"));
        assert!(hint(&["-n"]).unwrap().contains("before the host"));
        assert_eq!(hint(&["ls", "-l"]), None);
        let fold = CommandSpec::read(&["--fold".into(), "ls".into()], false, false).unwrap();
        assert_eq!(
            fold.misplaced_behind("HOSTS", "HOSTS").unwrap(),
            "Write options before HOSTS: `rcmd-client --fold HOSTS COMMAND...`."
        );
    }

    #[test]
    fn one_word_is_a_line_and_several_are_a_program() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let exec = |program: &str, arguments: &[&str]| CommandSpec::Exec {
            program: program.into(),
            arguments: words(arguments),
        };
        let line = words(&["df -h | sort"]);
        assert_eq!(
            CommandSpec::read(&line, false, false),
            Ok(CommandSpec::Shell("df -h | sort".into()))
        );
        assert_eq!(
            CommandSpec::read(&line, true, false),
            Ok(CommandSpec::Shell("df -h | sort".into()))
        );
        assert_eq!(CommandSpec::read(&line, false, true), Ok(exec("df -h | sort", &[])));
        let several = words(&["ls", "", "a b"]);
        assert_eq!(CommandSpec::read(&several, false, false), Ok(exec("ls", &["", "a b"])));
        assert_eq!(CommandSpec::read(&several, false, true), Ok(exec("ls", &["", "a b"])));
        let refused = CommandSpec::read(&words(&["echo", "it's"]), true, false).unwrap_err();
        assert_eq!(
            refused.hint.unwrap(),
            r"Put the whole line in quotes: rcmd-client --shell HOST 'echo it'\''s'"
        );
        assert!(CommandSpec::read(&[], false, false).unwrap_err().hint.is_some());
    }
}
