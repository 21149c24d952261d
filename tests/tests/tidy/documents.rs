//! Rules for documents: links resolve, and what they name exists.

use std::collections::HashSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use rcmd_tests::binaries::workspace;

use super::tree::{assert_none, files, read, short};

#[test]
fn the_readme_s_first_screen_has_the_two_commands() {
    let readme = read(&workspace().join("README.md"));
    let first: Vec<&str> = readme.lines().take(40).collect();
    for command in ["cargo demo uname -a", "cargo test --workspace"] {
        assert!(
            first.iter().any(|line| line.contains(command)),
            "README.md begins without {command}"
        );
    }
}

#[test]
fn links_between_documents_resolve() {
    let mut broken = Vec::new();
    for path in files("md") {
        for link in links(&read(&path)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => path.clone(),
                file => normal(&path.parent().unwrap().join(file)),
            };
            let anchor_there = || anchor.is_empty() || anchors(&read(&target)).contains(anchor);
            if !target.exists() || (target.is_file() && !anchor_there()) {
                broken.push(format!("{}: {link}", short(&path)));
            }
        }
    }
    assert_none("broken links", broken);
}

#[test]
fn the_finder_of_links_and_anchors_finds_them() {
    let text = "# One `two` three!\n[a](b.md#c) and [d](e)\n```\n[not](this)\n# nor this\n```\n# One\n# One";
    assert_eq!(links(text), ["b.md#c", "e"]);
    let expected = ["one-two-three", "one", "one-1"].map(str::to_owned);
    assert_eq!(anchors(text), HashSet::from(expected));
}

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

/// Lines that are not inside a fenced block.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        for part in line.split("](").skip(1) {
            if let Some((target, _)) = part.split_once(')') {
                found.push(target.to_owned());
            }
        }
    }
    found
}

/// The anchors of headings, as forges make them.
fn anchors(text: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    for heading in prose(text).filter(|line| line.starts_with('#')) {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let mut unique = slug.clone();
        for number in 1.. {
            if found.insert(unique.clone()) {
                break;
            }
            unique = format!("{slug}-{number}");
        }
    }
    found
}

/// Without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}
