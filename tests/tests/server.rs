//! The server as its operator sees it: turns and the queue, its end, its configuration, its log.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use rcmd_tests::raw::{Dial, Echo, Start, frame, hello};
use rcmd_tests::wait::exit_within;
use rcmd_tests::{RawPeer, World, audit, eventually, eventually_some, proc};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Returns a `sleep` that nobody else has.
fn mark(number: u32) -> String {
    format!("603.{}{number:03}", std::process::id())
}

/// Returns the addresses at which a world's server listens, as it writes them for
/// `rcmd-server status`.
fn listening(world: &World) -> Vec<SocketAddr> {
    // It is written once the server listens.
    eventually_some("a server says where it listens", || {
        let mut files = std::fs::read_dir(world.dir().join("server/running")).ok()?;
        let said: Value =
            serde_json::from_slice(&std::fs::read(files.next()?.ok()?.path()).ok()?).ok()?;
        serde_json::from_value(said["listening"].clone()).ok()
    })
}

#[test]
fn a_peer_that_comes_by_ipv4_to_a_socket_of_ipv6_is_shown_by_its_own_address() {
    let world = World::builder().server_arg("--listen").server_arg("[::]:0").start();
    let both = listening(&world).into_iter().find(SocketAddr::is_ipv6).expect("a socket of IPv6");
    let address = SocketAddr::from(([127, 0, 0, 1], both.port()));
    let mut stranger = TcpStream::connect(address).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let refused = world.wait_for_log("refused peer=");
    assert!(refused.contains("peer=127.0.0.1:"), "{refused}");
    let mut peer = Dial::to(&world).address(address).connect().unwrap();
    peer.send(&hello()).unwrap();
    peer.expect_frame("hello");
    assert_eq!(peer.run(&Start::exec(1, &["true"])).unwrap().exit["code"], 0);
    let audited = audit::records(&world);
    assert!(!audited.iter().any(|line| line.to_string().contains("::ffff:")), "{audited:?}");
}

fn cancel(ch: u64) -> Vec<u8> {
    frame(&json!({"type": "cancel", "ch": ch}), &[])
}

#[test]
fn commands_past_the_limit_wait_in_order_and_past_the_queue_are_busy() {
    let world =
        World::builder().config("[limits]").config("running = 2").config("queued = 2").start();
    let before = world.settled_snapshot();
    let mut peer = RawPeer::greeted(&world);
    let mark = mark(1);
    for ch in 1..=2 {
        peer.send(&Start::exec(ch, &["sleep", &mark]).frame()).unwrap();
        peer.expect_of(ch, &["started"]);
    }
    // On a connection of its own, since the fourth may write before the third has its exit.
    let mut other = RawPeer::greeted(&world);
    for (peer, ch, position) in [(&mut peer, 3, 0), (&mut other, 4, 1)] {
        peer.send(&Start::exec(ch, &["echo", &format!("turn of {ch}")]).frame()).unwrap();
        assert_eq!(peer.expect_of(ch, &["queued", "started"])["position"], position);
    }
    // Past the queue: nothing ran, and it is said when to come again.
    let full = Start::exec(5, &["echo"]);
    peer.send(&full.frame()).unwrap();
    let exit = peer.expect_of(5, &["queued", "started", "exit"]);
    assert_eq!(
        (&exit["outcome"], &exit["kind"]),
        (&json!("not_started"), &json!("busy")),
        "{exit}"
    );
    assert!(exit["retry_after_ms"].as_u64().unwrap() > 0 && exit["hint"].is_string(), "{exit}");

    peer.send(&cancel(1)).unwrap();
    assert_eq!(peer.expect_of(1, &["exit"])["signal"], "SIGKILL");
    let ran = peer.finish(3).unwrap();
    assert_eq!(ran.stdout, b"turn of 3\n");
    assert_eq!(other.finish(4).unwrap().stdout, b"turn of 4\n");
    // There is room again, for the same key too.
    assert_eq!(peer.run(&full.channel(6)).unwrap().exit["code"], 0);
    drop((peer, other));
    eventually("the grace is over", || proc::marked(&mark).is_empty());
    world.assert_settles_to(&before);
}

#[test]
fn who_waits_too_long_for_a_turn_is_told_to_come_again() {
    let limits = ["[limits]", "running = 1", "queue_wait = \"200ms\""];
    let world = limits.iter().fold(World::builder(), |world, line| world.config(line)).start();
    let honest = Echo::start(&world);
    let mut peer = RawPeer::greeted(&world);
    let exit = peer.run(&Start::exec(1, &["echo"])).unwrap().exit;
    assert_eq!(
        (&exit["outcome"], &exit["kind"]),
        (&json!("not_started"), &json!("busy")),
        "{exit}"
    );
    assert!(exit["retry_after_ms"].is_u64(), "{exit}");
    // The client says so in its own words.
    let done = world.exec(["echo"]).option("--busy-wait").option("0").with_result().run();
    done.assert_code(125).assert_says("the command's turn did not come within");
    assert_eq!(done.result()["error"]["kind"], "busy");
    assert_eq!(done.result()["retry_safe"], true);
    honest.end();
}

#[test]
fn a_waiting_command_that_is_cancelled_never_runs_and_leaves_its_place() {
    let world =
        World::builder().config("[limits]").config("running = 1").config("queued = 1").start();
    let honest = Echo::start(&world);
    let mut peer = RawPeer::greeted(&world);
    let trace = world.scratch("trace");
    peer.send(&Start::exec(1, &["touch", trace.to_str().unwrap()]).frame()).unwrap();
    peer.expect_of(1, &["queued"]);
    peer.send(&cancel(1)).unwrap();
    assert_eq!(peer.expect_of(1, &["exit"])["outcome"], "not_started");
    peer.send(&Start::exec(2, &["echo", "next"]).frame()).unwrap();
    peer.expect_of(2, &["queued"]);
    honest.end();
    assert_eq!(peer.finish(2).unwrap().stdout, b"next\n");
    assert!(!trace.exists());
}

#[test]
fn a_stopping_server_starts_nothing_new_and_lets_what_runs_come_to_its_end() {
    let mut world = World::start();
    let mut honest = Echo::start(&world);
    let mut peer = RawPeer::greeted(&world);
    world.signal_server(Signal::TERM);
    let line = world.wait_for_log("stopping");
    let sender = format!("process {} of user ", std::process::id());
    assert!(line.contains("SIGTERM") && line.contains(&sender), "{line}");
    let exit = peer.run(&Start::exec(1, &["echo"])).unwrap().exit;
    assert_eq!(
        (&exit["outcome"], &exit["kind"]),
        (&json!("not_started"), &json!("busy")),
        "{exit}"
    );
    assert!(exit["retry_after_ms"].as_u64().unwrap() > 0, "{exit}");
    honest.beat();
    let mut peer = honest.end();
    peer.expect_closed();
    assert!(world.wait_server().success());
    world.start_server();
}

#[test]
fn what_does_not_end_is_ended_and_its_exit_says_by_whom() {
    let mut world = World::start();
    let mut peer = RawPeer::greeted(&world);
    let gentle = "trap 'echo asked; exit 7' TERM; echo ready; while :; do sleep 0.01; done";
    let deaf = format!("trap '' TERM; echo ready; sleep {}; sleep {}", mark(2), mark(3));
    for (ch, line) in [(1, gentle), (2, &deaf)] {
        peer.send(&Start::shell(ch, line).frame()).unwrap();
        peer.expect_of(ch, &["data"]);
    }
    world.signal_server(Signal::TERM);
    world.wait_for_log("stopping");
    // The second one does not wait the 10 s for it.
    world.signal_server(Signal::TERM);
    let exits = [peer.expect_of(1, &["exit"]), peer.expect_of(2, &["exit"])];
    assert_eq!(
        (&exits[0]["code"], &exits[0]["stdout_bytes"]),
        (&json!(7), &json!(12)),
        "{exits:?}"
    );
    assert_eq!(exits[1]["signal"], "SIGKILL", "{exits:?}");
    for exit in &exits {
        assert_eq!(exit["kind"], "server_stopped", "{exit}");
        assert!(exit["stdout_digest"].is_string(), "{exit}");
    }
    peer.expect_closed();
    assert!(world.wait_server().success());
    for mark in [mark(2), mark(3)] {
        assert!(proc::marked(&mark).is_empty());
    }
    world.start_server();
}

#[test]
fn check_config_names_what_it_found_or_the_file_the_line_and_the_column() {
    let world = World::builder().prepare();
    let check = || {
        let done = world.server_program().arg("--check-config").output().unwrap();
        let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        (done.status.code(), said)
    };
    let (code, said) = check();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("the configuration is valid") && said.contains("127.0.0.1:7263"),
        "{said}"
    );

    let file = world.dir().join("server.toml");
    let cases = [
        ("grace = \"10s\"\n  graec = 5\n", ":2:3: unknown setting `graec`; did you mean `grace`?"),
        ("grace = 10\n", ":1:9: invalid type"),
        ("keepalive = \"15 parsecs\"\n", ":1:13: "),
        ("[limits]\nrunning = 0\n", ":2:11: it must be at least 1"),
        ("listen = [\"nowhere\"]\n", ":1:"),
        ("= \u{1b}]0;title\u{7}\n", ":1:"),
    ];
    for (text, told) in cases {
        std::fs::write(&file, text).unwrap();
        let (code, said) = check();
        assert_eq!(code, Some(125), "{said}");
        assert!(said.contains("server.toml") && said.contains(told), "{text:?}: {said}");
        assert!(!said.contains(['\u{1b}', '\u{7}']), "{said:?}");
    }
    std::fs::write(&file, "spawn = \"portable\"\n").unwrap();
    let (code, said) = check();
    assert!(code == Some(0) && said.contains("spawn        portable, as"), "{said}");
    std::fs::write(&file, "spawn = \"portable\"\n[limits.tree]\nprocesses = 9\n").unwrap();
    let (code, said) = check();
    assert!(code == Some(125) && said.contains("[limits.tree] needs cgroups"), "{said}");
    std::fs::remove_file(&file).unwrap();
    std::fs::remove_file(world.dir().join("server/cert.pem")).unwrap();
    let (code, said) = check();
    assert_eq!(code, Some(125), "{said}");
    assert!(said.contains("cert.pem") && said.contains("rcmd-certs"), "{said}");
}

#[test]
fn a_server_listens_wherever_it_is_told_and_names_each_address() {
    let world = World::builder().prepare();
    let mut command = world.server_program();
    command.args(["--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0"]);
    let mut server = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let mut taken = None;
    for ip in ["127.0.0.1", "127.0.0.2"] {
        let line = lines.next().unwrap().unwrap();
        let address = line.strip_prefix("listening on ").expect("an address").to_owned();
        assert!(address.starts_with(ip) && !address.ends_with(":0"), "{address}");
        let mut peer = Dial::at(world.dir(), address.parse().unwrap()).connect().unwrap();
        peer.send(&hello()).unwrap();
        peer.expect_frame("hello");
        taken = Some(address);
    }
    // A port that is taken is named, with the way out.
    let taken = taken.expect("an address");
    let other = World::builder().prepare();
    let done = other.server_program().args(["--listen", &taken]).output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(125), "{said}");
    assert!(said.contains(&taken) && said.contains("--listen"), "{said}");
    proc::signal(server.id(), Signal::TERM);
    let ended = exit_within(&mut server, Duration::from_secs(60)).unwrap().expect("it ends");
    assert!(ended.success());
}

#[test]
fn every_line_of_a_json_log_is_an_object() {
    let world = World::builder().server_arg("--log-format").server_arg("json").start();
    let ran = RawPeer::greeted(&world).run(&Start::exec(1, &["true"])).unwrap();
    assert_eq!(ran.exit["code"], 0);
    let mut stranger = RawPeer::connect(&world);
    stranger.send(&[0; 4]).unwrap();
    stranger.expect_protocol_error();
    world.wait_for_log("empty header");
    for line in world.log() {
        let line: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
        assert!(line["message"].is_string(), "{line}");
    }
}

#[test]
fn what_a_peer_chose_never_reaches_the_log_as_control_bytes() {
    let world = World::builder().server_arg("-vv").start();
    let hostile = "\u{1b}]0;owned\u{7}\r\nINFO forged line\u{85}\u{202e}";
    let mut peer = RawPeer::connect(&world);
    let greeting = json!({"type": "hello", "agent": hostile, "capabilities": [hostile]});
    peer.send(&frame(&greeting, &[])).unwrap();
    peer.expect_frame("hello");
    peer.run(&Start::exec(1, &[hostile])).unwrap();
    peer.run(&Start::exec(2, &["/bin/sh", "-c", hostile])).unwrap();
    peer.send(&frame(&json!({"type": hostile}), &[])).unwrap();
    peer.expect_protocol_error();
    let mut told = RawPeer::greeted(&world);
    let error = json!({"type": "error", "kind": "protocol", "message": hostile});
    told.send(&frame(&error, &[])).unwrap();
    told.expect_closed();
    world.wait_for_log("the peer closed the connection");
    for line in world.log() {
        assert!(!line.starts_with("INFO forged"), "{line:?}");
        let control = line.chars().find(|&c| c.is_control() || c == '\u{202e}');
        assert_eq!(control, None, "{line:?}");
    }
}

#[test]
fn a_folder_that_is_not_there_is_named_with_the_command_that_makes_it() {
    let world = World::builder().prepare();
    std::fs::remove_dir_all(world.dir()).unwrap();
    let mut command = world.server_program();
    let mut server = command
        .args(["--listen", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ended = exit_within(&mut server, Duration::from_secs(60)).unwrap().expect("it ends");
    let mut said = String::new();
    server.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(ended.code(), Some(125), "{said}");
    assert!(said.contains(world.dir().to_str().unwrap()) && said.contains("rcmd-certs"), "{said}");
}
