//! `rcmd-client runs`: what is recorded of runs over many hosts.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

use rcmd_tests::{Finished, World};

/// The record of a run over a1 and a2 that ended on a1 alone.
const RECORD: &str = r#"{"run":{"version":1,"id":"19ac7436cdbdef01","began":"2026-11-27T21:41:16.123Z","targets":2,"mode":"shell","words":["printf '\u001b]0;owned\u0007'"],"env":[],"cwd":null,"templates":true,"user":null,"timeout_ms":null,"lock":null,"lock_wait_ms":null,"key":null,"input":false}}
{"target":{"host":"a1","address":"a1","port":7263,"certificate":null,"user":null}}
{"target":{"host":"a2","address":"a2","port":7263,"certificate":null,"user":null}}
{"sent":{"index":0,"attempt":1,"at":"2026-11-27T21:41:16.124Z","key":"00112233445566778899aabbccddeeff","generation":1,"digest":"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"}}
{"end":{"index":0,"attempt":1,"at":"2026-11-27T21:41:16.999Z","result":{"host":"a1","job":null,"outcome":"exited","code":0,"signal":null,"error":null}}}
{"end":{"index":1,"attempt":0,"at":"2026-11-27T21:41:17.000Z","result":{"host":"a2","job":null,"outcome":"not_started","code":null,"signal":null,"error":{"kind":"unreachable","message":"cannot find the host a2"}}}}
"#;

/// Makes a folder of certificates in which this is recorded.
fn world(records: &[(&str, &str)]) -> World {
    let world = World::builder().prepare();
    if !records.is_empty() {
        let folder = world.client_dir().join("runs");
        fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
        for (id, text) in records {
            let path = folder.join(format!("{id}.jsonl"));
            let file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
            file.unwrap().write_all(text.as_bytes()).unwrap();
        }
    }
    world
}

fn runs(world: &World, words: &[&str]) -> Finished {
    let dir = world.client_dir().to_str().unwrap();
    world.bare_client(["runs", "--dir", dir].into_iter().chain(words.iter().copied())).run()
}

#[test]
fn where_nothing_is_recorded_it_says_so() {
    let world = world(&[]);
    let done = runs(&world, &[]);
    done.assert_code(0).assert_says("rcmd: no run over many hosts is recorded in ");
    assert_eq!(done.stdout_text(), "");
    assert_eq!(runs(&world, &["--json"]).stdout_text(), "");
    let done = runs(&world, &["show", "last"]);
    done.assert_code(125).assert_says("no run over many hosts").assert_says("rcmd: hint: ");
    assert!(!world.client_dir().join("runs").exists(), "looking makes nothing");
}

#[test]
fn runs_are_listed_and_one_is_shown_by_its_name_or_as_the_last() {
    let world = world(&[("19ac7436cdbdef01", RECORD), ("19ac7436cdbdef02", "{\"run\":1}\n")]);
    let done = runs(&world, &[]);
    done.assert_code(0);
    let text = done.stdout_text();
    assert!(text.contains("\n  a[1-2] (2): printf '\\u{1b}]0;owned\\u{7}'\n"), "{text}");
    assert!(text.contains("\n  1 exited, 1 not started; can be resumed\n"), "{text}");
    assert!(text.contains("19ac7436cdbdef02\n  ") && text.contains("def02.jsonl:1:"), "{text}");
    let dir = world.client_dir().to_str().unwrap();
    let shown = runs(&world, &["show", "19ac7436cdbdef01"]);
    shown.assert_code(0);
    let text = shown.stdout_text();
    assert!(text.contains("\nexited with 0 (1): a1\nnot started, unreachable (1): a2\n"), "{text}");
    assert!(text.contains(&format!("--dir {dir} run --resume 19ac7436cdbdef01\n")), "{text}");
    let before = ["--dir", dir, "runs", "show", "19ac7436cdbdef01"];
    assert_eq!(world.bare_client(before).run().stdout_text(), text);
    let json = runs(&world, &["--json", "show", "19ac7436cdbdef01"]).stdout_text();
    assert_eq!(json.lines().count(), 2, "{json}");
    for (which, says) in [
        ("last", "def02.jsonl:1:"),
        ("19ac7436cdbdef03", "no run 19ac7436cdbdef03 is recorded"),
        ("../x", "is the name of no run"),
    ] {
        runs(&world, &["show", which]).assert_code(125).assert_says(says);
    }
}
