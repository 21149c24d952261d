//! Trees of real software: there and back, and nothing of them is another.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rcmd_tests::{World, require};

use crate::tree::{describe, set};
use crate::{cp, there};

/// The crates whose sources are copied: code with long names, assembly, tests with odd files.
const CRATES: [&str; 4] = ["blake3-", "clap_builder-", "ignore-", "rustix-"];

/// Returns the sources of some crates, as cargo has unpacked them.
fn crates() -> Result<Vec<PathBuf>, String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let registries = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    let registries = registries.into_iter().flatten().map(|entry| entry.unwrap().path());
    let all = registries.filter_map(|registry| fs::read_dir(registry).ok()).flatten();
    let mut all: Vec<_> = all.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    let of = |name: &str| {
        let is_it = |path: &&PathBuf| {
            let file_name = path.file_name().unwrap().to_string_lossy();
            file_name
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        all.iter().rfind(is_it).cloned()
    };
    let found: Vec<_> = CRATES.into_iter().filter_map(of).collect();
    if found.len() == CRATES.len() { Ok(found) } else { Err("the sources of crates".to_owned()) }
}

/// Copies folders there and back, and holds what came against what was sent.
fn there_and_back(sources: &[PathBuf]) {
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    fs::create_dir(path("there")).unwrap();
    fs::create_dir(path("back")).unwrap();
    let name = |source: &Path| source.file_name().unwrap().to_owned();
    let to = there(&world, path("there"));
    let words = sources.iter().map(|source| source.to_str().unwrap().to_owned());
    let done = cp(&world, ["-r".to_owned()].into_iter().chain(words).chain([to])).run();
    done.assert_code(0);
    let words = sources.iter().map(|source| there(&world, path("there").join(name(source))));
    let words = ["-r".to_owned()].into_iter().chain(words).chain(["back".to_owned()]);
    cp(&world, words).run().assert_code(0);
    for source in sources {
        let sent = describe(source);
        assert!(sent.len() > 10, "{}", source.display());
        for place in ["there", "back"] {
            let came = describe(&path(place).join(name(source)));
            let differs = came.iter().zip(&sent).find(|(came, sent)| came != sent);
            assert_eq!(differs, None, "{place}");
            assert_eq!(came.len(), sent.len(), "{place} {}", source.display());
        }
    }
}

#[test]
fn sources_of_crates_go_there_and_back_and_are_the_same() {
    let mut sources = require!(crates());
    // What such trees seldom have, among them.
    let own = tempfile::tempdir().unwrap();
    let root = own.path().join("own");
    let copied = sources.first().unwrap().join("src");
    fs::create_dir_all(&root).unwrap();
    for (number, entry) in
        fs::read_dir(copied).unwrap().map(|entry| entry.unwrap().path()).enumerate()
    {
        if entry.is_file() {
            let to = root.join(entry.file_name().unwrap());
            fs::copy(&entry, &to).unwrap();
            fs::hard_link(&to, root.join(format!("again{number}"))).unwrap();
            symlink(&to, root.join(format!("link{number}"))).unwrap();
        }
    }
    let image = fs::File::create(root.join("image")).unwrap();
    image.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&image, &[b'x'; 70_000], 9 << 20).unwrap();
    drop(image);
    set(&root.join("image"), 0o640, 1_600_000_000);
    set(&root, 0o751, 1_600_000_001);
    sources.push(root);
    there_and_back(&sources);
}

#[test]
fn trees_that_were_named_go_there_and_back_and_are_the_same() {
    // Folders with colons between, such as the unpacked source of a package of the system.
    let named = env::var_os("RCMD_TEST_TREES");
    let sources: Vec<_> = named.iter().flat_map(env::split_paths).collect();
    if !sources.is_empty() {
        there_and_back(&sources);
    }
}
