//! `runs`: which runs over many hosts there were, and how each host ended.
//!
//! | module | holds |
//! | --- | --- |
//! | `show` | one run, host by host |
//! | `overview` | a run in a few words |
//! | `shape` | text that fits a width |

use std::path::Path;

use rcmd_client::{ErrorKind, WireError};
use serde::Serialize;

use super::records::{self, RunId, Seen};
use crate::arguments::runs::{Action, RunsArguments};
use crate::text::{self, Tone, columns, escaped};
use crate::{output, settings};

mod overview;
mod shape;
mod show;

use overview::{Overview, quoted};
use shape::{Ago, cut, room_for_two};

/// Lists runs, or shows one, and returns the exit status.
///
/// # Errors
/// A failure when there is no such run, or the records can't be read.
pub(crate) fn runs(typed: &RunsArguments) -> Result<u8, WireError> {
    let layout = settings::layout(typed.dir.as_deref())?;
    let dir = layout.dir();
    let now = records::now();
    let text = match (typed.action, &typed.run) {
        (Some(Action::Show), Some(which)) => {
            let seen = records::look(dir, which)?;
            match typed.json {
                true => show::json(&seen)?,
                false => show::text(&seen, now, typed.dir.as_deref()),
            }
        }
        _ => {
            let names = records::names(dir)?;
            if names.is_empty() {
                text::say(&text::line(Tone::Notice, &records::none_in(dir).message));
            }
            let width = shape::width();
            let mut text = String::new();
            for id in names {
                let seen = records::look(dir, &id.to_string());
                match typed.json {
                    true => text.push_str(&json(id, seen, now)?),
                    false => text.push_str(&listed(id, seen, now, width)),
                }
            }
            text
        }
    };
    output::print(text.as_bytes())
}

/// Returns what resumes a run, as one would type it; `dir` is what was typed for --dir.
pub(crate) fn resuming(id: &str, dir: Option<&Path>) -> String {
    let dir = dir.map(|dir| format!(" --dir {}", quoted(&dir.to_string_lossy())));
    format!("rcmd-client{} run --resume {id}", dir.unwrap_or_default())
}

/// Returns what is shown of a file that is read as if it were a record, whoever has it.
///
/// # Errors
/// A failure that says what is wrong with it, and where.
pub(crate) fn shown_of(file: &Path) -> Result<String, WireError> {
    let seen = Seen { recorded: records::read_any(file)?, running: false };
    let now = records::now();
    Ok(show::text(&seen, now, None) + &listed(seen.recorded.id, Ok(seen), now, Some(40)))
}

/// Returns a run in three lines, each of which fits the width, if there is one.
fn listed(id: RunId, seen: Result<Seen, WireError>, now: u64, width: Option<usize>) -> String {
    let most = width.unwrap_or(usize::MAX).saturating_sub(2);
    let seen = match seen {
        Ok(seen) => seen,
        Err(failure) => {
            return format!("{id}\n  {}\n", cut(&escaped(&failure.message), most));
        }
    };
    let overview = Overview::of(&seen, now);
    let began = Ago::new(seen.recorded.began, now);
    // At 40 columns the time alone has room beside the name.
    let whole = format!("{id}  {}  {began}", began.date);
    let head = if columns(&whole) > most { format!("{id}  {began}") } else { whole };
    let count = format!(" ({}): ", overview.total);
    let room = most.saturating_sub(columns(&count));
    let (hosts_room, command_room) = room_for_two(&overview.hosts, &overview.command, room);
    let hosts = cut(&overview.hosts, hosts_room);
    let command = cut(&overview.command, command_room);
    let result = cut(&format!("{}; {}", overview.counts(), overview.state.words()), most);
    format!("{head}\n  {hosts}{count}{command}\n  {result}\n")
}

/// Returns a run as a line of JSON.
fn json(id: RunId, seen: Result<Seen, WireError>, now: u64) -> Result<String, WireError> {
    #[derive(Serialize)]
    struct Damaged<'a> {
        run: String,
        error: &'a WireError,
    }
    match seen {
        Ok(seen) => line(&overview::Event::of(&seen, now)),
        Err(failure) => line(&Damaged { run: id.to_string(), error: &failure }),
    }
}

/// Returns an object as a line of JSON.
fn line(object: &impl Serialize) -> Result<String, WireError> {
    let text = serde_json::to_string(object);
    text.map(|text| text + "\n")
        .map_err(|error| WireError::new(ErrorKind::LocalIo, format!("cannot write JSON: {error}")))
}

#[cfg(test)]
mod tests;
