//! The plan of a run: its hosts, its options, what each host's command does, and what befalls the
//! client.

use std::time::Duration;

use rustix::process::Signal;

use crate::Random;

/// The time, in milliseconds, that a whole run takes at most, roughly, if nothing ends it.
const WHOLE: u64 = 3_000;

/// The way by which a host is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The server of this number.
    Server(usize),
    /// The first server, by a link that is cut at random moments.
    Cut,
    /// The first server, by a link that refuses all until it is mended.
    Refusing,
    /// An address at which nobody listens, for good.
    Dead,
}

/// A host, and what its command does, as a line for its shell.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) does: String,
}

/// Signals that the client gets, each so long after the one before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate(pub(super) Vec<(Duration, Signal)>);

/// The hosts, the options and the fate of a run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) servers: usize,
    pub(super) hosts: Vec<Host>,
    pub(super) options: Vec<String>,
    pub(super) fate: Fate,
}

impl Plan {
    pub(super) fn random(random: &mut Random) -> Self {
        let count = random.below(36) + 5;
        let servers = random.below(3) + 1;
        let fanout = *random.choose(&[1, 2, 4, 8, 16, 64]);
        let (cut, dead) = (chance(random, 20), chance(random, 30));
        let longest = (WHOLE * fanout.min(count) / count).min(1_500);
        let hosts = (0..count).map(|number| {
            let place = match random.below(20) {
                0 if dead => Place::Dead,
                1 => Place::Refusing,
                2..10 if cut => Place::Cut,
                _ => Place::Server(random.below(servers) as usize),
            };
            Host { name: format!("n{number}"), place, does: does(random, longest) }
        });
        let hosts = hosts.collect();
        let mut options = vec!["-f".to_owned(), fanout.to_string()];
        options.extend(rules(random, count));
        Self { servers: servers as usize, hosts, options, fate: Fate::random(random) }
    }

    /// Returns the hosts as an expression.
    pub(super) fn set(&self) -> String {
        format!("n[0-{}]", self.hosts.len().saturating_sub(1))
    }

    /// Returns whether every host may end well once all is mended.
    pub(super) fn is_mendable(&self) -> bool {
        self.hosts.iter().all(|host| host.place != Place::Dead)
    }
}

/// Returns true for so many percent of its calls.
pub(super) fn chance(random: &mut Random, percent: u64) -> bool {
    random.below(100) < percent
}

/// Returns rules of a run over so many hosts, of which any may be left out.
fn rules(random: &mut Random, count: u64) -> Vec<String> {
    let mut options = Vec::new();
    let mut add = |name: &str, value: String| options.extend([name.to_owned(), value]);
    if chance(random, 50) {
        let (batch, text) = match chance(random, 50) {
            true => {
                let batch = random.below(count) + 1;
                (batch, batch.to_string())
            }
            false => {
                let percent = random.below(100) + 1;
                ((count * percent / 100).max(1), format!("{percent}%"))
            }
        };
        add("--batch", text);
        if chance(random, 50) {
            let batches = count.div_ceil(batch);
            add("--pause", format!("{}ms", random.below(WHOLE / 2 / batches) + 1));
        }
    }
    if chance(random, 30) {
        add("--canary", (random.below(3) + 1).to_string());
    }
    if chance(random, 40) {
        let few = random.below(6).to_string();
        let text = *random.choose(&[few.as_str(), "0%", "10%", "30%", "50%", "100%"]);
        add("--max-failures", text.to_owned());
    }
    if chance(random, 20) {
        add("--deadline", format!("{}ms", random.below(WHOLE) + 300));
    }
    if chance(random, 20) {
        add("--timeout", format!("{}ms", random.below(800) + 150));
    }
    if chance(random, 15) {
        add("--retry", (random.below(2) + 1).to_string());
    }
    if chance(random, 30) {
        add("--connect-timeout", (*random.choose(&["300ms", "2s"])).to_owned());
    }
    options
}

/// Returns a line for a shell that lasts `longest` milliseconds at most, with random output and a
/// random end.
fn does(random: &mut Random, longest: u64) -> String {
    let trap = *random.choose(&["", "", "", "trap 'exit 9' INT TERM HUP; ", "trap '' INT; "]);
    let output = *random.choose(&[
        ":",
        "echo out",
        "echo out; echo err >&2",
        "printf half",
        "printf '\\377\\0\\n'",
        "head -c 100000 /dev/zero | tr '\\0' x",
        "i=0; while [ $i -lt 20 ]; do echo $i; i=$((i+1)); done",
    ]);
    let time = if chance(random, 60) { random.below(longest + 1) } else { 0 };
    let end = *random.choose(&[
        "exit 0",
        "exit 0",
        "exit 0",
        "exit 0",
        "exit 0",
        "exit 0",
        "exit 0",
        "exit 1",
        "exit 125",
        "exit 255",
        "kill -9 $$",
        "kill $$",
    ]);
    format!("{trap}{output}; sleep {}.{:03}; {end}", time / 1000, time % 1000)
}

impl Fate {
    /// Returns a fate at random, of all that there are.
    fn random(random: &mut Random) -> Self {
        match random.below(10) {
            0 | 1 => Self::default(),
            2 | 3 => Self::of(random, &[Signal::INT]),
            4 => Self::of(random, &[Signal::INT; 2]),
            5 => Self::of(random, &[Signal::INT; 3]),
            6 => Self::of(random, &[Signal::TERM]),
            7 => Self::of(random, &[Signal::HUP]),
            _ => Self::killed(random),
        }
    }

    /// Returns the fate of a client that is killed.
    pub(super) fn killed(random: &mut Random) -> Self {
        Self::of(random, &[Signal::KILL])
    }

    fn of(random: &mut Random, signals: &[Signal]) -> Self {
        let mut longest = *random.choose(&[100, 400, 1_200, WHOLE]);
        let signals = signals.iter().map(|signal| {
            let pause = Duration::from_millis(random.below(longest));
            longest = 700;
            (pause, *signal)
        });
        Self(signals.collect())
    }

    /// Returns whether nothing can be asked of the client about its end.
    pub(super) fn is_deadly(&self) -> bool {
        self.0.iter().any(|(_, signal)| *signal == Signal::KILL)
    }

    /// Returns the first signal.
    pub(super) fn first(&self) -> Option<Signal> {
        self.0.first().map(|(_, signal)| *signal)
    }

    /// Returns the name of the fate in figures.
    pub(super) fn name(&self) -> String {
        let short =
            |signal: Signal| format!("{signal:?}").replace(['"'], "").replace("Signal::", "");
        match (self.first(), self.0.len()) {
            (None, _) => "none".to_owned(),
            (Some(signal), 1) => short(signal),
            (Some(signal), count) => format!("{} x{count}", short(signal)),
        }
    }
}
