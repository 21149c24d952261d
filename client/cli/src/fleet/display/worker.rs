//! The thread `display`: it owns the screens and all files, and may wait for them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rcmd_client::{Report, Signal, WireError};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::context::Context;
use super::events::Events;
use super::fold::{self, Fold};
use super::lines::{LineLimits, Lines};
use super::outdir::Outdir;
use super::place::Failures;
use super::records::Records;
use super::results::Results;
use super::settings::{DisplayForm, DisplaySettings};
use super::standing::seconds;
use super::{Shown, diff};
use crate::arguments::fleet::Summary;
use crate::fleet::account::Account;
use crate::fleet::escalation::announcement;
use crate::output::piece::Piece;
use crate::output::sink::Place;
use crate::settings::Verbosity;
use crate::text::Tone;

/// The form of what is shown, with what it has so far.
enum Form {
    Lines(Lines),
    Fold(Fold),
    Diff(Fold),
    Records(Records),
    Events(Events),
}

/// The thread's state: it shows and writes.
pub(super) struct Worker {
    context: Context,
    form: Form,
    outdir: Option<Outdir>,
    results: Option<Results>,
    summary: Summary,
    verbosity: Verbosity,
}

impl Worker {
    /// Makes all files.
    ///
    /// # Errors
    /// A failure of kind `usage` if two settings exclude each other, of kind `local_io` if a file can't
    /// be made.
    pub(super) fn new(
        settings: DisplaySettings,
        context: Context,
        failures: &Failures,
    ) -> Result<Self, WireError> {
        let bytes = settings.bytes()?;
        let outdir = settings.outdir.as_deref();
        let outdir = outdir
            .map(|path| Outdir::create(path, &context.targets, &settings.left_alone, failures))
            .transpose()?;
        let results = settings.result.as_deref();
        let results = results.map(|path| Results::create(path, failures)).transpose()?;
        let form = match settings.form {
            DisplayForm::Lines => {
                let columns = (context.screens.look(Place::Stdout).columns)();
                let targets = Arc::clone(&context.targets);
                Form::Lines(Lines::new(targets, columns, bytes, LineLimits::default()))
            }
            DisplayForm::Fold => Form::Fold(Fold::new(bytes)),
            DisplayForm::Diff => Form::Diff(Fold::new(bytes)),
            DisplayForm::Format(format) => Form::Records(Records::new(format, bytes)),
            DisplayForm::Json => Form::Events(Events::default()),
        };
        let DisplaySettings { summary, verbosity, .. } = settings;
        Ok(Self { context, form, outdir, results, summary, verbosity })
    }

    /// Shows what comes until nothing more can, then what is left and the account.
    pub(super) fn run(
        mut self,
        mut shown: mpsc::Receiver<Shown>,
        account: oneshot::Receiver<Account>,
    ) {
        if let Some(left) = self.outdir.as_ref().and_then(Outdir::left) {
            self.note(None, left);
        }
        loop {
            let next = match shown.try_recv() {
                Ok(next) => Some(next),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) => {
                    self.settle();
                    shown.blocking_recv()
                }
            };
            match next {
                Some(next) => self.show(next),
                None => break,
            }
        }
        drop(shown);
        self.settle();
        // Without an account whoever ran the command has given up.
        if let Ok(account) = account.blocking_recv() {
            self.finish(&account);
        }
    }

    /// Writes all that waits to be written.
    pub(super) fn settle(&mut self) {
        self.context.screens.settle();
    }

    /// Shows one thing.
    pub(super) fn show(&mut self, shown: Shown) {
        let context = &mut self.context;
        match shown {
            Shown::Started { index, job, started_at } => {
                if let Form::Events(events) = &mut self.form {
                    events.put(context, index, &Piece::Started { job, started_at });
                }
            }
            Shown::Output { index, stream, chunk } => {
                if let Some(outdir) = &mut self.outdir {
                    outdir.output(index, stream, &chunk.bytes);
                }
                match &mut self.form {
                    Form::Lines(lines) => lines.output(context, index, stream, chunk),
                    Form::Fold(fold) | Form::Diff(fold) => {
                        fold.output(context, index, stream, chunk)
                    }
                    Form::Records(records) => records.output(context, index, stream, chunk),
                    Form::Events(events) => {
                        events.put(context, index, &Piece::Data(stream, chunk));
                    }
                }
            }
            Shown::Note { index, text } => self.note(index, text),
            Shown::Warning(failure) => context.warn(&failure),
            Shown::Ended { index, report } => {
                self.put_result(index, &report);
                let context = &mut self.context;
                match &mut self.form {
                    Form::Lines(lines) => lines.ended(context, index),
                    Form::Fold(fold) | Form::Diff(fold) => fold.ended(context, index, &report),
                    Form::Records(records) => records.ended(context, index, &report),
                    Form::Events(events) => events.ended(context, index, report),
                }
            }
            Shown::Kept { index, report } => {
                self.put_result(index, &report);
                if let Form::Events(events) = &mut self.form {
                    events.ended(&mut self.context, index, report);
                }
            }
            Shown::Again { index } => {
                if let Some(outdir) = &mut self.outdir {
                    outdir.empty(index);
                }
                match &mut self.form {
                    Form::Lines(lines) => lines.ended(context, index),
                    Form::Fold(fold) | Form::Diff(fold) => fold.forget(context, index),
                    Form::Records(records) => records.forget(context, index),
                    Form::Events(events) => events.break_off(context, index),
                }
                self.note(Some(index), "nobody knows how it ended; it is run again".to_owned());
            }
            Shown::Standing(standing) => {
                let slowest = standing.slowest.map(|(index, _)| context.name(index));
                let name = slowest.unwrap_or_default().to_owned();
                context.screens.show(standing, &name);
                // A window may have another width by now; once in a while is often enough to ask.
                if let Form::Lines(lines) = &mut self.form
                    && context.screens.look(Place::Stdout).terminal
                {
                    lines.fit((context.screens.look(Place::Stdout).columns)());
                }
            }
            Shown::Suspended(hidden) => {
                context.screens.hide_live();
                // Whoever waited may have gone on.
                let _ = hidden.send(());
            }
            Shown::Interrupted { passed, running, waiting } => {
                self.interrupted(passed, &running, waiting);
            }
        }
    }

    /// Writes a target's result to the files that have one of each.
    fn put_result(&mut self, index: usize, report: &Report) {
        if let Some(outdir) = &mut self.outdir {
            outdir.ended(index, report);
        }
        if let Some(results) = &mut self.results {
            results.put(report);
        }
    }

    fn note(&mut self, index: Option<usize>, text: String) {
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        match &mut self.form {
            Form::Events(events) => events.note(&mut self.context, index, text),
            _ => self.context.note(index, &text),
        }
    }

    /// Writes for a person where everything stands, whatever the form.
    fn interrupted(
        &mut self,
        passed: Option<Signal>,
        running: &[(usize, Duration)],
        waiting: usize,
    ) {
        let context = &mut self.context;
        let total = context.targets.len();
        let ended = total.saturating_sub(running.len()).saturating_sub(waiting);
        context.cover_echo();
        context.say(Tone::Notice, &announcement("no further host", passed));
        context.say(Tone::Notice, &format!("{ended} of {total} ended"));
        if let Some((slowest, time)) = running.iter().max_by_key(|(_, time)| *time) {
            let names = context.folded(running.iter().map(|(index, _)| *index));
            let slowest = match running.len() {
                1 => format!("for {}", seconds(*time)),
                _ => format!("{} longest, for {}", context.name(*slowest), seconds(*time)),
            };
            context.say(Tone::Notice, &format!("{} run: {names}, {slowest}", running.len()));
        }
        if waiting > 0 {
            context.say(Tone::Notice, &format!("{waiting} wait and will not begin"));
        }
    }

    /// Shows what the form has kept for the end, then the account.
    pub(super) fn finish(mut self, account: &Account) {
        let context = &mut self.context;
        context.screens.end_live();
        match self.form {
            Form::Fold(fold) => {
                let groups = fold.finish(context);
                fold::show(context, &groups);
            }
            Form::Diff(fold) => {
                let groups = fold.finish(context);
                diff::show(context, groups);
            }
            Form::Records(mut records) => records.finish(context),
            Form::Events(_) => {
                let event = account.event() + "\n";
                context.screens.put(Place::Stdout, event.as_bytes());
                if self.summary == Summary::Json {
                    self.summary = Summary::None;
                }
            }
            Form::Lines(_) => {}
        }
        match self.summary {
            Summary::Table => {
                for (tone, line) in account.lines(self.verbosity) {
                    context.say(tone, &line);
                }
            }
            Summary::Json => {
                let event = account.event() + "\n";
                context.screens.put(Place::Stderr, event.as_bytes());
            }
            Summary::None => {}
        }
        context.screens.settle();
    }
}

/// Returns why nothing more is shown, where the thread can't say it itself.
pub(super) fn ended_early() -> io::Error {
    io::Error::other("the thread `display` ended early")
}
