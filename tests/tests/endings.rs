//! The ends of commands: each exit status, outcome and kind of error of the contract, and what the
//! client says about it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcmd_client::{Client, Config, Outcome, Report};
use rcmd_tests::proc::marked;
use rcmd_tests::{Finished, Proxy, World, eventually, world};
use rustix::process::Signal;
use serde_json::Value;

/// Returns an argument for `sleep` that no other process has.
fn long_time(test: u32) -> String {
    format!("601.{}{test:02}", std::process::id())
}

/// Asserts that the object has the contract's fields, each of its kind, and no other.
#[track_caller]
fn assert_is_a_result(result: &Value) {
    let text_or_null: fn(&Value) -> bool = |value| value.is_string() || value.is_null();
    let time_or_null: fn(&Value) -> bool = |value| {
        let rfc3339 = |text: &str| text.len() == 24 && text.contains('T') && text.ends_with('Z');
        value.is_null() || value.as_str().is_some_and(rfc3339)
    };
    let number_or_null: fn(&Value) -> bool = |value| value.is_u64() || value.is_null();
    let failure_or_null: fn(&Value) -> bool = |value| {
        let whole = |kind: &Value| kind["kind"].is_string() && kind["message"].is_string();
        value.is_null() || whole(value)
    };
    let fields = [
        ("host", Value::is_string as fn(&Value) -> bool),
        ("job", text_or_null),
        ("outcome", Value::is_string),
        ("code", number_or_null),
        ("signal", text_or_null),
        ("error", failure_or_null),
        ("retry_safe", Value::is_boolean),
        ("stdout_bytes", Value::is_u64),
        ("stderr_bytes", Value::is_u64),
        ("stdout_digest", text_or_null),
        ("stderr_digest", text_or_null),
        ("output_open", Value::is_boolean),
        ("truncated", Value::is_boolean),
        ("started_at", time_or_null),
        ("ended_at", time_or_null),
        ("duration_ms", number_or_null),
        ("audit", text_or_null),
    ];
    let object = result.as_object().expect("an object");
    for (name, fits) in fields {
        assert!(object.get(name).is_some_and(fits), "{name}: {result}");
    }
    assert_eq!(object.len(), fields.len(), "{result}");
}

/// Asserts that nothing ran: with this exit status and kind, a message in rcmd's form that names
/// `names`, and a remedy.
#[track_caller]
fn assert_not_started(done: &Finished, code: i32, kind: &str, names: &str) {
    done.assert_code(code).assert_says(names).assert_says("rcmd: hint: ");
    assert_eq!(done.stdout, b"", "{}", done.story());
    let says = done.stderr_text();
    assert!(says.lines().all(|line| line.starts_with("rcmd: ")), "{says}");
    let result = done.result();
    assert_is_a_result(&result);
    assert_eq!(result["outcome"], "not_started", "{result}");
    assert_eq!(result["error"]["kind"], kind, "{result}");
    assert!(result["error"]["hint"].is_string(), "{result}");
    assert_eq!(result["retry_safe"], true, "{result}");
    assert_eq!((&result["code"], &result["signal"]), (&Value::Null, &Value::Null));
    assert_eq!(result["started_at"], Value::Null, "{result}");
}

/// Runs each of these lines in `sh`, one after the other on one connection.
fn run_all(world: &World, lines: impl IntoIterator<Item = String>) -> Vec<Report> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let config = Config::from_dir(world.dir()).unwrap();
        let client = Client::connect(&config, &world.target().parse().unwrap()).await.unwrap();
        let mut reports = Vec::new();
        for line in lines {
            reports.push(client.exec("sh").args(["-c", &line]).status().await.unwrap());
        }
        client.close().await;
        reports
    })
}

#[test]
fn every_exit_status_is_the_commands_own() {
    let world = World::start();
    let reports = run_all(&world, (0..=255).map(|code| format!("exit {code}")));
    for (code, report) in (0..=255).zip(reports) {
        assert_eq!((report.outcome, report.code), (Outcome::Exited, Some(code)), "{report:?}");
        assert_eq!(report.exit_status(), code);
        assert!(report.signal.is_none() && report.error.is_none(), "{report:?}");
    }
}

#[test]
fn the_client_ends_with_the_commands_status() {
    let world = World::start();
    for code in [0, 1, 2, 124, 125, 126, 127, 128, 137, 141, 254, 255] {
        let done = world.shell(format!("exit {code}")).with_result().run();
        done.assert_code(code);
        assert_eq!(done.stderr_text(), "", "its own status is no error of ours");
        let result = done.result();
        assert_is_a_result(&result);
        assert_eq!((&result["outcome"], &result["code"]), (&"exited".into(), &code.into()));
        assert_eq!((&result["error"], &result["retry_safe"]), (&Value::Null, &false.into()));
        for field in ["job", "started_at", "ended_at", "stdout_digest", "stderr_digest"] {
            assert!(result[field].is_string(), "{field}: {result}");
        }
        assert_eq!(result["host"], world.target());
    }
}

#[test]
fn every_signal_that_ends_a_process_is_named() {
    // Those whose default is to be ignored or to stop are another matter (signal(7)); 32 and 33 are
    // the C library's own, which without cgroups glibc's posix_spawn leaves ignored.
    let deadly = |signal: &i32| !matches!(signal, 17..=23 | 28 | 32 | 33);
    let numbers: Vec<i32> = (1..=64).filter(deadly).collect();
    let world = World::start();
    let lines = numbers.iter().map(|number| format!("ulimit -c 0; kill -{number} $$"));
    let reports = run_all(&world, lines);
    for (number, report) in numbers.into_iter().zip(reports) {
        assert_eq!(report.outcome, Outcome::Signaled, "{number}: {report:?}");
        assert_eq!(report.signal.unwrap().number(), number, "{report:?}");
        assert_eq!(report.code, None);
        assert_eq!(i32::from(report.exit_status()), 128 + number);
    }
}

#[test]
fn signals_that_end_nothing_do_not() {
    let world = World::start();
    let reports =
        run_all(&world, [17, 18, 23, 28].map(|signal| format!("kill -{signal} $$; exit 7")));
    assert!(reports.iter().all(|report| report.code == Some(7)), "{reports:?}");
}

#[test]
fn a_signal_that_ended_it_is_the_status_the_result_and_a_word() {
    let world = World::start();
    for (number, name) in [(9, "SIGKILL"), (11, "SIGSEGV"), (15, "SIGTERM"), (40, "SIG40")] {
        let done = world.shell(format!("ulimit -c 0; kill -{number} $$")).with_result().run();
        done.assert_code(128 + number).assert_says("rcmd: ").assert_says(name);
        let result = done.result();
        assert_is_a_result(&result);
        assert_eq!((&result["outcome"], &result["signal"]), (&"signaled".into(), &name.into()));
        assert_eq!((&result["code"], &result["error"]), (&Value::Null, &Value::Null));
    }
}

#[test]
fn a_signal_to_the_client_reaches_the_remote_group() {
    let world = World::start();
    let signals = [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM"), (Signal::HUP, "SIGHUP")];
    for (at, (signal, name)) in (10..).zip(signals) {
        // A shell and its child, in one group.
        let line = format!("sleep {0}; true", long_time(at));
        let client = world.shell(line).with_result().spawn();
        eventually("it runs", || marked(&long_time(at)).len() == 1);
        client.signal(signal);
        let done = client.wait();
        done.assert_code(128 + signal.as_raw());
        let result = done.result();
        assert_eq!((&result["outcome"], &result["signal"]), (&"signaled".into(), &name.into()));
        eventually("the whole group is gone", || marked(&long_time(at)).is_empty());
    }
}

#[test]
fn a_timeout_keeps_what_was_written_until_then() {
    let world = World::start();
    let line = format!("echo partial; echo problem >&2; sleep {}", long_time(20));
    let done = world.shell(line).options(["--timeout", "300ms"]).with_result().run();
    done.assert_code(124).assert_says("problem\n").assert_says("--timeout");
    assert_eq!(done.stdout, b"partial\n");
    let result = done.result();
    assert_is_a_result(&result);
    assert_eq!((&result["outcome"], &result["signal"]), (&"timed_out".into(), &"SIGTERM".into()));
    assert_eq!((&result["stdout_bytes"], &result["truncated"]), (&8.into(), &false.into()));
    assert!(result["duration_ms"].as_u64() >= Some(300), "{result}");
    eventually("its child is gone", || marked(&long_time(20)).is_empty());
}

#[test]
fn a_timeout_ends_what_ignores_term_and_what_left_the_group() {
    let world = World::start();
    let line = format!("trap '' TERM; echo partial; setsid sleep {0}; sleep {0}", long_time(21));
    let done = world.shell(line).options(["--timeout", "200ms"]).with_result().run();
    done.assert_code(124);
    assert_eq!(done.stdout, b"partial\n");
    let result = done.result();
    assert_eq!((&result["outcome"], &result["signal"]), (&"timed_out".into(), &"SIGKILL".into()));
    eventually("the whole tree is gone", || marked(&long_time(21)).is_empty());
}

#[test]
fn a_command_that_ends_in_time_has_no_timeout() {
    let world = World::start();
    let done = world.exec(["true"]).options(["--timeout", "1h"]).with_result().run();
    done.assert_code(0);
    assert_eq!(done.result()["outcome"], "exited");
}

/// Writes a file of this content and mode into a folder.
fn file(folder: &Path, name: &str, content: &str, mode: u32) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_program_that_is_not_there_is_127() {
    let world = World::start();
    for program in ["no-such-program", "/no/such/program", "./no-such-program", "/etc/passwd/x"] {
        let done = world.exec([program, "x"]).with_result().run();
        assert_not_started(&done, 127, "not_found", program.trim_start_matches("./"));
    }
    // In a shell it is the shell that says so, and that it ran is the truth.
    let done = world.shell("no-such-program").with_result().run();
    done.assert_code(127).assert_says("no-such-program");
    assert_eq!(done.result()["outcome"], "exited");
}

#[test]
fn a_program_that_can_not_be_executed_is_126() {
    let world = World::start();
    let own = world::own_folder();
    let plain = file(own.path(), "plain", "#!/bin/sh\n", 0o644);
    let orphan = file(own.path(), "orphan", "#!/no/such/interpreter -x\n", 0o755);
    let text = file(own.path(), "text", "neither a program nor a script\n", 0o755);
    let empty = file(own.path(), "empty", "", 0o755);
    let cases = [
        (PathBuf::from("/etc"), "not a regular file"),
        (plain, "denied"),
        (orphan, "/no/such/interpreter"),
        (text, "#!"),
        (empty, "#!"),
    ];
    for (program, why) in cases {
        let done = world.exec([&program]).with_result().run();
        assert_not_started(&done, 126, "not_executable", &program.display().to_string());
        done.assert_says(why);
    }
}

#[test]
fn a_folder_that_can_not_be_entered_is_told_from_the_program() {
    let world = World::start();
    for folder in ["/no/such/folder", "/etc/passwd"] {
        let done = world.exec(["true"]).options(["--cwd", folder]).with_result().run();
        assert_not_started(&done, 125, "no_such_dir", folder);
    }
}

#[test]
fn what_is_too_big_is_126() {
    let world = World::start();
    let large = "x".repeat(120_000);
    // Past what the protocol carries.
    let settings = (0..9).flat_map(|n| ["--env".to_owned(), format!("N{n}={large}")]);
    let done = world.exec(["true"]).options(settings).with_result().run();
    assert_not_started(&done, 126, "too_big", "1048576");
    let done = world.exec(vec!["echo"; 4097]).with_result().run();
    assert_not_started(&done, 126, "too_big", "4096");

    // Past what the host's kernel takes, which is a quarter of the stack (execve(2)).
    let world = World::builder().limit("stack", 1 << 20).start();
    let done = world.exec(["echo", &large, &large, &large]).with_result().run();
    assert_not_started(&done, 126, "too_big", "echo");
    let settings = (0..3).flat_map(|n| ["--env".to_owned(), format!("N{n}={large}")]);
    let done = world.exec(["true"]).options(settings).with_result().run();
    assert_not_started(&done, 126, "too_big", "true");
}

#[test]
fn a_host_that_can_not_be_reached_is_125() {
    let world = World::start();
    // Bound and not listening: refused, and nobody else gets the port meanwhile.
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    bound.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let dead = bound.local_addr().unwrap().as_socket().unwrap().to_string();
    let done = world.exec(["true"]).target(&dead).with_result().run();
    assert_not_started(&done, 125, "unreachable", &dead);
    assert_eq!(done.result()["host"], dead);

    // Something takes the connection and says nothing.
    let silent = Proxy::to(world.address());
    silent.silence();
    let waiting = world.exec(["true"]).target(silent.target());
    let done = waiting.options(["--connect-timeout", "300ms"]).with_result().run();
    assert_not_started(&done, 125, "tls", &silent.target());
    done.assert_says("in time");
}

#[test]
fn what_makes_no_sense_is_125_and_says_what_would() {
    let world = World::start();
    let target = world.target();
    let typed: [&[&str]; 8] = [
        &["--no-such-option", &target, "true"],
        &["--timeout", "soon", &target, "true"],
        &["--env", "NO_VALUE", &target, "true"],
        &["--shell", "--exec", &target, "true"],
        &["--shell", &target, "two", "words"],
        &["--encoding", "no-such-encoding", &target, "true"],
        &["user@host", "true"],
        &["--exec", &target, ""],
    ];
    for words in typed {
        let dir = world.dir().to_str().unwrap();
        let done = world.bare_client(["--dir", dir].iter().chain(words)).run();
        done.assert_code(125).assert_says("rcmd: hint: ");
        let says = done.stderr_text();
        assert!(says.lines().all(|line| line.starts_with("rcmd: ")), "{words:?}: {says}");
        assert_eq!(done.stdout, b"", "{words:?}");
    }
}

#[test]
fn the_last_event_carries_the_same_result() {
    let world = World::start();
    let lines = ["exit 3", "kill -9 $$"].map(|line| world.shell(line));
    let missing = [world.exec(["/no/such/program"])];
    for client in lines.into_iter().chain(missing) {
        let done = client.option("--json").with_result().run();
        let last: Value = serde_json::from_str(done.stdout_text().lines().last().unwrap()).unwrap();
        assert_eq!(last["event"], "end");
        assert_is_a_result(&last["result"]);
        assert_eq!(last["result"], done.result());
    }
}
