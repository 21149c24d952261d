//! `--fold`: hosts that answered alike stand together, and their answer stands once.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;

use anstyle::{AnsiColor, Style};
use rcmd_client::{Chunk, Report};
use rcmd_protocol::frame::Stream;

use super::collect::{Collector, Outputs, Said};
use super::context::Context;
use super::copy::{End, copy};
use super::kept::Kept;
use crate::fleet::account::Reason;
use crate::output::Form;
use crate::output::sink::Place;
use crate::text::escaped;

/// The line above and below the names of a group.
pub(super) const RULE: &str = "---------------";

/// The properties that all hosts of one group share. Output without its end is never grouped with whole
/// output.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key {
    stdout: Said,
    stderr: Said,
    reason: Reason,
    whole: bool,
}

/// Hosts that answered alike.
pub(super) struct Group {
    /// The places of the hosts in the set, in the order in which they ended.
    pub(super) hosts: Vec<usize>,
    pub(super) said: (Said, Said),
    pub(super) reason: Reason,
    pub(super) whole: bool,
    pub(super) outputs: Outputs,
    /// The failure of one of them.
    message: Option<String>,
}

/// The groups so far.
pub(super) struct Fold {
    collector: Collector,
    places: HashMap<Key, usize>,
    groups: Vec<Group>,
}

impl Fold {
    /// Returns one without a group. Outputs are compared and shown in this form.
    pub(super) fn new(form: Form) -> Self {
        Self { collector: Collector::new(form), places: HashMap::new(), groups: Vec::new() }
    }

    /// Keeps a piece of output.
    pub(super) fn output(
        &mut self,
        context: &mut Context,
        index: usize,
        stream: Stream,
        chunk: Chunk,
    ) {
        self.collector.output(context, index, stream, chunk);
    }

    /// Puts a target that ended into its group.
    pub(super) fn ended(&mut self, context: &mut Context, index: usize, report: &Report) {
        let reason = Reason::of(report);
        let whole = !report.truncated && !matches!(reason, Reason::Unknown(_));
        let message = report.error.as_ref().map(|error| error.message.clone());
        self.add(context, index, reason, whole, message);
    }

    fn add(
        &mut self,
        context: &mut Context,
        index: usize,
        reason: Reason,
        whole: bool,
        message: Option<String>,
    ) {
        let mut outputs = self.collector.take(context, index);
        let whole = whole && outputs.are_whole();
        let said = outputs.said();
        let key = Key { stdout: said.0, stderr: said.1, reason, whole };
        let place = self.places.get(&key).and_then(|place| self.groups.get_mut(*place));
        if let Some(group) = place {
            group.hosts.push(index);
            outputs.clear(&mut context.store);
            return;
        }
        self.places.insert(key, self.groups.len());
        let hosts = vec![index];
        self.groups.push(Group { hosts, said, reason, whole, outputs, message });
    }

    /// Forgets the output of a target so far.
    pub(super) fn forget(&mut self, context: &mut Context, index: usize) {
        self.collector.take(context, index).clear(&mut context.store);
    }

    /// Returns all groups, the largest first, then by their first host. Whatever has not ended is not
    /// known.
    pub(super) fn finish(mut self, context: &mut Context) -> Vec<Group> {
        for index in self.collector.left() {
            self.add(context, index, Reason::Unknown(None), false, None);
        }
        self.groups.sort_by_cached_key(|group| {
            (Reverse(group.hosts.len()), group.hosts.iter().min().copied())
        });
        self.groups
    }
}

/// Shows each group with its answer.
pub(super) fn show(context: &mut Context, groups: &[Group]) {
    for group in groups {
        show_head(context, group);
        show_outputs(context, group);
    }
}

/// Shows the names of a group between rules.
pub(super) fn show_head(context: &mut Context, group: &Group) {
    let bold = match context.screens.look(Place::Stdout).colour {
        true => Style::new().bold(),
        false => Style::new(),
    };
    let heading = heading(&context.folded(group.hosts.iter().copied()), group);
    let head = format!("{bold}{RULE}\n{heading}\n{RULE}{bold:#}\n");
    context.screens.put(Place::Stdout, head.as_bytes());
}

/// Returns the names and their count, and how the hosts ended unless that was well.
fn heading(names: &str, group: &Group) -> String {
    let mut heading = format!("{names} ({})", group.hosts.len());
    // Writing to a String does not fail.
    if group.reason != Reason::Status(0) {
        let _ = write!(heading, ": {}", group.reason);
    }
    if let Some(message) = &group.message {
        // One host's message stands for all, and does not say which host's it is by itself.
        let example = if group.hosts.len() > 1 { ", for one: " } else { ": " };
        heading.extend([example, message]);
    }
    if !group.whole {
        heading.push_str("; the end of the output is missing");
    }
    escaped(&heading)
}

/// Shows what the hosts of a group wrote, standard error last.
pub(super) fn show_outputs(context: &mut Context, group: &Group) {
    put(context, &group.outputs.stdout.kept, Style::new());
    let colour = context.screens.look(Place::Stdout).colour;
    let red = if colour { AnsiColor::Red.on_default() } else { Style::new() };
    if group.outputs.stderr.kept.len() > 0 {
        put(context, &group.outputs.stderr.kept, red);
    }
}

fn put(context: &mut Context, kept: &Kept, style: Style) {
    let safe = context.must_escape(Place::Stdout);
    let Context { store, screens, .. } = context;
    screens.put(Place::Stdout, style.to_string().as_bytes());
    let copied = copy(kept, store, safe, End::WholeLine, Place::Stdout, screens);
    screens.put(Place::Stdout, format!("{style:#}").as_bytes());
    if let Err(error) = copied {
        unreadable(context, &error);
    }
}

/// Notes for a person that output which was kept is lost.
pub(super) fn unreadable(context: &mut Context, error: &io::Error) {
    context.note(None, &format!("output that was kept can't be read back: {error}"));
}
