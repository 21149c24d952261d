//! The lines of `--commands`: which of them are commands, and which ones.
#![expect(clippy::disallowed_methods, reason = "programs that serve nobody")]

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use bytes::{Bytes, BytesMut};
use rcmd_certs::files::shown;
use rcmd_client::{ErrorKind, WireError};
use tokio::sync::mpsc;

use crate::arguments::words::CommandSpec;
use crate::input;

mod asked;

pub(super) use asked::LineHosts;

/// The longest line that is read, in bytes: arguments of 1 MiB, every byte of them escaped, and more.
const LONGEST: usize = 8 * 1024 * 1024;
/// The largest file, in bytes: it is held in memory, where it was checked. Standard input may be longer.
const LARGEST: u64 = 64 * 1024 * 1024;

/// The name of standard input in messages.
const STDIN: &str = "standard input";
/// The mark of UTF-8 before the first line.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// A line that asks for something.
#[derive(Debug)]
pub(super) struct Line {
    /// The place of the line among those that ask for something, from 0.
    pub(super) place: u64,
    /// The place of the line among all lines, from 1.
    pub(super) number: u64,
    pub(super) hosts: LineHosts,
    /// The command, or the reason why the line is no command.
    pub(super) words: Result<CommandSpec, WireError>,
}

/// A source of lines.
pub(super) struct Lines {
    /// The channel of further bytes from standard input; none for a file, and after the end.
    blocks: Option<mpsc::Receiver<io::Result<Bytes>>>,
    /// Bytes that were read and not yet given out.
    rest: BytesMut,
    /// The number of bytes of `rest` that are known to hold no end of a line.
    searched: usize,
    /// The hosts of a line that is too long, while its remaining bytes are read and discarded; `None` at any other
    /// time.
    too_long: Option<LineHosts>,
    /// The number of lines given out or passed over.
    passed: u64,
    /// The number of lines given out that ask for something.
    given: u64,
    /// The number of commands among the lines; none for standard input.
    count: Option<u64>,
    /// The number of results that the commands will have; none for standard input.
    pub(super) results: Option<u64>,
}

impl Lines {
    /// Returns the lines of a file, each of which was read; `check` looks at it too, and returns how many
    /// results it will have.
    ///
    /// # Errors
    /// A usage failure when the file can't be read or has more than [`LARGEST`] bytes, or when a line is
    /// longer than [`LONGEST`] or no command, and what `check` says of a line: nothing of the file is to run.
    pub(super) fn of_file(
        path: &Path,
        mut check: impl FnMut(&LineHosts, &CommandSpec) -> Result<u64, WireError>,
    ) -> Result<Self, WireError> {
        let name = shown(path);
        let unread = |error: io::Error| {
            WireError::new(ErrorKind::Usage, format!("cannot read {name}: {error}"))
                .hint("Nothing ran; check the path and the mode of the file, or write `--commands -` and send the lines on \
                     standard input.")
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unread)?;
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unread)?;
        if bytes.len() as u64 > LARGEST {
            let message = format!("{name} is larger than {} MiB", LARGEST >> 20);
            return Err(WireError::new(ErrorKind::Usage, message)
                .hint("Nothing ran; send the file on standard input: `--commands - < FILE`."));
        }
        let (mut count, mut results) = (0, 0_u64);
        for (line, number) in bytes.split(|&byte| byte == b'\n').zip(1..) {
            if line.len() > LONGEST {
                return Err(too_long(ErrorKind::Usage, number, &name));
            }
            if let Some((hosts, words)) = read(line, number, &name) {
                let wrong = |failure: WireError| {
                    let message = format!("line {number} of {name}: {}", failure.message);
                    WireError { message, ..failure }
                };
                results = results.saturating_add(check(&hosts, &words?).map_err(wrong)?);
                count += 1;
            }
        }
        let mut lines = Self::new(None);
        lines.rest = Bytes::from(bytes).into();
        (lines.count, lines.results) = (Some(count), Some(results));
        Ok(lines)
    }

    /// Returns the lines of standard input, as they come.
    ///
    /// # Errors
    /// A failure of kind `resources` when no thread is to be had.
    pub(super) fn of_stdin() -> Result<Self, WireError> {
        let blocks = input::blocks().map_err(|error| {
            WireError::new(ErrorKind::Resources, format!("no thread for standard input: {error}"))
                .hint("Nothing ran; see `ulimit -u`.")
        })?;
        Ok(Self::new(Some(blocks)))
    }

    fn new(blocks: Option<mpsc::Receiver<io::Result<Bytes>>>) -> Self {
        let rest = BytesMut::new();
        let (count, results) = (None, None);
        Self { blocks, rest, searched: 0, too_long: None, passed: 0, given: 0, count, results }
    }

    /// Returns whether there may be lines that were not given out.
    pub(super) fn are_left(&self) -> bool {
        self.left().is_none_or(|left| left > 0)
    }

    /// Returns how many lines that ask for something were not given out; none if nobody can tell.
    pub(super) fn left(&self) -> Option<u64> {
        self.count.map(|count| count.saturating_sub(self.given))
    }

    /// Waits for the next line that asks for something; none at the end, or after an error.
    ///
    /// # Errors
    /// A failure when standard input can't be read.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub(super) async fn next(&mut self) -> Option<io::Result<Line>> {
        loop {
            while let Some((line, long)) = self.cut() {
                self.passed += 1;
                let number = self.passed;
                let read = match long {
                    Some(hosts) => Some((hosts, Err(too_long(ErrorKind::TooBig, number, STDIN)))),
                    None => read(&line, number, STDIN),
                };
                if let Some((hosts, words)) = read {
                    let place = self.given;
                    self.given += 1;
                    return Some(Ok(Line { place, number, hosts, words }));
                }
            }
            match self.blocks.as_mut()?.recv().await {
                None => self.blocks = None,
                Some(Ok(block)) => self.rest.extend_from_slice(&block),
                Some(Err(error)) => {
                    self.blocks = None;
                    // Half a line is none that anybody has asked for.
                    self.rest.clear();
                    self.too_long = None;
                    return Some(Err(error));
                }
            }
        }
    }

    /// Takes a whole line, without its end, or what stands at the end without one. Of a line that is longer
    /// than may be read it returns the hosts, too.
    fn cut(&mut self) -> Option<(BytesMut, Option<LineHosts>)> {
        let new = self.rest.get(self.searched..).unwrap_or_default();
        let Some(at) = new.iter().position(|&byte| byte == b'\n') else {
            self.searched = self.rest.len();
            if self.searched > LONGEST || self.too_long.is_some() {
                self.too_long.get_or_insert_with(|| LineHosts::of_beginning(unmarked(&self.rest)));
                self.rest.clear();
                self.searched = 0;
            }
            let last = self.blocks.is_none() && (self.too_long.is_some() || !self.rest.is_empty());
            return last.then(|| self.give(self.rest.len()));
        };
        let line = self.give(self.searched + at);
        // Its end.
        let _ = self.rest.split_to(1);
        Some(line)
    }

    fn give(&mut self, length: usize) -> (BytesMut, Option<LineHosts>) {
        self.searched = 0;
        let line = self.rest.split_to(length);
        let begins = (length > LONGEST).then(|| LineHosts::of_beginning(unmarked(&line)));
        let too_long = self.too_long.take().or(begins);
        (line, too_long)
    }
}

/// Returns a line without a BOM before it.
fn unmarked(line: &[u8]) -> &[u8] {
    line.strip_prefix(BOM).unwrap_or(line)
}

/// Returns the hosts of a line and what it asks for, if anything. The marks of a text that was written on
/// Windows are no part of it: a BOM before the first line, and CR before each end.
fn read(
    line: &[u8],
    number: u64,
    place: &str,
) -> Option<(LineHosts, Result<CommandSpec, WireError>)> {
    let line = if number == 1 { unmarked(line) } else { line };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let begin = line.trim_ascii_start();
    if begin.is_empty() || begin.starts_with(b"#") {
        return None;
    }
    let (hosts, words) = asked::read(line);
    let words = words.map_err(|reason| {
        let message = format!("line {number} of {place} is no command: {reason}");
        WireError::new(ErrorKind::Usage, message).hint(
            "A line is one for the shell, a JSON array such as [\"ls\", \"-l\"], or an object such as \
             {\"hosts\": \"web[1-3]\", \"argv\": [\"ls\"]}. A shell line that begins with `[` needs a blank \
             before it; if it begins with `{`, the next character that is no blank must not be `\"` or `}`.",
        )
    });
    Some((hosts, words))
}

/// Returns the failure of a line that is too long, of this kind.
fn too_long(kind: ErrorKind, number: u64, place: &str) -> WireError {
    let message = format!("line {number} of {place} is longer than {} MiB", LONGEST >> 20);
    WireError::new(kind, message).hint(
        "This line was not run; shorten it, or put long data into a file on the host and name that file in the command.",
    )
}

#[cfg(test)]
mod tests;
