//! `run --commands` over many hosts.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::client::{ClientCommand, Finished};
use crate::world::World;

/// Returns a client that runs these lines from a file on a set of hosts.
///
/// # Panics
///
/// When the file can't be written.
pub fn lines<L: AsRef<str>>(world: &World, hosts: &str, lines: &[L]) -> ClientCommand {
    let file = world.scratch("commands");
    let lines: Vec<_> = lines.iter().map(AsRef::as_ref).collect();
    fs::write(&file, lines.join("\n")).unwrap();
    world.client().option("--commands").option(file).target(hosts)
}

/// Parses a line of JSON.
///
/// # Panics
///
/// When it is none.
#[must_use]
pub fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Returns the results, in the order in which they came.
#[must_use]
pub fn results(done: &Finished) -> Vec<Value> {
    done.stdout_text().lines().map(parsed).collect()
}

/// Returns the results by line, host and index.
///
/// # Panics
///
/// When one comes twice, or is not of a line and a host.
#[must_use]
pub fn by_place(done: &Finished) -> BTreeMap<(u64, String, u64), Value> {
    let mut found = BTreeMap::new();
    for result in results(done) {
        let number = |name: &str| result[name].as_u64().unwrap_or_else(|| panic!("{result}"));
        let host = result["host"].as_str().unwrap().to_owned();
        let place = (number("line"), host, number("index"));
        assert!(found.insert(place.clone(), result).is_none(), "{place:?} twice: {}", done.story());
    }
    found
}

/// Returns the field `name` of each result, with the result's line and host.
#[must_use]
pub fn each(done: &Finished, name: &str) -> Vec<(u64, String, Value)> {
    let found = by_place(done).into_iter();
    found.map(|((line, host, _), result)| (line, host, result[name].clone())).collect()
}
