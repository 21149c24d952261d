//! The crowd: many who want to run commands under one identity, in a process of their own, so that
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

use super::{Manners, connect};
use crate::eventually;

/// What the crowd does; each is answered by a line of its own once it is so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Calm,
    Crush,
    Over,
}

/// The crowd's process, as the one who measures has it.
pub(super) struct Crowd {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Crowd {
    /// Runs this program once more, as a crowd with the identity in `dir`.
    pub(super) fn gather(dir: &Path, target: &str, manners: Manners) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("our own program"));
        command.arg("fairness").arg("--crowd").arg(dir).args(["--target", target]);
        command.args(["--manners", manners.word()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process for the crowd");
        let orders = child.stdin.take().expect("its stdin");
        let answers = BufReader::new(child.stdout.take().expect("its stdout")).lines();
        Self { child, orders, answers }
    }

    fn answer(&mut self) -> String {
        self.answers.next().expect("an answer of the crowd").expect("its stdout can be read")
    }

    pub(super) fn calm(&mut self) {
        writeln!(self.orders, "calm").expect("an order to the crowd");
        assert_eq!(self.answer(), "calm");
    }

    pub(super) fn crush(&mut self) {
        writeln!(self.orders, "crush").expect("an order to the crowd");
        assert_eq!(self.answer(), "crush");
    }

    /// How many of its commands ran, and how many were turned away.
    pub(super) fn disperse(mut self) -> (u64, u64) {
        drop(self.orders);
        let line = self.answers.next().expect("a last word").expect("its stdout can be read");
        assert!(self.child.wait().expect("the crowd goes home").success());
        let (ran, busy) = line.split_once(' ').expect("two counts");
        (ran.parse().expect("a count"), busy.parse().expect("a count"))
    }
}

/// Is the crowd: does what standard input says, until that ends.
///
/// # Panics
///
/// When there is no connection, or a command fails otherwise than by being turned away.
pub fn be(dir: &Path, target: &str, manners: Manners) {
    let (phase, seen) = watch::channel(Phase::Calm);
    let under_way = Arc::<AtomicU64>::default();
    std::thread::scope(|scope| {
        let members = scope.spawn(|| live(dir, target, manners, seen, &under_way));
        for order in std::io::stdin().lines() {
            let order = order.expect("our own stdin");
            let way = || under_way.load(Ordering::SeqCst);
            if order == "crush" {
                phase.send_replace(Phase::Crush);
                eventually("a crush", || way() >= manners.crowd() / 2);
            } else {
                phase.send_replace(Phase::Calm);
                eventually("the crowd is calm", || way() == 0);
            }
            println!("{order}");
        }
        phase.send_replace(Phase::Over);
        let (ran, busy) = members.join().expect("the members");
        println!("{ran} {busy}");
    });
}

fn live(
    dir: &Path,
    target: &str,
    manners: Manners,
    phase: watch::Receiver<Phase>,
    way: &Arc<AtomicU64>,
) -> (u64, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let client = connect(dir, target).await;
        let mut members = JoinSet::new();
        for _ in 0..manners.crowd() {
            members.spawn(press(client.clone(), phase.clone(), Arc::clone(way), manners));
        }
        let counts = members.join_all().await;
        client.close().await;
        counts.iter().fold((0, 0), |(ran, busy), of| (ran + of.0, busy + of.1))
    })
}

/// One of the crowd: how many of its commands ran, and how many were turned away.
async fn press(
    client: Client,
    mut phase: watch::Receiver<Phase>,
    way: Arc<AtomicU64>,
    manners: Manners,
) -> (u64, u64) {
    let patience = match manners {
        Manners::Impatient => Duration::ZERO,
        Manners::Content | Manners::Patient => Duration::from_secs(3600),
    };
    let (mut ran, mut busy) = (0, 0);
    loop {
        let now = phase.wait_for(|phase| *phase != Phase::Calm).await.map(|phase| *phase);
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
