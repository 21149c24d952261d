//! The ban on blocking calls (clippy.toml): who is exempt from it stands in the table, with the thread that calls.

use std::collections::{BTreeMap, BTreeSet};

use rcmd_tests::binaries::workspace;

use super::tree::{assert_none, files, read, short};

/// The heading of the table of modules that make blocking calls.
const HEADING: &str = "### Modules that make blocking calls";
/// The attribute that exempts a module from the ban, or an item of it.
const EXPECTATION: &str = "[expect(clippy::disallowed_methods, reason = \"";
/// Where the ban holds.
const FOLDERS: [&str; 5] =
    ["protocol/src/", "protocol/transfer/src/", "certs/", "server/src/", "client/"];

/// Returns the reasons of a module's expectations.
fn reasons(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    // However the attribute is broken into lines.
    let code = code.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(");
    let begun = code.split(EXPECTATION).skip(1);
    begun.filter_map(|rest| rest.split('"').next().map(str::to_owned)).collect()
}

/// Returns the modules in the table, each with who calls it.
fn listed(document: &str) -> BTreeMap<String, String> {
    let (_, section) = document.split_once(&format!("\n{HEADING}\n")).expect("the section");
    let section = section.split("\n#").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let modules = rows.flat_map(|(modules, by)| {
        let by = by.trim_end_matches('|').trim();
        modules.split('`').step_by(2).map(move |module| (module.to_owned(), by.to_owned()))
    });
    modules.filter(|(module, _)| !module.is_empty()).collect()
}

#[test]
fn each_module_that_makes_blocking_calls_stands_in_the_table_with_its_thread() {
    let listed = listed(&read(&workspace().join("docs/threat-model.md")));
    let mut exempt = BTreeSet::new();
    let mut wrong = Vec::new();
    for path in files("rs") {
        let name = short(&path);
        let is_test = ["/tests/", "/tests.rs"].iter().any(|part| name.contains(part));
        if is_test || !FOLDERS.iter().any(|folder| name.starts_with(folder)) {
            continue;
        }
        for reason in reasons(&read(&path)) {
            if listed.get(&name) != Some(&reason) {
                wrong.push(format!(
                    "{name}: the table says {:?}, not {reason:?}",
                    listed.get(&name)
                ));
            }
            exempt.insert(name.clone());
        }
    }
    let idle = listed.keys().filter(|module| !exempt.contains(*module));
    wrong.extend(idle.map(|module| format!("{module} stands in the table and has no expectation")));
    assert_none("docs/threat-model.md, Modules that make blocking calls", wrong);
    assert!(exempt.len() > 10, "only {exempt:?}");
}

#[test]
fn the_readers_of_modules_and_of_their_table_read_them() {
    let text = "\n### Modules that make blocking calls\n\n| modules | called by |\n| --- | --- |\n\
        | `a.rs`, `b.rs` | one |\n| `c.rs` | two |\n### Next\n| `d.rs` | no |\n";
    let found = listed(text);
    let found: Vec<_> = found.iter().map(|(module, by)| (&**module, &**by)).collect();
    assert_eq!(found, [("a.rs", "one"), ("b.rs", "one"), ("c.rs", "two")]);
    let code = "#![expect(\n    clippy::disallowed_methods,\n    reason = \"one\"\n)]\n#[expect(clippy::other)]\n\
        #[cfg(test)]\nmod tests {\n#[expect(clippy::disallowed_methods, reason = \"no\")]\n";
    assert_eq!(reasons(code), ["one"]);
}
