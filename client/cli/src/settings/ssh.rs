//! The settings of a run that is asked for as ssh is.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use rcmd_client::Target;
use rcmd_protocol::outcome::{ErrorKind, WireError};

use super::file::File;
use super::{
    BUSY_WAIT, CONNECT_TIMEOUT, CommandInput, CommandOptions, ConnectOptions, OutputOptions,
    Reached, Run, Statuses, Verbosity, Work, host_of, layout,
};
use crate::arguments::ssh::{self, FamilyChoice, SshLine, SshVerbosity};
use crate::arguments::words::CommandSpec;
use crate::input;
use crate::output::Form;
use crate::text::{self, Tone};

/// The names of variables that the server keeps for itself, or their beginnings. They are never sent.
const RESERVED: [&str; 3] = ["RCMD_", "LISTEN_", "NOTIFY_SOCKET"];

/// What a command line of ssh asks for.
#[derive(Debug)]
pub(crate) enum SshRun {
    /// A command on one host.
    Command(Box<Run>),
    /// The settings for the host, as text.
    Settings(String),
}

impl SshRun {
    /// Combines the settings, as [`Run::resolve`] does. Of client.toml, what changes output does not count: callers of
    /// ssh read it byte by byte.
    ///
    /// # Errors
    /// A usage error, with advice.
    pub(crate) fn resolve(asked: SshLine) -> Result<Self, WireError> {
        let verbosity = match asked.verbosity {
            Some(SshVerbosity::Quiet) => Verbosity::Quiet,
            Some(SshVerbosity::Verbose) => Verbosity::Verbose,
            Some(SshVerbosity::Normal) | None => Verbosity::Normal,
        };
        let written = asked.host_name.as_ref().map(|name| with_host(name, &asked.host));
        let host = host_of(written.as_deref().unwrap_or(&asked.host))?;
        let layout = layout(asked.dir.as_deref())?;
        let file = File::read(&layout.client_toml())?;
        let Reached { mut target, user } = Reached::find(host, &layout, verbosity)?;
        target.port = asked.port.unwrap_or(target.port);
        let user = asked.user.clone().or(user);
        let connect = ConnectOptions {
            layout,
            target,
            timeout: asked.connect_timeout.or(file.connect_timeout).unwrap_or(CONNECT_TIMEOUT),
            compress: asked.compress.or(file.compress).unwrap_or(false),
            family: match asked.family {
                Some(FamilyChoice::Only(family)) => Some(family),
                Some(FamilyChoice::Any) | None => None,
            },
        };
        if asked.prints_settings {
            return Ok(Self::Settings(told(&asked, &connect, user.as_deref())));
        }
        let words = command(&asked)?;
        say(&asked, verbosity);
        let input = !asked.no_input && !input::is_nothing();
        Ok(Self::Command(Box::new(Run {
            connect,
            command: CommandOptions {
                input: CommandInput::sent_if(input),
                user,
                cwd: None,
                env: environment(&asked, std::env::vars_os()),
                timeout: None,
                key: None,
                busy_wait: BUSY_WAIT,
                lock: None,
            },
            output: OutputOptions {
                form: Form::Text { encoding: None, timestamps: false },
                result: None,
                verbosity,
            },
            work: Work::One(words),
            dry_run: false,
            statuses: if asked.is_subsystem { Statuses::Subsystem } else { Statuses::Ssh },
        })))
    }
}

/// Returns the value of `HostName`, in which `%h` is the host and `%%` a percent sign.
fn with_host(name: &str, host: &OsStr) -> OsString {
    let host = host.to_string_lossy();
    let parts: Vec<_> = name.split("%%").map(|part| part.replace("%h", &host)).collect();
    parts.join("%").into()
}

/// Returns the command.
fn command(asked: &SshLine) -> Result<CommandSpec, WireError> {
    let host = asked.host.display();
    if asked.is_subsystem {
        return match asked.words.as_slice() {
            // The host knows where OpenSSH's package has put it.
            [name] if name == "sftp" => {
                Ok(CommandSpec::Exec { program: "sftp-server".into(), arguments: Vec::new() })
            }
            words => {
                let name = words.join(OsStr::new(" "));
                let message = format!("{host} has no subsystem `{}`", name.display());
                Err(WireError::new(ErrorKind::Usage, message)
                    .hint("The only one is sftp, as in `rcmd-client ssh -s HOST sftp`."))
            }
        };
    }
    ssh::line::read(&asked.words).ok_or_else(|| {
        WireError::new(
            ErrorKind::Usage,
            "the command is missing, and this version has no login shell",
        )
        .hint("Write a command, as in `rcmd-client ssh HOST uptime`.")
    })
}

/// Tells people what of the command line has no effect.
fn say(asked: &SshLine, verbosity: Verbosity) {
    let notice = |message: &str| text::say(&text::line(Tone::Notice, message));
    // Programs that ask for a terminal, as Ansible does, do without.
    let person = io::stdin().is_terminal() && io::stderr().is_terminal();
    if asked.terminal == Some(true) && verbosity > Verbosity::Quiet && person {
        notice("this version gives a command no terminal; it runs without one");
    }
    if verbosity == Verbosity::Verbose && !asked.ignored.is_empty() {
        notice(&format!("ignored, because it has no meaning here: {}", asked.ignored.join(" ")));
    }
}

/// Returns the variables to send: those of this process that a pattern of `SendEnv` names, and those of `SetEnv`.
fn environment(
    asked: &SshLine,
    own: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let is_sent = |name: &OsStr| {
        let name = name.as_encoded_bytes();
        // The last pattern that matches decides.
        let sent = asked.send_env.iter().rev().find_map(|pattern| {
            let (pattern, sent) =
                pattern.strip_prefix('-').map_or((&**pattern, true), |p| (p, false));
            is_match(pattern.as_bytes(), name).then_some(sent)
        });
        sent == Some(true) && !RESERVED.iter().any(|own| name.starts_with(own.as_bytes()))
    };
    let sent = own.filter(|(name, _)| is_sent(name));
    sent.chain(asked.set_env.iter().flatten().cloned()).collect()
}

/// Returns whether a pattern matches, in which `*` is any text and `?` one byte.
fn is_match(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // The pattern behind the last star, and the text that it is tried on next.
    let mut again: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern, text) {
            ([], []) => return true,
            ([b'*', rest @ ..], _) => {
                pattern = rest;
                again = Some((rest, text));
            }
            ([wanted, rest @ ..], [byte, after @ ..]) if wanted == byte || *wanted == b'?' => {
                (pattern, text) = (rest, after);
            }
            _ => match again {
                Some((rest, [_, after @ ..])) => {
                    (pattern, text) = (rest, after);
                    again = Some((rest, after));
                }
                _ => return false,
            },
        }
    }
}

/// Returns the settings for the host as `ssh -G` prints them: one on each line, first the keyword in lower case.
fn told(asked: &SshLine, connect: &ConnectOptions, user: Option<&OsStr>) -> String {
    let Target { host, port, .. } = &connect.target;
    let mut text = String::new();
    let mut tell = |name: &str, value: &str| {
        // Writing to a String does not fail; a control character could pass for a line of its own.
        let _ = writeln!(text, "{name} {}", text::escaped(value));
    };
    tell("host", &asked.host.to_string_lossy());
    if let Some(user) = user {
        tell("user", &user.to_string_lossy());
    }
    tell("hostname", host);
    tell("port", &port.to_string());
    tell("compression", if connect.compress { "yes" } else { "no" });
    tell("connecttimeout", &connect.timeout.as_secs().max(1).to_string());
    tell("requesttty", "false");
    for pattern in &asked.send_env {
        tell("sendenv", pattern);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::ssh::{SshRequest, read};

    fn resolve(words: &[&str]) -> Result<SshRun, WireError> {
        let words: Vec<_> =
            ["--dir", "/nonexistent"].iter().chain(words).map(OsString::from).collect();
        match read("rcmd-ssh", &[], &words) {
            Ok(SshRequest::Line(line)) => SshRun::resolve(*line),
            other => panic!("{words:?}: {other:?}"),
        }
    }

    fn run(words: &[&str]) -> Run {
        match resolve(words) {
            Ok(SshRun::Command(run)) => *run,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn hosts_are_named_as_in_ssh() {
        for (words, host, port) in [
            (&["web1", "ls"][..], "web1", Target::PORT),
            (&["-p", "1", "web1", "ls"], "web1", 1),
            (&["root@::1", "ls"], "::1", Target::PORT),
            (&["-p", "1", "::1", "ls"], "::1", 1),
            (&["[::1]:9", "ls"], "::1", 9),
            (&["ssh://root@web1:9", "ls"], "web1", 9),
            (&["-oHostName=%h.example.org", "web1", "ls"], "web1.example.org", Target::PORT),
        ] {
            let Target { host: found, port: at, .. } = run(words).connect.target;
            assert_eq!((found.as_str(), at), (host, port), "{words:?}");
        }
        for words in
            [&["--", "-oProxyCommand=id", "id"][..], &["a b", "id"], &["", "id"], &["a%b", "id"]]
        {
            assert_eq!(resolve(words).unwrap_err().kind, ErrorKind::Usage, "{words:?}");
        }
        let set = resolve(&["web[1-3]", "id"]).unwrap_err();
        assert!(set.message.contains("one host is needed"), "{set}");
    }

    #[test]
    fn a_subsystem_is_a_program_of_the_host() {
        let Work::One(words) = run(&["-s", "--", "h", "sftp"]).work else { panic!("many") };
        let expected = CommandSpec::Exec { program: "sftp-server".into(), arguments: vec![] };
        assert_eq!(words, expected);
        for words in [&["-s", "h", "netconf"][..], &["-s", "h"], &["-s", "h", "sftp", "-x"]] {
            assert!(resolve(words).unwrap_err().message.contains("no subsystem"), "{words:?}");
        }
        assert!(resolve(&["h"]).unwrap_err().message.contains("no login shell"));
        assert!(resolve(&["h", ""]).unwrap_err().message.contains("no login shell"));
    }

    #[test]
    fn settings_are_told_without_a_command() {
        let Ok(SshRun::Settings(text)) = resolve(&["-G", "-p", "7001", "-oSendEnv=A", "u@h"])
        else {
            panic!("no settings")
        };
        for line in ["host h", "user u", "hostname h", "port 7001", "sendenv A"] {
            assert!(text.lines().any(|told| told == line), "{line}: {text}");
        }
        let Ok(SshRun::Settings(text)) = resolve(&["-G", "h"]) else { panic!("no settings") };
        assert!(!text.contains("user ") && text.contains("port 7263\n"), "{text}");
    }

    #[test]
    fn variables_are_sent_that_a_pattern_names_and_those_of_the_server_never() {
        let sent = |patterns: &[&str]| {
            let own = ["LANG", "LC_ALL", "LC_CTYPE", "A", "AB", "RCMD_DIR", "NOTIFY_SOCKET"];
            let own = own.map(|name| (OsString::from(name), OsString::from("v"))).into_iter();
            let send_env = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
            let set_env = Some(vec![("S".into(), "1".into())]);
            let line = SshLine { send_env, set_env, ..SshLine::default() };
            let names = environment(&line, own).into_iter();
            names.map(|(name, _)| name.into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(sent(&[]), ["S"]);
        assert_eq!(sent(&["LC_*", "LANG", "-LC_A*"]), ["LANG", "LC_CTYPE", "S"]);
        assert_eq!(sent(&["A?"]), ["AB", "S"]);
        assert_eq!(sent(&["*"]), ["LANG", "LC_ALL", "LC_CTYPE", "A", "AB", "S"]);
    }

    #[test]
    fn a_pattern_is_matched_in_bounded_time() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
            ("*a", "ba", true),
            ("??", "a", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(is_match(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
        let (pattern, text) = ("a*".repeat(1000) + "b", "a".repeat(10_000));
        assert!(!is_match(pattern.as_bytes(), text.as_bytes()));
    }
}
