//! The Python package: its own tests, over the programs that are tested here, and what pip makes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rcmd_tests::binaries::{binaries, workspace};
use rcmd_tests::{World, require, skip};
use tempfile::TempDir;

/// Returns a Python that has these modules, which the packages bring.
fn need_python(modules: &[&str], packages: &str) -> Result<PathBuf, String> {
    // Not an import: Debian's pip and setuptools can't be imported together.
    let code = "import sys, importlib.util as u; sys.exit(not all(map(u.find_spec, sys.argv[1:])))";
    let all = [skip::need_tool("python3")?, PathBuf::from("/usr/bin/python3")];
    let has = |python: &PathBuf| {
        let mut find = Command::new(python);
        find.args(["-c", code]).args(modules).stderr(Stdio::null());
        find.status().is_ok_and(|status| status.success())
    };
    all.into_iter().find(has).ok_or_else(|| packages.to_owned())
}

fn package() -> PathBuf {
    workspace().join("client/python")
}

/// Runs one file of the package's tests. One that skips a test is skipped itself, by what that says.
fn run_tests(module: &str) {
    let python = require!(need_python(&["ssl", "unittest"], "python3"));
    let folder = binaries().client.parent().unwrap();
    let output = Command::new(python)
        .args(["-X", "dev", "-W", "error::ResourceWarning", "-m", "unittest", "-v"])
        .arg(format!("tests.{module}"))
        .current_dir(package())
        .env("PYTHONPATH", "src")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("RCMD_TEST_BIN_DIR", folder)
        .env_remove("RCMD_DIR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let ran = said.lines().find(|line| line.starts_with("Ran "));
    assert!(ran.is_some_and(|line| !line.starts_with("Ran 0 ")), "{said}");
    assert!(!said.contains("Task was destroyed") && !said.contains("never retrieved"), "{said}");
    if let Some(skipped) = said.lines().find(|line| line.contains(" ... skipped")) {
        skip::skip(skipped);
    }
}

#[test]
fn the_package_s_tests_are_all_run_here() {
    let own = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python.rs"));
    let own = own.unwrap();
    for entry in fs::read_dir(package().join("tests")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(module) = name.strip_suffix(".py").filter(|name| name.starts_with("test_")) {
            assert!(own.contains(&format!("run_tests(\"{module}\")")), "{module} is not run");
        }
    }
}

#[test]
fn commands_from_python_end_as_they_should() {
    run_tests("test_run");
}

#[test]
fn python_s_calls_end_when_their_time_is_over_or_nobody_wants_them() {
    run_tests("test_time");
}

#[test]
fn python_s_links_that_break_are_resumed() {
    run_tests("test_link");
}

#[test]
fn python_believes_no_server_that_lies() {
    run_tests("test_hostile");
}

#[test]
fn python_runs_nothing_twice_when_servers_break_off_and_waits_for_none() {
    run_tests("test_breaks");
}

#[test]
fn python_believes_only_whom_it_should() {
    run_tests("test_trust");
}

#[test]
fn python_reaches_many_hosts_from_many_threads() {
    run_tests("test_many");
}

#[test]
fn python_copies_files_to_a_host_and_from_it() {
    run_tests("test_files");
}

#[test]
fn python_copies_files_with_many_hosts_and_ends_what_nobody_wants() {
    run_tests("test_files_many");
}

#[test]
fn python_believes_no_client_that_says_odd_things_and_leaves_none_behind() {
    run_tests("test_files_program");
}

#[test]
fn python_m_rcmd_is_a_small_client() {
    run_tests("test_main");
}

#[test]
fn python_s_frames_are_those_of_the_protocol() {
    run_tests("test_protocol");
}

#[test]
fn python_reads_names_as_the_client_does() {
    run_tests("test_names");
}

#[test]
fn python_s_examples_and_readme_do_what_they_say() {
    run_tests("test_examples");
}

fn done(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

/// Copies the files of a folder, those below included.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn the_package_becomes_a_wheel_that_runs_where_it_is_installed() {
    let packages = "python3-pip, python3-setuptools and python3-wheel";
    let python = require!(need_python(&["pip", "setuptools", "wheel"], packages));
    let scratch = TempDir::new().unwrap();
    let [source, wheels, site] = ["source", "wheels", "site"].map(|name| scratch.path().join(name));
    // What is built leaves files beside its source.
    copy(&package(), &source);
    let pip = |words: &[&str]| {
        let mut command = Command::new(&python);
        command.args(["-m", "pip", "--disable-pip-version-check", "--no-input"]).args(words);
        command.env("PIP_NO_INDEX", "1").env("PIP_NO_CACHE_DIR", "1");
        command.current_dir(scratch.path());
        command
    };
    let build = ["wheel", "--no-deps", "--no-build-isolation", "-w", "wheels", "./source"];
    done(&mut pip(&build));
    let built: Vec<_> = fs::read_dir(&wheels).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [wheel] = &built[..] else { panic!("{built:?}") };
    let name = wheel.file_name().unwrap().to_str().unwrap();
    let expected = format!("rcmd-{}-py3-none-any.whl", env!("CARGO_PKG_VERSION"));
    assert_eq!(name, expected, "the version is that of the programs");
    done(pip(&["install", "--no-deps", "--target", "site"]).arg(wheel));
    assert!(site.join("rcmd/py.typed").is_file(), "its types are told");
    assert!(!site.join("tests").exists(), "its tests stay at home");

    let world = World::start();
    let example = package().join("examples/run_command.py");
    let mut run = Command::new(&python);
    run.arg(example).args([&world.target(), "echo", "from a wheel"]);
    run.env("PYTHONPATH", &site).env("RCMD_DIR", world.client_dir()).current_dir(scratch.path());
    let output = done(&mut run);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "from a wheel\n");
}
