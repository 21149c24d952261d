//! The benchmark program: its figures are for people, that it works is for this test.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rcmd_tests::binaries::binaries;
use rcmd_tests::{proc, require, skip};
use serde_json::Value;

fn bench(args: &[&str]) -> (Value, String) {
    let folder = binaries().client.parent().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.env("RCMD_TEST_BIN_DIR", folder).args(["--quick", "--json"]).args(args);
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{:?}\n{errors}", output.status);
    let json = serde_json::from_slice(&output.stdout);
    (json.unwrap_or_else(|error| panic!("{error}\n{errors}")), errors)
}

fn names(table: &Value) -> Vec<&str> {
    let series = table["series"].as_array().unwrap();
    series.iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[test]
fn a_quick_run_measures_the_rows_that_were_asked_for_as_json() {
    let (json, _) = bench(&["protocol", "cold"]);
    assert_eq!(json["failures"], Value::Array(Vec::new()));
    assert!(json["machine"]["cores"].as_u64().unwrap() > 0);
    let tables = json["tables"].as_array().unwrap();
    let rows: Vec<_> = tables.iter().map(|table| table["row"].as_str().unwrap()).collect();
    assert_eq!(rows, ["protocol", "protocol", "cold"]);
    assert_eq!(names(&tables[0]), ["data of 64 KiB"]);
    for name in ["rcmd-client HOST true", "true, on the spot"] {
        assert!(names(&tables[2]).contains(&name), "{name} is not in {}", tables[2]);
    }
    for one in tables.iter().flat_map(|table| table["series"].as_array().unwrap()) {
        let [least, median, most] = ["min", "median", "max"].map(|key| one[key].as_f64().unwrap());
        assert!(0.0 < least && least <= median && median <= most, "{one}");
    }
}

#[test]
fn tables_are_written_between_the_markers_of_a_document() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("performance.md");
    let document = "before\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nafter\n";
    std::fs::write(&file, document).unwrap();
    let file_name = file.to_str().unwrap();
    bench(&["protocol", "--write", file_name]);
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.starts_with("before\n<!-- bench:begin -->\n"), "{written}");
    assert!(written.ends_with("<!-- bench:end -->\nafter\n"), "{written}");
    assert!(written.contains("| data of 64 KiB"), "{written}");
    assert!(!written.contains("old"), "{written}");
    // Of two sections one is replaced.
    let own = "<!-- bench:own:begin -->\nold\n<!-- bench:own:end -->\n";
    std::fs::write(&file, format!("{document}{own}")).unwrap();
    bench(&["protocol", "--write", file_name, "--section", "own"]);
    let written = std::fs::read_to_string(&file).unwrap();
    let (first, second) = written.split_once("<!-- bench:own:begin -->").unwrap();
    assert_eq!(first, document);
    assert!(second.contains("| data of 64 KiB") && !second.contains("old"), "{written}");
}

#[test]
fn of_many_hosts_each_answers_by_every_program() {
    for tool in ["sshd", "parallel-ssh", "clush", "pdsh", "ansible"] {
        require!(skip::need_tool(tool));
    }
    let (json, errors) = bench(&["--rounds", "1", "fleet100"]);
    for told in ["failures", "missing"] {
        assert_eq!(json[told], Value::Array(Vec::new()), "{errors}");
    }
    let tables = json["tables"].as_array().unwrap();
    let programs = ["rcmd-client", "pssh", "clush", "pdsh", "ansible -m raw"];
    for table in tables {
        let title = table["title"].as_str().unwrap();
        let as_it_comes = title.contains("by default");
        assert_eq!(names(table), if as_it_comes { &programs[1..] } else { &programs[..] });
        for one in table["series"].as_array().unwrap() {
            let most = one["max"].as_f64().unwrap();
            // Ten at once are as many strangers as sshd lets in without turning away any.
            let unanswered = title.contains("without an answer");
            assert!(if unanswered { most == 0.0 } else { most > 0.0 }, "{title}: {one}");
        }
    }
    assert_eq!(tables.len(), 7);
}

#[test]
fn files_and_trees_arrive_whole_by_every_program() {
    for tool in ["sshd", "scp", "sftp", "rsync"] {
        require!(skip::need_tool(tool));
    }
    let (json, errors) = bench(&["--rounds", "1", "--size", "4", "files"]);
    for told in ["failures", "missing"] {
        assert_eq!(json[told], Value::Array(Vec::new()), "{errors}");
    }
    let tables = json["tables"].as_array().unwrap();
    // Two ways for a file, a tree and an unchanged tree, one for what has changed; time and memory of each.
    assert_eq!(tables.len(), 8 * 3);
    let all = [
        "rcmd-client cp",
        "scp",
        "scp, aes128-gcm",
        "sftp",
        "rsync -a",
        "rsync -a, aes128-gcm",
        "cp, on the spot",
    ];
    for (number, table) in tables.iter().enumerate() {
        let title = table["title"].as_str().unwrap();
        let names = names(table);
        match number {
            0 | 3 | 6 | 9 => assert_eq!(names, all, "{title}"),
            1..12 => assert_eq!(names, all[..6], "{title}"),
            _ => assert!(names.contains(&all[0]) && names.contains(&all[4]), "{title}: {names:?}"),
        }
        if title.ends_with("start to end") {
            assert!(table["series"][0]["min"].as_f64().unwrap() > 0.0, "{title}");
            assert_eq!(
                table["ratios"][0]["name"].as_str().unwrap().split(" / ").next(),
                Some(all[0])
            );
        }
    }
}

#[test]
fn rows_that_must_be_named_are_told_of_as_such() {
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let (_, named) = help.split_once("Rows that must be named:\n").unwrap();
    for name in ["fleet100", "fleet500", "files"] {
        assert!(named.contains(&format!("  {name} ")), "{name}: {help}");
    }
}

#[test]
fn an_unknown_row_is_refused_with_a_way_on() {
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).arg("nothing").output().unwrap();
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("no row \"nothing\"; `bench --help` lists them"), "{errors}");
}

#[test]
fn nothing_runs_any_more_and_no_folder_is_left_after_an_interruption() {
    let folder = tempfile::tempdir().unwrap();
    let mark = format!("TMPDIR_OF_BENCH={}", folder.path().display());
    let (name, value) = mark.split_once('=').unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["--rounds", "1000", "cold"]).env("TMPDIR", folder.path()).env(name, value);
    command.env("RCMD_TEST_BIN_DIR", binaries().client.parent().unwrap());
    let mut child = command.spawn().unwrap();
    let servers =
        || proc::marked(&mark).into_iter().filter(|process| process.name == "rcmd-server");
    rcmd_tests::eventually("its server runs", || servers().count() > 0);
    proc::signal(child.id(), rustix::process::Signal::INT);
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert_eq!(proc::marked(&mark), []);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A tool may hand on to another process faster than a list of processes can be made.
#[test]
fn nothing_is_left_of_an_interrupted_set_up_whose_tools_start_others() {
    let (folder, tools) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let begun = tools.path().join("begun");
    let keygen =
        ": >\"$BEGUN\"\n[ \"${N:-0}\" -lt 300 ] || exec sleep 600\nN=$((${N:-0} + 1)) \"$0\" &\n";
    for (name, text) in [("sshd", ""), ("ssh", ""), ("ssh-keygen", keygen)] {
        let file = tools.path().join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{text}")).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mark = format!("TOOLS_OF_BENCH={}", tools.path().display());
    let (name, value) = mark.split_once('=').unwrap();
    let path = format!("{value}:{}", std::env::var("PATH").unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.arg("cold").env("TMPDIR", folder.path()).env("BEGUN", &begun).env("PATH", path);
    command.env(name, value).env("RCMD_TEST_BIN_DIR", binaries().client.parent().unwrap());
    let mut child = command.spawn().unwrap();
    rcmd_tests::eventually("a key is being made", || begun.exists());
    proc::signal(child.id(), rustix::process::Signal::INT);
    let status = child.wait().unwrap();
    assert_eq!(proc::marked(&mark), []);
    assert_eq!(status.code(), Some(130));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
