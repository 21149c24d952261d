//! The files that a run over many hosts leaves, and its output in each form.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcmd_tests::many::{count_lines, exec, shell, sorted_lines, world};
use rcmd_tests::{Finished, Proxy, World};
use serde_json::{Value, json};

/// Returns the names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// Returns the objects of a file, or of an output, a line each.
fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn no_file_of_yesterday_stands_for_a_host_of_today() {
    let world = world(3);
    let folder = world.scratch("o");
    let outdir = ["--outdir", folder.to_str().unwrap()];
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    exec(&world, "a[1-3]", &["echo", "one"]).options(outdir).run().assert_code(0);
    assert_eq!((read("a1.out"), read("a2.out")), ("one\n".to_owned(), "one\n".to_owned()));
    let line = "[ {host} = a1 ] && echo two";
    let second = shell(&world, "a1,dead,a2", line).options(outdir).run();
    second.assert_code(125).assert_says("also has files of hosts that are not in this run: a3");
    assert_eq!((read("a1.out"), read("a2.out")), ("two\n".to_owned(), String::new()));
    assert_eq!((read("dead.out"), read("dead.err")), (String::new(), String::new()));
    assert_eq!(read("a3.out"), "one\n", "it is another run's");
    assert_eq!(objects(&read("results.jsonl")).len(), 3);
    let third = exec(&world, "a3", &["echo", "three"]).options(outdir).run();
    third.assert_code(0).assert_says("a[1-2],dead");
    assert_eq!((read("a3.out"), read("a1.out")), ("three\n".to_owned(), "two\n".to_owned()));
}

#[test]
fn bytes_of_a_host_are_in_its_files_as_they_were_also_without_a_last_newline() {
    let world = world(2);
    let folder = world.scratch("o");
    let line = "if [ {host} = a1 ]; then printf x; else echo x; fi; printf '\\377\\0\\r' >&2";
    let done = shell(&world, "a[1-2]", line).option("--outdir").option(&folder).run();
    done.assert_code(0);
    assert_eq!(sorted_lines(&done), ["a1: x", "a2: x"]);
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    assert_eq!((read("a1.out"), read("a2.out")), (b"x".to_vec(), b"x\n".to_vec()));
    assert_eq!(read("a1.err"), b"\xff\0\r");
    assert_eq!(names(&folder), ["a1.err", "a1.out", "a2.err", "a2.out", "results.jsonl"]);
}

#[test]
fn in_a_pipe_bytes_are_untouched_and_a_line_is_whole() {
    let world = world(2);
    let long = "head -c 3000000 /dev/zero | tr '\\0' x";
    let line = format!("printf '\\377\\033[2J\\t'; [ {{host}} = a2 ] || {long}; echo");
    let done = shell(&world, "a[1-2]", &line).run();
    done.assert_code(0);
    let mut lines: Vec<_> = done.stdout.split(|byte| *byte == b'\n').collect();
    lines.sort_by_key(|line| line.len());
    assert_eq!(lines[..2], [&b""[..], b"a2: \xff\x1b[2J\t"]);
    let (label, rest) = lines[2].split_at(9);
    assert_eq!((label, rest.len()), (&b"a1: \xff\x1b[2J"[..], 1 + 3_000_000));
    assert!(rest.starts_with(b"\tx") && rest[1..].iter().all(|byte| *byte == b'x'));
}

/// Writes an inventory program that names these hosts, each of which is the world's server.
fn inventory(world: &World, hosts: &[&str]) -> String {
    let port = world.address().port();
    let variables = json!({
        "ansible_host": "127.0.0.1", "rcmd_port": port, "rcmd_certificate": "localhost",
    });
    let each: serde_json::Map<_, _> =
        hosts.iter().map(|host| ((*host).to_owned(), variables.clone())).collect();
    let list = json!({"web": {"hosts": hosts}, "_meta": {"hostvars": each}});
    let file = world.scratch("inventory.sh");
    fs::write(&file, format!("#!/bin/sh\ncat <<'END'\n{list}\nEND\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn no_name_of_a_host_leaves_the_folder_or_shares_a_file() {
    let world = World::start();
    let long = "x".repeat(300);
    let hosts = ["a/../../b", "a_.._.._b", "../up", &long];
    let inventory = inventory(&world, &hosts);
    let outer = world.scratch("outer");
    let folder = outer.join("o");
    let set = |options: &[&str]| {
        let client = world.client().options(["--inventory", &inventory, "--shell"]);
        client.options(options).target("@web").words(["echo {index}"]).run()
    };
    let done = set(&["--outdir", folder.to_str().unwrap()]);
    done.assert_code(0);
    assert_eq!(names(&outer), ["o"], "nothing lies outside");
    let files = names(&folder);
    assert_eq!(files.len(), 2 * hosts.len() + 1, "{files:?}");
    assert!(files.contains(&".._up.out".to_owned()), "{files:?}");
    let alike: Vec<_> = files.iter().filter(|name| name.starts_with("a_.._.._b-")).collect();
    assert_eq!(alike.len(), 4, "two names that map to one file get digests: {files:?}");
    let cut = files.iter().find(|name| name.starts_with("xxx") && name.ends_with(".out")).unwrap();
    assert_eq!(cut.len(), 255, "{cut}");
    let mut said: Vec<_> = files
        .iter()
        .filter(|name| name.ends_with(".out"))
        .map(|name| fs::read_to_string(folder.join(name)).unwrap())
        .collect();
    said.sort();
    assert_eq!(said, ["0\n", "1\n", "2\n", "3\n"]);
    let results = objects(&fs::read_to_string(folder.join("results.jsonl")).unwrap());
    let mut named: Vec<_> = results.iter().map(|result| result["host"].as_str().unwrap()).collect();
    named.sort_unstable();
    let mut expected = hosts.to_vec();
    expected.sort_unstable();
    assert_eq!(named, expected);
    // They stand in folds and records as they are.
    let folded = set(&["--fold"]).stdout_text();
    assert!(folded.contains("a/../../b (1)") && folded.contains(&format!("{long} (1)")));
    let dir = world.client_dir().to_str().unwrap();
    let shown = world.bare_client(["runs", "--dir", dir, "show", "last"]).run().stdout_text();
    assert!(shown.contains("../up") && shown.contains(&long), "{shown}");
}

#[test]
fn what_is_an_option_or_a_folder_above_is_no_name() {
    let world = World::builder().prepare();
    let ran = world.scratch("ran");
    for host in ["-rf", ".", ".."] {
        let inventory = inventory_of(&world, host);
        let client = world.client().options(["--inventory", &inventory, "--exec"]);
        let done = client.target("@web").words(["touch", ran.to_str().unwrap()]).run();
        done.assert_code(125).assert_says("rcmd: hint: ");
        let client = world.client().options(["--exec", "-f", "1", "--"]).target(host);
        client.words(["touch", ran.to_str().unwrap()]).run().assert_code(125);
    }
    assert!(!ran.exists());
}

/// Writes an inventory program that names one host, which is nowhere.
fn inventory_of(world: &World, host: &str) -> String {
    let file = world.scratch("inventory.json");
    fs::write(&file, format!("#!/bin/sh\necho '{{\"web\":{{\"hosts\":[\"{host}\"]}}}}'\n"))
        .unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn two_ports_of_one_address_have_labels_files_and_a_fold_of_their_own() {
    let world = World::start();
    let proxy = Proxy::to(world.address());
    let hosts = [world.target(), proxy.target()];
    let folder = world.scratch("o");
    let set = hosts.join(",");
    let done = exec(&world, &set, &["echo", "x"]).option("--outdir").option(&folder).run();
    done.assert_code(0);
    let mut labelled = hosts.clone().map(|host| format!("{host}: x"));
    labelled.sort();
    assert_eq!(sorted_lines(&done), labelled);
    for host in &hosts {
        assert_eq!(fs::read(folder.join(format!("{host}.out"))).unwrap(), b"x\n");
    }
    let folded = exec(&world, &set, &["echo", "x"]).option("--fold").run().stdout_text();
    let head = folded.lines().nth(1).unwrap().strip_suffix(" (2)").unwrap().to_owned();
    let again = exec(&world, &head, &["echo", "y"]).run();
    again.assert_code(0);
    assert_eq!(sorted_lines(&again).len(), 2, "{head} can be typed");
}

#[test]
fn results_are_an_object_a_host() {
    let world = world(2);
    let file = world.scratch("results");
    let line = "printf '%s' {host}; [ {host} = a1 ]";
    shell(&world, "a[1-2],dead", line).option("--result").option(&file).run().assert_code(125);
    let mut results = objects(&fs::read_to_string(&file).unwrap());
    results.sort_by_key(|result| result["host"].to_string());
    let told: Vec<_> = results
        .iter()
        .map(|one| json!([one["host"], one["outcome"], one["code"], one["stdout_bytes"]]))
        .collect();
    let expected = [
        json!(["a1", "exited", 0, 2]),
        json!(["a2", "exited", 1, 2]),
        json!(["dead", "not_started", null, 0]),
    ];
    assert_eq!(told, expected);
    assert_eq!(
        (&results[2]["error"]["kind"], &results[2]["retry_safe"]),
        (&"unreachable".into(), &true.into())
    );
    assert!(results[0]["stdout_digest"].is_string() && results[0]["duration_ms"].is_u64());
}

#[test]
fn a_format_is_a_record_a_host() {
    let world = world(2);
    let line = "echo {host}; echo err >&2; exit {index}";
    let format = "{host}\\t{index}\\t{outcome}\\t{code}\\t{stdout}\\t{stderr}|{{host}}";
    let done = shell(&world, "a[1-2]", line).options(["--format", format]).run();
    done.assert_code(1);
    let records = ["a1\t0\texited\t0\ta1\terr|{{host}}", "a2\t1\texited\t1\ta2\terr|{{host}}"];
    assert_eq!(sorted_lines(&done), records);
    let signal = shell(&world, "a[1-1]", "kill -9 $$").options(["--format", "{code}:{signal}"]);
    assert_eq!(signal.run().stdout_text(), ":SIGKILL\n");
}

#[test]
fn a_difference_is_told_against_the_most_common_answer() {
    let world = world(3);
    let line = "echo same; [ {host} = a2 ] && echo other || echo common";
    let done = shell(&world, "a[1-3]", line).option("--diff").run();
    done.assert_code(0);
    let rule = "---------------";
    assert_eq!(
        done.stdout_text(),
        format!(
            "{rule}\na[1,3] (2)\n{rule}\nsame\ncommon\n{rule}\na2 (1)\n{rule}\n\
             --- a[1,3] stdout\n+++ a2 stdout\n@@ -1,2 +1,2 @@\n same\n-common\n+other\n"
        )
    );
}

#[test]
fn a_fold_looks_at_streams_and_status_and_not_at_the_last_newline() {
    let world = world(6);
    let line = "case {host} in a1) printf x;; a2) echo x;; a3) printf 'x ';; a4) echo x; exit 1;; \
                a5) echo x >&2;; a6) ;; esac";
    let done = shell(&world, "a[1-6]", line).option("-b").run();
    done.assert_code(1);
    let rule = "---------------";
    let group = |head: &str, text: &str| format!("{rule}\n{head}\n{rule}\n{text}");
    let groups = [
        group("a[1-2] (2)", "x\n"),
        group("a3 (1)", "x \n"),
        group("a4 (1): failed with status 1", "x\n"),
        group("a5 (1)", "x\n"),
        group("a6 (1)", ""),
    ];
    assert_eq!(done.stdout_text(), groups.concat());
}

/// Returns the part of standard error that is an event.
fn summary(done: &Finished) -> Option<Value> {
    let text = done.stderr_text();
    let line = text.lines().find(|line| line.starts_with('{'))?;
    Some(serde_json::from_str(line).expect(line))
}

#[test]
fn the_account_is_a_table_an_event_or_nothing() {
    let world = world(2);
    let run = |options: &[&str]| shell(&world, "a[1-2]", "exit {index}").options(options).run();
    for options in [&["--summary", "table"][..], &[]] {
        run(options).assert_code(1).assert_says("rcmd: 2 hosts: 1 exited 0, 1 failed\n");
    }
    let event = summary(&run(&["--summary", "json"])).unwrap();
    assert_eq!(
        (&event["event"], &event["exited"], &event["failed"], &event["total"]),
        (&"summary".into(), &1.into(), &1.into(), &2.into())
    );
    assert_eq!(run(&["--summary", "none"]).stderr_text(), "");
    // With --json it is where all events are, and there alone.
    for form in ["json", "none"] {
        let done = run(&["--json", "--summary", form]);
        assert_eq!(done.stderr_text(), "");
        assert_eq!(objects(&done.stdout_text()).pop().unwrap()["event"], "summary");
    }
    let done = run(&["--json", "--summary", "table"]);
    assert!(summary(&done).is_none());
    done.assert_says("2 hosts: 1 exited 0, 1 failed");
    let result = world.scratch("quiet");
    let quiet = exec(&world, "a[1-2]", &["true"]).option("-q").option("--result").option(&result);
    assert_eq!(quiet.run().stderr_text(), "", "all is well");
    assert_eq!(count_lines(&result), 2);
}
