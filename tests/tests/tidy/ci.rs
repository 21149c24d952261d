//! Rules for what CI runs, here and on hosted runners, and for versions.

use std::collections::BTreeSet;
use std::process::Command;

use rcmd_tests::binaries::workspace;

use super::tree::{assert_none, read};

/// The file of what a hosted runner does.
const WORKFLOW: &str = ".github/workflows/ci.yml";

/// Returns the names in a folder, without their extensions.
fn names_in(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(workspace().join(folder)).unwrap();
    let stems = entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_owned());
    stems.map(|stem| stem.into_string().unwrap()).collect()
}

/// Returns the fuzz targets that `.ci/fuzz` runs.
fn fuzzed() -> BTreeSet<String> {
    let listed = Command::new(workspace().join(".ci/fuzz")).arg("--list").output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn each_fuzz_target_is_run_and_has_saved_inputs_and_a_description() {
    let fuzzed = fuzzed();
    assert!(fuzzed.len() > 10, "only {fuzzed:?}");
    assert_eq!(names_in("fuzz/fuzz_targets"), fuzzed, "beside the programs of fuzz/Cargo.toml");
    assert_eq!(names_in("fuzz/corpus"), fuzzed, "beside the programs of fuzz/Cargo.toml");
    let readme = read(&workspace().join("fuzz/README.md"));
    let described = |target: &&String| readme.contains(&format!("\n| `{target}` | "));
    let missing = fuzzed.iter().filter(|target| !described(target));
    assert_none("not in fuzz/README.md", missing.cloned().collect());
}

#[test]
fn a_hosted_runner_runs_every_script_of_ci() {
    let workflow = read(&workspace().join(WORKFLOW));
    let runs = |script: &String| workflow.contains(&format!(" bash .ci/{script}"));
    let scripts = names_in(".ci");
    let missing = scripts.iter().filter(|script| !runs(script));
    assert_none(&format!("not in {WORKFLOW}"), missing.cloned().collect());
    assert!(scripts.contains("run") && scripts.contains("fuzz"), "{scripts:?}");
}

#[test]
fn what_a_workflow_takes_from_others_is_pinned_to_a_commit() {
    let workflow = read(&workspace().join(WORKFLOW));
    let uses = workflow.lines().filter_map(|line| line.split_once("uses: "));
    let loose = uses.filter(|(_, action)| {
        let commit = action.split_once('@').map_or("", |(_, rest)| rest.split(' ').next().unwrap());
        commit.len() != 40 || !commit.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    assert_none(WORKFLOW, loose.map(|(_, action)| action.to_owned()).collect());
}

/// Returns a value of the workspace's Cargo.toml.
fn of_workspace(key: &str) -> String {
    let manifest = read(&workspace().join("Cargo.toml"));
    let (_, rest) = manifest.split_once(&format!("\n{key} = \"")).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

#[test]
fn the_readme_states_the_oldest_rust_that_is_checked() {
    let stated = format!("Rust {} or later", of_workspace("rust-version"));
    let readme = read(&workspace().join("README.md")).replace('\n', " ");
    assert!(readme.contains(&stated), "README.md has no \"{stated}\"");
    let workflow = read(&workspace().join(WORKFLOW));
    assert!(workflow.contains("rust-version") && workflow.contains("cargo \"+$version\" check"));
}

#[test]
fn every_place_that_states_a_version_states_the_same() {
    let version = of_workspace("version");
    for (file, text) in [
        ("CHANGELOG.md", format!("\n## {version} (")),
        ("client/python/src/rcmd/_version.py", format!("\nVERSION = \"{version}\"\n")),
    ] {
        assert!(read(&workspace().join(file)).contains(&text), "{file} has no {text:?}");
    }
}
