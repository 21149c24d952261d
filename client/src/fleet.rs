//! One command on many hosts, from one process, with exactly one end for each host.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use rcmd_client::{Config, Target, fleet::{FleetEvent, Fleet, FleetRules}};
//!
//! let config = Config::from_dir("demo".as_ref())?;
//! let targets: Vec<Target> = vec!["web1".parse()?, "web2".parse()?];
//! let fleet = Fleet::new(&config).rules(FleetRules { max_failures: Some(0), ..FleetRules::default() });
//! let mut run = fleet.run(targets, |_, client| {
//!     let mut command = client.exec("uptime");
//!     command.env("LC_ALL", "C");
//!     Ok(command)
//! });
//! while let Some((target, event)) = run.next().await {
//!     match event {
//!         FleetEvent::Output { chunk, .. } => println!("{target}: {:?}", chunk.bytes),
//!         FleetEvent::Ended { report, .. } => println!("{target}: {}", report.outcome),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | module | holds |
//! | --- | --- |
//! | `rules` | how many at once, in which steps, and what ends a run early |
//! | `budget` | how the memory of a run is shared by those that run at once |
//! | `schedule` | whose turn it is, without clock and network |
//! | `driver` | the task that starts targets and counts their ends |
//! | `errand` | one target, from its connection to its end |
//! | `control` | what all targets are told: stop, a signal, the deadline |

use std::{fmt, fs::File, sync::Arc};

use rcmd_protocol::{frame::Stream, outcome::WireError, signal::Signal};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    client::Client,
    command::Command,
    config::Config,
    error::Error,
    link::{feed::Chunk, notices::Notice, progress::Started},
    report::Report,
    target::Target,
};

mod budget;
mod control;
mod driver;
mod errand;
mod rules;
mod schedule;

pub use rules::{FleetRules, Stop};

use control::Control;
use driver::Driver;
use errand::Errands;

/// Events that may wait for the caller. Past it the hosts' output is not read any further.
const EVENTS: usize = 64;

/// Makes a target's command, given its place among the targets and its connection.
type MakeCommand = dyn Fn(usize, &Client) -> Result<Command, Error> + Send + Sync;

/// A credential and a set of rules for commands on many hosts.
#[derive(Clone)]
pub struct Fleet {
    config: Config,
    rules: FleetRules,
    input: Option<Arc<File>>,
    asks: bool,
}

/// An event at a target.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum FleetEvent {
    /// The target's turn has come: it is being connected to.
    Begun,
    /// The target's process runs.
    Started(Started),
    /// A piece of the command's output.
    Output {
        /// The stream that was written to: standard output or standard error.
        stream: Stream,
        /// The piece, and its place in the stream.
        chunk: Chunk,
    },
    /// A notice for a person who waits, such as that the host is busy.
    Notice(Notice),
    /// The target would permit the command, which was only asked about ([`Fleet::dry_run`]). Contains what
    /// it would run, as whom and by which rule, for people.
    Permitted(String),
    /// The target could not be begun, for this reason, and is tried again.
    Retried(WireError),
    /// The target ended. Nothing more comes of it, and each target has exactly one of these.
    Ended {
        /// The way in which the command ended, or the reason why it never ran.
        report: Box<Report>,
        /// The reason why the run itself held the target back; `None` if it did not.
        held_back: Option<Stop>,
    },
}

impl Fleet {
    /// Returns a fleet that is reached with this credential, under the default rules.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { config: config.clone(), rules: FleetRules::default(), input: None, asks: false }
    }

    /// Sets how a run goes over its targets.
    #[must_use]
    pub fn rules(mut self, rules: FleetRules) -> Self {
        self.rules = rules;
        self
    }

    /// Sends the whole of a regular file to the standard input of each command whose
    /// [`Command::stdin`] is piped. The file is read at its offsets, so that it is read from its
    /// beginning for each; it must not change meanwhile.
    #[must_use]
    pub fn input(mut self, file: File) -> Self {
        self.input = Some(Arc::new(file));
        self
    }

    /// Asks each host whether it would permit the command, and runs nothing, as
    /// [`Command::dry_run`] does. A target whose command would be permitted ends as not started and
    /// without an error, after [`FleetEvent::Permitted`]; it has not failed.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.asks = true;
        self
    }

    /// Begins to run a command on each target; `command` makes it when the target's connection
    /// stands, and may refuse with [`Error::Request`], which ends that target as not started.
    ///
    /// Must be called inside a tokio runtime with time and I/O enabled. All that runs ends with the
    /// [`FleetRun`]: dropped before its end, it kills the commands on their hosts. As many run at once as
    /// [`FleetRules::at_once`] says.
    pub fn run(
        &self,
        targets: Vec<Target>,
        command: impl Fn(usize, &Client) -> Result<Command, Error> + Send + Sync + 'static,
    ) -> FleetRun {
        let (events, coming) = mpsc::channel(EVENTS);
        let (control, controlled) = watch::channel(Control::default());
        let compress = self.config.compress;
        let rules = FleetRules { fanout: self.rules.at_once(compress), ..self.rules.clone() };
        let errands = Errands {
            config: self.config.clone(),
            targets,
            command: Box::new(command),
            input: self.input.clone(),
            asks: self.asks,
            retries: rules.retries,
            credit: rules.credit(compress),
            events,
            control: controlled,
        };
        let driver = Driver::new(errands, &rules, control.clone());
        FleetRun { events: coming, control, task: tokio::spawn(driver.run()) }
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// A run over many targets: a stream of what happens at them. Dropped, it kills what still runs.
///
/// Events wait for their caller: one that takes none holds up the output of all hosts, and nothing
/// grows.
#[derive(Debug)]
pub struct FleetRun {
    events: mpsc::Receiver<(usize, FleetEvent)>,
    control: watch::Sender<Control>,
    task: JoinHandle<()>,
}

impl FleetRun {
    /// Waits for the next event and returns it with the place of its target; none when each target has
    /// had its end.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn next(&mut self) -> Option<(usize, FleetEvent)> {
        self.events.recv().await
    }

    /// Begins no further target. Those that are being connected to are given up; what runs goes on.
    pub fn stop(&self) {
        self.control.send_modify(|control| control.stop(Stop::Caller));
    }

    /// Sends a signal to each command that runs.
    pub fn signal(&self, signal: Signal) {
        self.control.send_modify(|control| control.signal(signal));
    }

    /// Begins no further target, and kills what runs. A host that does not confirm the end within 2 s
    /// ends as unknown.
    pub fn kill(&self) {
        self.control.send_modify(Control::kill);
    }

    /// Announces to the hosts that this process is about to be stopped: its silence means nothing then. The
    /// frames leave as soon as the runtime runs on.
    pub fn suspend(&self) {
        self.control.send_modify(|control| control.suspend(true));
    }

    /// Announces to the hosts that this process goes on.
    pub fn resume(&self) {
        self.control.send_modify(|control| control.suspend(false));
    }
}

impl Drop for FleetRun {
    fn drop(&mut self) {
        self.task.abort();
    }
}
