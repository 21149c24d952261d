//! Killed clients: whatever shape their commands have on the host, nothing of them is left.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Judged;
use crate::proc::{self, Process};
use crate::wait::{DEADLINE, poll_for};
use crate::{Proxy, Random, RunningClient, World, eventually};

/// A command that leaves processes of some shape on the host.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// The name of the shape.
    pub name: &'static str,
    /// A line for the shell; `MARK` stands for a number of seconds that is nobody else's, `DIR` for a
    /// folder of the test's own.
    pub line: &'static str,
    /// Processes that have the mark as an argument, once all are there.
    pub processes: usize,
}

/// Shapes of which nothing may be left.
pub const SHAPES: [Shape; 9] = [
    Shape { name: "a plain child", line: "exec sleep MARK", processes: 1 },
    Shape {
        name: "background children",
        line: "sleep MARK & sleep MARK & sleep MARK & wait",
        processes: 3,
    },
    Shape {
        name: "a child in a session of its own",
        line: "setsid sleep MARK & wait",
        processes: 1,
    },
    Shape {
        name: "a daemonised grandchild, forked twice",
        line: "(setsid sh -c 'sleep $0 & exit' MARK </dev/null >/dev/null 2>&1 &); exec sleep MARK",
        processes: 2,
    },
    Shape {
        name: "processes that ignore TERM, HUP and INT",
        line: "trap '' TERM HUP INT; setsid sleep MARK & sleep MARK; sleep MARK",
        processes: 2,
    },
    Shape {
        // Each process lives for a moment and leaves another, in a session of its own, behind.
        name: "a loop that forks and ends",
        line: "printf 'sleep 0.02; setsid sh \"$0\" \"$1\" & exit' > DIR/hop-MARK
            sh DIR/hop-MARK MARK </dev/null >/dev/null 2>&1 & exec sleep MARK",
        processes: 2,
    },
    Shape {
        // Another program file, another name in the process table, and a loop of short-lived children.
        name: "a process under another name",
        line: "cp \"$(readlink -f /proc/$$/exe)\" DIR/innocent-MARK
            (setsid DIR/innocent-MARK -c 'printf x >/proc/$$/comm; while :; do sleep 0.1; done' MARK \
            </dev/null >/dev/null 2>&1 &); exec sleep MARK",
        processes: 2,
    },
    Shape {
        name: "a pipeline under nohup",
        line: "nohup sh -c 'sleep $0 | sleep $0 | sleep $0' MARK </dev/null >/dev/null 2>&1 &
            exec sleep MARK",
        processes: 5,
    },
    Shape {
        name: "daemons of daemons, each ignoring signals",
        line: "(setsid sh -c 'trap \"\" TERM HUP; (setsid sleep $0 &); sleep $0 & exit' MARK \
            </dev/null >/dev/null 2>&1 &); exec sleep MARK",
        processes: 3,
    },
];

/// The one shape that is beyond finding without a cgroup: nothing of it says whose it is.
pub const ESCAPE: Shape = Shape {
    name: "a daemon that has cleared its environment",
    line: "(env -i setsid sleep MARK </dev/null >/dev/null 2>&1 &); exec sleep MARK",
    processes: 2,
};

/// Shapes that only a cgroup holds: nothing of them says whose they are.
pub const HELD: [Shape; 4] = [
    ESCAPE,
    Shape {
        name: "a daemon without environment that ignores signals",
        line: "(env -i setsid sh -c 'trap \"\" TERM HUP INT; (setsid sleep $0 &); sleep $0' MARK \
            </dev/null >/dev/null 2>&1 &); exec sleep MARK",
        processes: 4,
    },
    Shape {
        // A new session, no parent, no environment, another pid: every 2 ms.
        name: "a loop without environment that forks and ends",
        line: "printf 'sleep 0.002; env -i setsid sh \"$0\" \"$1\" & exit' > DIR/bare-MARK
            env -i sh DIR/bare-MARK MARK </dev/null >/dev/null 2>&1 & exec sleep MARK",
        processes: 2,
    },
    Shape {
        name: "a process without environment under another name",
        line: "cp \"$(readlink -f /proc/$$/exe)\" DIR/plain-MARK
            (env -i setsid DIR/plain-MARK -c 'printf x >/proc/$$/comm; while :; do sleep 0.1; done' MARK \
            </dev/null >/dev/null 2>&1 &); exec sleep MARK",
        processes: 2,
    },
];

/// The way in which the server holds its trees: `spawn` in server.toml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The server looks for the processes of a tree in `/proc`.
    Portable,
    /// The server puts each command into a cgroup.
    Cgroup,
}

impl Way {
    /// Returns the shapes of which nothing may be left under this way.
    #[must_use]
    pub fn shapes(self) -> Vec<Shape> {
        match self {
            Self::Portable => SHAPES.to_vec(),
            Self::Cgroup => SHAPES.into_iter().chain(HELD).collect(),
        }
    }

    fn setting(self) -> &'static str {
        match self {
            Self::Portable => "spawn = \"portable\"",
            Self::Cgroup => "spawn = \"cgroup\"",
        }
    }
}

/// A way in which a client comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// The client gets SIGTERM, which it passes on.
    Term,
    /// The client gets SIGKILL, of which it hears nothing.
    Kill,
    /// The client's machine falls silent, as a laptop does when it is closed.
    Silence,
}

/// All ways in which a client comes to its end.
pub const DEATHS: [Death; 3] = [Death::Term, Death::Kill, Death::Silence];

/// The figures of all rounds.
#[derive(Debug, Default)]
pub struct Figures {
    /// The number of shapes of their commands.
    pub shapes: usize,
    /// Clients that were killed.
    pub rounds: u64,
    /// Processes that they had on the host.
    pub processes: usize,
    /// The number of these processes that were left over.
    pub leftover: usize,
    /// Descriptions of what was left over, each with its shape and the way of the client's end.
    pub wrong: Vec<String>,
    /// The longest time from the death to the end of the last process of a tree, and which it was.
    pub slowest: (Duration, String),
    /// The time from the first round to the last.
    pub elapsed: Duration,
}

impl Figures {
    /// Returns the figures together with those of other rounds, which ran at the same time.
    fn and(mut self, other: Self) -> Self {
        self.shapes = self.shapes.max(other.shapes);
        self.rounds += other.rounds;
        self.processes += other.processes;
        self.leftover += other.leftover;
        self.wrong.extend(other.wrong);
        self.slowest = self.slowest.max(other.slowest);
        self.elapsed = self.elapsed.max(other.elapsed);
        self
    }
}

impl Judged for Figures {
    /// Returns whether nothing was left over.
    fn are_good(&self) -> bool {
        self.wrong.is_empty() && self.leftover == 0
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shapes, rounds, processes, leftover, wrong, slowest, elapsed } = self;
        write!(f, "rounds {rounds}, shapes {shapes}, processes {processes}, leftover {leftover}")?;
        let (slowest, of) = (slowest.0.as_secs_f32(), &slowest.1);
        write!(f, ", slowest {slowest:.1} s ({of}), {:.1} s", elapsed.as_secs_f32())?;
        wrong.iter().try_for_each(|wrong| write!(f, "\n{wrong}"))
    }
}

/// Servers that lose clients at the same time: a round mostly waits, for a grace or between TERM and KILL.
const SERVERS: u64 = 5;

/// Runs so many rounds on several servers at once, each with its own share.
///
/// # Panics
///
/// When [`run`] does.
#[must_use]
pub fn run_on_several(way: Way, rounds: u64, seed: u64) -> Figures {
    let share = |n| rounds / SERVERS + u64::from(n < rounds % SERVERS);
    let all = thread::scope(|scope| {
        let server = |n| scope.spawn(move || run(way, share(n), seed.wrapping_add(n)));
        let servers: Vec<_> = (0..SERVERS).map(server).collect();
        servers.into_iter().map(|one| one.join().expect("rounds")).collect::<Vec<_>>()
    });
    all.into_iter().fold(Figures::default(), Figures::and)
}

/// Runs so many rounds: every shape with every death in turn, some with a random moment's delay.
///
/// # Panics
///
/// When the server can't be started, or keeps something that it did not have before.
#[must_use]
pub fn run(way: Way, rounds: u64, seed: u64) -> Figures {
    let began = Instant::now();
    let scene = Scene::new(way);
    let shapes = way.shapes();
    let before = scene.world.settled_snapshot();
    let mut random = Random::new(seed);
    let mut figures = Figures { shapes: shapes.len(), ..Figures::default() };
    for round in 0..rounds as usize {
        let shape = shapes[round % shapes.len()];
        let death = DEATHS[(round / shapes.len() + round) % DEATHS.len()];
        let victim = scene.victim(shape);
        // Not only when all is there: also while it is still being made.
        match random.below(3) {
            0 => victim.seen(random.below(shape.processes as u64) as usize),
            _ => victim.seen(shape.processes),
        }
        let mark = victim.mark.clone();
        let there = proc::marked(&mark).len();
        let died = Instant::now();
        scene.end(victim, death);
        let left = survivors(&mark);
        figures.rounds += 1;
        figures.processes += there;
        figures.leftover += left.len();
        // Whose client died before its command ran left no tree: a silence is then noticed when the time
        // for a handshake is over.
        if there > 0 {
            let tree = (died.elapsed(), format!("{}, {death:?}", shape.name));
            figures.slowest = figures.slowest.max(tree);
        }
        if !left.is_empty() {
            figures.wrong.push(format!("{} after {death:?}: {left:?}", shape.name));
            left.iter().for_each(Process::kill);
        }
    }
    scene.world.assert_settles_to(&before);
    figures.elapsed = began.elapsed();
    figures
}

/// A server with a short grace, and a link to it that can be silenced.
#[derive(Debug)]
pub struct Scene {
    /// The server.
    pub world: World,
}

/// A client and the mark of what it runs.
pub struct Victim {
    client: RunningClient,
    proxy: Proxy,
    /// An argument of all its processes on the host.
    pub mark: String,
}

impl Scene {
    /// Starts a server that holds trees in this way.
    ///
    /// # Panics
    ///
    /// When it can't be started.
    #[must_use]
    pub fn new(way: Way) -> Self {
        let builder = World::builder()
            .config(way.setting())
            .config("grace = \"300ms\"")
            .config("keepalive = \"300ms\"");
        Self { world: builder.start() }
    }

    /// Starts a client that runs a command of this shape.
    #[must_use]
    pub fn victim(&self, shape: Shape) -> Victim {
        let mark = mark();
        let folder = self.world.scratch("").display().to_string();
        let line = shape.line.replace("MARK", &mark).replace("DIR", &folder);
        let proxy = Proxy::to(self.world.address());
        let client = self.world.shell(line).target(proxy.target()).spawn();
        Victim { client, proxy, mark }
    }

    /// Lets a client die, and waits for its own end.
    ///
    /// # Panics
    ///
    /// When it does not end, or the server does not notice a silence.
    pub fn end(&self, victim: Victim, death: Death) {
        let Victim { client, proxy, .. } = victim;
        match death {
            Death::Term => {
                client.signal(Signal::TERM);
                client.wait();
            }
            Death::Kill => {
                client.signal(Signal::KILL);
                client.wait();
            }
            Death::Silence => {
                proxy.silence();
                client.signal(Signal::STOP);
                eventually("the server takes the client for gone", || {
                    self.world.open_connections() == 0
                });
                client.signal(Signal::KILL);
                client.wait();
            }
        }
    }
}

impl Victim {
    /// Waits until so many of its processes were seen on the host.
    ///
    /// # Panics
    ///
    /// When they are not.
    #[track_caller]
    pub fn seen(&self, processes: usize) {
        eventually("its processes run on the host", || proc::marked(&self.mark).len() >= processes);
    }
}

/// Returns a number of seconds, for sleep(1), that is nobody else's: what a process is found by.
#[must_use]
pub fn mark() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("600.{}{number:06}", std::process::id())
}

/// Returns the processes that still have a mark when the server has had time enough to end them.
#[must_use]
pub fn survivors(mark: &str) -> Vec<Process> {
    // Twice nothing: a loop that forks may be between two processes.
    let none = || proc::marked(mark).is_empty() && proc::marked(mark).is_empty();
    poll_for(DEADLINE, || none().then(Vec::new)).unwrap_or_else(|| proc::marked(mark))
}
