//! The cost of running as another user, and of limits.

use anyhow::Result;
use rcmd_client::Command;

use crate::bench::bed::{Bed, limited, plain, ways};
use crate::bench::measure::Race;
use crate::bench::stage::Stage;
use crate::bench::table::{Goal::AtMost, Table};
use crate::skip;

const USER: &str = "nobody";
const PLAIN: &str = "plain";
const LIMITED: &str = "--timeout 60s";
const OTHER: &str = "--user nobody";
const TREE: &str = "[limits.tree]";

pub(crate) fn run(stage: &Stage) -> Result<Vec<Table>> {
    let (ways, notes) = ways();
    let mut tables = Vec::new();
    for way in ways {
        tables.push(with(stage, way)?);
    }
    if let Some(table) = tables.first_mut() {
        table.notes.extend(notes);
    }
    Ok(tables)
}

fn with(stage: &Stage, way: &str) -> Result<Table> {
    let count = stage.options.count(400, 60);
    let bed = Bed::spawning(way, "")?;
    let within = Bed::spawning(way, "[limits.tree]\nprocesses = 100\nmemory = \"1 GiB\"");
    let mut notes = Vec::new();
    let mut race = Race::new();
    // At 1 at once the rate and the time that one takes are the same figure.
    race.add(PLAIN, || Ok([bed.commands(1, count, plain)?[1]]));
    race.add(LIMITED, || Ok([bed.commands(1, count, limited)?[1]]));
    match skip::need_root() {
        Ok(()) => race.add(OTHER, || Ok([bed.commands(1, count, other)?[1]])),
        Err(missing) => notes.push(format!("{OTHER}: needs {missing}")),
    }
    match &within {
        Ok(within) => race.add(TREE, || Ok([within.commands(1, count, plain)?[1]])),
        Err(_) => notes.push(format!("{TREE}: needs cgroups with the controllers memory and pids")),
    }
    let ([medians], failures) = race.run(stage.options.rounds());
    let title = format!("`sh -c true`, 1 at once, spawn = \"{way}\"");
    let mut table = Table::new("users", title, "ms").with(medians);
    for name in [LIMITED, OTHER, TREE] {
        table.ratio(name, PLAIN, Some(AtMost(1.5)));
    }
    (table.failures, table.notes) = (failures, notes);
    Ok(table)
}

fn other(command: &mut Command) {
    command.user(USER);
}
