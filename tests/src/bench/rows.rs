//! The rows of the benchmark, each of which measures one thing.

mod audit;
mod batch;
mod cold;
mod echo;
mod files;
mod fleet;
mod growth;
mod instructions;
mod memory;
mod parent;
mod policy;
mod protocol;
mod shake;
mod slow;
mod spawn;
mod streams;
mod throughput;
mod users;
mod warm;

use std::fmt::Write as _;

use anyhow::{Result, bail};

use super::stage::Stage;
use super::table::Table;

/// One thing to measure.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    about: &'static str,
    pub(crate) run: fn(&Stage) -> Result<Vec<Table>>,
}

const ROWS: &[Row] = &[
    Row { name: "protocol", about: "frames encoded and decoded, on one core", run: protocol::run },
    Row {
        name: "instructions",
        about: "instructions of the protocol's hot paths",
        run: instructions::run,
    },
    Row { name: "policy", about: "one request judged, with 4 to 1,000 rules", run: policy::run },
    Row { name: "cold", about: "a new client process runs `true`", run: cold::run },
    Row {
        name: "first-byte",
        about: "from a client's start to its first byte",
        run: cold::first_byte,
    },
    Row { name: "warm", about: "commands a second on one connection", run: warm::run },
    Row { name: "batch", about: "many commands from a script", run: batch::run },
    Row { name: "big-parent", about: "a server that holds 500 MiB spawns", run: parent::run },
    Row { name: "users", about: "commands as another user, and with limits", run: users::run },
    Row { name: "audit", about: "the audit synced together and each time", run: audit::run },
    Row { name: "spawn", about: "the ways to spawn: cold and warm", run: spawn::run },
    Row { name: "echo", about: "a round trip beside readers that stall or stream", run: echo::run },
    Row { name: "handshakes", about: "connections a second", run: shake::run },
    Row { name: "rest", about: "a server that nobody uses", run: memory::rest },
    Row { name: "idle", about: "memory of an idle connection", run: memory::idle },
    Row { name: "growth", about: "what one more costs, from 1 to 10,000", run: growth::run },
    Row { name: "streams", about: "1,000 commands on 100 connections", run: streams::run },
    Row { name: "output", about: "`head -c` of zeros", run: throughput::output },
    Row { name: "blocks", about: "`dd bs=256K` of zeros", run: throughput::blocks },
    Row { name: "input", about: "`cat > /dev/null`", run: throughput::input },
    Row { name: "random", about: "random bytes", run: throughput::random },
    Row { name: "lines", about: "many short lines", run: throughput::lines },
    Row { name: "both", about: "both streams at once", run: throughput::both },
    Row { name: "unbuffered", about: "one line a write", run: throughput::unbuffered },
    Row { name: "slow-link", about: "text over 10 Mbit/s", run: slow::run },
];

/// The rows that take so long that they are measured only when they are named.
const APART: &[Row] = &[
    Row { name: "fleet100", about: "one line on 100 hosts", run: fleet::hundred },
    Row { name: "fleet500", about: "one line on 500 hosts", run: fleet::five_hundred },
    Row { name: "files", about: "files and trees, copied both ways", run: files::run },
];

/// Returns the rows of these names, or all that need not be named; in the order in which they
/// stand.
pub(crate) fn choose(names: &[String]) -> Result<Vec<&'static Row>> {
    for name in names {
        if !ROWS.iter().chain(APART).any(|row| row.name == name) {
            bail!("there is no row {name:?}; `bench --help` lists them");
        }
    }
    let named = |row: &&Row| names.iter().any(|name| row.name == name);
    Ok(match names {
        [] => ROWS.iter().collect(),
        _ => ROWS.iter().chain(APART).filter(named).collect(),
    })
}

/// Returns the rows, for `--help`.
pub(crate) fn listing() -> String {
    let mut text = String::new();
    for (heading, rows) in [("Rows:", ROWS), ("Rows that must be named:", APART)] {
        let _ = writeln!(text, "{heading}");
        for row in rows {
            let _ = writeln!(text, "  {:<12} {}", row.name, row.about);
        }
    }
    text
}
