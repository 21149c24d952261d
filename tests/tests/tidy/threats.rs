//! Rules for the tables that say what holds: each row names its tests, and these exist.

use std::collections::HashSet;
use std::fs;

use rcmd_tests::binaries::workspace;

use super::documents::prose;
use super::tree::{assert_none, read};

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let text = read(&workspace().join("docs/threat-model.md"));
    let named = tests_named(&text);
    assert!(named.len() >= 100, "only {} were found", named.len());
    let missing = named.into_iter().filter(|(file, name)| {
        let source = fs::read_to_string(workspace().join(file)).unwrap_or_default();
        !has_test(&source, name)
    });
    assert_none("no such test", missing.map(|(file, name)| format!("{file}::{name}")).collect());
}

#[test]
fn every_fault_of_others_has_a_rule_and_a_test_and_stands_once() {
    let text = read(&workspace().join("docs/threat-model.md"));
    let (mut ids, mut wrong) = (HashSet::new(), Vec::new());
    let faults = ["| CVE-", "| RUSTSEC-"];
    for row in prose(&text).filter(|line| faults.iter().any(|fault| line.starts_with(fault))) {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let whole = cells.len() == 5 && cells.iter().all(|cell| !cell.is_empty());
        if !whole || tests_named(row).is_empty() || !ids.insert(cells[0]) {
            wrong.push(row.to_owned());
        }
    }
    assert_none("rows that are not whole, or stand twice", wrong);
    assert!(ids.len() >= 30, "only {} rows", ids.len());
}

#[test]
fn the_finder_of_tests_finds_tests_alone() {
    let text = "| x | `a/b.rs::one`, `c.rs::two` | `std::mem` `d.rs`";
    assert_eq!(tests_named(text), [("a/b.rs", "one"), ("c.rs", "two")]);
    let source = "#[test]\nfn one() {}\n#[tokio::test(flavor = \"x\")]\n#[cfg(unix)]\n    \
        async fn two() {}\nfn three() {}\n// fn four() {}\n#[test]\nfn five_and_more() {}\n";
    let found = ["one", "two", "three", "four", "five"].map(|name| has_test(source, name));
    assert_eq!(found, [true, true, false, false, false]);
}

/// The `FILE.rs::NAME` in a text, as files and names.
fn tests_named(text: &str) -> Vec<(&str, &str)> {
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted
        .filter_map(|quoted| quoted.split_once("::"))
        .filter(|(file, _)| file.ends_with(".rs"))
        .collect()
}

/// Whether a function of this name has one of the attributes that make it a test.
fn has_test(source: &str, name: &str) -> bool {
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
            continue;
        }
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if is_test && function.is_some_and(|rest| rest.split('(').next() == Some(name)) {
            return true;
        }
        is_test = false;
    }
    false
}
