//! Rules for packages: which may depend on which.

use rcmd_tests::binaries::workspace;

use super::layers::CRATES;
use super::tree::{assert_none, read, short};

#[test]
fn server_and_client_do_not_know_each_other() {
    for (krate, other) in [
        ("client", "rcmd-server"),
        ("server", "rcmd-client"),
        ("protocol", "rcmd-"),
        ("protocol/transfer", "rcmd-"),
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
fn programs_do_not_hide_a_library_s_documentation() {
    let folders = CRATES.iter().map(|layers| workspace().join(layers.folder));
    let ours = folders.filter(|folder| folder.join("src/main.rs").exists());
    let mut wrong = Vec::new();
    for path in ours.map(|folder| folder.join("Cargo.toml")) {
        let manifest = read(&path);
        let programs = manifest.split("[[bin]]").skip(1);
        let documented = programs
            .map(|section| section.split("\n[").next().unwrap())
            .filter(|section| !section.lines().any(|line| line == "doc = false"))
            .count();
        if documented > 0 || !manifest.contains("[[bin]]") {
            wrong.push(short(&path));
        }
    }
    assert_none("`doc = false` is missing from a [[bin]]", wrong);
}
