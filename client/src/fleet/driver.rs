//! The task of a run: it starts targets in their turn and counts their ends.

use std::{collections::HashMap, sync::Arc};

use rcmd_protocol::outcome::{ErrorKind, Outcome, WireError};
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::Instant,
};

use super::{
    FleetEvent,
    control::Control,
    errand::{Done, Errands, held_back},
    rules::{FleetRules, Stop},
    schedule::Schedule,
};
use crate::{link::connection::until, report::Report};

/// The task of a run.
pub(super) struct Driver {
    errands: Arc<Errands>,
    schedule: Schedule,
    running: JoinSet<Done>,
    /// The target of each task.
    places: HashMap<Id, usize>,
    control: watch::Sender<Control>,
    deadline: Option<Instant>,
    /// An end that waits for the caller.
    end: Option<(usize, FleetEvent)>,
}

impl Driver {
    /// Returns the task of a run over these targets.
    pub(super) fn new(
        errands: Errands,
        rules: &FleetRules,
        control: watch::Sender<Control>,
    ) -> Self {
        Self {
            schedule: Schedule::new(errands.targets.len(), rules),
            errands: Arc::new(errands),
            running: JoinSet::new(),
            places: HashMap::new(),
            control,
            // A time past the end of the clock is none.
            deadline: rules.deadline.and_then(|limit| Instant::now().checked_add(limit)),
            end: None,
        }
    }

    /// Runs until each target has ended. What still runs when it is dropped is killed on its host.
    pub(super) async fn run(mut self) {
        let mut control = self.errands.control.clone();
        let events = self.errands.events.clone();
        loop {
            while let Some(target) = self.schedule.begin(Instant::now()) {
                let task = self.running.spawn(self.errands.one(target).carry_out());
                self.places.insert(task.id(), target);
            }
            if self.end.is_none() {
                self.end = self.schedule.hold_back().map(|(target, why)| self.held(target, why));
            }
            if self.end.is_none() && self.schedule.is_over() {
                return;
            }
            tokio::select! {
                place = events.reserve(), if self.end.is_some() => {
                    if let (Ok(place), Some(end)) = (place, self.end.take()) {
                        place.send(end);
                    }
                }
                Some(done) = self.running.join_next_with_id(), if self.end.is_none() => {
                    self.handle_end(done);
                }
                // It fails when the run was dropped, and then this task is aborted too.
                Ok(()) = control.changed() => {
                    if let Some(why) = control.borrow_and_update().stopped() {
                        self.schedule.stop(why);
                    }
                }
                () = until(self.schedule.timeout()) => {}
                () = until(self.deadline) => {
                    self.deadline = None;
                    self.schedule.stop(Stop::Deadline);
                    self.control.send_modify(|control| control.stop(Stop::Deadline));
                }
            }
        }
    }

    fn handle_end(&mut self, done: Result<(Id, Done), JoinError>) {
        let now = Instant::now();
        match done {
            Ok((id, Done { target, failed })) => {
                self.places.remove(&id);
                self.schedule.end(target, failed, now);
            }
            // A fault of this program; its target has an end all the same.
            Err(error) => {
                let Some(target) = self.places.remove(&error.id()) else { return };
                self.schedule.end(target, true, now);
                let message = format!("the task of this host is lost: {error}");
                let failure = WireError::new(ErrorKind::LocalIo, message);
                let host = self.errands.host(target);
                // Where hosts are only asked nothing can have run.
                let outcome =
                    if self.errands.asks { Outcome::NotStarted } else { Outcome::Unknown };
                let report = Box::new(Report::without_job(&host, outcome, failure));
                self.end = Some((target, FleetEvent::Ended { report, held_back: None }));
            }
        }
    }

    /// Returns the end of a target that was never begun.
    fn held(&self, target: usize, why: Stop) -> (usize, FleetEvent) {
        let report = Box::new(held_back(&self.errands.host(target), why));
        (target, FleetEvent::Ended { report, held_back: Some(why) })
    }
}
