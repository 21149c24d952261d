//! The words of a command as a program with its arguments, or as a line for the shell of the host.
//!
//! ssh joins the words with blanks and hands the line to a shell. A line that every shell reads as the same words is
//! sent as these words instead, so that no shell is needed and rules about programs hold. In doubt it is a line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;

use crate::arguments::words::CommandSpec;

/// The characters that are themselves in every shell, beside letters, digits and all that is not ASCII.
const PLAIN: &[u8] = b"%+,-./:@_=";

/// The words that mean something else than a program to a shell in the first place of a line: reserved words and
/// built-in commands of POSIX, bash, dash, ksh, zsh and fish.
const BUILT_IN: &str = "! - : . [ [[ ]] alias autoload begin bg bind break builtin caller case cd chdir command compgen \
    complete compopt continue coproc declare dirs disown do done echo elif else emulate enable end esac eval exec exit \
    export false fc fg fi float for foreach function functions getopts getln hash help history if in integer jobs kill \
    let limit local log logout mapfile nocorrect noglob not or and popd print printf pushd pushln pwd r read readarray \
    readonly rehash repeat return sched select set setopt shift shopt source string status suspend switch test then \
    time times trap true ttyctl type typeset ulimit umask unalias unfunction unhash unlimit unset unsetopt until vared \
    wait whence where which while zcompile zformat zle zmodload zparseopts zstyle abbr argparse block bindkey count \
    disable newgrp";

/// Returns what the words of a command are on the host, or `None` if there is no command.
pub(crate) fn read(words: &[OsString]) -> Option<CommandSpec> {
    let line = words.join(OsStr::new(" ")).into_vec();
    if line.is_empty() {
        return None;
    }
    Some(match split(&line) {
        Some((program, arguments)) => CommandSpec::Exec { program, arguments },
        None => CommandSpec::Shell(OsString::from_vec(line)),
    })
}

/// Returns the words of a line that every shell reads in the same way, or `None` for any other line.
fn split(line: &[u8]) -> Option<(OsString, Vec<OsString>)> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    for &byte in line {
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            // A quote holds blanks together and nothing else: some shells read `!` or `\` there too.
            (Some(_), b' ' | b'\t' | b'"' | b'\'') => word.get_or_insert_default().push(byte),
            (None, b'"' | b'\'') => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (None, b' ' | b'\t') => words.extend(word.take()),
            // `=ls` is the path of ls in zsh, and `%1` a job.
            (None, b'=' | b'%') if word.is_none() => return None,
            _ if byte.is_ascii_alphanumeric() || !byte.is_ascii() || PLAIN.contains(&byte) => {
                word.get_or_insert_default().push(byte);
            }
            _ => return None,
        }
    }
    words.extend(word);
    if quote.is_some() {
        return None;
    }
    let mut words = words.into_iter().map(OsString::from_vec);
    let program = words.next().filter(|program| is_program(program))?;
    Some((program, words.collect()))
}

/// Returns whether a shell looks for a program of this name.
fn is_program(word: &OsStr) -> bool {
    let bytes = word.as_encoded_bytes();
    !bytes.is_empty()
        && !bytes.contains(&b'=')
        && !BUILT_IN.split_ascii_whitespace().any(|known| known.as_bytes() == bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn program(line: &str) -> Option<Vec<String>> {
        match read(&[line.into()])? {
            CommandSpec::Exec { program, arguments } => {
                let words = std::iter::once(program).chain(arguments);
                Some(words.map(|word| word.into_string().unwrap()).collect())
            }
            CommandSpec::Shell(sent) => {
                assert_eq!(sent, *line);
                None
            }
        }
    }

    #[test]
    fn plain_and_simply_quoted_words_are_a_program() {
        for (line, words) in [
            ("uptime", &["uptime"][..]),
            ("git-upload-pack '/srv/a b.git'", &["git-upload-pack", "/srv/a b.git"]),
            ("  scp  -f a\tb ", &["scp", "-f", "a", "b"]),
            ("/bin/sh -c 'uname -a'", &["/bin/sh", "-c", "uname -a"]),
            ("dd of=\"/tmp/a b\" bs=65536", &["dd", "of=/tmp/a b", "bs=65536"]),
            ("rsync --server -e.iLsf . /x", &["rsync", "--server", "-e.iLsf", ".", "/x"]),
            ("ls '' \"\" ü", &["ls", "", "", "ü"]),
            ("p'ri'nt\"e\"nv A", &["printenv", "A"]),
            ("ls \"it's\" 'a\"b'", &["ls", "it's", "a\"b"]),
            ("ls \"=x\" '%1' a=b%", &["ls", "=x", "%1", "a=b%"]),
        ] {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(program(line), Some(words), "{line}");
        }
    }

    #[test]
    fn what_a_shell_has_to_read_is_a_line() {
        for line in [
            "exit 3",
            "command -v sh",
            "type sh",
            "ulimit -n",
            "cd /tmp",
            "FOO=1 env",
            "umask",
            ". ./env",
            "exec prog",
            "echo ~",
            "ls /etc/host*",
            "ls a?",
            "ls [ab]",
            "ls a{1,2}",
            r"ls x\ y",
            "ls #x",
            "! false",
            ":",
            "[ a = a ]",
            "time true",
            "\"ec\"ho hi",
            "'if' x",
            "'cd' /",
            "ls | wc",
            "ls; ls",
            "ls & ls",
            "ls > x",
            "ls < x",
            "(ls)",
            "ls $HOME",
            "ls `id`",
            "ls \"$HOME\"",
            "ls 'a b*'",
            "/bin/sh -c 'echo ~ && sleep 0'",
            r"ls 'a\b'",
            "ls 'a!b'",
            "ls\nls",
            "ls 'a",
            "ls \"a",
            r"'it'\''s'",
            " ",
            "ls =x",
            "ls %1",
            "ls a^",
            "ls a\rb",
            "'' x",
            "'A=1' ls",
            "if true; then ls; fi",
            "ls ~root",
            "ls a~",
        ] {
            assert_eq!(program(line), None, "{line}");
        }
        assert_eq!(read(&[]), None);
        assert_eq!(read(&["".into()]), None);
    }

    #[test]
    fn words_are_joined_with_blanks_before_they_are_read() {
        let joined = read(&["ls".into(), "a b".into(), "-l".into()]);
        assert_eq!(
            joined,
            Some(CommandSpec::Exec {
                program: "ls".into(),
                arguments: ["a", "b", "-l"].map(OsString::from).to_vec()
            })
        );
        assert_eq!(read(&["ls".into(), "a*".into()]), Some(CommandSpec::Shell("ls a*".into())));
    }

    proptest! {
        #[test]
        fn sh_reads_the_same_words_of_each_line_that_is_sent_as_a_program(line in "[-a-c'\" =%~*$\\\\/.:!]{0,12}") {
            let Some(words) = program(&line) else { return Ok(()) };
            let script = format!("set -f; set -- {line}; printf '%s\\0' \"$@\"");
            let read = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            let expected: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
            prop_assert_eq!(read.stdout, expected);
        }
    }
}
