//! The run itself: what happens at the targets goes to the display, to the record and to the account.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rcmd_client::fleet::{Fleet, FleetEvent, FleetRules, FleetRun as Run, Stop};
use rcmd_client::{Config, Error, ErrorKind, Notice, Report, Signal, Started, Target, WireError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::account::{Account, Stopped};
use super::assignment::{Assignment, Maker, Task};
use super::display::{Display, Place, Shown, Standing};
use super::escalation::{Escalation, LAST_ENDS, Step};
use crate::output::sink;
use crate::signals::interrupts::until;
use crate::signals::{self, Caught, Signals};

mod ending;
mod taken_up;

use taken_up::{is_answer, not_taken_up};

/// The time between two states of the live line.
const PAUSE: Duration = Duration::from_millis(100);

/// A run on its way.
pub(super) struct Runner {
    fleet: Fleet,
    maker: Arc<Maker>,
    /// The tasks of this pass over the targets, in the order of the fleet's targets.
    tasks: Arc<[(usize, Task)]>,
    /// The tasks to be started after this pass, which takes up what was begun before; and the end of each in
    /// this one, if it was taken up.
    next: Vec<(usize, Task, Option<Box<Report>>)>,
    rules: FleetRules,
    /// The end of the time of the whole run.
    deadline: Option<Instant>,
    run: Run,
    feed: mpsc::Sender<Shown>,
    waiting: VecDeque<Shown>,
    display: Display,
    /// Failures of the record.
    warnings: mpsc::Receiver<WireError>,
    account: Account,
    escalation: Escalation,
    standing: Standing,
    /// The targets that run, each with the time at which it began.
    running: HashMap<usize, Instant>,
    /// The time at which to show the standing again.
    due: Option<Instant>,
    stopped: Option<Stopped>,
    /// The place that could not be written here, and why.
    failure: Option<(Place, io::Error)>,
    reader_gone: bool,
    /// The time after which nobody waits for ends that a kill should have brought.
    last_moment: Option<Instant>,
}

/// An event that wakes the run up.
enum Wake {
    Room,
    Event(Option<(usize, FleetEvent)>),
    Caught(Caught),
    Escalated,
    Due,
    Failed((Place, io::Error)),
    Warned(WireError),
    LastMoment,
}

impl Runner {
    /// Begins the run. Must be called inside a tokio runtime.
    pub(super) fn new(
        config: &Config,
        rules: FleetRules,
        input: Option<File>,
        assignment: Assignment,
        (display, feed): (Display, mpsc::Sender<Shown>),
        account: Account,
    ) -> Self {
        let Assignment { targets, kept, tasks, maker, warnings } = assignment;
        let mut fleet = Fleet::new(config).rules(rules.clone());
        if let Some(input) = input {
            fleet = fleet.input(input);
        }
        if maker.asks() {
            fleet = fleet.dry_run();
        }
        let deadline = rules.deadline.and_then(|limit| Instant::now().checked_add(limit));
        // What was begun before is taken up first, and stops nothing: it may have failed long ago.
        let (taken_up, starts): (Vec<_>, Vec<_>) =
            tasks.into_iter().partition(|(_, task)| matches!(task, Task::Attach { .. }));
        let (tasks, next) = match taken_up.is_empty() {
            true => (starts, Vec::new()),
            false => {
                let stopless = FleetRules { batch: None, canary: 0, max_failures: None, ..rules };
                fleet = fleet.rules(stopless);
                (taken_up, starts.into_iter().map(|(index, task)| (index, task, None)).collect())
            }
        };
        let tasks: Arc<[_]> = tasks.into();
        let run = begin(&fleet, &maker, &tasks);
        let mut runner = Self {
            fleet,
            maker,
            tasks,
            next,
            rules,
            deadline,
            run,
            feed,
            waiting: VecDeque::new(),
            display,
            warnings,
            account,
            escalation: Escalation::default(),
            standing: Standing { total: targets.len(), ..Standing::default() },
            running: HashMap::new(),
            due: None,
            stopped: None,
            failure: None,
            reader_gone: false,
            last_moment: None,
        };
        for (index, report) in kept {
            runner.count(index, &report, false);
            runner.show(Shown::Kept { index, report });
        }
        runner
    }

    /// Runs to the end of each target, prints what remains, and returns the exit status.
    pub(super) async fn carry_out(mut self, mut signals: Signals) -> u8 {
        loop {
            match self.wake(&mut signals).await {
                Wake::Room => {}
                Wake::Event(Some((place, event))) => self.handle_event(place, event),
                Wake::Event(None) if self.begin_next() => {}
                Wake::Event(None) | Wake::LastMoment => break,
                Wake::Caught(Caught::Ending(signal)) => {
                    let step = self.escalation.handle_signal(signal, Instant::now());
                    self.act(step);
                }
                Wake::Caught(Caught::Suspend) => self.suspend().await,
                Wake::Escalated => {
                    let step = self.escalation.handle_timeout(Instant::now());
                    self.act(step);
                }
                Wake::Due => self.show_standing(),
                Wake::Failed(failure) => self.handle_failure(failure),
                Wake::Warned(failure) => self.show(Shown::Warning(failure)),
            }
        }
        self.end_the_rest();
        self.conclude(signals).await
    }

    async fn wake(&mut self, signals: &mut Signals) -> Wake {
        tokio::select! {
            place = self.feed.reserve(), if !self.waiting.is_empty() => {
                match (place, self.waiting.pop_front()) {
                    (Ok(place), Some(shown)) => place.send(shown),
                    // Nobody shows anything any more; why, the display says.
                    _ => self.waiting.clear(),
                }
                Wake::Room
            }
            // Nobody waits for a slow reader any more after a kill.
            event = self.run.next(), if self.waiting.is_empty() || self.escalation.is_impatient() => {
                Wake::Event(event)
            }
            () = until(self.last_moment) => Wake::LastMoment,
            caught = signals.next() => Wake::Caught(caught),
            () = until(self.escalation.timeout()) => Wake::Escalated,
            () = until(self.due) => Wake::Due,
            Some(failure) = self.warnings.recv() => Wake::Warned(failure),
            failure = self.display.failed(), if self.failure.is_none() && !self.reader_gone => {
                Wake::Failed(failure)
            }
        }
    }

    fn handle_event(&mut self, place: usize, event: FleetEvent) {
        let Some(&(index, task)) = self.tasks.get(place) else { return };
        match event {
            FleetEvent::Begun => {
                self.running.insert(index, Instant::now());
                self.touch();
            }
            FleetEvent::Started(Started { job, note, started_at }) => {
                self.show(Shown::Started { index, job, started_at });
                if let Some(note) = note {
                    self.show(Shown::Note { index: Some(index), text: note });
                }
            }
            FleetEvent::Output { stream, chunk } => {
                self.show(Shown::Output { index, stream, chunk });
            }
            // Its place in a queue interests nobody: others run.
            FleetEvent::Notice(Notice::Queued(_)) => {}
            FleetEvent::Notice(notice) => {
                self.show(Shown::Note { index: Some(index), text: notice.to_string() });
            }
            FleetEvent::Permitted(text) => self.show(Shown::Note { index: Some(index), text }),
            FleetEvent::Retried(failure) => {
                let text = format!("{}; trying again", failure.message);
                self.show(Shown::Note { index: Some(index), text });
            }
            FleetEvent::Ended { report, held_back } => {
                self.running.remove(&index);
                // After a signal nothing begins any more, so that this is its end.
                let again = self.again(task, &report, held_back);
                let again = again.filter(|_| self.escalation.first().is_none());
                match (again, task) {
                    (Some(attempt), _) => {
                        self.next.push((index, Task::Start { attempt }, Some(report)));
                    }
                    (None, Task::Attach { .. }) if !is_answer(&report) => {
                        self.note_stop(held_back);
                        self.end(index, Box::new(not_taken_up(*report)), false);
                    }
                    (None, _) => self.handle_end(index, report, held_back),
                }
            }
            _ => {}
        }
    }

    fn handle_end(&mut self, index: usize, report: Box<Report>, held_back: Option<Stop>) {
        self.note_stop(held_back);
        self.maker.ended(index, &report);
        if let Some(error) = report.error.as_ref().filter(|_| self.maker.asks()) {
            self.show(Shown::Note { index: Some(index), text: error.message.clone() });
        }
        self.end(index, report, held_back.is_some());
    }

    fn note_stop(&mut self, held_back: Option<Stop>) {
        let stopped = match held_back {
            Some(Stop::Canary | Stop::Failures) => Some(Stopped::Failures),
            Some(Stop::Deadline) => Some(Stopped::Deadline),
            // Of the caller's stop the signal tells.
            Some(Stop::Caller) | None => None,
        };
        // Of two reasons the one that leaves less certain, as with ends.
        if self.stopped.is_none() || stopped == Some(Stopped::Deadline) {
            self.stopped = stopped;
        }
    }

    fn end(&mut self, index: usize, report: Box<Report>, held_back: bool) {
        self.count(index, &report, held_back);
        self.touch();
        self.show(Shown::Ended { index, report });
    }

    fn count(&mut self, index: usize, report: &Report, held_back: bool) {
        self.standing.done += 1;
        let well = report.has_succeeded() || self.maker.asks() && report.error.is_none();
        self.standing.failed += usize::from(!well);
        self.account.add(index, report, held_back);
    }

    /// Shows something. Where no reader is left, or nobody waits for one, ends alone are shown: they go to
    /// files, too.
    fn show(&mut self, shown: Shown) {
        let wanted = !self.reader_gone && !self.escalation.is_impatient();
        if wanted || shown.is_end() {
            self.waiting.push_back(shown);
        }
    }

    /// Asks for the standing to be shown soon.
    fn touch(&mut self) {
        self.due.get_or_insert(Instant::now() + PAUSE);
    }

    fn show_standing(&mut self) {
        let now = Instant::now();
        self.standing.running = self.running.len();
        let longest = self.running.iter().min_by_key(|(_, since)| **since);
        self.standing.slowest = longest.map(|(index, since)| (*index, now - *since));
        // While something runs its time goes on.
        self.due = (!self.running.is_empty()).then(|| now + 5 * PAUSE);
        // What finds no room is out of date when it does.
        let _ = self.feed.try_send(Shown::Standing(self.standing.clone()));
    }

    fn act(&mut self, step: Option<Step>) {
        match step {
            None => {}
            Some(Step::Stop) => {
                self.run.stop();
                self.interrupted(None);
            }
            Some(Step::Pass(signal)) => {
                self.run.stop();
                self.run.signal(signal);
                self.interrupted(Some(signal));
            }
            Some(Step::Kill) => {
                self.run.kill();
                self.last_moment = Instant::now().checked_add(LAST_ENDS);
                self.waiting.retain(Shown::is_end);
            }
        }
    }

    fn interrupted(&mut self, passed: Option<Signal>) {
        let now = Instant::now();
        let mut running: Vec<_> =
            self.running.iter().map(|(index, since)| (*index, now - *since)).collect();
        running.sort_unstable();
        let begun = self.standing.done + running.len();
        let waiting = self.standing.total.saturating_sub(begun);
        self.give_up_next(Stop::Caller);
        self.show(Shown::Interrupted { passed, running, waiting });
    }

    async fn suspend(&mut self) {
        self.run.suspend();
        let (hide, hidden) = oneshot::channel();
        if self.feed.try_send(Shown::Suspended(hide)).is_ok() {
            // The shell writes next; a display that waits for a terminal is not waited for.
            let _ = timeout(PAUSE, hidden).await;
        }
        signals::stop().await;
        self.run.resume();
        self.touch();
    }

    fn handle_failure(&mut self, (place, error): (Place, io::Error)) {
        let gone = error.kind() == io::ErrorKind::BrokenPipe;
        match place {
            // As for one host, nobody need read standard error.
            Place::Screen(sink::Place::Stderr) if gone => return,
            Place::Screen(sink::Place::Stdout) if gone => self.reader_gone = true,
            _ => self.failure = Some((place, error)),
        }
        self.waiting.retain(Shown::is_end);
        if let Some(Step::Pass(signal)) =
            self.escalation.handle_signal(Signal::TERM, Instant::now())
        {
            self.run.stop();
            self.run.signal(signal);
            self.give_up_next(Stop::Caller);
        }
    }
}

fn begin(fleet: &Fleet, maker: &Arc<Maker>, tasks: &Arc<[(usize, Task)]>) -> Run {
    let targets: Vec<Target> = tasks.iter().filter_map(|(index, _)| maker.target(*index)).collect();
    let (maker, tasks) = (Arc::clone(maker), Arc::clone(tasks));
    fleet.run(targets, move |place, client| match tasks.get(place) {
        Some(task) => maker.make(*task, client).map_err(Error::Request),
        None => Err(Error::Request(lost())),
    })
}

fn lost() -> WireError {
    WireError::new(ErrorKind::Lost, "there is no such host")
}
