//! How `run --commands` on one host ends, and what people see of it.

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use rcmd_tests::client::ClientCommand;
use rcmd_tests::many::commands::{self, parsed, results};
use rcmd_tests::pki::{Authority, Leaf};
use rcmd_tests::pty::Terminal;
use rcmd_tests::sink::Sink;
use rcmd_tests::{Finished, Proxy, RunningClient, World, binaries, eventually, proc};
use rustix::process::Signal;
use serde_json::Value;

/// A client that runs these lines from a file.
fn lines<L: AsRef<str>>(world: &World, lines: &[L]) -> ClientCommand {
    commands::lines(world, &world.target(), lines)
}

/// Returns this field of each result.
fn each(done: &Finished, name: &str) -> Vec<Value> {
    results(done).iter().map(|result| result[name].clone()).collect()
}

fn next(client: &mut RunningClient) -> Value {
    parsed(&client.read_line())
}

/// A client whose certificate this server's authority has not signed, which the server says only after it has taken
/// the connection.
fn stranger(world: &World) -> Proxy {
    let stranger = Authority::new("another authority").issue(&Leaf::client("alice"));
    stranger.write(&world.client_dir().join("client"));
    Proxy::to(world.address())
}

#[test]
fn a_host_that_refuses_this_client_is_not_dialled_for_each_line() {
    let world = World::start();
    let refusing = stranger(&world);
    let done = lines(&world, &["true"; 50]).target(refusing.target()).run();
    done.assert_code(125);
    assert_eq!(each(&done, "outcome"), ["not_started"; 50]);
    assert!(each(&done, "error").iter().all(|error| error["kind"] == "tls"), "{}", done.story());
    // A line that was sent before the refusal was heard of may have had its connection made anew.
    assert!(refusing.connections() <= 2, "{}: {}", refusing.connections(), done.story());
}

#[test]
fn for_a_line_that_comes_later_a_host_that_refused_is_dialled_again() {
    let world = World::start();
    let refusing = stranger(&world);
    let client = world.client().options(["--commands", "-"]).target(refusing.target());
    let (mut client, began) = (client.stdin_pipe().stdout(Sink::Pipe).spawn(), Instant::now());
    client.write_stdin("true\n".repeat(50).as_bytes());
    for _ in 0..50 {
        assert_eq!(next(&mut client)["error"]["kind"], "tls");
    }
    let first = refusing.connections();
    assert!(first <= 2 + began.elapsed().as_secs(), "{first}");
    eventually("it is dialled again", || {
        client.write_stdin(b"true\n");
        assert_eq!(next(&mut client)["error"]["kind"], "tls");
        refusing.connections() > first
    });
    drop(client.stdin.take());
    client.wait().assert_code(125);
}

#[test]
fn a_signal_reaches_all_that_run_and_begins_no_more() {
    let world = World::start();
    let before = world.settled_snapshot();
    for (number, signal) in [(2, Signal::INT), (15, Signal::TERM), (1, Signal::HUP)] {
        let nap = format!("600.{}{number:02}", std::process::id());
        let ran = world.scratch("ran");
        let sleep = format!("[\"sleep\", \"{nap}\"]");
        let touch = format!("touch {}", ran.display());
        let client = lines(&world, &[&sleep, &sleep, &touch]).options(["--parallel", "2"]).spawn();
        eventually("two sleep", || proc::marked(&nap).len() == 2);
        client.signal(signal);
        let done = client.wait();
        done.assert_code(128 + number);
        assert_eq!(each(&done, "outcome"), ["signaled", "signaled"]);
        assert!(proc::marked(&nap).is_empty() && !ran.exists());
    }
    world.assert_settles_to(&before);
}

#[test]
fn the_second_interrupt_kills_what_ignores_the_first() {
    let world = World::start();
    let before = world.settled_snapshot();
    let nap = format!("600.{}77", std::process::id());
    let line = format!("trap '' INT; while :; do sleep {nap}; done");
    let client = lines(&world, &[&line, &line]).spawn();
    eventually("two sleep", || proc::marked(&nap).len() == 2);
    client.signal(Signal::INT);
    client.signal(Signal::INT);
    // Two of a kind may arrive as one.
    eventually("they are gone", || {
        client.signal(Signal::INT);
        proc::marked(&nap).is_empty()
    });
    let done = client.wait();
    assert_eq!(each(&done, "signal"), ["SIGKILL", "SIGKILL"]);
    done.assert_code(1);
    world.assert_settles_to(&before);
}

#[test]
fn a_reader_that_goes_away_ends_everything_quietly() {
    let world = World::start();
    let before = world.settled_snapshot();
    let nap = format!("600.{}88", std::process::id());
    let (sleep, say) = (format!("sleep {nap}"), "echo x".to_owned());
    let mut all = vec![say; 500];
    all.insert(1, sleep);
    let client = lines(&world, &all).option("--unordered").stdout(Sink::Pipe);
    let mut client = client.spawn();
    next(&mut client);
    drop(client.stdout.take());
    let done = client.wait();
    done.assert_code(141);
    assert_eq!(done.stderr_text(), "");
    eventually("the other is gone", || proc::marked(&nap).is_empty());
    world.assert_settles_to(&before);
}

/// Returns the screen of `--commands` at a terminal that is its standard output.
fn shown_at_a_terminal(world: &World, commands: &str, options: &[&str]) -> String {
    let file = world.scratch("commands");
    fs::write(&file, commands).unwrap();
    let mut terminal = Terminal::open();
    let mut command = Command::new(&binaries().client);
    command.arg("--dir").arg(world.dir()).args(options).arg("--commands").arg(&file);
    command.arg(world.target()).env("NO_COLOR", "1").stdin(Stdio::null());
    let mut client = command.stdout(terminal.side()).stderr(Stdio::null()).spawn().unwrap();
    let mut shown = Vec::new();
    let mut block = [0; 4096];
    // The last holder of the other side is the client: its end ends the terminal.
    drop(command);
    while let Ok(count @ 1..) = terminal.keyboard.read(&mut block) {
        shown.extend_from_slice(&block[..count]);
    }
    client.wait().unwrap();
    String::from_utf8(shown).unwrap().replace("\r\n", "\n")
}

#[test]
fn at_a_terminal_results_are_text_and_as_json_when_asked_for() {
    let world = World::start();
    let commands = "echo one; echo err >&2\nprintf '\\033[2J'; exit 3\n";
    let shown = shown_at_a_terminal(&world, commands, &[]);
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].starts_with("line 1: exited 0, "), "{shown}");
    assert_eq!(lines[1..3], ["one", "err"], "{shown}");
    assert!(lines[3].starts_with("line 2: exited 3, "), "{shown}");
    assert_eq!(lines[4], "\\u{1b}[2J", "{shown}");
    let shown = shown_at_a_terminal(&world, commands, &["--json"]);
    let first: Value = serde_json::from_str(shown.lines().next().unwrap()).expect(&shown);
    assert_eq!((&first["line"], &first["stdout"]), (&Value::from(1), &Value::from("one\n")));
}

/// Returns the screen of `--commands` at a terminal of this kind, when its results go elsewhere.
fn told_at_a_terminal(world: &World, kind: &str) -> String {
    let file = world.scratch("commands");
    fs::write(&file, "true\nfalse\ntrue\n").unwrap();
    let mut terminal = Terminal::open();
    let mut command = Command::new(&binaries().client);
    command.arg("--dir").arg(world.dir()).arg("--commands").arg(&file).arg(world.target());
    command.env("TERM", kind).stdin(Stdio::null()).stdout(Stdio::piped());
    let client = command.stderr(terminal.side()).spawn().unwrap();
    drop(command);
    let output = client.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 3);
    let (mut shown, mut block) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = terminal.keyboard.read(&mut block) {
        shown.extend_from_slice(&block[..count]);
    }
    String::from_utf8(shown).unwrap()
}

#[test]
fn at_a_terminal_a_line_says_how_far_it_is_and_at_a_dumb_one_the_last_alone() {
    let world = World::start();
    let shown = told_at_a_terminal(&world, "xterm");
    assert!(shown.ends_with("\r\u{1b}[Krcmd: 3/3 done, 1 failed\r\n"), "{shown:?}");
    assert_eq!(told_at_a_terminal(&world, "dumb"), "rcmd: 3/3 done, 1 failed\r\n");
}
