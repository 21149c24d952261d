//! What one line asks for: a shell line, an array of words, or an object that names its hosts too.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use crate::arguments::words::CommandSpec;

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::commands) struct Asked {
    /// The hosts that it names by itself.
    pub(in crate::commands) hosts: Option<String>,
    pub(in crate::commands) words: CommandSpec,
}

/// Returns whether a line, as it was read, is to name its hosts by itself.
pub(super) fn names_hosts(line: &[u8]) -> bool {
    line.strip_prefix(super::BOM).unwrap_or(line).starts_with(b"{\"")
}

impl Asked {
    /// Reads a line without the marks of its text.
    ///
    /// # Errors
    /// Why it is no command.
    pub(super) fn read(line: &[u8]) -> Result<Self, String> {
        if line.starts_with(b"{\"") {
            return object(line);
        }
        let words = if line.starts_with(b"[") { array(line)? } else { shell(line.to_vec())? };
        Ok(Self { hosts: None, words })
    }
}

/// A line that names its hosts. Its words are of any bytes where the line is not UTF-8.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object<W> {
    hosts: String,
    argv: Option<Vec<W>>,
    shell: Option<W>,
}

fn object(line: &[u8]) -> Result<Asked, String> {
    let read = match str::from_utf8(line) {
        Ok(text) => serde_json::from_str::<Object<String>>(text).map(Object::into_bytes),
        Err(_) => serde_json::from_slice::<Object<Word>>(line).map(Object::into_bytes),
    };
    let Object { hosts, argv, shell: text } =
        read.map_err(|error| format!("{error}").replace(" at line 1 column", ", at column"))?;
    let words = match (argv, text) {
        (Some(words), None) => exec(words)?,
        (None, Some(text)) => shell(text)?,
        _ => return Err("it has either `argv` or `shell`".to_owned()),
    };
    Ok(Asked { hosts: Some(hosts), words })
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
