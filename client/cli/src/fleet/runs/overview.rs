//! A run in a few words.

use rcmd_client::hosts::HostSet;
use serde::Serialize;

use crate::arguments::words::CommandSpec;
use crate::fleet::records::{Bytes, Recorded, Seen, Stage};
use crate::fleet::resume::Resume;
use crate::output::stamp::rfc3339;
use crate::text::escaped;

/// The state of a run, by what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// A process still continues the run.
    Running,
    /// Every host has exited with 0.
    Whole,
    /// The run can be resumed: hosts are left.
    Resumable,
    /// The hosts that are left may have run the command, and nobody can find out any more.
    UnknownLeft,
    /// The run can't be resumed: hosts are left, but its standard input is not kept.
    NotResumable,
}

/// A run in a few words.
#[derive(Clone, Debug)]
pub(super) struct Overview {
    /// The hosts, folded, to be printed.
    pub(super) hosts: String,
    pub(super) total: usize,
    /// The command as one would type it, to be printed.
    pub(super) command: String,
    pub(super) state: State,
    counts: Vec<(Stage, usize)>,
}

/// The object that `--json` prints of a run.
#[derive(Serialize)]
pub(super) struct Event {
    run: String,
    began: Option<String>,
    resumed: Vec<Option<String>>,
    hosts: String,
    mode: &'static str,
    command: Vec<Bytes>,
    state: State,
    exited: usize,
    failed: usize,
    timed_out: usize,
    not_started: usize,
    unknown: usize,
    running: usize,
    waiting: usize,
    total: usize,
}

impl State {
    /// Returns what can be done about a run `now`, in milliseconds since 1970.
    pub(super) fn of(seen: &Seen, now: u64) -> Self {
        let Seen { recorded, running } = seen;
        if *running {
            return Self::Running;
        }
        let is_done = |state| Stage::of(state, false) == Stage::Exited;
        if recorded.states.iter().all(is_done) {
            return Self::Whole;
        }
        match Resume::decide(recorded, false, now) {
            Err(_) => Self::NotResumable,
            Ok(resume) if resume.nothing_left().is_some() => Self::UnknownLeft,
            Ok(_) => Self::Resumable,
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Running => "still goes on",
            Self::Whole => "whole",
            Self::Resumable => "can be resumed",
            Self::UnknownLeft => "nothing is left but the unknown",
            Self::NotResumable => "can't be resumed: its input is not kept",
        }
    }
}

impl Overview {
    /// Returns a run as it stands `now`, in milliseconds since 1970.
    pub(super) fn of(seen: &Seen, now: u64) -> Self {
        let recorded = &seen.recorded;
        let counts = Stage::ALL.map(|stage| (stage, count(seen, stage)));
        Self {
            hosts: escaped(&folded(recorded)),
            total: recorded.states.len(),
            command: escaped(&command(&recorded.plan.command)),
            state: State::of(seen, now),
            counts: counts.into_iter().filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// Returns how many hosts stand where, as in `18 exited, 2 not started`.
    pub(super) fn counts(&self) -> String {
        let parts = self.counts.iter().map(|(stage, count)| {
            let stage = stage.words();
            format!("{count} {stage}")
        });
        parts.collect::<Vec<_>>().join(", ")
    }
}

impl Event {
    /// Returns a run as it stands `now`, in milliseconds since 1970.
    pub(super) fn of(seen: &Seen, now: u64) -> Self {
        let Recorded { id, began, plan, resumed, .. } = &seen.recorded;
        let (mode, command) = match &plan.command {
            CommandSpec::Shell(line) => ("shell", vec![Bytes(line.clone())]),
            CommandSpec::Exec { program, arguments } => {
                let words = std::iter::once(program).chain(arguments);
                ("exec", words.cloned().map(Bytes).collect())
            }
        };
        Self {
            run: id.to_string(),
            began: rfc3339(*began),
            resumed: resumed.iter().map(|at| rfc3339(*at)).collect(),
            hosts: folded(&seen.recorded),
            mode,
            command,
            state: State::of(seen, now),
            exited: count(seen, Stage::Exited),
            failed: count(seen, Stage::Failed),
            timed_out: count(seen, Stage::TimedOut),
            not_started: count(seen, Stage::NotStarted),
            unknown: count(seen, Stage::Unknown),
            running: count(seen, Stage::Running),
            waiting: count(seen, Stage::Waiting),
            total: seen.recorded.states.len(),
        }
    }
}

fn count(seen: &Seen, stage: Stage) -> usize {
    let states = seen.recorded.states.iter();
    states.filter(|state| Stage::of(state, seen.running) == stage).count()
}

fn folded(recorded: &Recorded) -> String {
    let names = recorded.plan.targets.iter().map(|target| target.name.clone());
    names.collect::<HostSet>().fold()
}

/// Returns a command as one would type it for a POSIX shell here.
fn command(command: &CommandSpec) -> String {
    match command {
        CommandSpec::Shell(line) => line.to_string_lossy().into_owned(),
        CommandSpec::Exec { program, arguments } => {
            let words = std::iter::once(program).chain(arguments);
            words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
        }
    }
}

/// Returns a word that a POSIX shell takes as this text.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._:/@%+=,-".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
