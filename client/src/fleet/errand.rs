//! One target of a run, from its connection to its end.

use std::{fs::File, sync::Arc, time::Duration};

use rcmd_protocol::outcome::{ErrorKind, Outcome, WireError};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use super::{FleetEvent, MakeCommand, control::Control, rules::Stop};
use crate::{
    child::Child, client::Client, config::Config, error::Error, link::backoff::spread,
    report::Report, target::Target,
};

mod ask;
mod attending;
mod input;

/// The pause before a target is tried again, which doubles up to the longest, and is made longer at random.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The parts that the targets of a run have in common.
pub(super) struct Errands {
    pub(super) config: Config,
    pub(super) targets: Vec<Target>,
    pub(super) command: Box<MakeCommand>,
    pub(super) input: Option<Arc<File>>,
    /// True if hosts are asked what they would permit, and run nothing.
    pub(super) asks: bool,
    pub(super) retries: u32,
    pub(super) credit: u64,
    pub(super) events: mpsc::Sender<(usize, FleetEvent)>,
    pub(super) control: watch::Receiver<Control>,
}

/// A target that ended.
pub(super) struct Done {
    pub(super) target: usize,
    /// True if the command did not exit with 0 (in a dry run: if it would not be permitted).
    pub(super) failed: bool,
}

impl Errands {
    /// Returns the name of one target.
    pub(super) fn host(&self, target: usize) -> String {
        self.targets.get(target).map(ToString::to_string).unwrap_or_default()
    }

    /// Returns the errand at one target.
    pub(super) fn one(self: &Arc<Self>, place: usize) -> Errand {
        let control = self.control.clone();
        let seen = *control.borrow();
        Errand { place, run: Arc::clone(self), control, seen }
    }
}

/// The errand at one target.
pub(super) struct Errand {
    place: usize,
    run: Arc<Errands>,
    control: watch::Receiver<Control>,
    /// The last word that was carried out.
    seen: Control,
}

/// The end of a target, and why the run itself kept it from beginning, if it did.
struct End {
    report: Report,
    held_back: Option<Stop>,
}

impl From<Report> for End {
    fn from(report: Report) -> Self {
        Self { report, held_back: None }
    }
}

impl Errand {
    /// Returns what the schedule needs of the target once its end was told.
    ///
    /// # Cancel safety
    /// Dropped, it has the command killed on its host.
    pub(super) async fn carry_out(mut self) -> Done {
        self.tell(FleetEvent::Begun).await;
        let (mut end, mut client) = self.attempt().await;
        for before in 0..self.run.retries {
            if end.held_back.is_some() || !may_help(&end.report) {
                break;
            }
            let failure = end.report.error.clone();
            self.tell(FleetEvent::Retried(failure.unwrap_or_else(lost))).await;
            close(client.take()).await;
            tokio::select! {
                () = sleep(pause_after(before)) => {}
                _ = self.stopped() => break,
            }
            (end, client) = self.attempt().await;
        }
        let End { report, held_back } = end;
        let well = report.has_succeeded() || self.run.asks && report.error.is_none();
        self.tell(FleetEvent::Ended { report: Box::new(report), held_back }).await;
        // Only now: a host that says nothing more takes seconds of this.
        close(client).await;
        Done { target: self.place, failed: !well }
    }

    async fn tell(&self, event: FleetEvent) {
        // Where nobody listens the run was dropped, and this task with it.
        let _ = self.run.events.send((self.place, event)).await;
    }

    /// Waits until the run begins no further target, and returns why.
    async fn stopped(&mut self) -> Stop {
        let stopped = self.control.wait_for(|control| control.stopped().is_some()).await;
        stopped.ok().and_then(|control| control.stopped()).unwrap_or(Stop::Caller)
    }

    /// Returns the end of one attempt, and the connection, which is to be closed.
    async fn attempt(&mut self) -> (End, Option<Client>) {
        let run = Arc::clone(&self.run);
        let Some(target) = run.targets.get(self.place) else {
            return (Report::without_job("", Outcome::NotStarted, lost()).into(), None);
        };
        let host = target.to_string();
        let client = tokio::select! {
            client = Client::connect(&run.config, target) => client,
            // Nothing was sent yet.
            why = self.stopped() => {
                let report = held_back(&host, why);
                return (End { report, held_back: Some(why) }, None);
            }
        };
        let unstarted =
            |error: Error| Report::without_job(&host, Outcome::NotStarted, error.into()).into();
        match client {
            Err(error) => (unstarted(error), None),
            Ok(client) if self.run.asks => (self.ask(&host, &client).await, Some(client)),
            Ok(client) => {
                let end = match self.start(&client).await {
                    Err(error) => unstarted(error),
                    Ok(child) => self.attend(&host, &client, child).await,
                };
                (end, Some(client))
            }
        }
    }

    async fn start(&self, client: &Client) -> Result<Child, Error> {
        let mut command = (self.run.command)(self.place, client)?;
        command.credit(self.run.credit).spawn().await
    }
}

/// Returns how long a target is left alone that was tried again so many times before.
fn pause_after(retries: u32) -> Duration {
    spread(PAUSE.saturating_mul(1 << retries.min(10)).min(LONGEST_PAUSE))
}

async fn close(client: Option<Client>) {
    if let Some(client) = client {
        client.close().await;
    }
}

/// Returns whether trying again can't run anything twice, and may end otherwise.
fn may_help(report: &Report) -> bool {
    let kind = report.error.as_ref().map(|error| &error.kind);
    let passing = matches!(
        kind,
        Some(
            ErrorKind::Unreachable
                | ErrorKind::Tls
                | ErrorKind::Busy
                | ErrorKind::Resources
                | ErrorKind::Lost
                | ErrorKind::ServerStopped
        )
    );
    report.outcome == Outcome::NotStarted && report.retry_safe && passing
}

fn lost() -> WireError {
    WireError::new(ErrorKind::Lost, "nothing is known of it")
}

/// Returns the report of a target that the run itself did not begin.
pub(super) fn held_back(host: &str, why: Stop) -> Report {
    let failure = WireError::new(ErrorKind::HeldBack, why.why());
    Report::without_job(host, Outcome::NotStarted, failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_that_failed_together_are_not_tried_again_all_at_once() {
        for (retries, least) in [(0, 1), (1, 2), (2, 4), (3, 8), (4, 10), (u32::MAX, 10)] {
            let least = Duration::from_secs(least);
            let mut pauses: Vec<_> = (0..100).map(|_| pause_after(retries)).collect();
            assert!(pauses.iter().all(|pause| (least..=least * 3 / 2).contains(pause)));
            pauses.sort_unstable();
            pauses.dedup();
            assert!(pauses.len() > 90, "{pauses:?}");
        }
    }
}
