//! Rules for the tables that say what holds: each row names its tests, and these exist.

use std::collections::HashSet;
use std::fs;

use rcmd_tests::binaries::workspace;

use super::documents::prose;
use super::tree::{assert_none, files, read, short};

/// The tables that take a kind of fault through the code: which document has them, under which heading.
const KINDS: [(&str, &str); 6] = [
    ("docs/threat-model.md", "### Limits in pairs"),
    ("docs/threat-model.md", "### Blocking calls"),
    ("docs/threat-model.md", "### Before authorization"),
    ("docs/threat-model.md", "### Judged and used"),
    ("docs/threat-model.md", "### Lists"),
    ("docs/operating.md", "### Shares"),
];

#[test]
fn every_test_that_a_document_names_exists() {
    let (mut found, mut missing) = (0, Vec::new());
    for path in files("md") {
        for (file, name) in tests_named(&read(&path)) {
            found += 1;
            let source = fs::read_to_string(workspace().join(file)).unwrap_or_default();
            if !has_test(&source, name) {
                missing.push(format!("{}: {file}::{name}", short(&path)));
            }
        }
    }
    assert_none("no such test", missing);
    assert!(found >= 100, "only {found} were found");
}

#[test]
fn every_row_of_a_table_of_tests_is_whole_and_names_one() {
    let (mut found, mut wrong) = (0, Vec::new());
    for path in files("md") {
        let text = read(&path);
        for table in tables(&text).filter(Table::is_of_tests) {
            found += 1;
            let rows = table.rows.iter().filter(|row| {
                let cells = cells(row);
                let named = cells.last().is_some_and(|last| !tests_named(last).is_empty());
                cells.len() != table.columns.len() || cells.contains(&"") || !named
            });
            wrong.extend(rows.map(|row| format!("{}, {}: {row}", short(&path), table.heading)));
        }
    }
    assert_none("rows that are not whole or name no test", wrong);
    assert!(found >= 10, "only {found} tables of tests were found");
}

#[test]
fn each_kind_of_fault_has_its_table() {
    let missing = KINDS.into_iter().filter(|(document, heading)| {
        let text = read(&workspace().join(document));
        !tables(&text).any(|table| table.heading == *heading && table.is_of_tests())
    });
    assert_none(
        "no such table",
        missing.map(|(file, heading)| format!("{file}: {heading}")).collect(),
    );
}

#[test]
fn every_fault_of_others_stands_once() {
    let text = read(&workspace().join("docs/threat-model.md"));
    let (mut ids, mut twice) = (HashSet::new(), Vec::new());
    let faults = ["| CVE-", "| RUSTSEC-"];
    for row in prose(&text).filter(|line| faults.iter().any(|fault| line.starts_with(fault))) {
        if !ids.insert(cells(row)[0]) {
            twice.push(row.to_owned());
        }
    }
    assert_none("rows that stand twice", twice);
    assert!(ids.len() >= 70, "only {} rows", ids.len());
}

#[test]
fn the_reader_of_tables_reads_them() {
    let text = "# A\n| x | test |\n| --- | --- |\n| 1 `a | b` | `c.rs::d` |\n## B\n| y |\n| --- |\n\n| z |\n";
    let found: Vec<_> = tables(text).collect();
    let [first, second] = &found[..] else { panic!("{found:?}") };
    assert_eq!(
        (first.heading, &first.columns[..], first.rows.len()),
        ("# A", &["x", "test"][..], 1)
    );
    assert!(first.is_of_tests() && !second.is_of_tests());
    assert_eq!((second.heading, &second.columns[..], second.rows.len()), ("## B", &["y"][..], 0));
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

/// A table: a line of columns, one of dashes, and its rows.
#[derive(Debug)]
struct Table<'a> {
    /// The heading above the table.
    heading: &'a str,
    columns: Vec<&'a str>,
    rows: Vec<&'a str>,
}

impl Table<'_> {
    /// Returns whether its last column says for each row which test holds it.
    fn is_of_tests(&self) -> bool {
        self.columns.last() == Some(&"test")
    }
}

/// Returns the tables of a text.
fn tables(text: &str) -> impl Iterator<Item = Table<'_>> {
    let lines: Vec<_> = prose(text).collect();
    let mut heading = "";
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if line.starts_with('#') {
            heading = line;
        }
        if line.starts_with("| ") && lines.get(at + 1).is_some_and(|next| next.starts_with("| ---"))
        {
            let rows = lines[at + 2..].iter().take_while(|row| row.starts_with('|')).copied();
            found.push(Table { heading, columns: cells(line), rows: rows.collect() });
        }
    }
    found.into_iter()
}

/// Returns the cells of a row. A bar within backticks or behind a backslash is text.
fn cells(row: &str) -> Vec<&str> {
    let row = row.trim().trim_start_matches('|').trim_end_matches('|');
    let (mut cells, mut begins, mut quoted, mut before) = (Vec::new(), 0, false, ' ');
    for (at, c) in row.char_indices() {
        quoted ^= c == '`';
        if c == '|' && !quoted && before != '\\' {
            cells.push(row[begins..at].trim());
            begins = at + 1;
        }
        before = c;
    }
    cells.push(row[begins..].trim());
    cells
}

/// Returns the `FILE.rs::NAME` in a text, as files and names.
fn tests_named(text: &str) -> Vec<(&str, &str)> {
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted
        .filter_map(|quoted| quoted.split_once("::"))
        .filter(|(file, _)| file.ends_with(".rs"))
        .collect()
}

/// Returns whether a function of this name has one of the attributes that make it a test, or stands in the list
/// of those that run over both ways to start a command.
fn has_test(source: &str, name: &str) -> bool {
    let (mut is_test, mut is_listed) = (false, false);
    for line in source.lines().map(str::trim) {
        is_listed = line == "over_both! {" || (is_listed && line != "}");
        if is_listed && line.strip_suffix(',') == Some(name) {
            return true;
        }
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
