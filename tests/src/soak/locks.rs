//! Holders of a lock that are killed in every way, each with the next one waiting: never do two hold it.
//! The commands themselves see to it: each looks for processes of the holders before it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Judged;
use crate::proc;
use crate::sink::Sink;
use crate::{Random, RunningClient, World, eventually};

/// The lines for the shell by which a holder leaves processes behind when nobody ends them. `$P`
/// runs for long, after it has put its number where the next holder looks for it.
const SHAPES: [&str; 4] = [
    "exec $P",
    "$P & $P & $P & wait",
    "trap '' TERM HUP INT PIPE; setsid $P & $P",
    "(setsid sh -c '$P & exit' </dev/null >/dev/null 2>&1 &); trap '' HUP PIPE; $P",
];

/// A way in which a holder comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Death {
    /// The client is killed, and the grace ends the holder.
    Client,
    /// The client is interrupted twice, so that it cancels.
    Interrupt,
    /// The first process of the holder is killed on the host.
    Leader,
    /// The time limit of the command ends it.
    Timeout,
    /// The server is killed, and started again.
    Server,
}

const DEATHS: [Death; 5] =
    [Death::Client, Death::Interrupt, Death::Leader, Death::Timeout, Death::Server];

/// The figures of all rounds.
#[derive(Debug, Default)]
pub struct Figures {
    /// The number of holders that were killed, by the way of their end.
    pub killed: BTreeMap<Death, u64>,
    /// Processes that were seen beside a holder and belonged to another one.
    pub wrong: Vec<String>,
    /// The longest time from a death to the next holder.
    pub slowest: Duration,
    /// The time from the first round to the last.
    pub elapsed: Duration,
}

impl Judged for Figures {
    /// Returns whether there never were two holders.
    fn are_good(&self) -> bool {
        self.wrong.is_empty()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { killed, wrong, slowest, elapsed } = self;
        write!(f, "killed {} holders: {killed:?}", killed.values().sum::<u64>())?;
        write!(f, "; two at once: {}", wrong.len())?;
        write!(f, ", slowest {:.1} s, {:.1} s", slowest.as_secs_f32(), elapsed.as_secs_f32())?;
        wrong.iter().try_for_each(|wrong| write!(f, "\n{wrong}"))
    }
}

/// Kills so many holders.
///
/// # Panics
///
/// When the lock is not given on.
#[must_use]
pub fn run(rounds: u64, seed: u64) -> Figures {
    let began = Instant::now();
    let mut scene = Scene::new(seed);
    let mut figures = Figures::default();
    let mut holder = scene.contender();
    holder.await_lock();
    for _ in 0..rounds {
        let died = Instant::now();
        let mut next = scene.end(&mut holder);
        next.await_lock();
        figures.slowest = figures.slowest.max(died.elapsed());
        *figures.killed.entry(holder.death).or_default() += 1;
        holder = next;
    }
    drop(holder);
    // The last one looks for what the one before it has left, too.
    let last = scene.world.shell(scene.line("true")).option("--lock").option("soak");
    last.option("--lock-wait").option("1h").run().assert_code(0);
    figures.wrong = scene.wrong();
    figures.elapsed = began.elapsed();
    figures
}

struct Scene {
    world: World,
    folder: PathBuf,
    random: Random,
}

/// A client whose command has the lock or waits for it.
struct Contender {
    client: RunningClient,
    death: Death,
    /// The first process of its command, once it has the lock.
    leader: u32,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let world = World::builder().config("grace = \"300ms\"").start();
        let folder = world.scratch("holders");
        fs::create_dir_all(folder.join("pids")).expect("a folder of our own");
        let process = folder.join("process");
        fs::write(&process, "#!/bin/sh\necho $RCMD_JOB > $DIR/pids/$$\nexec sleep 600\n")
            .and_then(|()| fs::set_permissions(&process, fs::Permissions::from_mode(0o755)))
            .expect("a program of our own");
        Self { world, folder, random: Random::new(seed) }
    }

    /// Returns a line that looks for others, says that it has the lock, and goes on in some shape.
    fn line(&self, shape: &str) -> String {
        format!(
            "export DIR={}; export P=$DIR/process
            for file in $DIR/pids/*; do
                environ=/proc/${{file##*/}}/environ
                if grep -qz ^RCMD_JOB= $environ 2>/dev/null &&
                    ! grep -qz ^RCMD_JOB=$RCMD_JOB $environ 2>/dev/null
                then echo \"${{file##*/}} lives beside $RCMD_JOB\" >> $DIR/wrong; fi
                rm -f $file
            done
            echo $RCMD_JOB > $DIR/pids/$$
            echo $$
            {shape}",
            self.folder.display()
        )
    }

    fn contender(&mut self) -> Contender {
        let death = *self.random.choose(&DEATHS);
        // What ignores TERM would only make it wait for KILL.
        let shapes = if death == Death::Timeout { &SHAPES[..2] } else { &SHAPES[..] };
        let shape = *self.random.choose(shapes);
        let line = self.line(shape);
        let command = self.world.shell(line).option("--lock").option("soak");
        let command = command.option("--lock-wait").option("1h").stdout(Sink::Pipe);
        let command = match death {
            Death::Timeout => command.option("--timeout").option("100ms"),
            _ => command,
        };
        Contender { client: command.stderr(Sink::Pipe).spawn(), death, leader: 0 }
    }

    /// Ends a holder in its way; gives the one that waits.
    fn end(&mut self, holder: &mut Contender) -> Contender {
        if holder.death == Death::Server {
            self.world.kill_server();
            self.world.start_server();
            return self.contender();
        }
        if holder.death == Death::Timeout {
            // It may not have come to the lock yet, and nobody else may be there before it.
            eventually("its time is up", || !holder.client.runs());
            return self.contender();
        }
        let mut next = self.contender();
        next.await_queue();
        match holder.death {
            Death::Client => holder.client.signal(Signal::KILL),
            Death::Interrupt => {
                // Two of a kind may come as one.
                holder.client.signal(Signal::INT);
                holder.client.signal(Signal::QUIT);
            }
            Death::Leader => proc::signal(holder.leader, Signal::KILL),
            Death::Timeout | Death::Server => {}
        }
        next
    }

    fn wrong(&self) -> Vec<String> {
        let told = fs::read_to_string(self.folder.join("wrong")).unwrap_or_default();
        told.lines().map(str::to_owned).collect()
    }
}

impl Contender {
    /// Waits until its command runs, which has the lock then. One whose time is short may have none to
    /// say so.
    fn await_lock(&mut self) {
        if self.death == Death::Timeout {
            return;
        }
        self.leader = self.client.read_line().parse().expect("the number of a process");
    }

    /// Waits until it is told that it has to wait.
    fn await_queue(&mut self) {
        let mut said = BufReader::new(self.client.stderr.take().expect("a pipe"));
        let mut line = String::new();
        said.read_line(&mut line).expect("its standard error");
        assert!(line.contains("waiting for its turn or its lock"), "{line}");
        self.client.stderr = Some(said.into_inner());
    }
}
