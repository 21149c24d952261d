//! The audit: what was asked for and run is written down, and whoever changes that is found out.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use rcmd_tests::audit::{assert_whole, events, eventually_refused, folder, records, run};
use rcmd_tests::disk::SmallDisk;
use rcmd_tests::pty::{Resize, Viewer};
use rcmd_tests::soak::Judged as _;
use rcmd_tests::{World, eventually, require, soak};
use rustix::process::Signal;

fn said(done: &std::process::Output) -> String {
    String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr)
}

#[test]
fn each_command_is_an_attempt_a_start_and_an_end_and_its_client_keeps_the_head() {
    let world = World::start();
    let done = world.exec(["sh", "-c", "exit 3"]).with_result().run();
    done.assert_code(3);
    let result = done.result();
    let (job, head) = (result["job"].as_str().unwrap(), result["audit"].as_str().unwrap());
    assert_whole(&world, Some(head));
    let all = records(&world);
    assert_eq!(events(&all, job), ["attempt", "start", "end"]);
    let of = |event: &str| all.iter().find(|r| r["event"] == event && r["job"] == job).unwrap();
    assert_eq!(of("attempt")["args"], serde_json::json!(["sh", "-c", "exit 3"]));
    assert_eq!(of("end")["code"], 3);
    assert!(head.starts_with(&format!("{}:", of("end")["seq"])), "{head}");
    for entry in fs::read_dir(folder(&world)).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
    assert_eq!(fs::metadata(folder(&world)).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn what_could_not_run_is_written_down_with_why() {
    let world = World::start();
    world.exec(["no-such-program"]).run().assert_code(127);
    let all = records(&world);
    let refusal = all.iter().find(|record| record["event"] == "refusal").unwrap();
    assert_eq!(refusal["kind"], "not_found");
    assert_eq!(events(&all, refusal["job"].as_str().unwrap()), ["attempt", "refusal"]);
    assert!(!all.iter().any(|record| record["event"] == "start"));
    assert_whole(&world, None);
}

#[test]
fn a_narrow_terminal_gets_two_short_lines_and_a_wide_one_the_columns() {
    let world = World::start();
    world.exec(["printf", "%s", "good day"]).run().assert_code(0);
    let show = |columns| {
        let mut viewer = Viewer::start(columns, Resize::Reflow, |terminal| {
            let mut command = world.server_tool();
            command.args(["audit", "show", "--as", "admin", "--dir"]).arg(world.dir());
            command.stdout(terminal.side());
            command
        });
        let (_, code) = viewer.end(Duration::from_secs(60));
        assert_eq!(code, Some(0));
        String::from_utf8(viewer.shown().to_vec()).unwrap().replace('\r', "")
    };
    let narrow = show(80);
    let lines: Vec<_> = narrow.lines().collect();
    let [day, who, what] = lines[..] else { panic!("{narrow}") };
    assert!(day.ends_with(", in UTC") && lines.iter().all(|line| line.len() <= 80), "{narrow}");
    assert!(
        who[8..].starts_with("  admin") && what.starts_with("          exited 0, "),
        "{narrow}"
    );
    assert!(what.ends_with(":  printf %s 'good day'"), "{narrow}");
    let wide = show(200);
    assert_eq!(wide.lines().count(), 1, "{wide}");
    assert_eq!(wide, said(&run(&world, &["show", "--as", "admin"])), "as in a pipe");
}

#[test]
fn people_see_users_commands_and_ends_and_no_control_byte() {
    let world = World::start();
    world.exec(["printf", "%s", "a\x1b[31m\n\u{202e}b"]).run().assert_code(0);
    world.shell("kill -9 $$").run().assert_code(137);
    let running = world.exec(["sleep", "600"]).spawn();
    world.wait_for_log_lines("started job", 3);
    let done = run(&world, &["show", "--as", "admin", "--since", "1h"]);
    let shown = said(&done);
    assert!(done.status.success(), "{shown}");
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()) && !shown.contains('\u{202e}'));
    let rows: Vec<_> = shown.lines().collect();
    assert_eq!(rows.len(), 3, "{shown}");
    let all = records(&world);
    let start = all.iter().find(|record| record["event"] == "start").unwrap();
    let attempt = all.iter().find(|record| record["event"] == "attempt").unwrap();
    for part in [&start["user"], &start["job"], &attempt["address"]] {
        assert!(rows[0].contains(part.as_str().unwrap()), "{part}: {shown}");
    }
    assert!(rows[0].contains("admin") && rows[0].contains("exited 0"), "{shown}");
    assert!(rows[0].contains("printf %s 'a\\u{1b}[31m\\u{a}\\u{202e}b'"), "{shown}");
    assert!(rows[1].contains("signaled SIGKILL") && rows[1].ends_with("  $ kill -9 $$"), "{shown}");
    assert!(rows[2].contains("running") && rows[2].ends_with("  sleep 600"), "{shown}");
    let (day, _) = start["time"].as_str().unwrap().split_once('T').unwrap();
    assert_eq!(said(&run(&world, &["show", "--as", "admin", "--since", day])), shown);
    let tomorrow = run(&world, &["show", "--since", "2199-01-01"]);
    assert!(tomorrow.status.success() && tomorrow.stdout.is_empty());
    assert!(run(&world, &["show", "--as", "bob"]).stdout.is_empty());
    let job = start["job"].as_str().unwrap();
    assert_eq!(said(&run(&world, &["show", "--job", job])), format!("{}\n", rows[0]));
    let of_one = said(&run(&world, &["show", "--json", "--job", job]));
    let of_one: Vec<serde_json::Value> =
        of_one.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events(&of_one, job), ["attempt", "start", "end"]);
    assert_eq!(of_one.len(), 3);
    running.signal(Signal::KILL);
    running.wait();
}

#[test]
fn bytes_and_lines_are_written_so_that_they_read_back_as_themselves() {
    use std::os::unix::ffi::OsStrExt as _;
    let world = World::start();
    let odd = std::ffi::OsStr::from_bytes(b"\xff\x00"[..1].as_ref());
    world.client().option("--exec").words([std::ffi::OsStr::new("true"), odd]).run().assert_code(0);
    world.shell("true # {\"event\":\"end\"}\n:").run().assert_code(0);
    let all = records(&world);
    let attempts: Vec<_> = all.iter().filter(|record| record["event"] == "attempt").collect();
    assert_eq!(attempts[0]["args"], serde_json::json!(["true", {"base64": "/w=="}]));
    assert_eq!(attempts[1]["args"], serde_json::json!(["true # {\"event\":\"end\"}\n:"]));
    assert_whole(&world, None);
}

#[test]
fn secrets_are_masked_before_they_are_written() {
    let masks = "[audit]\nmask = [\"--password=*\", \"*TOKEN*=\", \"*SECRET*=\"]";
    let world = World::builder().config(masks).start();
    let exec = world.exec(["true", "--password=hunter2"]).option("--env=API_TOKEN=hunter2");
    exec.run();
    for line in [
        "true --password='hunter2'",
        "DB_SECRET_KEY=hunter2 true",
        "sh -c 'true --password=hunter2'",
        "\"$(true --password=hunter2)\"; true",
        "true --pass''word=\"hunter2\"",
        "true --password=\"a \\\" hunter2\"",
        "true <<E\n--password=hunter2\nE",
    ] {
        world.shell(line).run().assert_code(0);
    }
    world.exec(["env", "DB_SECRET_KEY=hunter2", "true"]).run().assert_code(0);
    world.exec(["sh", "-c", "true --password=hunter2"]).run().assert_code(0);
    // The program itself, as it stands in the words about it.
    world.exec(["DB_SECRET_KEY=hunter2", "true"]).run().assert_code(127);
    for entry in fs::read_dir(folder(&world)).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
    }
    let all = records(&world);
    let attempt = all.iter().find(|record| record["event"] == "attempt").unwrap();
    assert_eq!(attempt["args"][1], serde_json::json!({"masked": "--password=***"}));
    assert_eq!(attempt["env"][0], serde_json::json!({"masked": "API_TOKEN=***"}));
    let digests = all.iter().filter(|record| record["args"][0]["sha256"].is_string());
    assert!(digests.count() >= 3, "lines in doubt are kept by digest and length");
}

#[test]
fn a_killed_server_leaves_a_start_that_the_next_one_ends_as_unknown() {
    let mut world = World::start();
    let client = world.exec(["sleep", "600"]).with_result().spawn();
    world.wait_for_log("started job");
    world.kill_server();
    client.signal(Signal::KILL);
    client.wait();
    assert_whole(&world, None);
    world.start_server();
    assert_whole(&world, None);
    let all = records(&world);
    let start = all.iter().find(|record| record["event"] == "start").unwrap();
    let job = start["job"].as_str().unwrap();
    assert_eq!(events(&all, job), ["attempt", "start", "end"]);
    let end = all.iter().find(|record| record["event"] == "end").unwrap();
    assert_eq!((&end["outcome"], &end["kind"]), (&"unknown".into(), &"lost".into()));
}

#[test]
fn a_server_killed_at_any_moment_raises_no_false_alarm() {
    let figures = soak::audit::run(10, 5);
    assert!(figures.are_good(), "{figures}");
    println!("{figures}");
}

#[test]
fn a_cut_is_found_by_the_head_that_a_client_kept() {
    let mut world = World::start();
    world.exec(["true"]).run().assert_code(0);
    let done = world.exec(["true"]).with_result().run();
    let head = done.result()["audit"].as_str().unwrap().to_owned();
    world.kill_server();
    assert_whole(&world, Some(&head));
    let file = files(&world).pop().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let cut: Vec<_> = text.split_inclusive('\n').collect();
    fs::write(&file, cut[..cut.len() - 3].concat()).unwrap();
    let found = run(&world, &["verify", "--head", &head]);
    assert!(!found.status.success() && said(&found).contains("cut: "), "{}", said(&found));
    fs::write(&file, text.replacen("\"true\"", "\"fals\"", 1)).unwrap();
    let found = run(&world, &["verify"]);
    assert!(!found.status.success() && said(&found).contains(": edited: "), "{}", said(&found));
    fs::write(&file, &text).unwrap();
    assert_whole(&world, Some(&head));
    world.start_server();
}

fn files(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(world)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some()).collect();
    files.sort();
    files
}

/// Returns the exit status of `rcmd-server status`, and whether it says that the audit can't be
/// written.
fn status(world: &World) -> (Option<i32>, bool) {
    let done = world.server_tool().args(["status", "--dir"]).arg(world.dir()).output().unwrap();
    (done.status.code(), said(&done).contains("audit        NOT WRITTEN: no command starts"))
}

#[test]
fn a_full_disk_stops_starts_says_why_and_loses_no_end() {
    let mut world = World::builder().prepare();
    let disk = require!(SmallDisk::mount(&folder(&world), 256));
    world.start_server();
    let gate = world.scratch("gate");
    let waits = format!("until [ -e {} ]; do sleep 0.05; done", gate.display());
    let client = world.shell(&waits).with_result().spawn();
    world.wait_for_log("started job");
    disk.fill();
    // The last page of the log may have room for some more.
    let refused = eventually_refused(&world);
    refused.assert_says("audit");
    refused.assert_says("No space left on device");
    // Once in the log, and for as long as it lasts in what a monitor asks.
    let failing = "audit: it can't be written; nothing is started until it can be";
    world.wait_for_log(failing);
    eventually("the status tells", || status(&world) == (Some(1), true));
    fs::write(&gate, "").unwrap();
    let ended = client.wait();
    ended.assert_code(0);
    let ended = ended.result();
    let job = ended["job"].as_str().unwrap();
    assert!(ended["audit"].is_null(), "there was no room for it: {ended}");
    assert_whole(&world, None);
    disk.free();
    eventually("a start is let through", || world.exec(["true"]).run().code() == 0);
    eventually("the status is good again", || status(&world) == (Some(0), false));
    let log = world.log();
    assert_eq!(log.iter().filter(|line| line.contains(failing)).count(), 1);
    let again = log.iter().filter(|line| line.contains("audit: it can be written again"));
    assert_eq!(again.count(), 1);
    assert_whole(&world, None);
    let all = records(&world);
    assert_eq!(events(&all, job), ["attempt", "start", "end"]);
    assert!(
        all.iter().any(|record| record["event"] == "gap" && record["missed"].as_u64() > Some(0))
    );
    world.stop_server();
    assert_whole(&world, None);
    drop(disk);
}

#[test]
fn with_each_a_start_waits_for_the_disk_and_runs() {
    let world = World::builder().config("[audit]\nsync = \"each\"").start();
    let done = world.exec(["true"]).with_result().run();
    done.assert_code(0);
    assert_whole(&world, done.result()["audit"].as_str());
}

#[test]
fn a_reload_is_written_down_and_so_is_one_that_failed() {
    let world = World::start();
    world.signal_server(Signal::HUP);
    world.wait_for_log("certificates reloaded");
    let key = world.dir().join("server/key.pem");
    let good = fs::read(&key).unwrap();
    fs::write(&key, "").unwrap();
    world.signal_server(Signal::HUP);
    world.wait_for_log("certificates not reloaded");
    fs::write(&key, good).unwrap();
    let all = records(&world);
    let reloads: Vec<_> = all
        .iter()
        .filter(|record| record["event"] == "reload" && record["what"] == "certificates")
        .map(|record| record["failure"].is_null())
        .collect();
    assert_eq!(reloads, [true, false]);
    assert_whole(&world, None);
}

#[test]
fn the_journal_gets_a_copy_of_each_line() {
    let world = World::builder().prepare();
    let path = world.scratch("journal");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(rcmd_tests::wait::DEADLINE)).unwrap();
    let config = format!("[audit]\njournald = {:?}\n", path.to_str().unwrap());
    fs::write(world.dir().join("server.toml"), config).unwrap();
    let mut world = world;
    world.start_server();
    world.exec(["true", "a\nb"]).run().assert_code(0);
    let mut seen = Vec::new();
    let mut buffer = vec![0; 1 << 18];
    while !seen.contains(&"end".to_owned()) {
        let size = socket.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..size]).unwrap();
        let fields: Vec<_> = text.lines().map(|line| line.split_once('=').unwrap()).collect();
        let message = fields.iter().find(|(name, _)| *name == "MESSAGE").unwrap().1;
        let record: serde_json::Value = serde_json::from_str(message).unwrap();
        let seq = fields.iter().find(|(name, _)| *name == "RCMD_SEQ").unwrap().1;
        assert_eq!(record["seq"].to_string(), seq);
        seen.push(record["event"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen[..2], ["open", "server"]);
    assert_eq!(seen[seen.len() - 3..], ["attempt", "start", "end"]);
}
