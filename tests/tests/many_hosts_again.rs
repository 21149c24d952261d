//! Runs that are taken up again: what is run a second time and what never is, and what is said of the rest.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use rcmd_tests::many::{account, count_lines, events, exec, resume, shell, sorted_lines, world};
use rcmd_tests::{World, binaries, eventually};
use rustix::process::Signal;

/// Returns the output of `runs show last`.
fn shown(world: &World) -> String {
    let dir = world.client_dir().to_str().unwrap().to_owned();
    let done = world.bare_client(["runs", "--dir", &dir, "show", "last"]).run();
    done.assert_code(0);
    done.stdout_text()
}

#[test]
fn what_nobody_will_ever_know_is_run_a_second_time_by_again_alone() {
    let mut world = world(2);
    let ran = world.scratch("ran");
    let slow = format!("echo x >> {}; [ {{host}} = a1 ] || sleep 600", ran.display());
    let client = shell(&world, "a[1-2]", &slow).spawn();
    eventually("both ran, and one has ended", || {
        count_lines(&ran) == 2 && shown(&world).contains("exited with 0 (1): a1")
    });
    // The command ends with its server, and its end with the server's memory.
    client.signal(Signal::KILL);
    drop(client);
    world.kill_server();
    world.start_server();
    for _ in 0..2 {
        let done = resume(&world, &["--json"]);
        done.assert_code(255);
        let summary = account(&done, 2);
        assert_eq!((&summary["exited"], &summary["unknown"]), (&1.into(), &1.into()));
        assert_eq!(count_lines(&ran), 2, "{}", done.story());
    }
    assert!(shown(&world).contains("(1): a2"), "{}", shown(&world));
    let done = resume(&world, &["--again", "--deadline", "5s", "--json"]);
    let summary = account(&done, 2);
    assert_eq!((&summary["exited"], &summary["timed_out"]), (&1.into(), &1.into()));
    assert_eq!(count_lines(&ran), 3, "a2 ran a second time: {}", done.story());
    let notes = events(&done);
    let notes: Vec<_> = notes.iter().filter(|event| event["event"] == "note").collect();
    assert!(notes[0]["data"].as_str().unwrap().contains("it is run again"), "{notes:?}");
}

#[test]
fn a_host_that_is_left_alone_has_its_result_in_every_file_of_results() {
    let world = world(3);
    let mended = world.scratch("mended");
    let line = format!("[ {{host}} = a1 ] || [ -e {} ]", mended.display());
    shell(&world, "a[1-3]", &line).run().assert_code(1);
    fs::write(mended, "").unwrap();
    let (result, outdir) = (world.scratch("result"), world.scratch("out"));
    let files = ["--result", result.to_str().unwrap(), "--outdir", outdir.to_str().unwrap()];
    resume(&world, &files).assert_code(0);
    for file in [result, outdir.join("results.jsonl")] {
        let text = fs::read_to_string(&file).unwrap();
        let results = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let mut hosts: Vec<String> = results
            .map(|result: serde_json::Value| {
                assert_eq!(result["code"], 0, "{text}");
                result["host"].as_str().unwrap().to_owned()
            })
            .collect();
        hosts.sort();
        assert_eq!(hosts, ["a1", "a2", "a3"], "{}", file.display());
    }
}

#[test]
fn a_key_is_each_host_s_own_and_starts_once() {
    let world = world(3);
    let ran = world.scratch("ran");
    let line = format!("echo x >> {}", ran.display());
    let words = ["sh", "-c", &line];
    let keyed = |hosts: &str| {
        let client = exec(&world, hosts, &words).options(["--key", "deploy", "--json"]);
        let done = client.run();
        done.assert_code(0);
        let ends = events(&done).into_iter().filter(|event| event["event"] == "end");
        let jobs = ends.map(|end| (end["host"].to_string(), end["result"]["job"].clone()));
        jobs.collect::<BTreeMap<_, _>>()
    };
    let first = keyed("a[1-2]");
    let again = keyed("a[1-3]");
    assert_eq!(count_lines(&ran), 3, "a3 alone is new");
    assert!(first.iter().all(|(host, job)| again[host] == *job), "{first:?}, {again:?}");
    // The key of a host is KEY, a newline and its name, and so may be used for it alone.
    let alone = world.client().options(["-n", "--exec", "--key", "deploy\na1"]).with_result();
    let alone = alone.target("a1").words(words).run();
    alone.assert_code(0);
    assert_eq!(alone.result()["job"], first["\"a1\""]);
    assert_eq!(count_lines(&ran), 3);
}

#[test]
fn what_failed_under_a_key_is_run_again_by_a_resume() {
    let world = world(2);
    let ran = world.scratch("ran");
    let line = format!("echo x >> {}; false", ran.display());
    shell(&world, "a[1-2]", &line).options(["--key", "k"]).run().assert_code(1);
    shell(&world, "a[1-2]", &line).options(["--key", "k"]).run().assert_code(1);
    assert_eq!(count_lines(&ran), 2, "the key starts once");
    resume(&world, &[]).assert_code(1);
    assert_eq!(count_lines(&ran), 4, "an attempt more is another key");
}

#[test]
fn the_next_step_names_the_run_and_its_folder() {
    let world = world(1);
    let done = exec(&world, "a1,dead", &["true"]).run();
    done.assert_code(125);
    let dir = world.client_dir().to_str().unwrap();
    let id = done.stderr_text().trim_end().rsplit_once(' ').unwrap().1.to_owned();
    done.assert_says(&format!("rcmd: next: rcmd-client --dir {dir} run --resume {id}\n"));
    // A later run takes nothing away from it.
    exec(&world, "a[1-1]", &["true"]).run().assert_code(0);
    let resumed = world.bare_client(["--dir", dir, "run", "--resume", &id]).run();
    resumed.assert_code(125).assert_says("2 hosts: 1 exited 0, 1 not started");
}

#[test]
fn a_record_that_was_given_up_names_no_next_step_and_lets_nothing_run_twice() {
    let world = world(8);
    let ran = world.scratch("ran");
    let line = format!("echo x >> {}", ran.display());
    let dir = world.client_dir().to_str().unwrap();
    // A record of so many hosts has about 3 KiB before its first start, and 500 bytes for each.
    let limited = "trap '' XFSZ; ulimit -f 8; exec \"$@\"";
    let mut client = Command::new("sh");
    client.args(["-c", limited, "sh"]).arg(&binaries().client);
    client.args(["--dir", dir, "-f", "1", "--shell", "a[1-8],dead", &line]);
    let done = client.output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(125), "{said}");
    assert!(said.contains("what follows can't be resumed"), "{said}");
    assert!(!said.contains("next:"), "{said}");
    assert_eq!(count_lines(&ran), 8, "{said}");
    let resumed = resume(&world, &["--json"]);
    resumed.assert_code(125);
    assert_eq!(account(&resumed, 9)["exited"], 8);
    assert_eq!(count_lines(&ran), 8, "{}", resumed.story());
}

#[test]
fn a_resume_goes_by_what_was_recorded() {
    let world = world(2);
    let mended = world.scratch("mended");
    let line = format!("[ -e {} ] && echo {{host}} {{index}}", mended.display());
    shell(&world, "a2,a1", &line).run().assert_code(1);
    fs::write(mended, "").unwrap();
    fs::remove_file(world.client_dir().join("hosts.toml")).unwrap();
    let done = resume(&world, &[]);
    done.assert_code(0);
    assert_eq!(sorted_lines(&done), ["a1: a1 1", "a2: a2 0"]);
}

#[test]
fn a_run_that_still_goes_on_is_not_resumed_by_another_process() {
    let world = world(1);
    let (ran, gate) = (world.scratch("ran"), world.scratch("gate"));
    let wait = format!("until [ -e {} ]; do sleep 0.02; done", gate.display());
    let client = shell(&world, "a[1-1]", &format!("echo x >> {}; {wait}", ran.display())).spawn();
    eventually("it runs", || count_lines(&ran) == 1);
    resume(&world, &[]).assert_code(125).assert_says("rcmd: hint: ");
    fs::write(gate, "").unwrap();
    client.wait().assert_code(0);
    assert_eq!(count_lines(&ran), 1);
}

#[test]
fn a_batch_that_was_cut_short_is_taken_up_where_it_stood() {
    let world = world(2);
    let ran = world.scratch("ran");
    let line = format!("echo x >> {}; sleep 1", ran.display());
    let client = shell(&world, "dead,a[1-2]", &line).options(["--batch", "1"]).spawn();
    eventually("a1 runs", || count_lines(&ran) == 1);
    client.signal(Signal::KILL);
    drop(client);
    for _ in 0..2 {
        let done = resume(&world, &["--json"]);
        done.assert_code(125);
        assert_eq!(account(&done, 3)["exited"], 2, "{}", done.story());
        assert_eq!(count_lines(&ran), 2, "{}", done.story());
    }
    assert!(
        shown(&world).contains("exited with 0 (2): a[1-2]\nnot started, unreachable (1): dead")
    );
}
