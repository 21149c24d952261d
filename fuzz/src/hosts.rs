//! Expressions, files of them, `hosts.toml` and inventories of any text: nothing panics or takes long, errors
//! have one line, and an accepted set folds into the same set.
//!
//! `client/tests/corpus.rs` does the same with every saved input, without cargo-fuzz.

use std::{collections::BTreeSet, path::Path};

use rcmd_certs::text::is_safe;
use rcmd_client::{
    hosts::{Evaluation, Expression, HostSet, MAX_HOSTS, read_list},
    inventory::{Form, Inventory, InventoryError, Source, parse_ansible, parse_hosts_toml},
};

/// The hosts and groups that expressions may name.
const KNOWN: &str = "[groups]\nweb = 'web[1-5]'\ndb = 'db[01-03],db1!db02'\nme = '@me'\nall = '@web,@db'\n\
    [hosts.a1]\n[hosts.'a2:9']\n";

/// Reads the bytes after the first as what the first one selects.
pub fn hosts(data: &[u8]) {
    let [which, rest @ ..] = data else { return };
    let file = Path::new("F");
    match which % 6 {
        0 => {
            if let Ok(text) = str::from_utf8(rest) {
                expression(text);
            }
        }
        1 => {
            if let Ok(text) = str::from_utf8(rest) {
                list(text);
            }
        }
        2 => source(parse_hosts_toml(rest, file)),
        3 => source(parse_ansible(rest, file, Form::Ini)),
        4 => source(parse_ansible(rest, file, Form::Yaml)),
        _ => source(parse_ansible(rest, file, Form::Json)),
    }
}

fn known() -> Inventory {
    let mut inventory = Inventory::default();
    inventory.add(parse_hosts_toml(KNOWN.as_bytes(), Path::new("F")).unwrap());
    inventory
}

fn one_line(told: &str) {
    assert!(!told.is_empty() && told.chars().all(is_safe), "{told:?}");
    assert!(told.len() < 8192, "{} bytes", told.len());
}

fn evaluated(text: &str, inventory: &Inventory) -> Option<HostSet> {
    let set = Expression::parse(text)
        .and_then(|read| Evaluation::new(inventory).evaluate(&read))
        .map_err(|error| one_line(&format!("{error} {}", error.fault.hint())))
        .ok()?;
    assert!(set.len() <= MAX_HOSTS);
    Some(set)
}

fn expression(text: &str) {
    let inventory = known();
    let Some(set) = evaluated(text, &inventory) else { return };
    folded(&set);
    let targets = set.targets(&inventory);
    assert!(targets.is_err() || targets.is_ok_and(|targets| targets.len() == set.len()));
}

/// Checks that the folded text means the same hosts, if it may be as long.
fn folded(set: &HostSet) {
    let text = set.fold();
    if set.is_empty() || set.len() > 5_000 || text.len() > 100_000 {
        return;
    }
    let again = evaluated(&text, &Inventory::default());
    let again = again.unwrap_or_else(|| panic!("{text:?} is no expression"));
    let names = |set: &HostSet| set.iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(set), names(&again), "{text:?}");
}

fn list(text: &str) {
    let inventory = known();
    let (mut evaluation, mut set) = (Evaluation::new(&inventory), HostSet::default());
    match read_list(text, Some(Path::new("F")), &mut evaluation, &mut set) {
        Ok(()) => folded(&set),
        Err(error) => one_line(&format!("{error} {}", error.fault.hint())),
    }
}

/// Checks that every group of a source can be asked for.
fn source(read: Result<Source, InventoryError>) {
    let source = match read {
        Ok(source) => source,
        Err(error) => return one_line(&format!("{error} {}", error.hint().unwrap_or_default())),
    };
    let groups: Vec<_> = source.groups().map(|(name, _)| format!("@{name}")).collect();
    let hosts = source.hosts().len();
    let mut inventory = Inventory::default();
    inventory.add(source);
    for group in groups.iter().map(String::as_str).chain(["@*"]).take(100) {
        evaluated(group, &inventory);
    }
    assert!(hosts <= MAX_HOSTS || evaluated("@*", &inventory).is_none());
}
