//! One line: a shell line, an array of words, or an object that names its hosts too.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use crate::arguments::words::CommandSpec;

/// The hosts of a line, as far as the line itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::commands) enum LineHosts {
    /// The hosts of the command line.
    Set,
    /// The hosts of this expression, which stands in the line.
    Named(String),
    /// Unknown hosts: the line has to name them, and the names can't be read.
    Unreadable,
}

impl LineHosts {
    /// Returns the hosts of a line of which the beginning alone is known.
    pub(super) fn of_beginning(line: &[u8]) -> Self {
        if is_object(line) { Self::Unreadable } else { Self::Set }
    }

    /// Returns the expression that stands in the line, if one does.
    pub(in crate::commands) fn named(&self) -> Option<&str> {
        match self {
            Self::Named(expression) => Some(expression),
            Self::Set | Self::Unreadable => None,
        }
    }
}

/// Reads a line without the marks of its text. Returns its hosts, which may be known of a bad line too, and
/// its command or why it is none.
pub(super) fn read(line: &[u8]) -> (LineHosts, Result<CommandSpec, String>) {
    if is_object(line) {
        return object(line);
    }
    let words = if line.starts_with(b"[") { array(line) } else { shell(line.to_vec()) };
    (LineHosts::Set, words)
}

/// Returns whether a line begins as a JSON object does: with `{`, and behind it the quote of a key or the
/// end of the object. Blanks may stand before both. A shell has a use for such a line too: its user writes
/// the first word behind the brace in another way.
fn is_object(line: &[u8]) -> bool {
    let inside = line.trim_ascii_start().strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    matches!(inside.and_then(<[u8]>::first), Some(b'"' | b'}'))
}

/// A line that names its hosts. Its words are of any bytes where the line is not UTF-8.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object<W> {
    hosts: String,
    argv: Option<Vec<W>>,
    shell: Option<W>,
}

/// The hosts of a line that names them and is no command otherwise.
#[derive(Deserialize)]
struct HostsAlone {
    hosts: String,
}

fn object(line: &[u8]) -> (LineHosts, Result<CommandSpec, String>) {
    let read = match str::from_utf8(line) {
        Ok(text) => serde_json::from_str::<Object<String>>(text).map(Object::into_bytes),
        Err(_) => serde_json::from_slice::<Object<Word>>(line).map(Object::into_bytes),
    };
    match read {
        Ok(Object { hosts, argv, shell: text }) => {
            let words = match (argv, text) {
                (Some(words), None) => exec(words),
                (None, Some(text)) => shell(text),
                _ => Err("it has either `argv` or `shell`".to_owned()),
            };
            (LineHosts::Named(hosts), words)
        }
        Err(error) => {
            let hosts = match serde_json::from_slice(line) {
                Ok(HostsAlone { hosts }) => LineHosts::Named(hosts),
                Err(_) => LineHosts::Unreadable,
            };
            let reason = error.to_string().replace(" at line 1 column", ", at column");
            (hosts, Err(reason))
        }
    }
}

impl<W: Into<Vec<u8>>> Object<W> {
    fn into_bytes(self) -> Object<Vec<u8>> {
        let argv = self.argv.map(|words| words.into_iter().map(Into::into).collect());
        Object { hosts: self.hosts, argv, shell: self.shell.map(Into::into) }
    }
}

fn array(line: &[u8]) -> Result<CommandSpec, String> {
    // Only where the line is no JSON anyway: a lone surrogate would otherwise become three bytes.
    let words = match str::from_utf8(line) {
        Ok(text) => serde_json::from_str(text).map(into_bytes::<String>),
        Err(_) => serde_json::from_slice(line).map(into_bytes::<Word>),
    };
    exec(words.map_err(|error| format!("no array of strings, at column {}", error.column()))?)
}

fn into_bytes<W: Into<Vec<u8>>>(words: Vec<W>) -> Vec<Vec<u8>> {
    words.into_iter().map(Into::into).collect()
}

fn exec(words: Vec<Vec<u8>>) -> Result<CommandSpec, String> {
    let mut words = words.into_iter().map(text);
    let program = words.next().ok_or("an array without a program")??;
    Ok(CommandSpec::Exec { program, arguments: words.collect::<Result<_, _>>()? })
}

fn shell(line: Vec<u8>) -> Result<CommandSpec, String> {
    Ok(CommandSpec::Shell(text(line)?))
}

fn text(bytes: Vec<u8>) -> Result<OsString, String> {
    if bytes.contains(&0) {
        return Err("a NUL byte is in it".to_owned());
    }
    Ok(OsString::from_vec(bytes))
}

/// A string of any bytes: what is not UTF-8 stands in it as it is, as in a file's name.
struct Word(Vec<u8>);

impl From<Word> for Vec<u8> {
    fn from(Word(bytes): Word) -> Self {
        bytes
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Bytewise).map(Self)
    }
}

struct Bytewise;

impl Visitor<'_> for Bytewise {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}
