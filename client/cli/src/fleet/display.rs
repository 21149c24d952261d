//! The output of a run over many hosts: one thread has standard output, standard error and all
//! files, and may wait for them; whoever runs the hosts never does.
//!
//! | module | holds |
//! | --- | --- |
//! | `settings` | what is to be shown |
//! | `worker` | the thread |
//! | `lines` | output line by line, each with its host |
//! | `fold`, `diff`, `collect` | each answer once; what is different; output until then |
//! | `records` | a record a host |
//! | `events` | `--json` |
//! | `outdir`, `results` | files |
//! | `standing` | the live line |
//! | `context` | what all forms share |
//! | `screen`, `place` | standard output and standard error; where writing fails |
//! | `renders`, `safe`, `copy` | bytes on their way to a screen |
//! | `kept`, `store` | output in bounded memory, then on disk |

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rcmd_client::hosts::HostTarget;
use rcmd_client::{Chunk, ErrorKind, Report, Signal, WireError};
use rcmd_protocol::frame::Stream;
use tokio::sync::{mpsc, oneshot};

use crate::fleet::account::Account;
use crate::output::sink;
use crate::terminal;

mod collect;
mod context;
mod copy;
mod diff;
mod events;
mod fold;
mod kept;
mod lines;
mod outdir;
mod place;
mod records;
mod renders;
mod results;
mod safe;
mod screen;
mod settings;
mod standing;
mod store;
#[cfg(test)]
mod tests;
mod worker;

pub(crate) use place::Place;
pub(crate) use records::Format;
pub(crate) use settings::{DisplayForm, DisplaySettings};
pub(crate) use standing::Standing;

use context::Context;
use place::Failures;
use screen::{Screen, Screens};
use store::Store;
use worker::{Worker, ended_early};

/// Things to be shown that wait for the thread. Few: what waits holds memory of the run.
const WAITING: usize = 64;

/// A message to the display; they come in the order in which things happen.
pub(crate) enum Shown {
    /// The process of a target runs.
    Started { index: usize, job: String, started_at: u64 },
    /// A piece of a target's output.
    Output { index: usize, stream: Stream, chunk: Chunk },
    /// A message of rcmd's own about a target, or about the run.
    Note { index: Option<usize>, text: String },
    /// A failure that does not stop the run.
    Warning(WireError),
    /// The end of a target; exactly one for each target of the run, or one of the next kind.
    Ended { index: usize, report: Box<Report> },
    /// The end of a target in an earlier process of this run. Where each target has its result it has this
    /// one; elsewhere it would look as if its command had run now, and printed nothing.
    Kept { index: usize, report: Box<Report> },
    /// A target's command is run again: what was shown and kept of its output was an earlier one's.
    Again { index: usize },
    /// The progress of the run, for the live line.
    Standing(Standing),
    /// This process is about to be stopped: the live line goes, and that is answered.
    Suspended(oneshot::Sender<()>),
    /// An interrupt that stopped the run: the signal that was passed on to what runs, if one was; which targets
    /// run now and how long; how many wait.
    Interrupted { passed: Option<Signal>, running: Vec<(usize, Duration)>, waiting: usize },
}

impl Shown {
    /// Returns whether it is the end of a target, which is written also where nobody reads any more.
    pub(crate) fn is_end(&self) -> bool {
        matches!(self, Self::Ended { .. } | Self::Kept { .. })
    }
}

/// The thread, and how its writing goes.
pub(crate) struct Display {
    failures: mpsc::Receiver<(Place, io::Error)>,
    account: oneshot::Sender<Account>,
    ended: oneshot::Receiver<()>,
}

impl Display {
    /// Makes all files, before anything starts, and starts the thread.
    ///
    /// # Errors
    /// A failure of kind `usage` if two settings exclude each other, of kind `local_io` if a file can't
    /// be made or the thread not be started.
    pub(crate) fn open(
        settings: DisplaySettings,
        targets: Arc<[HostTarget]>,
    ) -> Result<(Self, mpsc::Sender<Shown>), WireError> {
        let (told, failures) = Failures::channel();
        let [stdout, stderr] = [sink::Place::Stdout, sink::Place::Stderr].map(Screen::real);
        let apart = terminal::is_apart(sink::Place::Stdout.descriptor());
        let stderr_redraws = terminal::can_redraw(sink::Place::Stderr.descriptor());
        let has_live = stderr_redraws && settings.has_live(apart);
        let screens = Screens::new(stdout, stderr, has_live, told.clone());
        let raw = settings.raw;
        let context = Context { targets, screens, store: Store::default(), raw };
        let worker = Worker::new(settings, context, &told)?;
        Self::start(worker, failures)
    }

    /// Starts the thread.
    fn start(
        worker: Worker,
        failures: mpsc::Receiver<(Place, io::Error)>,
    ) -> Result<(Self, mpsc::Sender<Shown>), WireError> {
        let (shown, to_show) = mpsc::channel(WAITING);
        let (account, accounted) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("display".to_owned());
        let started = thread.spawn(move || {
            worker.run(to_show, accounted);
            // Whoever ran the command may have left already.
            let _ = end.send(());
        });
        started.map_err(|error| {
            let message = format!("cannot start the thread that shows output: {error}");
            WireError::new(ErrorKind::LocalIo, message)
                .hint("Nothing ran; this machine allows no further thread.")
        })?;
        Ok((Self { failures, account, ended }, shown))
    }

    /// Waits for the next place that can't be written any more; each is told once. A reader of standard
    /// output that went away is a broken pipe. The rest is still shown and written.
    ///
    /// # Cancel safety
    /// No failure is lost when it is dropped.
    pub(crate) async fn failed(&mut self) -> (Place, io::Error) {
        let failure = self.failures.recv().await;
        failure.unwrap_or_else(|| (Place::Screen(sink::Place::Stdout), ended_early()))
    }

    /// Waits until all that was sent is shown, what was kept for the end, and the account. The last sender
    /// must have been dropped.
    ///
    /// # Errors
    /// The first failure that [`Display::failed`] did not return.
    pub(crate) async fn finish(self, account: Account) -> Result<(), (Place, io::Error)> {
        let Self { mut failures, account: accounted, ended } = self;
        // If there is no thread any more, its end says so.
        let _ = accounted.send(account);
        let ended = ended.await;
        match failures.try_recv() {
            Ok(failure) => Err(failure),
            Err(_) if ended.is_err() => Err((Place::Screen(sink::Place::Stdout), ended_early())),
            Err(_) => Ok(()),
        }
    }
}
