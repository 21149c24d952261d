//! Rules for docs/architecture.md: what it names is there, and it names what is there.

use std::collections::BTreeSet;

use rcmd_tests::binaries::workspace;

use super::layers::CRATES;
use super::structure::crates;
use super::tree::{assert_none, read};

fn map() -> String {
    read(&workspace().join("docs/architecture.md"))
}

/// Returns the part of a document under a heading, up to the next heading of any level.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let begins = text.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let part = &text[begins + heading.len() + 2..];
    part.find("\n#").map_or(part, |end| &part[..end])
}

/// Returns the texts in backticks, outside fenced blocks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2))
}

/// Returns the names in backticks in the first cell of each row of a table.
fn first_cells(table: &str) -> impl Iterator<Item = &str> {
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| quoted(row.split(" | ").next().unwrap_or_default()))
}

/// Returns the types whose names the glossary says stand in two crates.
pub(crate) fn in_two_crates() -> BTreeSet<String> {
    first_cells(section(&map(), "### Names in two crates")).map(str::to_owned).collect()
}

#[test]
fn the_map_names_files_and_folders_that_exist() {
    let (text, root) = (map(), workspace());
    let places = quoted(&text).filter(|word| {
        let top = word.split('/').next().is_some_and(|top| root.join(top).is_dir());
        top && word.contains('/')
            && !word.contains(|c: char| c.is_whitespace() || "*<>".contains(c))
    });
    let places: Vec<_> = places.collect();
    assert!(places.len() > 60, "only {places:?}");
    let missing = places.into_iter().filter(|place| !root.join(place).exists());
    assert_none("no such place", missing.map(str::to_owned).collect());
}

#[test]
fn the_map_names_every_room_from_the_highest_to_the_lowest() {
    let text = map();
    let mut wrong = Vec::new();
    for layers in &CRATES {
        let table = section(&text, &format!("### `{}/src`", layers.folder));
        let named: Vec<_> = first_cells(table).collect();
        let rooms: Vec<_> = layers.rooms.iter().rev().copied().collect();
        if named != rooms {
            wrong.push(format!("{}: {named:?}\n    rooms: {rooms:?}", layers.folder));
        }
    }
    assert_none("see tests/tests/tidy/layers.rs", wrong);
}

#[test]
fn every_type_of_the_glossary_is_defined() {
    let defined: BTreeSet<_> = crates()
        .flat_map(|(_, found)| found.types().map(|(name, ..)| name.to_owned()).collect::<Vec<_>>())
        .collect();
    let text = map();
    let glossary = section(&text, "## Glossary");
    let types = quoted(glossary).filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()));
    let types: BTreeSet<_> = types.filter(|word| !word.contains(':')).collect();
    assert!(types.len() > 30, "only {types:?}");
    let missing = types.into_iter().filter(|name| !defined.contains(*name));
    assert_none("no such type", missing.map(str::to_owned).collect());
}

#[test]
fn the_glossary_has_each_public_type_of_the_protocol_and_of_the_client() {
    let text = map();
    let glossary = section(&text, "## Glossary");
    let named: BTreeSet<_> =
        quoted(glossary).filter_map(|word| word.rsplit("::").next()).map(str::to_owned).collect();
    let mut missing = Vec::new();
    for (layers, found) in crates() {
        if ["rcmd_protocol", "rcmd_client"].contains(&layers.name) {
            let public =
                found.types().filter(|(name, _, public)| *public && !named.contains(*name));
            missing.extend(public.map(|(name, module, _)| format!("{module}::{name}")));
        }
    }
    assert_none("write it into the glossary of docs/architecture.md", missing);
}

#[test]
fn the_readers_of_the_map_read_sections_and_cells() {
    let text =
        "\n## A\n| `x` | `y` |\n| `z`, `w` | v |\n```\n`no`\n```\n### B\n| `u` | t |\n## C\n";
    assert_eq!(first_cells(section(text, "## A")).collect::<Vec<_>>(), ["x", "z", "w"]);
    assert_eq!(first_cells(section(text, "### B")).collect::<Vec<_>>(), ["u"]);
    assert_eq!(quoted(section(text, "## A")).collect::<Vec<_>>(), ["x", "y", "z", "w"]);
}
