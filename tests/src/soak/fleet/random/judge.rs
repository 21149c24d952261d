//! The judgement of what a client says of a run: by itself, by the record and by the starts on the
//! hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;

use rustix::process::Signal;
use serde_json::Value;

use super::plan::Fate;
use super::scene::Form;
use crate::Finished;

/// Categories of the account, and of records.
const CATEGORIES: [&str; 5] = ["exited", "failed", "timed_out", "not_started", "unknown"];

/// The state of a target, kept from one stage to the next.
#[derive(Debug, Clone, Default)]
struct Target {
    /// The state of the target in the record.
    state: String,
    /// The last attempt of which a start was sent; none before the first.
    attempt: u64,
    /// The least and the most starts that there may be of that attempt.
    starts: (usize, usize),
    /// The least and the most starts that there may be of the attempts before it.
    settled: (usize, usize),
}

/// All targets of a run, over all of its stages.
#[derive(Debug)]
pub(super) struct Book {
    targets: Vec<Target>,
}

impl Book {
    pub(super) fn new(count: usize) -> Self {
        let target = Target { state: "not_started".to_owned(), ..Target::default() };
        Self { targets: vec![target; count] }
    }

    /// Returns the state of each target in the record.
    pub(super) fn states(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(|target| target.state.as_str())
    }

    /// Takes what is recorded and started after a stage. Adds what does not hold.
    pub(super) fn take(
        &mut self,
        record: Option<&[Value]>,
        starts: &BTreeMap<String, Vec<String>>,
        wrong: &mut Vec<String>,
    ) {
        let jobs = || starts.values().flatten();
        if jobs().collect::<BTreeSet<_>>().len() != jobs().count() {
            wrong.push(format!("a job was started twice: {starts:?}"));
        }
        match record {
            Some(lines) if lines.len() == self.targets.len() => {
                for (target, line) in self.targets.iter_mut().zip(lines) {
                    if let Err(why) = target.take(line) {
                        wrong.push(format!("{why}: {line}"));
                    }
                }
            }
            // It was killed before it came to a record.
            None => {}
            Some(lines) => wrong.push(format!("{} targets are recorded", lines.len())),
        }
        for (number, target) in self.targets.iter().enumerate() {
            let host = format!("n{number}");
            let count = starts.get(&host).map_or(0, Vec::len);
            let least = target.settled.0 + target.starts.0;
            let most = target.settled.1 + target.starts.1;
            if count < least || count > most {
                wrong.push(format!("{host} was started {count} times, not {least} to {most}"));
            }
        }
    }
}

impl Target {
    /// Takes what the record has of it now.
    fn take(&mut self, line: &Value) -> Result<(), String> {
        let state = text(&line["state"]);
        let attempt = line["attempt"].as_u64().unwrap_or(0);
        let (may, before) = (starts(&state, attempt, &line["result"]), self.clone());
        if attempt != before.attempt {
            let again = ["failed", "timed_out", "not_started"].contains(&before.state.as_str());
            if attempt != before.attempt + 1 || !again {
                return Err(format!("attempt {} was {}", before.attempt, before.state));
            }
            self.settled.0 += before.starts.0;
            self.settled.1 += before.starts.1;
            self.starts = may;
        } else if before.state == "unknown" {
            self.starts = may;
        } else if before.state == "exited" && state != "exited" {
            return Err("it had exited with 0".to_owned());
        }
        (self.state, self.attempt) = (state, attempt);
        Ok(())
    }
}

/// Returns the least and the most starts that there may be of an attempt in this state. A process
/// that a signal met at once has had no time to note its start.
fn starts(state: &str, attempt: u64, result: &Value) -> (usize, usize) {
    match state {
        _ if attempt == 0 => (0, 0),
        "not_started" => (0, 0),
        "exited" => (1, 1),
        "failed" if result["outcome"] == "exited" => (1, 1),
        _ => (0, 1),
    }
}

/// The end of a target, as the client reported it.
#[derive(Debug)]
struct End {
    category: &'static str,
    kind: String,
    message: String,
}

impl End {
    fn of(result: &Value) -> Self {
        let outcome = text(&result["outcome"]);
        let category = match (&*outcome, result["code"].as_u64()) {
            ("exited", Some(0)) => "exited",
            ("exited", Some(_)) | ("signaled", _) => "failed",
            ("timed_out", _) => "timed_out",
            ("not_started", _) => "not_started",
            _ => "unknown",
        };
        let error = &result["error"];
        Self { category, kind: text(&error["kind"]), message: text(&error["message"]) }
    }

    fn is_held_back(&self) -> bool {
        self.category == "not_started" && self.kind == "held_back"
    }

    fn was_late(&self) -> bool {
        self.is_held_back() && self.message.contains("time of the whole run")
    }

    fn was_interrupted(&self) -> bool {
        self.is_held_back() && self.message.contains("was interrupted")
    }
}

/// Judges what a client said, and its status. Adds what does not hold. Returns whether the client said
/// anything: one that was killed did not, and none whom a signal met before it caught signals.
pub(super) fn judge(
    done: &Finished,
    fate: &Fate,
    form: &Form,
    book: &Book,
    wrong: &mut Vec<String>,
) -> bool {
    let first = fate.first();
    if done.status.signal().is_some_and(|signal| first.map(Signal::as_raw) == Some(signal)) {
        return false;
    }
    let (ends, summary) = match said(done, form, book.targets.len()) {
        Ok(said) => said,
        Err(why) => {
            wrong.push(why);
            return true;
        }
    };
    let count = |category| ends.iter().filter(|end| end.category == category).count();
    for category in CATEGORIES {
        if summary[category] != count(category) {
            wrong.push(format!("{} {category}: {summary}", count(category)));
        }
    }
    if summary["total"] != ends.len() {
        wrong.push(format!("{} targets: {summary}", ends.len()));
    }
    for (number, (end, state)) in ends.iter().zip(book.states()).enumerate() {
        if end.category != state {
            wrong.push(format!("n{number} is recorded as {state}: {end:?}"));
        }
    }
    let (status, may) = (done.status.code(), statuses(&ends, first));
    if !status.is_some_and(|status| may.contains(&status)) {
        wrong.push(format!("ended with {}, not {may:?}: {ends:?}", done.status));
    }
    true
}

/// Returns the exit statuses that these ends may have, after this signal. A signal may come after
/// the last end.
fn statuses(ends: &[End], signal: Option<Signal>) -> Vec<i32> {
    let any = |category| ends.iter().any(|end| end.category == category && !end.is_held_back());
    let status = if any("unknown") {
        255
    } else if any("not_started") {
        125
    } else if any("timed_out") || ends.iter().any(End::was_late) {
        124
    } else {
        i32::from(any("failed") || ends.iter().any(End::is_held_back))
    };
    let of_signal = signal.map(|signal| 128 + signal.as_raw());
    let interrupted = ends.iter().any(End::was_interrupted);
    of_signal.into_iter().chain((!interrupted).then_some(status)).collect()
}

/// Reads the end of each target, in their order, and the account.
fn said(done: &Finished, form: &Form, total: usize) -> Result<(Vec<End>, Value), String> {
    let parsed =
        |line: &str| serde_json::from_str::<Value>(line).map_err(|why| format!("{why}: {line}"));
    let mut results: Vec<Vec<Value>> = vec![Vec::new(); total];
    let mut add = |host: &Value, result: &Value| {
        let number = host.as_str().and_then(|host| host.strip_prefix('n')?.parse::<usize>().ok());
        let place = number.and_then(|number| results.get_mut(number));
        place.ok_or_else(|| format!("a host of no target: {host}"))?.push(result.clone());
        Ok::<_, String>(())
    };
    let summary = match form {
        Form::Events => {
            let (text, mut last) = (done.stdout_text(), Value::Null);
            for line in text.lines() {
                last = parsed(line)?;
                if last["event"] == "end" {
                    add(&last["host"], &last["result"])?;
                }
            }
            last
        }
        Form::Results(file, _) => {
            let text = fs::read_to_string(file).map_err(|why| format!("no results: {why}"))?;
            for line in text.lines() {
                let result = parsed(line)?;
                add(&result["host"], &result)?;
            }
            let text = done.stderr_text();
            let line = text.lines().rfind(|line| line.starts_with("{\"event\":\"summary\""));
            parsed(line.ok_or("there is no account")?)?
        }
    };
    if summary["event"] != "summary" {
        return Err(format!("the last event is {summary}"));
    }
    if let Some(number) = results.iter().position(|results| results.len() != 1) {
        return Err(format!("n{number} has {} ends: {:?}", results[number].len(), results[number]));
    }
    Ok((results.iter().flatten().map(End::of).collect(), summary))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
