//! The neighbours: many who want to run commands under one identity, in a process of their own, so that
//! what they do costs the one who measures no more than it would on another machine's client.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rcmd_client::{Client, ErrorKind};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Behaviour, connect};
use crate::eventually;

/// A phase of the neighbours; each is answered by a line once it has begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Resting,
    Loading,
    Over,
}

/// The neighbours' process, as the one who measures has it.
pub(super) struct Neighbours {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Neighbours {
    /// Runs this program once more, as neighbours with the identity in `dir`.
    pub(super) fn start(dir: &Path, target: &str, behaviour: Behaviour) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("our own program"));
        command.arg("fairness").arg("--neighbours").arg(dir).args(["--target", target]);
        command.args(["--behaviour", behaviour.word()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process for the neighbours");
        let orders = child.stdin.take().expect("its stdin");
        let answers = BufReader::new(child.stdout.take().expect("its stdout")).lines();
        Self { child, orders, answers }
    }

    fn answer(&mut self) -> String {
        self.answers.next().expect("an answer of the neighbours").expect("its stdout can be read")
    }

    pub(super) fn rest(&mut self) {
        writeln!(self.orders, "rest").expect("an order to the neighbours");
        assert_eq!(self.answer(), "rest");
    }

    pub(super) fn load(&mut self) {
        writeln!(self.orders, "load").expect("an order to the neighbours");
        assert_eq!(self.answer(), "load");
    }

    /// Ends the neighbours. Returns the number of their commands that ran, and of those that were
    /// turned away.
    pub(super) fn finish(mut self) -> (u64, u64) {
        drop(self.orders);
        let line = self.answers.next().expect("a last word").expect("its stdout can be read");
        assert!(self.child.wait().expect("the neighbours end").success());
        let (ran, busy) = line.split_once(' ').expect("two counts");
        (ran.parse().expect("a count"), busy.parse().expect("a count"))
    }
}

/// Runs the neighbours' commands as standard input says, until that ends.
///
/// # Panics
///
/// When there is no connection, or a command fails otherwise than by being turned away.
pub fn run(dir: &Path, target: &str, behaviour: Behaviour) {
    let (phase, seen) = watch::channel(Phase::Resting);
    let under_way = Arc::<AtomicU64>::default();
    std::thread::scope(|scope| {
        let members = scope.spawn(|| run_all(dir, target, behaviour, seen, &under_way));
        for order in std::io::stdin().lines() {
            let order = order.expect("our own stdin");
            let way = || under_way.load(Ordering::SeqCst);
            if order == "load" {
                phase.send_replace(Phase::Loading);
                eventually("the load", || way() >= behaviour.wanted() / 2);
            } else {
                phase.send_replace(Phase::Resting);
                eventually("the neighbours rest", || way() == 0);
            }
            println!("{order}");
        }
        phase.send_replace(Phase::Over);
        let (ran, busy) = members.join().expect("the members");
        println!("{ran} {busy}");
    });
}

fn run_all(
    dir: &Path,
    target: &str,
    behaviour: Behaviour,
    phase: watch::Receiver<Phase>,
    way: &Arc<AtomicU64>,
) -> (u64, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let client = connect(dir, target).await;
        let mut members = JoinSet::new();
        for _ in 0..behaviour.wanted() {
            members.spawn(run_one(client.clone(), phase.clone(), Arc::clone(way), behaviour));
        }
        let counts = members.join_all().await;
        client.close().await;
        counts.iter().fold((0, 0), |(ran, busy), of| (ran + of.0, busy + of.1))
    })
}

/// Runs the commands of one neighbour: how many of its commands ran, and how many were turned away.
async fn run_one(
    client: Client,
    mut phase: watch::Receiver<Phase>,
    way: Arc<AtomicU64>,
    behaviour: Behaviour,
) -> (u64, u64) {
    let patience = match behaviour {
        Behaviour::RetriesAtOnce => Duration::ZERO,
        Behaviour::WithinLimits | Behaviour::RetriesWhenTold => Duration::from_secs(3600),
    };
    let (mut ran, mut busy) = (0, 0);
    loop {
        let now = phase.wait_for(|phase| *phase != Phase::Resting).await.map(|phase| *phase);
        if now.is_err() || matches!(now, Ok(Phase::Over)) {
            return (ran, busy);
        }
        way.fetch_add(1, Ordering::SeqCst);
        let mut command = client.exec("sleep");
        let report = command.arg("0.1").busy_wait(patience).status().await;
        way.fetch_sub(1, Ordering::SeqCst);
        match report.expect("a command that can be sent").error {
            None => ran += 1,
            Some(error) if error.kind == ErrorKind::Busy => busy += 1,
            Some(error) => panic!("{error}"),
        }
    }
}
