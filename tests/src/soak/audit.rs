//! A server killed over and over while commands run: its audit stays whole, and every start has one end.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

use super::Judged;
use crate::audit::{assert_whole, records};
use crate::{Random, RunningClient, World, eventually};

/// Clients of one round.
const CLIENTS: usize = 6;

/// The figures of all rounds.
#[derive(Debug, Default)]
pub struct Figures {
    /// The number of times that the server was killed.
    pub kills: u64,
    /// Records in the log at the end.
    pub records: usize,
    /// The number of starts among the records.
    pub starts: usize,
    /// The number of ends that the next server wrote for one that was killed.
    pub unknown: usize,
    /// The number of ends whose clients had kept a head, which was found again.
    pub heads: usize,
    /// Starts that have not exactly one end.
    pub wrong: Vec<String>,
}

impl Judged for Figures {
    /// Returns whether every start has one end. That the log was whole after each kill was asserted before.
    fn are_good(&self) -> bool {
        self.wrong.is_empty()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, records, starts, unknown, heads, wrong } = self;
        write!(f, "kills {kills}, records {records}, starts {starts}, ended by the next server ")?;
        write!(
            f,
            "{unknown}, heads kept and found {heads}, false alarms 0, wrong {}",
            wrong.len()
        )?;
        wrong.iter().try_for_each(|wrong| write!(f, "\n{wrong}"))
    }
}

/// Runs so many rounds: some clients, some of which have ended when the server is killed; the log
/// verified at once, by what clients were told, and again when the next server has begun.
///
/// # Panics
///
/// When the log is not whole, or the server does not start.
#[must_use]
pub fn run(rounds: u64, seed: u64) -> Figures {
    let mut world = World::builder().config("[audit]\nrotate_size = \"64 KiB\"").start();
    let mut random = Random::new(seed);
    let mut figures = Figures::default();
    for _ in 0..rounds {
        let mut clients: Vec<RunningClient> = (0..CLIENTS)
            .map(|n| {
                let line = if n % 2 == 0 { "true" } else { "sleep 0.0$(($$ % 10))" };
                world.shell(line).with_result().spawn()
            })
            .collect();
        let wanted = random.below(CLIENTS as u64 + 1) as usize;
        eventually("so many clients have ended", || {
            clients.iter_mut().filter_map(|client| (!client.runs()).then_some(())).count() >= wanted
        });
        world.kill_server();
        figures.kills += 1;
        let mut last: Option<(u64, String)> = None;
        for mut client in clients {
            if client.runs() {
                continue;
            }
            let result = client.wait().result();
            if let Some(head) = result["audit"].as_str() {
                figures.heads += 1;
                let seq = head.split(':').next().and_then(|seq| seq.parse().ok()).unwrap_or(0);
                last = last.max(Some((seq, head.to_owned())));
            }
        }
        let head = last.as_ref().map(|(_, head)| head.as_str());
        assert_whole(&world, head);
        world.start_server();
        assert_whole(&world, head);
    }
    world.stop_server();
    assert_whole(&world, None);
    count(&records(&world), &mut figures);
    figures
}

fn count(records: &[Value], figures: &mut Figures) {
    figures.records = records.len();
    let mut ends: HashMap<&str, (usize, usize)> = HashMap::new();
    for record in records {
        let Some(job) = record["job"].as_str() else { continue };
        let (starts, ended) = ends.entry(job).or_default();
        match record["event"].as_str() {
            Some("start") => *starts += 1,
            Some("end") => {
                *ended += 1;
                figures.unknown += usize::from(record["outcome"] == "unknown");
            }
            _ => {}
        }
    }
    for (job, (starts, ended)) in ends {
        figures.starts += starts;
        if starts > 1 || starts != ended {
            figures.wrong.push(format!("job {job} has {starts} starts and {ended} ends"));
        }
    }
}
