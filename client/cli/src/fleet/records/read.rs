//! Lines to what is known of a run.
//!
//! All is strict but the end: a last line without its end was cut off while it was written, by a crash or a
//! full disk. What it would have told of had not been done.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use rcmd_certs::files::shown;
use rcmd_certs::text::escaped;
use rcmd_client::hosts::{HostTarget, MAX_HOSTS};
use rcmd_client::{ErrorKind, WireError};
use serde::de::DeserializeOwned;

use super::id::RunId;
use super::line::{AnyVersion, Line, RunLine, VERSION, Version};
use super::result::ReadBack;
use super::{LARGEST, LONGEST_LINE, Recorded, TargetState};

/// Hosts for which room is made before they are read.
const AT_ONCE: usize = 1024;

/// Reads a record from where its file stands, and returns it with the length of its whole lines, in bytes.
/// If `id` is given, the record must be that of this run.
///
/// # Errors
/// Kind `local_io` when it can't be read, `usage` when it is none, is damaged, or is of another version:
/// the message names file and line.
pub(super) fn read(
    file: &File,
    path: &Path,
    id: Option<RunId>,
) -> Result<(Recorded, u64), WireError> {
    let input = BufReader::new(file);
    let mut lines = Lines { path, input, number: 0, length: 0, line: Vec::new() };
    let mut recorded = lines.plan(id)?;
    while lines.advance()? {
        match lines.parse()? {
            Line::Sent(line) => {
                let state = lines.state(&mut recorded.states, line.index)?;
                let sent = line.to_sent().map_err(|why| lines.wrong(1, why))?;
                state.attempt = state.attempt.max(sent.attempt);
                (state.sent, state.end) = (Some(sent), None);
            }
            Line::End(line) => {
                let state = lines.state(&mut recorded.states, line.index)?;
                state.attempt = state.attempt.max(line.attempt);
                // Where the line of the last start could not be written, that of an earlier one is left.
                state.sent = state.sent.filter(|sent| sent.attempt == line.attempt);
                state.end = Some(Box::new(line.result.0));
            }
            Line::Resumed(line) => recorded.resumed.push(line.at),
            Line::Run(_) => return Err(lines.wrong(1, "a second run begins")),
            Line::Target(_) => return Err(lines.wrong(1, "this target is one too many")),
        }
    }
    Ok((recorded, lines.length))
}

struct Lines<'a> {
    path: &'a Path,
    input: BufReader<&'a File>,
    /// The last line that was read, from 1.
    number: usize,
    /// Bytes of whole lines.
    length: u64,
    /// The last line, without its end.
    line: Vec<u8>,
}

impl Lines<'_> {
    /// Reads what was asked for, and the targets.
    fn plan(&mut self, named: Option<RunId>) -> Result<Recorded, WireError> {
        let first = self.first()?;
        let id =
            RunId::parse(&first.id).ok_or_else(|| self.wrong(1, "id is the name of no run"))?;
        // Its keys begin with its name: under another name commands would run a second time.
        if named.is_some_and(|named| named != id) {
            return Err(self.wrong(1, &format!("this is the record of the run {id}")));
        }
        if first.targets > MAX_HOSTS {
            return Err(self.wrong(1, &format!("a run has at most {MAX_HOSTS} hosts")));
        }
        let mut targets: Vec<HostTarget> = Vec::with_capacity(first.targets.min(AT_ONCE));
        while targets.len() < first.targets {
            if !self.advance()? {
                return Err(self.cut_off());
            }
            match self.parse()? {
                Line::Target(target) => targets.push((*target).into_target(targets.len())),
                _ => return Err(self.wrong(1, "a target is missing before this line")),
            }
        }
        let states = vec![TargetState::default(); targets.len()];
        let began = first.began;
        let plan = first.into_plan(targets.into()).map_err(|why| self.wrong(1, &why))?;
        Ok(Recorded { id, began, plan, states, resumed: Vec::new() })
    }

    fn first(&mut self) -> Result<RunLine, WireError> {
        if !self.advance()? {
            return Err(self.cut_off());
        }
        let AnyVersion { run: Version { version } } = self.parse_as()?;
        if version != VERSION {
            let path = shown(self.path);
            let message = format!(
                "the record {path} has format {version}, and this rcmd-client reads format {VERSION} alone"
            );
            return Err(WireError::new(ErrorKind::Usage, message).hint(
                "Use the version of rcmd-client that wrote the record, or run the command again.",
            ));
        }
        match self.parse()? {
            Line::Run(run) => Ok(*run),
            _ => Err(self.wrong(1, "the first line is another one")),
        }
    }

    fn state<'s>(
        &self,
        states: &'s mut [TargetState],
        index: usize,
    ) -> Result<&'s mut TargetState, WireError> {
        let number = states.len();
        let missing = || self.wrong(1, &format!("there is no target {index} of {number}"));
        states.get_mut(index).ok_or_else(missing)
    }

    /// Reads a line. Returns false at the end, and for a last line without an end.
    fn advance(&mut self) -> Result<bool, WireError> {
        self.line.clear();
        let mut input = (&mut self.input).take(LONGEST_LINE + 1);
        input.read_until(b'\n', &mut self.line).map_err(|error| unread(self.path, &error))?;
        let read = self.line.len() as u64;
        self.number += 1;
        if read > LONGEST_LINE || self.length.saturating_add(read) > LARGEST {
            let most = format!(
                "a line has at most {} MiB, a record {}",
                LONGEST_LINE >> 20,
                LARGEST >> 20
            );
            return Err(self.wrong(1, &most));
        }
        if self.line.pop() != Some(b'\n') {
            return Ok(false);
        }
        self.length += read;
        Ok(true)
    }

    fn parse(&self) -> Result<Line<ReadBack>, WireError> {
        self.parse_as()
    }

    fn parse_as<T: DeserializeOwned>(&self) -> Result<T, WireError> {
        serde_json::from_slice(&self.line).map_err(|error| {
            let told = error.to_string();
            // The place within the line stands in front, with the line within the file.
            let reason = told.rsplit_once(" at line ").map_or(&*told, |(reason, _)| reason);
            self.wrong(error.column().max(1), reason)
        })
    }

    fn wrong(&self, column: usize, why: &str) -> WireError {
        let place = format!("{}:{}:{column}", shown(self.path), self.number);
        WireError::new(ErrorKind::Usage, format!("{place}: {}", escaped(why)))
            .hint("The record is damaged: the run can't be resumed. Run the command again.")
    }

    fn cut_off(&self) -> WireError {
        let message = format!("{} ends before its last target: nothing was run", shown(self.path));
        WireError::new(ErrorKind::Usage, message).hint("Run the command again.")
    }
}

fn unread(path: &Path, error: &io::Error) -> WireError {
    WireError::new(ErrorKind::LocalIo, format!("cannot read {}: {error}", shown(path)))
        .hint("The run can't be resumed without its record.")
}
