//! The command line of `ssh`, as programs that call ssh write it.
//!
//! | module | holds |
//! | --- | --- |
//! | `help` | the help |
//! | `options` | the options of ssh, and what each of them is here |
//! | `keywords` | what `-o` sets |
//! | `line` | the words of a command as a program, or as a line for the shell |
//!
//! As in OpenSSH, options end at the host and are read again behind it, up to the first word that is none, unless
//! `--` stood before the host. Of a setting that is named more than once, the first one counts.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::time::Duration;

use rcmd_client::AddressFamily;
use rcmd_protocol::outcome::{ErrorKind, WireError};

use super::{Refused, duration};
pub(crate) use help::command;
use keywords::Keyword;
use options::{Meaning, SshOption};

mod help;
mod keywords;
pub(crate) mod line;
mod options;

/// A command line of `ssh` as it was understood.
#[derive(Debug)]
pub(crate) enum SshRequest {
    /// The command line asks for the version.
    Version,
    /// The command line names a host.
    Line(Box<SshLine>),
}

/// What a command line of `ssh` says. What it does not say is `None`, empty or false.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SshLine {
    /// The folder of certificates.
    pub(crate) dir: Option<PathBuf>,
    /// The host as it is written: without a user, and without the form of an address on the web.
    pub(crate) host: OsString,
    /// The name or address to connect to instead, in which `%h` is the host.
    pub(crate) host_name: Option<String>,
    pub(crate) user: Option<OsString>,
    pub(crate) port: Option<u16>,
    pub(crate) family: Option<FamilyChoice>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) compress: Option<bool>,
    pub(crate) no_input: bool,
    /// True if a terminal is asked for.
    pub(crate) terminal: Option<bool>,
    /// True if the command is the name of a subsystem.
    pub(crate) is_subsystem: bool,
    /// True if the settings are to be printed, and nothing is run.
    pub(crate) prints_settings: bool,
    pub(crate) verbosity: Option<SshVerbosity>,
    /// The patterns of the names of variables to send; one that begins with `-` takes away.
    pub(crate) send_env: Vec<String>,
    /// The variables to set.
    pub(crate) set_env: Option<Vec<(OsString, OsString)>>,
    /// The command.
    pub(crate) words: Vec<OsString>,
    /// The options that have no meaning here, as they were written.
    pub(crate) ignored: Vec<String>,
}

/// The addresses of a host that may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FamilyChoice {
    Any,
    Only(AddressFamily),
}

/// The amount of messages that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SshVerbosity {
    Quiet,
    Normal,
    Verbose,
}

/// Reads the words of a command line: `before` those before the subcommand, and `words` those behind it.
///
/// # Errors
/// [`Refused`] if the command line is wrong, or asks for help.
pub(crate) fn read(
    program: &'static str,
    before: &[OsString],
    words: &[OsString],
) -> Result<SshRequest, Refused> {
    let mut reader = Reader { program, line: SshLine::default(), is_version: false };
    // Before the subcommand stand options of `rcmd-client`, among which a letter may mean something else.
    if let Some(wrong) = reader.common(before)? {
        let wrong = wrong.to_string_lossy();
        return Err(usage(&format!("`{wrong}` stands before `ssh`"))
            .hint(format!("Write options of ssh behind it, as in `{program} -l root HOST id`."))
            .into());
    }
    let (words, terminated) = reader.options(words)?;
    if reader.is_version {
        return Ok(SshRequest::Version);
    }
    let Some((host, words)) = words.split_first() else {
        let hint = format!("Write `{program} [OPTIONS] HOST COMMAND...`; see `{program} -h`.");
        return Err(usage("the host is missing").hint(hint).into());
    };
    reader.host(host)?;
    let words = if terminated { words } else { reader.options(words)?.0 };
    if reader.is_version {
        return Ok(SshRequest::Version);
    }
    reader.line.words = words.to_vec();
    Ok(SshRequest::Line(Box::new(reader.line)))
}

struct Reader {
    program: &'static str,
    line: SshLine,
    is_version: bool,
}

impl Reader {
    /// Reads options of `rcmd-client` that mean the same in ssh, and returns the first that is none of them.
    fn common<'a>(&mut self, words: &'a [OsString]) -> Result<Option<&'a OsString>, Refused> {
        let mut words = words;
        while let [word, rest @ ..] = words {
            let is_common = match word.as_bytes() {
                b"-q" | b"-v" | b"-l" => true,
                other => other.len() > 2 && other.starts_with(b"--"),
            };
            if !is_common {
                return Ok(Some(word));
            }
            words = self.option(word, rest)?;
        }
        Ok(None)
    }

    /// Reads options up to the first word that is none. Returns that and what follows it, and whether `--` stood
    /// before it.
    fn options<'a>(
        &mut self,
        mut words: &'a [OsString],
    ) -> Result<(&'a [OsString], bool), Refused> {
        while let [word, rest @ ..] = words {
            match word.as_bytes() {
                b"--" => return Ok((rest, true)),
                [b'-', _, ..] => words = self.option(word, rest)?,
                _ => break,
            }
        }
        Ok((words, false))
    }

    /// Reads a word of options, of which the last may take the next word as its value. Returns the rest.
    fn option<'a>(
        &mut self,
        word: &OsStr,
        rest: &'a [OsString],
    ) -> Result<&'a [OsString], Refused> {
        let bytes = word.as_bytes();
        if let Some(long) = bytes.strip_prefix(b"--") {
            return self.long(long, rest);
        }
        let mut letters = bytes.strip_prefix(b"-").unwrap_or(bytes);
        while let Some((&letter, after)) = letters.split_first() {
            let Some(option) = options::named(letter) else {
                let message = format!("there is no option `-{}`", char::from(letter));
                return Err(self.wrong(&message).into());
            };
            if option.value.is_empty() {
                self.take(option, OsStr::new(""))?;
                letters = after;
                continue;
            }
            if !after.is_empty() {
                self.take(option, OsStr::from_bytes(after))?;
                return Ok(rest);
            }
            let Some((value, rest)) = rest.split_first() else {
                let name = char::from(letter);
                return Err(self.wrong(&format!("`-{name}` is given no value")).into());
            };
            self.take(option, value)?;
            return Ok(rest);
        }
        Ok(rest)
    }

    /// Reads an option of rcmd's own.
    fn long<'a>(&mut self, long: &[u8], rest: &'a [OsString]) -> Result<&'a [OsString], Refused> {
        let (name, value) = match long.iter().position(|&byte| byte == b'=') {
            Some(at) => {
                let (name, value) = long.split_at(at);
                (name, value.get(1..).map(OsStr::from_bytes))
            }
            None => (long, None),
        };
        let shown = String::from_utf8_lossy(name);
        match (name, value) {
            (b"quiet", None) => self.line.verbosity = Some(SshVerbosity::Quiet),
            (b"verbose", None) => self.line.verbosity = Some(SshVerbosity::Verbose),
            (b"help", None) => return Err(self.help("--help")),
            (b"version", None) => self.is_version = true,
            (b"dir" | b"connect-timeout" | b"user", _) => {
                let (value, rest) = match (value, rest.split_first()) {
                    (Some(value), _) => (value, rest),
                    (None, Some((value, rest))) => (value.as_os_str(), rest),
                    (None, None) => {
                        return Err(self.wrong(&format!("`--{shown}` is given no value")).into());
                    }
                };
                match name {
                    b"dir" => self.line.dir = Some(value.into()),
                    b"user" => self.user(value)?,
                    _ => {
                        let limit = duration::parse(&value.to_string_lossy());
                        let limit = limit.map_err(|why| {
                            usage(&format!("`{}` is no time limit", value.display())).hint(why)
                        })?;
                        self.line.connect_timeout.get_or_insert(limit);
                    }
                }
                return Ok(rest);
            }
            _ => return Err(self.wrong(&format!("there is no option `--{shown}`")).into()),
        }
        Ok(rest)
    }

    /// Takes an option of ssh, with its value if it has one.
    fn take(&mut self, option: &SshOption, value: &OsStr) -> Result<(), Refused> {
        let line = &mut self.line;
        match option.meaning {
            Meaning::Port => {
                let port = keywords::port(&value.to_string_lossy())?;
                line.port.get_or_insert(port);
            }
            Meaning::User => self.user(value)?,
            Meaning::Setting => self.setting(value)?,
            Meaning::Quiet => line.verbosity = Some(SshVerbosity::Quiet),
            Meaning::Verbose => line.verbosity = Some(SshVerbosity::Verbose),
            Meaning::NoInput => line.no_input = true,
            Meaning::Terminal => line.terminal = Some(true),
            Meaning::NoTerminal => line.terminal = Some(false),
            Meaning::Compress => {
                line.compress.get_or_insert(true);
            }
            Meaning::Family(family) => line.family = Some(FamilyChoice::Only(family)),
            Meaning::Subsystem => line.is_subsystem = true,
            Meaning::Settings => line.prints_settings = true,
            Meaning::Version => self.is_version = true,
            Meaning::Help => return Err(self.help("-h")),
            Meaning::Ignored => line.ignored.push(format!("-{}", char::from(option.letter))),
            Meaning::Refused(why) => {
                let name = char::from(option.letter);
                return Err(usage(&format!("`-{name}` is not available")).hint(why).into());
            }
        }
        Ok(())
    }

    fn user(&mut self, name: &OsStr) -> Result<(), WireError> {
        if name.is_empty() {
            return Err(usage("the user is empty").hint("Write -l USER or USER@HOST."));
        }
        self.line.user.get_or_insert(name.to_owned());
        Ok(())
    }

    /// Takes the value of `-o`.
    fn setting(&mut self, typed: &OsStr) -> Result<(), WireError> {
        let (name, rest) = keywords::split(typed.as_bytes());
        let name = String::from_utf8_lossy(name).into_owned();
        let Some(keyword) = keywords::named(&name) else {
            return Err(self.wrong(&format!("there is no setting `{name}` for -o")));
        };
        if rest.is_empty() {
            let hint = format!("Write it as in `-o {name}=VALUE`.");
            return Err(usage(&format!("`-o {name}` is given no value")).hint(hint));
        }
        match keyword {
            Keyword::Ignored => self.line.ignored.push(name),
            // Tools that name these to switch them off go on.
            Keyword::Only(off, _) if off.iter().any(|off| rest.eq_ignore_ascii_case(off)) => {
                self.line.ignored.push(name);
            }
            Keyword::Only(_, why) => {
                return Err(usage(&format!("`-o {name}` is not available")).hint(*why));
            }
            Keyword::Meant(apply) => {
                let words = keywords::words(&name, rest)?;
                apply(&mut self.line, &words)
                    .map_err(|why| usage(&format!("`-o {name}`: {why}")).hint(keywords::FORM))?;
            }
        }
        Ok(())
    }

    /// Takes HOST, `USER@HOST` or `ssh://[USER@]HOST[:PORT]`.
    fn host(&mut self, typed: &OsStr) -> Result<(), WireError> {
        let bytes = typed.as_bytes();
        let plain = bytes.strip_prefix(b"ssh://");
        let bytes = plain.map_or(bytes, |rest| rest.strip_suffix(b"/").unwrap_or(rest));
        let host = match bytes.iter().rposition(|&byte| byte == b'@') {
            Some(at) => {
                let (user, host) = bytes.split_at(at);
                self.user(OsStr::from_bytes(user))?;
                host.get(1..).unwrap_or_default()
            }
            None => bytes,
        };
        self.line.host = OsString::from_vec(host.to_vec());
        Ok(())
    }

    /// Returns the short or the long help, as this option asks for it.
    fn help(&self, option: &str) -> Refused {
        match command(self.program).try_get_matches_from([self.program, option]) {
            Err(answer) => answer.into(),
            Ok(_) => self.wrong("there is no help").into(),
        }
    }

    fn wrong(&self, message: &str) -> WireError {
        usage(message).hint(format!("`{} -h` shows the options.", self.program))
    }
}

fn usage(message: &str) -> WireError {
    WireError::new(ErrorKind::Usage, message)
}

#[cfg(test)]
mod tests;
