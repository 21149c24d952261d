//! A command on very many hosts at once, some of which mean harm: each has its one end, by the deadline,
//! and the client stays small.

use std::fmt;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::Judged;
use crate::binaries::binaries;
use crate::many::{self, put_host};
use crate::proc;
use crate::world::World;

mod hostile;
pub mod line;
pub mod output;
pub mod random;
mod servers;

use hostile::Hostile;
use servers::Servers;

/// Servers that share the honest targets.
const SERVERS: usize = 3;
/// The time of a whole run.
const DEADLINE: Duration = Duration::from_secs(20);

/// The figures of a run.
#[derive(Debug)]
pub struct Figures {
    /// Targets, hostile ones included.
    pub targets: usize,
    /// The number of these targets that exited with 0.
    pub exited: u64,
    /// The end of each hostile target: its role, its outcome and the kind of its error.
    pub hostile: Vec<(&'static str, String, String)>,
    /// The time from the client's start to its end.
    pub elapsed: Duration,
    /// The most memory that the client had resident.
    pub peak_kib: u64,
    /// The most descriptors that it had open, as far as was seen.
    pub descriptors: usize,
    /// Descriptions of what does not hold.
    pub wrong: Vec<String>,
}

impl Judged for Figures {
    fn are_good(&self) -> bool {
        self.wrong.is_empty()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} targets, {} exited 0, in {:.2?}; client: {} MiB at most, {} descriptors",
            self.targets,
            self.exited,
            self.elapsed,
            self.peak_kib >> 10,
            self.descriptors
        )?;
        for (role, outcome, kind) in &self.hostile {
            writeln!(f, "  {role}: {outcome} {kind}")?;
        }
        self.wrong.iter().try_for_each(|wrong| writeln!(f, "WRONG: {wrong}"))
    }
}

/// Runs one command of one line on so many honest targets and, with `hostile`, on ten others.
///
/// # Panics
///
/// When the servers can't be started, or the client does not end.
#[must_use]
pub fn run(honest: usize, fanout: usize, hostile: bool) -> Figures {
    let world = World::builder().terse().start();
    let servers = Servers::start(&world, SERVERS);
    let mut hosts = String::new();
    for number in 0..honest {
        put_host(&mut hosts, &format!("n{number}"), servers.address(number));
    }
    let guests = if hostile { Hostile::all(&world, &mut hosts) } else { Vec::new() };
    many::write_hosts_toml(&world.client_dir().join("hosts.toml"), &hosts);
    let mut set = format!("n[0-{}]", honest.saturating_sub(1));
    for guest in &guests {
        set.push(',');
        set.push_str(guest.name);
    }
    let result = world.scratch("result");
    let mut client = Command::new(&binaries().client);
    client.arg("--dir").arg(world.client_dir());
    client.args(["--shell", "--json", "-f", &fanout.to_string(), "--connect-timeout", "5s"]);
    client.args(["--deadline", &format!("{}s", DEADLINE.as_secs().max(honest as u64 / 100))]);
    client.arg(&set).arg("[ {host} = endless ] && exec yes; echo {host}");
    client.env_remove("RCMD_DIR").stdin(Stdio::null()).stderr(Stdio::null());
    client.stdout(fs::File::create(&result).expect("a file of our own"));
    let began = std::time::Instant::now();
    let mut child = client.spawn().expect("our own program");
    let (peak_kib, descriptors) = watch(&mut child);
    let elapsed = began.elapsed();
    let text = fs::read_to_string(&result).expect("events");
    judge(
        &text,
        honest,
        &guests,
        Figures {
            targets: honest + guests.len(),
            exited: 0,
            hostile: Vec::new(),
            elapsed,
            peak_kib,
            descriptors,
            wrong: Vec::new(),
        },
    )
}

/// Waits for the end of the client, and returns its largest resident memory and descriptors.
fn watch(child: &mut Child) -> (u64, usize) {
    let (mut peak, mut descriptors) = (0, 0);
    let limit = Duration::from_secs(600);
    let ended = crate::wait::poll_for(limit, || {
        peak = peak.max(proc::peak_kib(child.id()).unwrap_or(0));
        let open = fs::read_dir(format!("/proc/{}/fd", child.id())).map_or(0, Iterator::count);
        descriptors = descriptors.max(open);
        child.try_wait().expect("our own child")
    });
    if ended.is_none() {
        let _ = child.kill();
        panic!("the client did not end within {limit:?}");
    }
    (peak, descriptors)
}

/// Judges the events of a run.
fn judge(text: &str, honest: usize, guests: &[Hostile], mut figures: Figures) -> Figures {
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let mut ends = vec![0_u32; figures.targets];
    let mut last = Value::Null;
    for event in events {
        if event["event"] == "end" {
            let index = usize::try_from(event["index"].as_u64().expect("an index")).expect("small");
            ends[index] += 1;
            let result = &event["result"];
            let (outcome, kind) = (text_of(&result["outcome"]), text_of(&result["error"]["kind"]));
            if index < honest {
                let well = outcome == "exited" && result["code"] == 0;
                figures.exited += u64::from(well);
                if !well {
                    figures.wrong.push(format!("honest {}: {result}", event["host"]));
                }
            } else if let Some(guest) = guests.get(index - honest) {
                if !guest.allows(&outcome, &kind) {
                    figures.wrong.push(format!("{}: {result}", guest.name));
                }
                figures.hostile.push((guest.name, outcome, kind));
            }
        }
        last = event;
    }
    if let Some(index) = ends.iter().position(|count| *count != 1) {
        figures.wrong.push(format!("target {index} has {} ends", ends[index]));
    }
    if last["event"] != "summary" || last["total"] != figures.targets {
        figures.wrong.push(format!("no account: {last}"));
    }
    figures
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
