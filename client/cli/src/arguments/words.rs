//! The words after the host: a line for the shell there, or a program and its arguments.

use std::ffi::{OsStr, OsString};

use rcmd_protocol::outcome::{ErrorKind, WireError};

/// How the words after the host are to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CommandSpec {
    /// One line for the remote user's shell.
    Shell(OsString),
    /// A program and its arguments.
    Exec { program: OsString, arguments: Vec<OsString> },
}

impl CommandSpec {
    /// One word is a shell line and several are a program, unless a flag says otherwise.
    ///
    /// # Errors
    /// A usage failure when there is no word, or `--shell` stands before several: ssh would join
    /// them with blanks, and a name with a blank in it would become two.
    pub(crate) fn read(words: &[OsString], shell: bool, exec: bool) -> Result<Self, WireError> {
        match words {
            [] => Err(WireError::new(ErrorKind::Usage, "there is no command after the host")
                .hint("Name one, as in `rcmd-client HOST uptime`.")),
            [line] if !exec => Ok(Self::Shell(line.clone())),
            words if shell => Err(WireError::new(
                ErrorKind::Usage,
                format!("--shell takes one argument, the line, and there are {}", words.len()),
            )
            .hint(format!("Quote the whole line: rcmd-client --shell HOST {}", quoted(words)))),
            [program, arguments @ ..] => {
                Ok(Self::Exec { program: program.clone(), arguments: arguments.to_vec() })
            }
        }
    }
}

impl CommandSpec {
    /// Returns what to write instead, if the first word looks like an option of rcmd's own: options
    /// end at the host.
    pub(crate) fn misplaced(&self) -> Option<String> {
        let (Self::Shell(first) | Self::Exec { program: first, .. }) = self;
        let first = first.to_str().filter(|first| first.starts_with('-'))?;
        Some(match first {
            "--" => "Options end at the host, so that this `--` is the program: leave it out."
                .to_owned(),
            option => {
                format!("Options stand before the host: `rcmd-client {option} HOST COMMAND...`.")
            }
        })
    }
}

/// The words as one argument for a POSIX shell here.
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
            r"Quote the whole line: rcmd-client --shell HOST 'echo it'\''s'"
        );
        assert!(CommandSpec::read(&[], false, false).unwrap_err().hint.is_some());
    }
}
