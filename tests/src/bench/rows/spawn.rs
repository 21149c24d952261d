//! The two ways to spawn beside each other: cold and warm.

use anyhow::Result;

use crate::bench::bed::{Bed, plain, ways};
use crate::bench::measure::{Race, milliseconds, quiet, timed};
use crate::bench::stage::Stage;
use crate::bench::table::{
    Goal::{AtLeast, AtMost},
    Series, Table, median,
};
use crate::binaries::try_binaries;

/// The ratio up to which a way counts as no slower than the other: two runs of the same thing
/// differ by as much.
const SAME: f64 = 1.05;

pub(crate) fn run(stage: &Stage) -> Result<Vec<Table>> {
    let (ways, notes) = ways();
    let mut beds = Vec::new();
    for way in ways {
        beds.push((name(way), Bed::spawning(way, "")?));
    }
    let rounds = stage.options.rounds();
    let mut tables = vec![cold(&beds, stage.options.count(40, 5), rounds)?];
    for at_once in [1, 16] {
        tables.push(warm(&beds, at_once, stage.options.count(400, 60), rounds));
    }
    tables[0].notes = notes;
    Ok(tables)
}

fn name(way: &str) -> String {
    format!("spawn = \"{way}\"")
}

fn cold(beds: &[(String, Bed)], count: usize, rounds: usize) -> Result<Table> {
    let client = &try_binaries()?.client;
    let mut race = Race::new();
    for (name, bed) in beds {
        race.add(name, move || {
            let mut took = Vec::new();
            for _ in 0..count {
                let mut command = quiet(client);
                command.arg("--dir").arg(bed.world().dir()).arg("--exec").arg(bed.world().target());
                took.push(milliseconds(timed(command.arg("true"))?));
            }
            Ok([median(&took)])
        });
    }
    let ([series], failures) = race.run(rounds);
    let mut table =
        Table::new("spawn", "cold: a new client process runs `true`", "ms").with(series);
    table.ratio(&name("portable"), &name("cgroup"), Some(AtMost(SAME)));
    table.failures = failures;
    Ok(table)
}

fn warm(beds: &[(String, Bed)], at_once: usize, count: usize, rounds: usize) -> Table {
    let mut race = Race::new();
    for (name, bed) in beds {
        race.add(name, move || Ok([bed.commands(at_once, count, plain)?[0]]));
    }
    let ([series], failures): ([Vec<Series>; 1], _) = race.run(rounds);
    let title = format!("warm: `sh -c true`, {at_once} at once");
    let mut table = Table::new("spawn", title, "commands/s").with(series);
    table.ratio(&name("portable"), &name("cgroup"), Some(AtLeast(1.0 / SAME)));
    table.failures = failures;
    table
}
