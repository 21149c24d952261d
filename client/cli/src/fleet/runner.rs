//! The run itself: what happens at the targets goes to the display, to the record and to the account.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rcmd_client::fleet::{Fleet, FleetEvent, FleetRules, FleetRun as Run, Stop};
use rcmd_client::{Config, Notice, Outcome, Report, Signal, Started, Target, WireError};
use rustix::process::{getpid, kill_process};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::account::{Account, Stopped};
use super::assignment::{Assignment, Maker, Task};
use super::display::{Display, Place, Shown, Standing};
use super::escalation::{Escalation, Step};
use crate::interrupts::until;
use crate::output::sink;
use crate::signals::{Caught, FAREWELL, LAST_OUTPUT, Signals};
use crate::{status, text};

/// Between two states of the live line.
const PAUSE: Duration = Duration::from_millis(100);

/// A run on its way.
pub(super) struct Runner {
    fleet: Fleet,
    maker: Arc<Maker>,
    /// What this pass over the targets does, in the order of the fleet's targets.
    tasks: Arc<[(usize, Task)]>,
    /// What remains to be started after this pass, and how it ended in this one.
    next: Vec<(usize, Task, Box<Report>)>,
    run: Run,
    feed: mpsc::Sender<Shown>,
    waiting: VecDeque<Shown>,
    display: Display,
    account: Account,
    escalation: Escalation,
    standing: Standing,
    /// Since when each target runs that has not ended.
    running: HashMap<usize, Instant>,
    /// When to show the standing again.
    due: Option<Instant>,
    stopped: Option<Stopped>,
    /// What could not be written here.
    failure: Option<(Place, io::Error)>,
    reader_gone: bool,
}

/// What wakes the run up.
enum Wake {
    Room,
    FleetEvent(Option<(usize, FleetEvent)>),
    Caught(Caught),
    Escalated,
    Due,
    Failed((Place, io::Error)),
}

impl Runner {
    /// Begins. Must be called inside a tokio runtime.
    pub(super) fn new(
        config: &Config,
        rules: FleetRules,
        input: Option<File>,
        assignment: Assignment,
        (display, feed): (Display, mpsc::Sender<Shown>),
        account: Account,
    ) -> Self {
        let Assignment { targets, kept, tasks, maker } = assignment;
        let mut fleet = Fleet::new(config).rules(rules);
        if let Some(input) = input {
            fleet = fleet.input(input);
        }
        let tasks: Arc<[_]> = tasks.into();
        let run = begin(&fleet, &maker, &tasks);
        let mut runner = Self {
            fleet,
            maker,
            tasks,
            next: Vec::new(),
            run,
            feed,
            waiting: VecDeque::new(),
            display,
            account,
            escalation: Escalation::default(),
            standing: Standing { total: targets.len(), ..Standing::default() },
            running: HashMap::new(),
            due: None,
            stopped: None,
            failure: None,
            reader_gone: false,
        };
        for (index, report) in kept {
            runner.end(index, report, false);
        }
        runner
    }

    /// Runs to the end of each target, prints what remains, and returns the exit status.
    pub(super) async fn carry_out(mut self, mut signals: Signals) -> u8 {
        loop {
            match self.wake(&mut signals).await {
                Wake::Room => {}
                Wake::FleetEvent(Some((place, event))) => self.handle_event(place, event),
                Wake::FleetEvent(None) if self.begin_next() => {}
                Wake::FleetEvent(None) => break,
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
            }
        }
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
            event = self.run.next(), if self.waiting.is_empty() => Wake::FleetEvent(event),
            caught = signals.next() => Wake::Caught(caught),
            () = until(self.escalation.timeout()) => Wake::Escalated,
            () = until(self.due) => Wake::Due,
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
                self.show(Shown::Output { index, stream, chunk, held: Box::new(()) });
            }
            // Its place in a queue interests nobody: others run.
            FleetEvent::Notice(Notice::Queued(_)) => {}
            FleetEvent::Notice(notice) => {
                self.show(Shown::Note { index: Some(index), text: notice.to_string() });
            }
            FleetEvent::Retried(failure) => {
                let text = format!("{}; trying again", failure.message);
                self.show(Shown::Note { index: Some(index), text });
            }
            FleetEvent::Ended { report, held_back } => {
                self.running.remove(&index);
                // After a signal nothing begins any more, so that this is its end.
                let again = self.again(task, &report, held_back);
                match again.filter(|_| self.escalation.first().is_none()) {
                    Some(attempt) => self.next.push((index, Task::Start { attempt }, report)),
                    None => self.handle_end(index, report, held_back),
                }
            }
            _ => {}
        }
    }

    /// Returns the attempt under which a command is started that was to be taken up.
    fn again(&self, task: Task, report: &Report, held_back: Option<Stop>) -> Option<u32> {
        let Task::Attach { attempt, again, .. } = task else { return None };
        match report.outcome {
            // Its host never started it: under the same key it still starts at most once.
            Outcome::NotStarted if held_back.is_none() && never_started(report) => Some(attempt),
            Outcome::Unknown => again,
            _ => None,
        }
    }

    fn handle_end(&mut self, index: usize, report: Box<Report>, held_back: Option<Stop>) {
        if let Some(why) = held_back {
            let stopped = match why {
                Stop::Canary | Stop::Failures => Some(Stopped::Failures),
                Stop::Deadline => Some(Stopped::Deadline),
                // The signal says it.
                Stop::Caller => None,
            };
            self.stopped = self.stopped.or(stopped);
        }
        self.maker.ended(index, &report);
        self.end(index, report, held_back.is_some());
    }

    fn end(&mut self, index: usize, report: Box<Report>, held_back: bool) {
        self.standing.done += 1;
        let well = report.outcome == Outcome::Exited && report.code == Some(0);
        self.standing.failed += usize::from(!well);
        self.account.add(index, &report, held_back);
        self.touch();
        self.show(Shown::Ended { index, report });
    }

    fn show(&mut self, shown: Shown) {
        if !self.reader_gone {
            self.waiting.push_back(shown);
        }
    }

    /// Has the standing shown soon.
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
                self.interrupted();
            }
            Some(Step::Pass(signal)) => {
                self.run.stop();
                self.run.signal(signal);
                self.interrupted();
            }
            Some(Step::Kill) => self.run.kill(),
        }
    }

    fn interrupted(&mut self) {
        for (index, _, report) in std::mem::take(&mut self.next) {
            self.handle_end(index, report, None);
        }
        let now = Instant::now();
        let mut running: Vec<_> =
            self.running.iter().map(|(index, since)| (*index, now - *since)).collect();
        running.sort_unstable();
        let begun = self.standing.done + running.len();
        let waiting = self.standing.total.saturating_sub(begun);
        self.show(Shown::Interrupted { running, waiting });
    }

    async fn suspend(&mut self) {
        self.run.suspend();
        sleep(FAREWELL).await;
        // It can't fail on ourselves; it returns when we were continued.
        let _ = kill_process(getpid(), rustix::process::Signal::STOP);
        self.run.resume();
    }

    fn handle_failure(&mut self, (place, error): (Place, io::Error)) {
        let gone = error.kind() == io::ErrorKind::BrokenPipe;
        match place {
            // As for one host, nobody need read standard error.
            Place::Screen(sink::Place::Stderr) if gone => return,
            Place::Screen(sink::Place::Stdout) if gone => self.reader_gone = true,
            _ => self.failure = Some((place, error)),
        }
        self.waiting.clear();
        let step = self.escalation.handle_signal(Signal::TERM, Instant::now());
        self.act(step);
    }

    /// Begins what remains after a pass. Returns whether there is anything.
    fn begin_next(&mut self) -> bool {
        if self.next.is_empty() {
            return false;
        }
        let next = std::mem::take(&mut self.next);
        self.tasks = next.into_iter().map(|(index, task, _)| (index, task)).collect();
        self.run = begin(&self.fleet, &self.maker, &self.tasks);
        true
    }

    async fn conclude(self, mut signals: Signals) -> u8 {
        let Self { feed, waiting, display, account, escalation, failure, reader_gone, .. } = self;
        let signal = escalation.first().filter(|_| failure.is_none() && !reader_gone);
        let stopped = match signal {
            Some(signal) => Some(Stopped::Signal(signal)),
            None => self.stopped,
        };
        let status = account.status(stopped);
        let finishing = async move {
            for shown in waiting {
                if feed.send(shown).await.is_err() {
                    break;
                }
            }
            drop(feed);
            display.finish(account).await
        };
        let mut finishing = std::pin::pin!(finishing);
        let finished = if escalation.is_impatient() {
            timeout(LAST_OUTPUT, finishing).await.unwrap_or(Ok(()))
        } else {
            loop {
                tokio::select! {
                    finished = &mut finishing => break finished,
                    caught = signals.next() => if let Caught::Ending(signal) = caught {
                        // Nothing runs any more: it is for this process alone.
                        let finished = timeout(LAST_OUTPUT, finishing).await;
                        match finished {
                            Ok(finished) => break finished,
                            Err(_) => return signal.exit_status(),
                        }
                    }
                }
            }
        };
        let failure = failure.or(finished.err());
        match failure {
            Some((Place::Screen(sink::Place::Stdout), error))
                if error.kind() == io::ErrorKind::BrokenPipe =>
            {
                status::READER_GONE
            }
            _ if reader_gone => status::READER_GONE,
            Some((Place::Screen(sink::Place::Stderr), error))
                if error.kind() == io::ErrorKind::BrokenPipe =>
            {
                status
            }
            Some((place, error)) => {
                text::say(&text::failure(None, &unwritten(&place, &error)));
                status::LOCAL_IO
            }
            None => status,
        }
    }
}

fn begin(fleet: &Fleet, maker: &Arc<Maker>, tasks: &Arc<[(usize, Task)]>) -> Run {
    let targets: Vec<Target> = tasks.iter().filter_map(|(index, _)| maker.target(*index)).collect();
    let (maker, tasks) = (Arc::clone(maker), Arc::clone(tasks));
    fleet.run(targets, move |place, client| match tasks.get(place) {
        Some(task) => maker.make(*task, client),
        None => Err(lost()),
    })
}

fn lost() -> WireError {
    WireError::new(rcmd_client::ErrorKind::Lost, "there is no such host")
}

fn unwritten(place: &Place, error: &io::Error) -> WireError {
    let message = format!("cannot write {}: {error}", place.name());
    WireError::new(rcmd_client::ErrorKind::LocalIo, message)
        .hint("What still ran was ended; make room here, or send the output elsewhere.")
}

/// Returns whether the host says that it never started a command that was to be taken up: what keeps it
/// from being reached says nothing of that.
fn never_started(report: &Report) -> bool {
    report.error.as_ref().is_some_and(|error| error.kind == rcmd_client::ErrorKind::NeverStarted)
}
