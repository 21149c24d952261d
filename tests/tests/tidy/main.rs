//! Style as a test: what `rustfmt` and `clippy` cannot see.

use std::collections::HashSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use rcmd_tests::binaries::workspace;

/// No source file is longer, in lines.
const LONGEST: usize = 600;

/// Nine of ten are shorter than this.
const LONG: usize = 400;

/// Files of the tree with this extension, build output and hidden folders left out.
fn files(extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![workspace().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !name.starts_with('.') && !["target", "corpus"].contains(&&*name) {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|last| last == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn short(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap().display().to_string()
}

fn assert_none(what: &str, offenders: Vec<String>) {
    assert!(offenders.is_empty(), "{what}:\n  {}", offenders.join("\n  "));
}

/// Lines of Rust files for which `offends` is true, as `FILE:LINE: TEXT`. This file is not among them,
/// since it has to name what it looks for.
fn lines_of_rust(offends: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for path in files("rs").into_iter().filter(|path| !path.ends_with("tests/tests/tidy/main.rs")) {
        let name = short(&path);
        for (number, line) in read(&path).lines().enumerate() {
            if offends(&name, line) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    found
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

#[test]
fn source_files_are_short() {
    let lengths: Vec<_> =
        files("rs").into_iter().map(|path| (read(&path).lines().count(), short(&path))).collect();
    let longer_than = |limit| {
        let longer = lengths.iter().filter(move |(length, _)| *length > limit);
        longer.map(|(length, path)| format!("{path}: {length} lines")).collect::<Vec<_>>()
    };
    assert_none(&format!("longer than {LONGEST} lines"), longer_than(LONGEST));
    let long = longer_than(LONG);
    assert!(long.len() * 10 <= lengths.len(), "too many past {LONG} lines: {long:#?}");
}

#[test]
fn no_module_is_a_mod_rs() {
    let named = files("rs").into_iter().filter(|path| path.ends_with("mod.rs"));
    assert_none("use `foo.rs` beside `foo/`", named.map(|path| short(&path)).collect());
}

#[test]
fn tests_wait_for_conditions_and_do_not_sleep() {
    // Each of these is itself what a wait or a slow link is made of.
    let allowed = [
        "tests/src/wait.rs",
        "tests/src/sink.rs",
        "tests/src/proxy.rs",
        "tests/src/proxy/relay.rs",
    ];
    let sleeps = lines_of_rust(|name, line| {
        name.starts_with("tests/")
            && !allowed.contains(&name)
            && !is_comment(line)
            && ["thread::sleep", "time::sleep"].iter().any(|call| line.contains(call))
    });
    assert_none("await a condition with `eventually`", sleeps);
}

#[test]
fn no_test_is_ignored() {
    let ignored = lines_of_rust(|_, line| line.trim_start().starts_with("#[ignore"));
    assert_none("say `skipped: needs X` instead", ignored);
}

#[test]
fn unsafe_code_stands_only_where_processes_are_made() {
    for krate in ["protocol", "certs", "certs/authority", "client"] {
        let lib = read(&workspace().join(krate).join("src/lib.rs"));
        assert!(lib.contains("#![forbid(unsafe_code)]"), "{krate}/src/lib.rs does not forbid it");
    }
    let elsewhere = lines_of_rust(|name, line| {
        let opens = ["unsafe {", "unsafe fn ", "unsafe impl ", "unsafe extern "];
        !name.starts_with("server/src/process")
            && !is_comment(line)
            && opens.iter().any(|word| line.contains(word))
    });
    assert_none("unsafe outside server/src/process", elsewhere);
}

#[test]
fn the_protocol_knows_no_runtime_outside_io() {
    let uses = lines_of_rust(|name, line| {
        name.starts_with("protocol/src/")
            && name != "protocol/src/io.rs"
            && !name.starts_with("protocol/src/io/")
            && !is_comment(line)
            && line.contains("tokio::")
    });
    assert_none("tokio in the sans-IO core", uses);
}

#[test]
fn server_and_client_do_not_know_each_other() {
    for (krate, other) in [
        ("client", "rcmd-server"),
        ("server", "rcmd-client"),
        ("protocol", "rcmd-"),
        ("certs", "rcmd-"),
        ("certs/authority", "rcmd-server"),
        ("certs/authority", "rcmd-client"),
    ] {
        let manifest = read(&workspace().join(krate).join("Cargo.toml"));
        let (_, dependencies) = manifest.split_once("[dependencies]").unwrap();
        let named = dependencies.lines().filter(|line| line.starts_with(other));
        assert_none(&format!("{krate} depends on"), named.map(str::to_owned).collect());
    }
}

#[test]
fn no_text_names_a_place_that_only_one_machine_has() {
    let mut found = Vec::new();
    for extension in ["rs", "md", "toml", "py"] {
        let texts =
            files(extension).into_iter().filter(|path| !path.ends_with("tests/tests/tidy/main.rs"));
        for path in texts {
            for (number, line) in read(&path).lines().enumerate() {
                if ["/work/", "../shared", "/root/."].iter().any(|place| line.contains(place)) {
                    found.push(format!("{}:{}: {line}", short(&path), number + 1));
                }
            }
        }
    }
    assert_none("paths of one machine", found);
}

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
