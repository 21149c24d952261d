//! A transfer with all its hosts: whose turn it is, signals, and the account.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rcmd_client::{Child, Config, Report, Signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::display::{self, Display};
use super::errand::{Errands, Stage, Word, held_back};
use super::local::Sources;
use super::scratch::Scratch;
use super::shown::{Account, Shown, ShownFile};
use super::verdict::{self, FAILED, HostEnd};
use crate::fleet::stems;
use crate::output::sink::Place;
use crate::settings::copy::CopyRun;
use crate::signals::interrupts::{Interrupt, Interrupts, until};
use crate::signals::{self, Action, LAST_OUTPUT, PATIENCE};
use crate::status;

mod descriptors;
pub(super) mod pace;

use pace::Pace;

/// Between two states of the live line.
const PAUSE: Duration = Duration::from_millis(100);

/// What a transfer needs to begin.
pub(super) struct Carrying {
    pub(super) run: Arc<CopyRun>,
    pub(super) config: Config,
    pub(super) sources: Sources,
    pub(super) scratch: Scratch,
    pub(super) display: Display,
    pub(super) feed: mpsc::Sender<Shown>,
}

impl Carrying {
    /// Transfers with all hosts, and returns the exit status.
    pub(super) async fn carry_out(self, mut interrupts: Interrupts) -> u8 {
        let mut transferring = match Transferring::begin(self).await {
            Ok(transferring) => transferring,
            Err(status) => return status,
        };
        transferring.attend(&mut interrupts).await;
        transferring.conclude(interrupts).await
    }
}

/// A transfer that runs.
struct Transferring {
    errands: Arc<Errands>,
    words: watch::Sender<Word>,
    display: Display,
    feed: mpsc::Sender<Shown>,
    tasks: JoinSet<(usize, u8)>,
    /// The next host to begin with.
    next: usize,
    fanout: usize,
    running: HashSet<usize>,
    account: Account,
    /// The status of the host that ended last, which is that of the only one.
    status: u8,
    interrupted: Option<Signal>,
    failure: Option<(Place, io::Error)>,
    /// When what runs is killed, and when nobody waits for it any more.
    kill_at: Option<Instant>,
    leave_at: Option<Instant>,
}

impl Transferring {
    /// Prepares the run, unless nothing is there to be sent, which is told.
    ///
    /// # Errors
    /// The exit status, if nothing is left to transfer.
    async fn begin(carrying: Carrying) -> Result<Self, u8> {
        let Carrying { run, config, sources, scratch, display, feed } = carrying;
        let (words, word) = watch::channel(Word::default());
        for (path, failure) in &sources.missing {
            let file = Box::new(ShownFile::missing(path.clone(), failure.clone()));
            let _ = feed.send(Shown::File { host: None, file }).await;
        }
        if let Some((_, failure)) = sources.missing.first() {
            for (place, host) in run.hosts.iter().enumerate() {
                // It was told, once for all hosts.
                let unreached = HostEnd::unreached(&host.name, verdict::wire(failure));
                let end = Box::new(HostEnd { failure: None, status: FAILED, ..unreached });
                let _ = feed.send(Shown::Ended { host: place, end, took: Duration::ZERO }).await;
            }
            display.finish(feed).await;
            return Err(FAILED);
        }
        let folders = stems(run.hosts.iter().map(|host| host.name.as_str()));
        let fanout = descriptors::fitted(run.fanout.min(run.hosts.len()), run.show.verbosity);
        let tallies = Arc::clone(&display.tallies);
        let (pace, feeding) = (Pace::new(run.rate), feed.clone());
        let errands =
            Errands { run, config, sources, scratch, folders, feed: feeding, tallies, pace, word };
        Ok(Self {
            errands: Arc::new(errands),
            words,
            display,
            feed,
            tasks: JoinSet::new(),
            next: 0,
            fanout,
            running: HashSet::new(),
            account: Account::default(),
            status: 0,
            interrupted: None,
            failure: None,
            kill_at: None,
            leave_at: None,
        })
    }

    fn stage(&self) -> Stage {
        self.words.borrow().stage
    }

    /// Begins with as many hosts as may run at once.
    fn begin_next(&mut self) {
        while self.stage() == Stage::Go
            && self.tasks.len() < self.fanout
            && self.next < self.errands.run.hosts.len()
        {
            self.tasks.spawn(Arc::clone(&self.errands).carry_out(self.next));
            self.running.insert(self.next);
            self.next += 1;
        }
    }

    /// Attends to all hosts until each has ended, or nobody waits any more.
    async fn attend(&mut self, interrupts: &mut Interrupts) {
        let mut ticks = interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.begin_next();
            if self.tasks.is_empty() {
                return;
            }
            tokio::select! {
                Some(ended) = self.tasks.join_next() => {
                    // A task that panicked stays among those that run, whose end is unknown.
                    if let Ok((place, status)) = ended {
                        self.running.remove(&place);
                        self.count(status);
                    }
                }
                interrupt = interrupts.next() => match interrupt {
                    Interrupt::Act(Action::Pass(signal)) => {
                        self.interrupted.get_or_insert(signal);
                        self.stop();
                    }
                    Interrupt::Act(Action::Kill) => self.kill(),
                    Interrupt::Act(Action::GiveUp(signal)) => {
                        self.interrupted.get_or_insert(signal);
                        return;
                    }
                    Interrupt::Suspend => self.suspend().await,
                },
                () = until(self.kill_at), if self.kill_at.is_some() => self.kill(),
                () = until(self.leave_at), if self.leave_at.is_some() => return,
                failure = self.display.failed(), if self.failure.is_none() => match failure {
                    Some(failure) => {
                        self.failure = Some(failure);
                        self.stop();
                    }
                    None => {
                        // The display is gone, which only a panic of it can be.
                        self.failure = Some((Place::Stdout, io::ErrorKind::BrokenPipe.into()));
                        self.stop();
                    }
                },
                _ = ticks.tick(), if self.display.has_live => {
                    // What finds no room is out of date when it does.
                    let _ = self.feed.try_send(Shown::Tick);
                }
            }
        }
    }

    fn stop(&mut self) {
        // What is under way reaches the hosts' ends of it in time.
        self.errands.pace.lift();
        self.words.send_modify(|word| word.stage = word.stage.max(Stage::Stop));
        self.kill_at = self.kill_at.or_else(|| Instant::now().checked_add(PATIENCE));
    }

    fn kill(&mut self) {
        self.kill_at = None;
        self.words.send_modify(|word| word.stage = Stage::Kill);
        // A moment more than each host has.
        let last = Child::LAST_WORD + LAST_OUTPUT;
        self.leave_at = self.leave_at.or_else(|| Instant::now().checked_add(last));
    }

    async fn suspend(&mut self) {
        self.words.send_modify(|word| word.is_suspended = true);
        display::hide(&self.feed).await;
        signals::stop().await;
        self.words.send_modify(|word| word.is_suspended = false);
    }

    fn count(&mut self, status: u8) {
        let Account { done, failed, timed_out, not_started, unknown } = &mut self.account;
        let number = match status {
            0 => done,
            status::TIMED_OUT => timed_out,
            status::NOT_STARTED => not_started,
            status::UNKNOWN => unknown,
            _ => failed,
        };
        *number += 1;
        self.status = status;
    }

    /// Reports the end of hosts that have none yet, and the account; waits for what is to be shown.
    async fn conclude(mut self, interrupts: Interrupts) -> u8 {
        self.tasks.abort_all();
        let mut ends = Vec::new();
        for (place, host) in self.errands.run.hosts.iter().enumerate() {
            if self.running.contains(&place) {
                ends.push((place, HostEnd::of(Report::unconfirmed(&host.name, None), None, "")));
            } else if place >= self.next {
                ends.push((place, HostEnd::unreached(&host.name, held_back())));
            }
        }
        for (_, end) in &ends {
            self.count(end.status);
        }
        let status = self.exit_status();
        let account = Shown::Account(self.account);
        let Self { errands, display, feed, tasks, words, interrupted, .. } = self;
        let is_set = errands.run.is_set;
        let showing = async move {
            for (host, end) in ends {
                let end = Box::new(end);
                let _ = feed.send(Shown::Ended { host, end, took: Duration::ZERO }).await;
            }
            if is_set {
                let _ = feed.send(account).await;
            }
            // Tasks that were aborted end with these.
            drop((tasks, errands, words));
            display.finish(feed).await;
        };
        if interrupted.is_some() {
            // After an interrupt nobody waits for a full pager either.
            let _ = timeout(LAST_OUTPUT, showing).await;
            return status;
        }
        match interrupts.unless_caught(None, showing).await {
            Ok(()) => status,
            Err(signal) => signal.exit_status(),
        }
    }

    fn exit_status(&self) -> u8 {
        let all = match self.errands.run.is_set {
            true => of_set(&self.account),
            false => self.status,
        };
        match (&self.failure, self.interrupted) {
            (Some((_, error)), _) if error.kind() == io::ErrorKind::BrokenPipe => {
                status::READER_GONE
            }
            (Some(_), _) => status::LOCAL_IO,
            // One that came when all was done changes nothing.
            (None, Some(signal)) if all != 0 => signal.exit_status(),
            (None, _) => all,
        }
    }
}

/// Returns the exit status of a set.
fn of_set(account: &Account) -> u8 {
    let Account { failed, timed_out, not_started, unknown, .. } = *account;
    let all = [
        (unknown, status::UNKNOWN),
        (not_started, status::NOT_STARTED),
        (timed_out, status::TIMED_OUT),
        (failed, FAILED),
    ];
    all.into_iter().find(|(count, _)| *count > 0).map_or(0, |(_, status)| status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_set_is_that_of_its_least_certain_end() {
        let account = |failed, timed_out, not_started, unknown| Account {
            done: 1,
            failed,
            timed_out,
            not_started,
            unknown,
        };
        assert_eq!(of_set(&account(0, 0, 0, 0)), 0);
        assert_eq!(of_set(&account(1, 0, 0, 0)), 1);
        assert_eq!(of_set(&account(1, 1, 0, 0)), 124);
        assert_eq!(of_set(&account(1, 1, 1, 0)), 125);
        assert_eq!(of_set(&account(1, 1, 1, 1)), 255);
    }
}
