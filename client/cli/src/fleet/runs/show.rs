//! One run, host by host.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use rcmd_client::hosts::HostSet;
use rcmd_client::{Report, WireError};
use serde::Serialize;

use super::overview::{Overview, State, quoted};
use super::shape::Ago;
use crate::fleet::records::{Recorded, Seen, Stage, TargetState};
use crate::text::escaped;

/// Hosts that ended in the same way.
struct Group<'a> {
    stage: Stage,
    title: String,
    hosts: HostSet,
    /// The first of them, and what it was told.
    example: Option<(&'a str, &'a WireError)>,
}

/// Returns one run for people: what it was, its hosts by how they ended, and what to type next. `dir` is
/// what was typed for --dir.
pub(super) fn text(seen: &Seen, now: u64, dir: Option<&Path>) -> String {
    let recorded = &seen.recorded;
    let overview = Overview::of(seen, now);
    let began = Ago::new(recorded.began, now);
    let mut lines = vec![
        format!("run {}, {}, {began}", recorded.id, began.date),
        format!("command: {}", overview.command),
    ];
    lines.extend(options(recorded).map(|options| format!("options: {options}")));
    lines.push(format!("hosts: {} ({})", overview.hosts, overview.total));
    for at in &recorded.resumed {
        let at = Ago::new(*at, now);
        lines.push(format!("resumed: {}, {at}", at.date));
    }
    lines.push(String::new());
    for group in groups(seen) {
        let Group { title, hosts, example, .. } = group;
        lines.push(format!("{title} ({}): {}", hosts.len(), hosts.fold()));
        if let Some((host, failure)) = example {
            let named = failure.message.contains(host);
            let whose = if named { String::new() } else { format!("{host}: ") };
            lines.push(format!("  {whose}{}", failure.message));
            lines.extend(failure.hint.as_ref().map(|hint| format!("  hint: {hint}")));
        }
    }
    lines.push(String::new());
    lines.push(next(overview.state, recorded, dir));
    let mut text = String::new();
    for line in lines {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{}", escaped(&line));
    }
    text
}

/// Returns each host of a run as a line of JSON.
///
/// # Errors
/// Kind `local_io` when a line can't be made.
pub(super) fn json(seen: &Seen) -> Result<String, WireError> {
    #[derive(Serialize)]
    struct Event<'a> {
        run: String,
        host: &'a str,
        index: usize,
        /// The number of starts that were sent.
        attempt: u32,
        state: Stage,
        result: Option<&'a Report>,
    }
    let recorded = &seen.recorded;
    let mut text = String::new();
    for (target, state) in recorded.plan.targets.iter().zip(&recorded.states) {
        text.push_str(&super::line(&Event {
            run: recorded.id.to_string(),
            host: &target.name,
            index: target.index,
            attempt: state.attempt,
            state: Stage::of(state, seen.running),
            result: state.end.as_deref(),
        })?);
    }
    Ok(text)
}

/// Returns the options of a run, as one would type them; of variables the names alone, which are no secret.
fn options(recorded: &Recorded) -> Option<String> {
    let plan = &recorded.plan;
    let mut options = Vec::new();
    let mut add = |option: &str, value: &str| options.push(format!("{option} {}", quoted(value)));
    for (option, value) in [("--user", &plan.user), ("--cwd", &plan.cwd), ("--key", &plan.key)] {
        if let Some(value) = value {
            add(option, &value.to_string_lossy());
        }
    }
    for (name, _) in &plan.env {
        add("--env", &format!("{}=...", name.to_string_lossy()));
    }
    if let Some(timeout) = plan.timeout {
        add("--timeout", &humantime::format_duration(timeout).to_string());
    }
    if let Some((name, wait)) = &plan.lock {
        add("--lock", name);
        if !wait.is_zero() {
            add("--lock-wait", &humantime::format_duration(*wait).to_string());
        }
    }
    if plan.input {
        options.push("-i".to_owned());
    }
    if !plan.templates {
        options.push("--no-templates".to_owned());
    }
    Some(options.join(" ")).filter(|options| !options.is_empty())
}

/// Returns the hosts in groups, one for each state or end, sorted by stage and then by the place of their first
/// host in the plan.
fn groups(seen: &Seen) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut by_title: HashMap<String, usize> = HashMap::new();
    for (target, state) in seen.recorded.plan.targets.iter().zip(&seen.recorded.states) {
        let stage = Stage::of(state, seen.running);
        let title = title(stage, state);
        let at = *by_title.entry(title.clone()).or_insert_with(|| {
            let error = state.end.as_ref().and_then(|report| report.error.as_ref());
            let example = error.map(|error| (&*target.name, error));
            groups.push(Group { stage, title, hosts: HostSet::default(), example });
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(at) {
            group.hosts.insert(target.name.clone());
        }
    }
    groups.sort_by_key(|group| group.stage);
    groups
}

/// Returns how a host ended.
fn title(stage: Stage, state: &TargetState) -> String {
    let words = stage.words();
    let Some(report) = &state.end else { return words.to_owned() };
    match (stage, report.code, report.signal, &report.error) {
        (Stage::Exited, ..) => "exited with 0".to_owned(),
        (Stage::Failed, _, Some(signal), _) => format!("ended by {signal}"),
        (Stage::Failed, Some(code), ..) => format!("exited with {code}"),
        (Stage::NotStarted | Stage::Unknown, .., Some(error)) => {
            format!("{words}, {}", error.kind)
        }
        _ => words.to_owned(),
    }
}

/// Returns what to do next.
fn next(state: State, recorded: &Recorded, dir: Option<&Path>) -> String {
    let resume = super::resuming(&recorded.id.to_string(), dir);
    match state {
        State::Running => "It still goes on.".to_owned(),
        State::Whole => "Nothing is left to do.".to_owned(),
        State::Resumable => format!("To go on with it: {resume}"),
        State::UnknownLeft => {
            format!("Nothing is left but the unknown. To run those a second time: {resume} --again")
        }
        State::NotResumable => {
            "It can't be resumed: the input that it sent (-i) is not kept.".to_owned()
        }
    }
}
