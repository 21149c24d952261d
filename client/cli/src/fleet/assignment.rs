//! The task of each target, and the commands that carry it out.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcmd_client::hosts::HostTarget;
use rcmd_client::{Client, Command, ErrorKind, Report, StartId, Target, WireError};
use tokio::sync::mpsc;

use super::records::{Plan, Record, Recorded, now};
use super::resume::{Resume, Step};
use super::templates::Templates;
use crate::session;
use crate::settings::fleet::{FleetRun, NewFleetRun};
use crate::settings::{CommandInput, CommandOptions};
use crate::text::{self, Tone};

/// The task of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// The command is started, under the key of this attempt.
    Start { attempt: u32 },
    /// A command that was started before is taken up. It is started under the key of the attempt `again`
    /// if nobody knows what became of it; not without one.
    Attach { start: StartId, attempt: u32, again: Option<u32> },
}

/// The tasks of all targets of a run.
pub(super) struct Assignment {
    pub(super) targets: Arc<[HostTarget]>,
    /// The ends of targets that ended before and are left alone.
    pub(super) kept: Vec<(usize, Box<Report>)>,
    /// The others, by their places among the targets.
    pub(super) tasks: Vec<(usize, Task)>,
    pub(super) maker: Arc<Maker>,
    /// Failures of the record later on, to be shown beside the output.
    pub(super) warnings: mpsc::Receiver<WireError>,
}

impl Assignment {
    /// Returns the assignment of a run that begins, with its record. Without a record it warns.
    ///
    /// # Errors
    /// A usage failure when the command can't be made for each of the targets: nothing runs then.
    pub(super) fn new(run: &FleetRun, new: &NewFleetRun) -> Result<Self, WireError> {
        let NewFleetRun { targets, words, command, templates, .. } = new;
        let targets: Arc<[HostTarget]> = targets.clone().into();
        let read = Templates::read(words, &command.env, command.cwd.as_deref(), *templates);
        check(&read, &targets)?;
        let plan = Plan {
            command: words.clone(),
            env: command.env.clone(),
            cwd: command.cwd.clone(),
            templates: *templates,
            user: command.user.clone(),
            timeout: command.timeout,
            lock: command.lock.clone(),
            key: command.key.clone(),
            input: run.input.is_some(),
            targets: Arc::clone(&targets),
        };
        // Of what is only asked about there is nothing to resume.
        let record = (!run.dry_run).then(|| Record::create(run.layout.dir(), &plan)).transpose();
        let record = record.unwrap_or_else(|failure| {
            for warning in text::warning(&failure) {
                text::say(&text::line(Tone::Notice, &warning));
            }
            None
        });
        let tasks = (0..targets.len()).map(|index| (index, Task::Start { attempt: 1 })).collect();
        let (maker, warnings) =
            Maker::new(run, command.clone(), read, Arc::clone(&targets), record);
        Ok(Self { targets, kept: Vec::new(), tasks, maker: Arc::new(maker), warnings })
    }

    /// Returns the assignment of a run that was broken off; what to say and to end with if nothing is
    /// left to do.
    ///
    /// # Errors
    /// A usage failure when there is no such record, or it can't be resumed.
    pub(super) fn resumed(
        run: &FleetRun,
        id: &str,
        again: bool,
        busy_wait: Duration,
    ) -> Result<Result<Self, u8>, WireError> {
        let (mut record, recorded) = Record::open(run.layout.dir(), id)?;
        let resume = Resume::decide(&recorded, again, now())?;
        if let Some(nothing) = resume.nothing_left() {
            text::say(&text::line(Tone::Notice, &nothing.text));
            return Ok(Err(nothing.status));
        }
        record.resumed().map_err(|error| {
            unwritten(error).hint("Nothing ran; make room in the folder of --dir.")
        })?;
        let Recorded { plan, .. } = recorded;
        let options = CommandOptions {
            input: CommandInput::Empty,
            user: plan.user,
            cwd: plan.cwd,
            env: plan.env,
            timeout: plan.timeout,
            key: plan.key,
            busy_wait,
            lock: plan.lock,
        };
        let read =
            Templates::read(&plan.command, &options.env, options.cwd.as_deref(), plan.templates);
        check(&read, &plan.targets)?;
        let (mut kept, mut tasks) = (Vec::new(), Vec::new());
        for (index, step) in resume.steps.into_iter().enumerate() {
            match step {
                Step::Keep(report) => kept.push((index, report)),
                Step::Run { attempt } => tasks.push((index, Task::Start { attempt })),
                Step::Attach { sent, again } => {
                    let start = StartId { key: sent.key, digest: sent.digest };
                    tasks.push((index, Task::Attach { start, attempt: sent.attempt, again }));
                }
            }
        }
        let targets = plan.targets;
        let (maker, warnings) = Maker::new(run, options, read, Arc::clone(&targets), Some(record));
        Ok(Ok(Self { targets, kept, tasks, maker: Arc::new(maker), warnings }))
    }
}

/// Returns the failure of the whole run if the command can't be made for some hosts, each of which is
/// named on standard error.
fn check(templates: &Templates, targets: &[HostTarget]) -> Result<(), WireError> {
    templates.check(targets).map_err(|unfilled| {
        for line in &unfilled.lines {
            text::say(&text::line(Tone::Error, line));
        }
        unfilled.failure
    })
}

/// Makes the command of each target, and records that it is sent.
pub(super) struct Maker {
    /// True if hosts are only asked what they would permit.
    asks: bool,
    options: CommandOptions,
    timestamps: bool,
    templates: Templates,
    targets: Arc<[HostTarget]>,
    /// None if the run began without one.
    recording: Mutex<Option<Recording>>,
    warn: mpsc::Sender<WireError>,
}

/// A record, as long as the run has one.
struct Recording {
    record: Record,
    /// True once it could not be written. Keys still come from it: a resume that finds no trace of a start
    /// sends the same key, under which the host starts nothing twice.
    given_up: bool,
}

impl Maker {
    fn new(
        run: &FleetRun,
        options: CommandOptions,
        templates: Templates,
        targets: Arc<[HostTarget]>,
        record: Option<Record>,
    ) -> (Self, mpsc::Receiver<WireError>) {
        let timestamps = run.show.form.timestamps();
        let recording = Mutex::new(record.map(|record| Recording { record, given_up: false }));
        // One warning is all that there can be.
        let (warn, warnings) = mpsc::channel(1);
        let maker =
            Self { asks: run.dry_run, options, timestamps, templates, targets, recording, warn };
        (maker, warnings)
    }

    /// Returns whether hosts are only asked what they would permit.
    pub(super) fn asks(&self) -> bool {
        self.asks
    }

    /// Returns where a target is reached.
    pub(super) fn target(&self, index: usize) -> Option<Target> {
        self.targets.get(index).map(|target| target.target.clone())
    }

    /// Returns what a target is called.
    pub(super) fn host(&self, index: usize) -> String {
        self.targets.get(index).map(|target| target.name.to_string()).unwrap_or_default()
    }

    /// Returns the templates that are used.
    pub(super) fn templates(&self) -> Vec<String> {
        self.templates.used()
    }

    /// Returns the name of the run, if all of it is recorded.
    pub(super) fn run(&self) -> Option<String> {
        let recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = recording.as_ref().filter(|recording| !recording.given_up);
        whole.map(|recording| recording.record.id().to_string())
    }

    /// Makes the command of a target.
    ///
    /// # Errors
    /// The command can't be made, or no start of it may be sent.
    pub(super) fn make(
        &self,
        (index, task): (usize, Task),
        client: &Client,
    ) -> Result<Command, WireError> {
        let attempt = match task {
            Task::Attach { start, .. } => {
                let mut command = client.attach(&start);
                command.timestamps(self.timestamps);
                return Ok(command);
            }
            Task::Start { attempt } => attempt,
        };
        let Some(target) = self.targets.get(index) else {
            return Err(WireError::new(ErrorKind::Usage, "there is no such host"));
        };
        let filled = self.templates.fill(target)?;
        let options = CommandOptions {
            env: filled.env,
            cwd: filled.cwd,
            user: self.options.user.clone().or_else(|| target.user().map(Into::into)),
            ..self.options.clone()
        };
        let mut command = session::command(&options, self.timestamps, &filled.command, client);
        if let Some(key) = self.ask(|record| record.key_text(index, attempt)) {
            command.key(key);
            let StartId { key, digest } = command.start_id()?;
            self.write(|record| record.sending(index, attempt, key, now() * 1000, digest));
        } else if let Some(key) = &self.options.key {
            let key = [key.as_encoded_bytes(), b"\n", target.name.as_bytes()].concat();
            command.key(key);
        }
        Ok(command)
    }

    /// Records how a target ended.
    pub(super) fn ended(&self, index: usize, report: &Report) {
        self.write(|record| record.ended(index, report));
    }

    /// Returns what `ask` says of the record, if there is one, also if it can't be written any more: a resume
    /// knows starts by the keys that it gives, and none may have another one.
    fn ask<T>(&self, ask: impl FnOnce(&Record) -> T) -> Option<T> {
        let recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        recording.as_ref().map(|recording| ask(&recording.record))
    }

    /// Writes to the record, if there is one. One that can't be written is given up with a warning: the run goes
    /// on without.
    fn write(&self, write: impl FnOnce(&mut Record) -> io::Result<()>) {
        let mut recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(recording) = recording.as_mut().filter(|recording| !recording.given_up) else {
            return;
        };
        if let Err(error) = write(&mut recording.record) {
            recording.given_up = true;
            // Whoever shows it may have left already.
            let _ = self
                .warn
                .try_send(unwritten(error).hint("The run goes on; what follows can't be resumed."));
        }
    }
}

/// Returns the failure of a record that can't be written.
fn unwritten(error: io::Error) -> WireError {
    WireError::new(ErrorKind::LocalIo, format!("cannot write the record: {error}"))
}
