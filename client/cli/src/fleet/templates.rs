//! Templates: what differs from host to host in one command.
//!
//! `{host}`, `{index}`, `{label.NAME}` and `{var.NAME}` stand for a host's own values. All other braces
//! are the command's, and so is a `{` behind a `$` or behind another `{`: a shell, Go's templates and
//! jq mean something by them. A value is not looked at again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rcmd_certs::text::printable;
use rcmd_client::hosts::{HostSet, HostTarget};
use rcmd_client::inventory::Value;
use rcmd_client::{ErrorKind, WireError};
use rcmd_protocol::request::{Mode, Request, RequestBuilder};

use crate::arguments::words::CommandSpec;

/// The longest name of a label or a variable that is looked for, in bytes.
const LONGEST: usize = 256;

/// The hint for hosts that lack what the command names.
const HINT: &str = "Nothing ran on any host. Correct these hosts in hosts.toml or the inventory, leave them \
    out with --exclude, or leave all braces as they are with --no-templates.";

/// A command, its environment and its folder, with the places that are filled for each host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Templates {
    words: Words,
    env: Vec<(OsString, Text)>,
    cwd: Option<Text>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Words {
    Line(Text),
    Program(Text, Vec<Text>),
}

/// A text with places in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Text(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Place(Place),
}

/// A value that is put into a text for each host.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Host,
    Index,
    Label(String),
    Var(String),
}

/// The command for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) command: CommandSpec,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) cwd: Option<OsString>,
}

/// The reason for which a command can't be made for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unfit {
    /// The same for all hosts with the same fault.
    reason: String,
    /// The value that is at fault.
    value: Option<String>,
}

/// Hosts for which a command can't be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfilled {
    /// A line for each reason, which names its hosts.
    pub(crate) lines: Vec<String>,
    /// The failure that the run ends with.
    pub(crate) failure: WireError,
}

impl Templates {
    /// Finds the places in a command. When they are not `enabled`, there are none.
    pub(crate) fn read(
        command: &CommandSpec,
        env: &[(OsString, OsString)],
        cwd: Option<&OsStr>,
        enabled: bool,
    ) -> Self {
        let read = |text: &OsStr| Text::read(text.as_bytes(), enabled);
        let words = match command {
            CommandSpec::Shell(line) => Words::Line(read(line)),
            CommandSpec::Exec { program, arguments } => {
                Words::Program(read(program), arguments.iter().map(|word| read(word)).collect())
            }
        };
        let env = env.iter().map(|(name, value)| (name.clone(), read(value))).collect();
        Self { words, env, cwd: cwd.map(read) }
    }

    /// Returns whether there are any places.
    pub(crate) fn has_places(&self) -> bool {
        self.places().next().is_some()
    }

    /// Returns the templates that are used, each once, in the order of the command.
    pub(crate) fn used(&self) -> Vec<String> {
        names(self.places())
    }

    /// Returns those of the command itself, without its environment and its folder.
    pub(crate) fn used_in_command(&self) -> Vec<String> {
        names(places(self.command()))
    }

    /// Returns the names of the variables that are used; one may come several times.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.places().filter_map(|place| match place {
            Place::Var(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Returns what one host is asked to run.
    ///
    /// # Errors
    /// Kind `usage`: the host lacks a label or a variable, or has one that can't stand there.
    pub(crate) fn fill(&self, target: &HostTarget) -> Result<Filled, WireError> {
        self.filled(target).map_err(|unfit| {
            let message = format!("{}: {}", target.name, unfit.reason);
            WireError::new(ErrorKind::Usage, message).hint(HINT)
        })
    }

    /// Fills the command for each host and keeps nothing of it: after this no host of them fails in
    /// [`Templates::fill`].
    ///
    /// # Errors
    /// [`Unfilled`], with the hosts by reason.
    pub(crate) fn check(&self, targets: &[HostTarget]) -> Result<(), Box<Unfilled>> {
        // Without places it is the same for all.
        let differs = self.has_places();
        let checked = if differs { targets } else { targets.get(..1).unwrap_or_default() };
        let mut unfit: Vec<(Unfit, &HostTarget, HostSet)> = Vec::new();
        let mut by_reason: HashMap<String, usize> = HashMap::new();
        for target in checked {
            let Err(why) = self.filled(target) else { continue };
            let at = *by_reason.entry(why.reason.clone()).or_insert_with(|| {
                unfit.push((why, target, HostSet::default()));
                unfit.len() - 1
            });
            if let Some((.., hosts)) = unfit.get_mut(at) {
                hosts.insert(target.name.clone());
            }
        }
        if unfit.is_empty() {
            return Ok(());
        }
        let wrong: usize = unfit.iter().map(|(.., hosts)| hosts.len()).sum();
        let (message, hint) = match differs {
            true => {
                let all = targets.len();
                (format!("the command can't be made for {wrong} of {all} hosts"), HINT)
            }
            false => ("the command can't be sent".to_owned(), "Nothing ran on any host."),
        };
        let line = |(why, first, hosts): (Unfit, &HostTarget, HostSet)| match why.value {
            Some(value) if hosts.len() > 1 => {
                format!("{}: {}; {} has `{value}`", hosts.fold(), why.reason, first.name)
            }
            Some(value) => format!("{}: {}: `{value}`", hosts.fold(), why.reason),
            None if differs => format!("{}: {}", hosts.fold(), why.reason),
            None => why.reason,
        };
        let failure = WireError::new(ErrorKind::Usage, message).hint(hint);
        Err(Box::new(Unfilled { lines: unfit.into_iter().map(line).collect(), failure }))
    }

    fn filled(&self, target: &HostTarget) -> Result<Filled, Unfit> {
        let fill = |text: &Text| text.fill(target, false);
        let command = match &self.words {
            Words::Line(line) => CommandSpec::Shell(line.fill(target, true)?),
            Words::Program(program, arguments) => CommandSpec::Exec {
                program: fill(program)?,
                arguments: arguments.iter().map(fill).collect::<Result<_, _>>()?,
            },
        };
        let env = self.env.iter().map(|(name, value)| Ok((name.clone(), fill(value)?)));
        let env = env.collect::<Result<_, Unfit>>()?;
        let cwd = self.cwd.as_ref().map(fill).transpose()?;
        if cwd.as_ref().is_some_and(|cwd| cwd.is_empty()) {
            return Err(Unfit { reason: "--cwd is empty".to_owned(), value: None });
        }
        let filled = Filled { command, env, cwd };
        // What a value may be in a request, such as how long: before anything runs on another host.
        match filled.request().build() {
            Ok(_) => Ok(filled),
            Err(failure) => Err(Unfit { reason: failure.message, value: None }),
        }
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        let env = self.env.iter().map(|(_, value)| value);
        places(self.command().chain(env).chain(&self.cwd))
    }

    fn command(&self) -> impl Iterator<Item = &Text> {
        let (first, rest) = match &self.words {
            Words::Line(line) => (line, &[][..]),
            Words::Program(program, arguments) => (program, &arguments[..]),
        };
        std::iter::once(first).chain(rest)
    }
}

fn places<'a>(texts: impl Iterator<Item = &'a Text>) -> impl Iterator<Item = &'a Place> {
    texts.flat_map(|text| &text.0).filter_map(|part| match part {
        Part::Literal(_) => None,
        Part::Place(place) => Some(place),
    })
}

/// Returns each of these once, as it is typed, in their order.
fn names<'a>(places: impl Iterator<Item = &'a Place>) -> Vec<String> {
    let mut names = Vec::new();
    for place in places {
        let text = place.to_string();
        if !names.contains(&text) {
            names.push(text);
        }
    }
    names
}

impl Filled {
    /// Returns it as the request that a host is sent, without what is the same for all hosts.
    fn request(&self) -> RequestBuilder {
        let bytes = |text: &OsString| text.as_bytes().to_vec();
        let mut request = match &self.command {
            CommandSpec::Shell(line) => Request::builder(Mode::Shell, [bytes(line)]),
            CommandSpec::Exec { program, arguments } => {
                let words = std::iter::once(program).chain(arguments);
                Request::builder(Mode::Exec, words.map(bytes))
            }
        };
        for (name, value) in &self.env {
            request.env([name.as_bytes(), b"=", value.as_bytes()].concat());
        }
        if let Some(cwd) = &self.cwd {
            request.cwd(bytes(cwd));
        }
        request
    }
}

impl Text {
    fn read(bytes: &[u8], enabled: bool) -> Self {
        let (mut parts, mut literal) = (Vec::new(), Vec::new());
        let (mut rest, mut before) = (bytes, None);
        while let Some((&byte, behind)) = rest.split_first() {
            let may_open = enabled && byte == b'{' && !matches!(before, Some(b'$' | b'{'));
            if let Some((place, behind)) = may_open.then(|| Place::read(behind)).flatten() {
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(Part::Place(place));
                (rest, before) = (behind, Some(b'}'));
            } else {
                literal.push(byte);
                (rest, before) = (behind, Some(byte));
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Self(parts)
    }

    /// Puts a host's values in. Into a line for a shell go those alone that it takes as they are.
    fn fill(&self, target: &HostTarget, is_line: bool) -> Result<OsString, Unfit> {
        let mut filled = Vec::new();
        for part in &self.0 {
            match part {
                Part::Literal(bytes) => filled.extend_from_slice(bytes),
                Part::Place(place) => {
                    let value = place.value(target)?;
                    if is_line {
                        check_for_shell(place, &value)?;
                    }
                    filled.extend_from_slice(value.as_bytes());
                }
            }
        }
        Ok(OsString::from_vec(filled))
    }
}

/// Checks that a shell takes a value as a part of a word, wherever in the line it stands.
fn check_for_shell(place: &Place, value: &str) -> Result<(), Unfit> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@%+=,-".contains(&byte);
    if value.is_empty() {
        let reason = format!("{place} is empty, which in a shell line makes another command");
        return Err(Unfit { reason, value: None });
    }
    if value.bytes().all(is_plain) {
        return Ok(());
    }
    let reason = format!(
        "a shell line takes letters, digits and ._:/@%+=,- alone, and {place} has something else"
    );
    Err(Unfit { reason, value: Some(printable(value)) })
}

impl Place {
    /// Reads what stands behind a `{`, and returns it with what follows its `}`.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let close = bytes.iter().take(LONGEST).position(|&byte| byte == b'}')?;
        let (inside, behind) = bytes.split_at_checked(close)?;
        let inside = str::from_utf8(inside).ok()?;
        let is_name = |name: &&str| {
            let fits = |c: char| c.is_alphanumeric() || "_-./".contains(c);
            !name.is_empty() && name.chars().all(fits)
        };
        let named = |prefix| inside.strip_prefix(prefix).filter(is_name).map(str::to_owned);
        let place = match inside {
            "host" => Self::Host,
            "index" => Self::Index,
            _ => named("label.").map(Self::Label).or_else(|| named("var.").map(Self::Var))?,
        };
        Some((place, behind.get(1..)?))
    }

    fn value<'a>(&self, target: &'a HostTarget) -> Result<Cow<'a, str>, Unfit> {
        let unfit = |reason| Err(Unfit { reason, value: None });
        match self {
            Self::Host => Ok(Cow::Borrowed(&target.name)),
            Self::Index => Ok(Cow::Owned(target.index.to_string())),
            Self::Label(name) => match target.label(name) {
                Some(text) => Ok(Cow::Borrowed(text)),
                None => unfit(format!("there is no label for {self}")),
            },
            Self::Var(name) => match target.vars().and_then(|vars| vars.get(name)) {
                Some(Value::Text(text)) => Ok(Cow::Borrowed(text)),
                Some(Value::Structure) => unfit(format!(
                    "{self} is a list or a table, and only text and numbers can be filled in; choose \
                     another variable"
                )),
                None => unfit(format!("there is no variable for {self}")),
            },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("{host}"),
            Self::Index => f.write_str("{index}"),
            Self::Label(name) => write!(f, "{{label.{name}}}"),
            Self::Var(name) => write!(f, "{{var.{name}}}"),
        }
    }
}

#[cfg(test)]
mod tests;
