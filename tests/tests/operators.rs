//! What operators of a host ask a running server for, over its local socket: what runs, its end, the
//! state of the server, its settings.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rcmd_tests::raw::{Start, frame};
use rcmd_tests::{RawPeer, World, audit, eventually, eventually_some, proc, require, skip};
use rustix::process::Signal;
use serde_json::{Value, json};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `rcmd-server` with these words and the world's folder.
fn tool(world: &World, words: &[&str]) -> Output {
    world.server_tool().args(words).arg("--dir").arg(world.dir()).output().unwrap()
}

/// Returns what a tool prints, which must end with 0.
#[track_caller]
fn said(world: &World, words: &[&str]) -> String {
    let done = tool(world, words);
    assert!(done.status.success(), "{words:?}: {}{}", text(&done.stdout), text(&done.stderr));
    text(&done.stdout)
}

/// Returns why a tool did nothing.
#[track_caller]
fn refused(world: &World, words: &[&str]) -> String {
    let done = tool(world, words);
    assert_eq!(done.status.code(), Some(125), "{words:?}: {}", text(&done.stdout));
    text(&done.stderr)
}

fn jobs(world: &World) -> Vec<Value> {
    said(world, &["ps", "--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until a job that `found` picks is listed, and returns it.
fn job(world: &World, what: &str, found: impl Fn(&Value) -> bool) -> Value {
    eventually_some(what, || jobs(world).into_iter().find(&found))
}

fn socket(world: &World) -> PathBuf {
    world.dir().join("server/control.sock")
}

/// Sends bytes to a socket, and returns all that comes back.
fn converse(socket: &Path, bytes: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn message(value: &Value) -> Vec<u8> {
    let text = value.to_string();
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

#[test]
fn ps_lists_what_runs_what_waits_and_what_is_kept_without_its_secrets() {
    let world = World::builder()
        .config("limits.running = 1")
        .config("audit.mask = ['--password=*']")
        .start();
    assert_eq!(said(&world, &["ps"]).lines().count(), 1, "a heading alone");
    let mut peer = RawPeer::greeted(&world);
    let mark = format!("604.{}001", std::process::id());
    let words = ["sh", "-c", "exec sleep \"$1\"", "sh", &mark, "--password=hunter2"];
    peer.send(&Start::exec(1, &words).frame()).unwrap();
    let started = peer.expect_of(1, &["started"]);
    peer.send(&Start::exec(2, &["echo", "a b"]).frame()).unwrap();
    peer.expect_of(2, &["queued"]);

    let runs = job(&world, "the command runs", |job| job["state"] == "running");
    assert_eq!(runs["job"], started["job"]);
    assert_eq!((&runs["user"], &runs["kept"]), (&json!("admin"), &json!(false)));
    assert!(runs["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{runs}");
    assert!(runs["started_at"].as_u64() >= runs["asked_at"].as_u64(), "{runs}");
    assert_eq!(proc::marked(&mark).len(), 1);
    let waits = job(&world, "another waits", |job| job["state"] == "queued");
    assert_eq!((&waits["command"], &waits["pid"]), (&json!("echo 'a b'"), &Value::Null));
    let listed = said(&world, &["ps"]);
    assert!(!listed.contains("hunter2") && listed.contains("--password=***"), "{listed}");
    assert!(listed.lines().nth(1).unwrap().contains("running  "), "{listed}");
    assert!(listed.lines().nth(2).unwrap().ends_with("echo 'a b'"), "{listed}");

    drop(peer);
    let kept = job(&world, "the client is gone", |job| job["kept"] == true);
    assert_eq!(kept["job"], started["job"]);
    assert!(said(&world, &["ps"]).contains("running, kept"));
    said(&world, &["kill", kept["job"].as_str().unwrap()]);
    eventually("nothing is left", || jobs(&world).is_empty());
}

#[test]
fn kill_ends_a_command_its_client_learns_why_and_the_audit_who() {
    let world = World::start();
    let client = world.exec(["sleep", "605"]).with_result().spawn();
    let runs = job(&world, "the command runs", |job| job["state"] == "running");
    let id = runs["job"].as_str().unwrap();
    let done = said(&world, &["kill", id]);
    assert_eq!(done, format!("job {id} of admin is being ended\n"));
    let ended = client.wait();
    let result = ended.result();
    assert_eq!((&result["outcome"], &result["signal"]), (&json!("signaled"), &json!("SIGTERM")));
    assert_eq!(result["error"]["kind"], "server_stopped", "{result}");
    ended.assert_says("an operator of the host ended the command");

    let records = audit::records(&world);
    assert_eq!(audit::events(&records, id), ["attempt", "start", "kill", "end"]);
    let record = records.iter().find(|record| record["event"] == "kill").unwrap();
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!((&record["peer"], &record["uid"]), (&json!("admin"), &json!(uid)));
    audit::assert_whole(&world, None);
    let shown = text(&audit::run(&world, &["show"]).stdout);
    assert!(shown.contains(&format!("job {id} ended by uid {uid}")), "{shown}");

    let unknown = refused(&world, &["kill", id]);
    assert!(unknown.contains("was not ended") && unknown.contains("rcmd-server ps"), "{unknown}");
}

#[test]
fn a_command_that_ignores_the_gentle_signal_is_killed_and_is_told_once() {
    let world = World::start();
    let client = world.shell("trap '' TERM; while :; do sleep 1; done").with_result().spawn();
    let runs = job(&world, "the command runs", |job| job["state"] == "running");
    let id = runs["job"].as_str().unwrap();
    said(&world, &["kill", id]);
    assert!(said(&world, &["kill", id]).contains("is being ended already"));
    let result = client.wait().result();
    assert_eq!((&result["signal"], &result["outcome"]), (&json!("SIGKILL"), &json!("signaled")));
    let records = audit::records(&world);
    let kills = records.iter().filter(|record| record["event"] == "kill").count();
    assert_eq!(kills, 1, "{records:?}");
}

#[test]
fn a_command_that_waits_is_ended_before_it_runs() {
    let world = World::builder().config("limits.running = 1").start();
    let mut peer = RawPeer::greeted(&world);
    peer.send(&Start::exec(1, &["sleep", "606"]).frame()).unwrap();
    peer.expect_of(1, &["started"]);
    let trace = world.scratch("trace");
    peer.send(&Start::exec(2, &["touch", trace.to_str().unwrap()]).frame()).unwrap();
    peer.expect_of(2, &["queued"]);
    let waits = job(&world, "it waits", |job| job["state"] == "queued");
    said(&world, &["kill", waits["job"].as_str().unwrap()]);
    let exit = peer.expect_of(2, &["exit"]);
    let told = (&exit["outcome"], &exit["kind"]);
    assert_eq!(told, (&json!("not_started"), &json!("server_stopped")), "{exit}");
    peer.send(&frame(&json!({"type": "cancel", "ch": 1}), &[])).unwrap();
    peer.expect_of(1, &["exit"]);
    assert!(!trace.exists());
}

#[test]
fn status_tells_what_a_server_does_and_fails_when_it_stops_or_is_gone() {
    let mut world = World::start();
    let mut peer = RawPeer::greeted(&world);
    peer.send(&Start::exec(1, &["sleep", "607"]).frame()).unwrap();
    peer.expect_of(1, &["started"]);
    eventually("the server has written where it listens", || {
        said(&world, &["status"]).contains("listening on")
    });
    let status = said(&world, &["status"]);
    assert!(status.contains("\ncommands     1 running of 1024, 0 waiting of 4096\n"), "{status}");
    assert!(status.contains("\nconnections  1 of ") && status.contains(": admin 1\n"), "{status}");
    let whole: Value = serde_json::from_str(&said(&world, &["status", "--json"])).unwrap();
    assert_eq!((&whole["well"], &whole["server"]["running"]), (&json!(true), &json!(1)));
    assert_eq!(whole["server"]["pid"], world.pid());
    assert_eq!(whole["certificate_expiry"], whole["server"]["certificate_expiry"]);
    assert!(whole["certificate_expiry"].as_i64() > whole["server"]["since"].as_i64());
    assert_eq!(whole["server"]["jobs"][0]["command"], "sleep 607");

    world.signal_server(Signal::TERM);
    eventually("it stops", || {
        let done = tool(&world, &["status"]);
        let said = text(&done.stdout);
        done.status.code() == Some(1) && said.contains("STOPPING: it starts no further command")
    });
    world.signal_server(Signal::TERM);
    world.wait_server();
    let done = tool(&world, &["status", "--json"]);
    let gone: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((done.status.code(), &gone["well"]), (Some(1), &json!(false)));
    assert_eq!((&gone["servers"], &gone["server"]), (&json!([]), &Value::Null));
    assert!(!socket(&world).exists(), "it takes its socket along");
    assert!(refused(&world, &["ps"]).contains("is it running?"));
}

#[test]
fn a_server_that_was_killed_leaves_a_socket_that_the_next_one_replaces() {
    let mut world = World::start();
    let mode = fs::metadata(socket(&world)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    world.kill_server();
    assert!(socket(&world).exists());
    assert!(refused(&world, &["kill", "x"]).contains("is it running?"));
    world.start_server();
    assert_eq!(jobs(&world), Vec::<Value>::new());
    // A second server of the folder does not get as far as the socket.
    let second = world.server_program().args(["--listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(second.status.code(), Some(125));
    assert_eq!(jobs(&world), Vec::<Value>::new());
}

#[test]
fn nonsense_at_the_socket_is_answered_and_harms_nobody() {
    let world = World::start();
    let before = world.settled_snapshot();
    let socket = socket(&world);
    let huge = [&u32::MAX.to_be_bytes()[..], b"{}"].concat();
    let many = [&4096_u32.to_be_bytes()[..], &b"[".repeat(4096)].concat();
    for bytes in [message(&json!({"type": "become_root"})), message(&json!([1])), huge, many] {
        let answer = text(&converse(&socket, &bytes));
        assert!(answer.contains("\"refused\"") && answer.contains("same version"), "{answer}");
    }
    let unknown = message(&json!({"type": "kill", "job": "\u{1b}[2J".repeat(400)}));
    assert!(text(&converse(&socket, &unknown)).contains("no such job"));
    // A request that never ends holds its place for a while, and no longer.
    let mut silent = UnixStream::connect(&socket).unwrap();
    silent.write_all(&[0, 0]).unwrap();
    assert_eq!(silent.read(&mut [0; 8]).unwrap(), 0, "its time is over");
    assert_eq!(jobs(&world), Vec::<Value>::new());
    world.exec(["true"]).run().assert_code(0);
    world.assert_settles_to(&before);
}

#[test]
fn a_flood_at_the_socket_has_its_places_and_holds_up_no_command() {
    let world = World::start();
    let before = world.settled_snapshot();
    let flood: Vec<_> = (0..64).map(|_| UnixStream::connect(socket(&world)).unwrap()).collect();
    let busy = refused(&world, &["ps"]);
    assert!(busy.contains("many operators") || busy.contains("did not answer"), "{busy}");
    world.exec(["echo", "on time"]).run().assert_code(0);
    let held = world.snapshot().descriptors["socket"] - before.descriptors["socket"];
    assert!(held <= 8, "{held} connections are held");
    drop(flood);
    eventually("operators are answered again", || tool(&world, &["ps"]).status.success());
    world.assert_settles_to(&before);
}

#[test]
fn another_user_of_the_host_is_not_answered() {
    require!(skip::need_root());
    let setpriv = require!(skip::need_tool("setpriv"));
    let open = tempfile::Builder::new().prefix("rcmd-run-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let run = open.path().join("run");
    let paths = format!("paths.run = '{}'", run.display());
    let world = World::builder().config(&paths).start();
    world.exec(["true"]).run().assert_code(0);
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
    // The other user knows where the socket is, from a folder that it may read.
    let theirs = open.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::write(theirs.join("server.toml"), &paths).unwrap();
    let program = open.path().join("rcmd-server");
    fs::copy(world.server_tool().get_program(), &program).unwrap();
    let ask = || {
        let mut other = Command::new(&setpriv);
        other.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        let done = other.args(["ps", "--dir"]).arg(&theirs).output().unwrap();
        assert_eq!(done.status.code(), Some(125), "{}", text(&done.stdout));
        text(&done.stderr)
    };
    let why = ask();
    assert!(why.contains("is for root and the server's own user"), "{why}");
    // Whatever the mode of the file has become, the kernel tells who asks.
    fs::set_permissions(run.join("control.sock"), fs::Permissions::from_mode(0o777)).unwrap();
    let why = ask();
    assert!(why.contains("did not answer"), "{why}");
    world.wait_for_log("refused at the local socket");
    assert_eq!(jobs(&world), Vec::<Value>::new());
}

#[test]
fn what_a_server_keeps_and_what_lives_with_it_are_where_its_settings_say() {
    let place = tempfile::tempdir().unwrap();
    let (state, run) = (place.path().join("state"), place.path().join("run"));
    let world = World::builder()
        .config("[paths]")
        .config(&format!("state = '{}'", state.display()))
        .config(&format!("run = '{}'", run.display()))
        .start();
    let before = world.settled_snapshot();
    world.exec(["true"]).options(["--key", "k", "--lock", "l"]).run().assert_code(0);
    let names = |folder: &Path| {
        let names = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&state), ["audit", "keys.jsonl", "locks"]);
    assert_eq!(names(&run), ["control.lock", "control.sock", "running"]);
    assert_eq!(names(&world.dir().join("server")), ["cert.pem", "key.pem"]);
    audit::assert_whole(&world, None);
    assert!(audit::records(&world).iter().any(|record| record["event"] == "end"));
    assert!(said(&world, &["status"]).contains("commands     0 running"));
    world.assert_settles_to(&before);

    // Another server that would have the same folder for its socket does not start.
    let other = World::builder()
        .config(&format!("paths.run = '{}'", run.display()))
        .try_start()
        .map(drop)
        .unwrap_err();
    assert!(format!("{other:#}").contains("another server uses"), "{other:#}");
    assert_eq!(jobs(&world), Vec::<Value>::new());
}

#[test]
fn the_settings_are_listed_with_where_they_come_from() {
    let world = World::builder()
        .config("grace = '7s'")
        .config("[limits.user.'a.b']")
        .config("running = 3")
        .prepare();
    let listed = said(&world, &["config", "dump"]);
    assert!(listed.contains("\ngrace = \"7s\"  # server.toml\n"), "{listed}");
    assert!(listed.contains("\nretain = \"10m\"  # default\n"), "{listed}");
    assert!(listed.contains("\nlimits.user.\"a.b\".running = 3  # server.toml\n"), "{listed}");
    assert!(listed.contains("\n# audit.keep is not set\n"), "{listed}");
    let json: Value = serde_json::from_str(&said(&world, &["config", "dump", "--json"])).unwrap();
    let all = json["settings"].as_array().unwrap();
    let grace = all.iter().find(|setting| setting["name"] == "grace").unwrap();
    assert_eq!(grace, &json!({"name": "grace", "value": "7s", "from": "file"}));
    // The text is a configuration that a server takes, and that is listed alike.
    fs::write(world.dir().join("server.toml"), &listed).unwrap();
    said(&world, &["--check-config"]);
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split("  # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&said(&world, &["config", "dump"])), values(&listed));
    fs::write(world.dir().join("server.toml"), "grace = 7").unwrap();
    assert!(refused(&world, &["config", "dump"]).contains("server.toml:1:9"));
}
