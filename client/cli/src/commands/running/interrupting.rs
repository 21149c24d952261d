//! The effects of our signals: nothing further begins, and commands that run are told.

use rcmd_client::Signal;
use tokio::time::Instant;

use super::ending::Abort;
use super::{CommandsRun, Scope};
use crate::commands::interruption::Wanted;
use crate::commands::one::{self, Told};
use crate::fleet::escalation::announcement;
use crate::signals::{self, Action};

impl CommandsRun<'_> {
    /// Carries out an interrupt, and tells of it.
    pub(super) async fn handle_interruption(&mut self, wanted: Wanted) {
        match wanted {
            Wanted::Stop(signal) => {
                self.controls.tell(Told::Stop);
                self.interrupted.get_or_insert(signal);
                self.hold_back();
                self.tell_standing(None);
            }
            Wanted::Act(action) => {
                self.act(action);
                self.tell_action(action);
            }
            Wanted::Suspend => {
                let clients: Vec<_> = self.dispatch.connections().collect();
                signals::suspend(clients).await;
            }
        }
    }

    /// Carries out what is to be done about what runs.
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
        if self.scope.is_many() {
            self.stop_reading();
            self.dispatch.stop(one::interrupted());
        }
        for (id, task) in self.connecting.drain() {
            task.abort();
            self.dispatch.connected(id, Err(one::interrupted()));
        }
    }

    /// Reads no further line. Of those that were not read the account tells.
    pub(super) fn stop_reading(&mut self) {
        if let Some(lines) = self.lines.take()
            && let Scope::Many { account, .. } = &mut self.scope
        {
            account.set_unread(lines.left());
        }
    }

    /// Prints what was done about what runs. On one host it is as of a single command: a person at a terminal
    /// hears of a signal that is ignored, and of the kill.
    fn tell_action(&mut self, action: Action) {
        match action {
            Action::Pass(signal) if self.scope.is_many() => self.tell_standing(Some(signal)),
            _ => {
                let news = self.signal_notices.handle(action, Instant::now());
                self.tell_signal(news);
            }
        }
    }

    /// Prints what there is to be said of a signal, where somebody waits for it.
    pub(super) fn tell_signal(&self, news: Option<String>) {
        let is_wanted = self.scope.is_many() || self.progress.is_at_terminal();
        if let Some(news) = news.filter(|_| is_wanted && self.dispatch.running() > 0) {
            self.progress.cover_echo();
            self.progress.tell(&news);
        }
    }

    /// Prints where the run stands at an interrupt; `passed` is the signal that what runs gets.
    fn tell_standing(&self, passed: Option<Signal>) {
        let progress = &self.progress;
        progress.cover_echo();
        progress.tell(&announcement("nothing further", passed));
        let running = self.dispatch.running();
        // Of a file the lines that were not read wait too.
        let left = self.tally.left().map(|left| left.saturating_sub(running as u64));
        let waiting = left.unwrap_or(self.dispatch.waiting());
        progress.tell(&format!("{}; {running} run; {waiting} wait and will not begin", self.tally));
    }
}
