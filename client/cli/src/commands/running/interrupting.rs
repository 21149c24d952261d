//! What follows from our signals: nothing further begins, and what runs is told.

use super::CommandsRun;
use super::ending::Abort;
use crate::commands::interruption::Wanted;
use crate::commands::one::{self, Told};
use crate::signals::{self, Action};

impl CommandsRun<'_> {
    pub(super) async fn handle_interruption(&mut self, wanted: Wanted) {
        match wanted {
            Wanted::Stop(signal) => {
                self.controls.tell(Told::Stop);
                self.interrupted.get_or_insert(signal);
                self.hold_back();
                self.tell_standing();
            }
            Wanted::Act(action) => self.act(action),
            Wanted::Suspend => {
                let clients: Vec<_> = self.dispatch.connections().collect();
                signals::suspend(clients).await;
            }
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        match action {
            // The first signal of a run on one host is always passed on.
            Action::Pass(signal) => {
                self.interrupted.get_or_insert(signal);
                self.hold_back();
                self.controls.tell(Told::Signal(signal));
            }
            Action::Kill => self.controls.tell(Told::Kill),
            Action::GiveUp(signal) => self.abort = Some(Abort::GivenUp(signal)),
        }
    }

    /// Begins nothing more. Over many hosts each line that waits ends so.
    pub(super) fn hold_back(&mut self) {
        if !self.scope.is_many() {
            return;
        }
        self.lines = None;
        self.dispatch.stop(one::interrupted());
        for (id, task) in self.connecting.drain() {
            task.abort();
            self.dispatch.connected(id, Err(one::interrupted()));
        }
    }

    /// Prints where the run stands at the first interrupt.
    fn tell_standing(&self) {
        let progress = &self.progress;
        progress.tell("interrupted: nothing further begins; again to interrupt what runs");
        let (running, waiting) = (self.dispatch.running(), self.dispatch.waiting());
        progress.tell(&format!("{}; {running} run; {waiting} wait and will not begin", self.tally));
    }
}
