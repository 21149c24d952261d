//! The dependencies of each package, and the use of the library by a program elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use rcmd_tests::World;
use rcmd_tests::binaries::{cargo, workspace};
use serde_json::Value;
use tempfile::TempDir;

/// The packages and their direct dependencies, those of tests left out. A new one needs a reason; see CONTRIBUTING.md.
const DIRECT: [(&str, &str); 9] = [
    (
        "rcmd-protocol",
        "blake3 byteorder bytes getrandom hex itoa serde serde_json sha2 thiserror tokio zstd",
    ),
    ("rcmd-transfer", "blake3 fastcdc getrandom ignore landlock rustix thiserror zstd"),
    (
        "rcmd-certs",
        "aws-lc-rs base64 hex humantime jiff rcgen rustix rustls rustls-pki-types serde serde_json \
         strsim tempfile thiserror tokio tokio-rustls toml x509-parser",
    ),
    (
        "rcmd-authority",
        "argon2 aws-lc-rs clap clap_complete clap_mangen hex rcgen rcmd-certs redb rpassword \
         rustix rustls rustls-pki-types serde serde_json tempfile thiserror tokio tokio-rustls \
         tokio-util toml tracing tracing-subscriber x509-parser",
    ),
    (
        "rcmd-server",
        "anyhow arc-swap base64 bytes cedar-policy clap clap_complete clap_mangen getrandom hex \
         httparse humantime jiff miette nix rcmd-certs rcmd-protocol rcmd-transfer rustix rustls serde \
         serde_json sha2 signal-hook-registry socket2 tempfile thiserror tokio tokio-rustls \
         tokio-util toml tracing tracing-subscriber",
    ),
    (
        "rcmd-client",
        "bytes getrandom jiff rcmd-certs rcmd-protocol rustix rustls serde socket2 thiserror tokio \
         tokio-rustls toml",
    ),
    (
        "rcmd-client-cli",
        "anstream anstyle base64 blake3 bytes clap clap_complete clap_mangen encoding_rs humantime \
         jiff rcmd-certs rcmd-client rcmd-protocol rcmd-transfer rustix rustls serde serde_json \
         similar tempfile tokio toml unicode-width",
    ),
    (
        "rcmd-tests",
        "anyhow blake3 bytes clap hex jiff nix rcgen rcmd-certs rcmd-client rcmd-protocol \
         rcmd-server rustix rustls serde serde_json sha2 socket2 tempfile tokio tokio-rustls \
         unicode-width",
    ),
    ("rcmd-demo", ""),
];

/// Packages that other programs build too.
const LIBRARIES: [&str; 3] = ["rcmd-protocol", "rcmd-certs", "rcmd-client"];

/// The packages that a library needs neither itself nor by what it depends on.
const FOR_PROGRAMS: [&str; 13] = [
    "anstream",
    "anyhow",
    "argon2",
    "cedar-policy",
    "clap",
    "clap_builder",
    "miette",
    "proptest",
    "redb",
    "regex",
    "rpassword",
    "saphyr-parser",
    "tracing-subscriber",
];

fn read(name: &str) -> String {
    std::fs::read_to_string(workspace().join(name)).unwrap()
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn words(text: &str) -> BTreeSet<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Returns the packages of the workspace, as `cargo metadata` has them.
fn packages() -> Vec<Value> {
    let metadata =
        output(cargo().args(["metadata", "--no-deps", "--offline", "--format-version=1"]));
    let mut metadata: Value = serde_json::from_str(&metadata).unwrap();
    metadata["packages"].as_array_mut().map(std::mem::take).unwrap()
}

#[test]
fn each_package_depends_directly_on_what_the_list_has() {
    let direct = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        // What a feature brings along is had by those alone who ask for it.
        let normal = all.filter(|one| one["kind"].is_null() && one["optional"] == false);
        normal.map(|one| one["name"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let packages = packages();
    let mut found: BTreeMap<_, _> =
        packages.iter().map(|one| (one["name"].as_str().unwrap(), direct(one))).collect();
    for (name, listed) in DIRECT {
        let found = found.remove(name).unwrap_or_else(|| panic!("no package {name}"));
        let listed = words(listed);
        let (more, less): (Vec<_>, Vec<_>) =
            (found.difference(&listed).collect(), listed.difference(&found).collect());
        assert!(
            more.is_empty() && less.is_empty(),
            "{name} also has {more:?} and has no more {less:?}"
        );
    }
    assert!(found.is_empty(), "packages that are not in the list: {found:?}");
}

#[test]
fn no_program_has_documentation_in_the_place_of_a_library_s() {
    let targets: Vec<_> =
        packages().iter().flat_map(|one| one["targets"].as_array().unwrap().clone()).collect();
    let of_kind = |kind: &'static str| targets.iter().filter(move |one| one["kind"][0] == kind);
    let libraries: BTreeSet<_> =
        of_kind("lib").map(|one| one["name"].as_str().unwrap().replace('_', "-")).collect();
    let sharing: Vec<_> =
        of_kind("bin").filter(|one| libraries.contains(one["name"].as_str().unwrap())).collect();
    assert_eq!(sharing.len(), 3, "{sharing:?}");
    assert!(sharing.iter().all(|one| one["doc"] == false), "{sharing:?}");
}

#[test]
fn libraries_bring_along_nothing_that_only_programs_need() {
    for name in LIBRARIES {
        let mut tree = cargo();
        tree.args([
            "tree",
            "--locked",
            "--offline",
            "--edges=normal",
            "--prefix=none",
            "--format={p}",
            "--package",
            name,
        ]);
        let tree = output(&mut tree);
        let all: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(all.contains("bytes") && all.contains("thiserror"), "{name}: {all:?}");
        let needless: Vec<_> = FOR_PROGRAMS.iter().filter(|one| all.contains(*one)).collect();
        assert!(needless.is_empty(), "{name} brings along {needless:?}");
    }
}

/// Returns the first block of the README's chapter on the library that is fenced by this word.
fn block(word: &str) -> String {
    let readme = read("README.md");
    let (_, chapter) = readme.split_once("\n## Use it as a library\n").unwrap();
    let (chapter, _) = chapter.split_once("\n## ").unwrap();
    let (_, block) = chapter.split_once(&format!("\n```{word}\n")).unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// Returns a text with `from` replaced, which must be there.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from} in: {text}");
    text.replace(from, to)
}

#[test]
fn the_program_of_the_readme_builds_elsewhere_with_what_it_states_and_works() {
    let folder = TempDir::new().unwrap();
    let dependencies = replaced(&block("toml"), "../rcmd", workspace().to_str().unwrap());
    let program =
        replaced(&block("rust,no_run"), "\"localhost\"", "std::env::args().nth(1).unwrap()");
    // With the workspace's profile and in its target folder the libraries of others are there already.
    let manifest = read("Cargo.toml");
    let (_, profile) = manifest.split_once("\n[profile.dev]\n").unwrap();
    let manifest = format!(
        "[package]\nname = \"rcmd-readme\"\nedition = \"2024\"\n\n{dependencies}\n[workspace]\n\n[profile.dev]\n{profile}"
    );
    std::fs::create_dir(folder.path().join("src")).unwrap();
    std::fs::write(folder.path().join("src/main.rs"), program).unwrap();
    std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(workspace().join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    let own = std::env::current_exe().unwrap();
    let target = own.ancestors().nth(3).unwrap();
    let mut build = cargo();
    build
        .args(["build", "--offline", "--quiet", "--manifest-path"])
        .arg(folder.path().join("Cargo.toml"));
    output(build.env("CARGO_TARGET_DIR", target));

    let world = World::start();
    std::os::unix::fs::symlink(world.dir(), folder.path().join("demo")).unwrap();
    let mut program = Command::new(target.join("debug/rcmd-readme"));
    let printed = output(program.arg(world.target()).current_dir(&folder));
    let uname = output(Command::new("uname").arg("-a"));
    assert_eq!(printed, format!("exited: {uname}\n"));
}
