//! Rules for the structure of crates: layers, circles, the size of folders, names of types.

use std::collections::{BTreeMap, BTreeSet};

use rcmd_tests::binaries::workspace;

use super::imports::Crate;
use super::layers::{CRATES, Layers};
use super::map::in_two_crates;
use super::tree::{assert_none, files, read, short};

/// A folder has no more entries; `x.rs` and `x/` are one, and tests are not counted.
const ENTRIES: usize = 20;

pub(crate) fn crates() -> impl Iterator<Item = (&'static Layers, Crate)> {
    CRATES.iter().filter_map(|layers| {
        let source = workspace().join(layers.folder).join("src");
        let load = |name: &[String]| {
            // A library and its program are one here: the program stands above all rooms.
            let files = match name {
                [] => vec![source.join("lib.rs"), source.join("main.rs")],
                name => vec![source.join(name.join("/")).with_extension("rs")],
            };
            let texts: String =
                files.iter().filter(|file| file.exists()).map(|file| read(file) + "\n").collect();
            (!texts.is_empty()).then_some(texts)
        };
        source.exists().then(|| (layers, Crate::read(layers.name, load)))
    })
}

#[test]
fn no_room_imports_one_above_it() {
    let mut wrong = Vec::new();
    for (layers, found) in crates() {
        let (listed, rooms) = (layers.rooms.iter().copied().collect(), found.rooms());
        let unlisted = |room: &&str| format!("{}: {room} is no room or not listed", layers.name);
        wrong.extend(rooms.symmetric_difference(&listed).map(unlisted));
        let upward = found.upward(layers.rooms).into_iter();
        wrong.extend(upward.map(|import| format!("{}: {import}", layers.name)));
    }
    assert_none("see tests/tests/tidy/layers.rs", wrong);
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut wrong = Vec::new();
    for (layers, found) in crates() {
        let circles = found.circles().into_iter();
        wrong.extend(circles.map(|circle| format!("{}: {}", layers.name, circle.join(", "))));
    }
    assert_none("move what both need into a file below both", wrong);
}

#[test]
fn no_source_folder_has_too_many_entries() {
    let mut entries: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in files("rs") {
        let name = short(&path);
        if !CRATES.iter().any(|layers| name.starts_with(&format!("{}/src/", layers.folder))) {
            continue;
        }
        let folder = short(path.parent().unwrap());
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if let Some((above, own)) = folder.rsplit_once('/') {
            entries.entry(above.to_owned()).or_default().insert(own.to_owned());
        }
        entries.entry(folder).or_default().insert(stem);
    }
    let counts = entries.into_iter().map(|(folder, mut entries)| {
        entries.remove("tests");
        (folder, entries.len())
    });
    let full = counts.filter(|(_, count)| *count > ENTRIES);
    let full = full.map(|(folder, count)| format!("{folder}: {count}"));
    assert_none(&format!("more than {ENTRIES} entries"), full.collect());
}

/// Returns a crate in memory: a module's name, and its text.
fn planted(files: &[(&str, &str)]) -> Crate {
    Crate::read("own", |name| {
        let name = name.join("::");
        files.iter().find(|(file, _)| *file == name).map(|(_, text)| (*text).to_owned())
    })
}

#[test]
fn the_finder_of_upward_imports_finds_each_kind_of_path() {
    let low =
        |text| planted(&[("", "mod high; mod low;"), ("high", "pub struct H;"), ("low", text)]);
    for text in [
        "use crate::high::H;",
        "use super::high::{self, H as Other};",
        "pub use crate::high::*;",
        "fn f() -> crate::high::H { todo!() }",
        "fn f() { assert!(true, \"{}\", crate::high::g()) }",
        "mod inner { use super::super::high; }",
        "use own::high;",
        "pub(crate) struct Low(Vec<super::high::H>);",
    ] {
        assert_eq!(low(text).upward(&["low", "high"]).len(), 1, "{text}");
        assert_eq!(low(text).upward(&["high", "low"]), [""; 0], "{text}");
    }
    for text in [
        "#[cfg(test)] mod tests { use crate::high::H; }",
        "#[cfg(test)]\nuse crate::high::H;\nfn f() {}",
        "// use crate::high::H;\nfn f() -> &str { \"crate::high\" }",
        "use other::high::H;",
        "pub(in crate::high) fn f() {}",
    ] {
        assert_eq!(low(text).upward(&["low", "high"]), [""; 0], "{text}");
    }
}

#[test]
fn the_finder_of_circles_follows_re_exports_to_what_is_meant() {
    let circles = |files: &[(&str, &str)]| planted(files).circles();
    // A parent uses its parts, and they what it defines.
    let parent = ("a", "mod b; pub use b::B; pub struct A; fn f(b: B) {}");
    let child = ("a::b", "use super::A; pub struct B(A);");
    assert_eq!(circles(&[("", "mod a;"), parent, child]).len(), 0);
    let siblings = [
        ("", "mod a;"),
        ("a", "mod b; mod c;"),
        ("a::b", "use super::c::C; pub struct B;"),
        ("a::c", "fn c() -> super::b::B { todo!() } pub struct C;"),
    ];
    assert_eq!(circles(&siblings), [["a::b", "a::c"]]);
    // By way of a re-export it is the sibling that is meant.
    let files = [
        ("", "mod a;"),
        ("a", "mod b; mod c; pub use b::B; fn f() { c::c() }"),
        ("a::b", "pub struct B;"),
        ("a::c", "use super::B; pub fn c() {}"),
    ];
    assert_eq!(circles(&files).len(), 0);
    let files = [
        ("", "mod a; mod b; mod c;"),
        ("a", "use crate::b::B;"),
        ("b", "use crate::c; pub struct B;"),
        ("c", "pub fn c() { crate::a::a() }"),
    ];
    assert_eq!(circles(&files), [["a", "b", "c"]]);
}

#[test]
fn a_public_type_s_name_stands_in_one_crate_alone() {
    let excused = in_two_crates();
    let mut places: BTreeMap<String, BTreeMap<&str, String>> = BTreeMap::new();
    for (layers, found) in crates() {
        for (name, module, _) in found.types().filter(|(.., public)| *public) {
            places.entry(name.to_owned()).or_default().insert(layers.name, module);
        }
    }
    let twice = places.iter().filter(|(_, places)| places.len() > 1);
    let named: BTreeSet<_> = twice.clone().map(|(name, _)| name.clone()).collect();
    let unexplained = twice.filter(|(name, _)| !excused.contains(*name));
    let mut wrong: Vec<_> =
        unexplained.map(|(name, places)| format!("{name}: {places:?}")).collect();
    wrong.extend(excused.difference(&named).map(|name| format!("{name} stands in one crate")));
    assert_none("rename one, or say why in docs/architecture.md", wrong);
}

#[test]
fn the_finder_of_types_finds_those_alone() {
    let text = "pub struct A; pub(crate) struct B; struct C; pub enum D {} pub trait E {}
        pub type F = u8; impl E for A { type X = u8; } mod inner { pub struct G; } pub fn h() {}
        made! { /// One.
        pub struct I { pub i: u8 as Way, } } fn k() { made! { struct L; } }";
    let found = planted(&[("", text)]);
    let types = found.types().map(|(name, _, public)| (name.to_owned(), public));
    let private = ["B", "C"].map(|name| (name.to_owned(), false));
    let public = ["A", "D", "E", "F", "I"].map(|name| (name.to_owned(), true));
    assert_eq!(types.collect::<BTreeSet<_>>(), private.into_iter().chain(public).collect());
}
