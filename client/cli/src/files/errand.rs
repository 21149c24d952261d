//! One host of a transfer, from its connection to its end.

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;

use rcmd_client::{Child, Client, Config, ErrorKind, Outcome, Report, Started, WireError};
use rcmd_transfer::Cancel;
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::Instant;

use super::engine::{Engine, Part};
use super::local::Sources;
use super::pipe;
use super::run::pace::Pace;
use super::scratch::Scratch;
use super::shown::Shown;
use super::tally::HostTally;
use super::verdict::{EngineEnd, HostEnd};
use super::watcher::Watcher;
use crate::notices::LinkNotices;
use crate::settings::Verbosity;
use crate::settings::copy::{CopyHost, CopyRun};
use crate::signals::PATIENCE;
use crate::signals::interrupts::until;

mod asking;

/// What all hosts are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) stage: Stage,
    /// True while this process is about to be stopped.
    pub(super) is_suspended: bool,
}

/// How far the user has gone with ending it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    #[default]
    Go,
    /// No host begins any more, and what runs ends in order.
    Stop,
    /// What runs is killed.
    Kill,
}

/// What all hosts of a transfer have in common.
pub(super) struct Errands {
    pub(super) run: Arc<CopyRun>,
    pub(super) config: Config,
    pub(super) sources: Sources,
    pub(super) scratch: Scratch,
    /// The names of the folders of the hosts of a set.
    pub(super) folders: Vec<String>,
    pub(super) feed: mpsc::Sender<Shown>,
    pub(super) tallies: Arc<[Arc<HostTally>]>,
    pub(super) pace: Pace,
    pub(super) word: watch::Receiver<Word>,
}

impl Errands {
    /// Transfers with one host, shows its end, and returns it with the host's place.
    ///
    /// # Cancel safety
    /// Dropped, it has what runs on the host killed.
    pub(super) async fn carry_out(self: Arc<Self>, place: usize) -> (usize, u8) {
        let began = Instant::now();
        let tally = self.tallies.get(place).cloned().unwrap_or_default();
        tally.begin();
        let (end, client) = match self.run.hosts.get(place) {
            Some(host) => self.transfer(place, host, &tally).await,
            None => (HostEnd::unreached("", lost()), None),
        };
        tally.end();
        let ended = (place, end.status);
        let shown = Shown::Ended { host: place, end: Box::new(end), took: began.elapsed() };
        // Where nobody shows anything any more, the end of it is known elsewhere.
        let _ = self.feed.send(shown).await;
        if let Some(client) = client {
            client.close().await;
        }
        ended
    }

    /// Transfers with the only host, shows nothing of its end, and returns it.
    ///
    /// # Cancel safety
    /// As of [`Errands::carry_out`].
    pub(super) async fn one(&self) -> HostEnd {
        let tally = self.tallies.first().cloned().unwrap_or_default();
        let Some(host) = self.run.hosts.first() else { return HostEnd::unreached("", lost()) };
        let (end, client) = self.transfer(0, host, &tally).await;
        if let Some(client) = client {
            client.close().await;
        }
        end
    }

    async fn transfer(
        &self,
        place: usize,
        host: &CopyHost,
        tally: &Arc<HostTally>,
    ) -> (HostEnd, Option<Client>) {
        let mut word = self.word.clone();
        let client = tokio::select! {
            client = Client::connect(&self.config, &host.target) => client,
            // Nothing was sent yet.
            _ = word.wait_for(|word| word.stage > Stage::Go) => {
                return (HostEnd::unreached(&host.name, held_back()), None);
            }
        };
        let client = match client {
            Ok(client) => client,
            Err(error) => {
                let failure = self.or_no_port(error.into());
                return (HostEnd::unreached(&host.name, failure), None);
            }
        };
        let end = match self.begin(place, host, &client, tally).await {
            Ok(attending) => attending.attend(word).await,
            Err(end) => *end,
        };
        (end, Some(client))
    }

    /// Sends the command off, and starts the engine.
    ///
    /// # Errors
    /// The end, if it does not come that far.
    async fn begin<'a>(
        &'a self,
        place: usize,
        host: &'a CopyHost,
        client: &'a Client,
        tally: &Arc<HostTally>,
    ) -> Result<Attending<'a>, Box<HostEnd>> {
        let unreached = |failure| Box::new(HostEnd::unreached(&host.name, failure));
        let spawned = self.command(host, client).spawn().await;
        let mut child = spawned.map_err(|error| unreached(WireError::from(error)))?;
        // Send the start before anything else is done here.
        yield_now().await;
        let (part, asked) = self.part(place);
        let show = &self.run.show;
        let watcher = Watcher {
            host: place,
            feed: self.feed.clone(),
            tally: Arc::clone(tally),
            asked,
            prefix: self.prefix(),
            shows_all: show.json || show.itemize,
        };
        if matches!(part, Part::Receives(_)) && self.run.is_set {
            // Folders are made only for a host that has begun.
            if child.started().await.is_none() {
                return Err(Box::new(HostEnd::of(child.wait().await, None, "")));
            }
        }
        match Engine::start(part, self.run.options.clone(), watcher) {
            Ok(engine) => Ok(Attending { errands: self, place, host, client, child, engine }),
            Err(error) => {
                child.cancel();
                let message = format!("cannot start a thread: {error}");
                let failure = WireError::new(ErrorKind::Resources, message);
                Err(unreached(failure.hint("Have fewer hosts at a time, with -f N.")))
            }
        }
    }
}

/// A transfer that runs.
struct Attending<'a> {
    errands: &'a Errands,
    place: usize,
    host: &'a CopyHost,
    client: &'a Client,
    child: Child,
    engine: Engine,
}

/// A message of the host about its part, in this order.
enum Step {
    Started(Option<Started>),
    Ended(Box<Report>),
}

impl Attending<'_> {
    /// Brings bytes to and fro until engine and host have ended.
    async fn attend(self, mut word: watch::Receiver<Word>) -> HostEnd {
        let Self { errands, place, host, client, mut child, engine } = self;
        let Engine { from_host, to_host, cancel, mut end } = engine;
        let mut notices = child.notices();
        let mut hears_notices = true;
        let mut link = LinkNotices::default();
        let pace = &errands.pace;
        let mut input = pin!(pipe::pump_out(to_host, child.stdin.take(), pace));
        let mut is_sending = true;
        let mut output = Some(Box::pin(pipe::pump_in(child.stdout.take(), from_host, pace)));
        let mut said = pin!(pipe::hear(child.stderr.take()));
        let mut heard: Option<String> = None;
        let (mut has_started, mut job) = (false, None);
        let mut report: Option<Report> = None;
        let mut engine_end: Option<Option<EngineEnd>> = None;
        // When the host's part is killed, and when nobody waits for its end any more.
        let (mut kill_at, mut leave_at): (Option<Instant>, Option<Instant>) = (None, None);
        let mut seen = Word::default();
        loop {
            tokio::select! {
                step = next(&mut child, has_started), if report.is_none() => {
                    link.handle_start();
                    match step {
                        Step::Started(started) => {
                            has_started = true;
                            job = started.map(|started| started.job);
                        }
                        Step::Ended(ended) => {
                            if ended.outcome != Outcome::Exited {
                                // The engine comes to no good end any more, and may be far from noticing.
                                cancel.cancel();
                                leave_at = Instant::now().checked_add(Child::LAST_WORD);
                            }
                            report = Some(*ended);
                        }
                    }
                }
                () = &mut input, if is_sending => is_sending = false,
                () = or_never(&mut output) => output = None,
                text = &mut said, if heard.is_none() => heard = Some(text),
                ended = &mut end, if engine_end.is_none() => {
                    let ended = ended.ok();
                    if ended.as_ref().is_none_or(|ended| ended.transfer.is_err()) {
                        // Nothing of it is read any more, and it ends with its input.
                        output = None;
                        kill_at = kill_at.or_else(|| Instant::now().checked_add(PATIENCE));
                    }
                    engine_end = Some(ended);
                }
                notice = notices.next(), if hears_notices => match notice {
                    Some(notice) => {
                        let text = link.handle(&notice, Instant::now());
                        errands.note(place, text).await;
                    }
                    None => hears_notices = false,
                },
                () = until(link.timeout()) => {
                    let text = link.handle_timeout(Instant::now());
                    errands.note(place, text).await;
                }
                Ok(()) = word.changed() => {
                    let now = *word.borrow_and_update();
                    obey(now, seen, client, &child, &cancel);
                    if now.stage > Stage::Go && seen.stage == Stage::Go {
                        // The engine hears of it when it waits for nothing any more.
                        output = None;
                        kill_at = kill_at.or_else(|| Instant::now().checked_add(PATIENCE));
                    }
                    if now.stage == Stage::Kill {
                        leave_at = leave_at.or_else(|| Instant::now().checked_add(Child::LAST_WORD));
                    }
                    seen = now;
                }
                () = until(kill_at), if kill_at.is_some() => {
                    child.cancel();
                    kill_at = None;
                    leave_at = leave_at.or_else(|| Instant::now().checked_add(Child::LAST_WORD));
                }
                () = until(leave_at), if leave_at.is_some() => break,
            }
            if report.is_some() && engine_end.is_some() && heard.is_some() {
                break;
            }
        }
        let said = heard.unwrap_or_default();
        let report = report.unwrap_or_else(|| Report::unconfirmed(&host.name, job));
        let mut end = HostEnd::of(report, engine_end.flatten(), &said);
        if seen.stage > Stage::Go {
            end.interrupt();
        }
        if errands.may_make_its_place() {
            end.add_landing();
        }
        if end.summary.is_some() && end.failure.is_none() {
            for line in said.lines() {
                errands.note(place, Some(line.to_owned())).await;
            }
        }
        end
    }
}

impl Errands {
    async fn note(&self, host: usize, text: Option<String>) {
        if let Some(text) = text.filter(|_| self.run.show.verbosity > Verbosity::Quiet) {
            let _ = self.feed.send(Shown::Note { host, text }).await;
        }
    }
}

/// Carries out what has changed for all hosts.
fn obey(now: Word, before: Word, client: &Client, child: &Child, cancel: &Cancel) {
    match (now.is_suspended, before.is_suspended) {
        (true, false) => client.suspend(),
        (false, true) => client.resume(),
        _ => {}
    }
    if now.stage > Stage::Go {
        cancel.cancel();
    }
    if now.stage == Stage::Kill {
        child.cancel();
    }
}

/// Waits for the next message of the host.
///
/// # Cancel safety
/// Nothing is lost if the future is dropped.
async fn next(child: &mut Child, has_started: bool) -> Step {
    if has_started {
        Step::Ended(Box::new(child.wait().await))
    } else {
        Step::Started(child.started().await)
    }
}

/// Waits for what is there, or for ever.
async fn or_never<F: Future<Output = ()>>(future: &mut Option<Pin<Box<F>>>) {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

/// Returns the failure of a host whose turn did not come.
pub(super) fn held_back() -> WireError {
    WireError::new(ErrorKind::HeldBack, "it was interrupted before its turn came")
}

fn lost() -> WireError {
    WireError::new(ErrorKind::Lost, "there is no such host")
}
