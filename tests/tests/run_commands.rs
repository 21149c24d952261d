//! `run --commands`: many commands over one connection, each with a result of its own.

use std::fs;

use rcmd_tests::client::ClientCommand;
use rcmd_tests::many::commands::parsed;
use rcmd_tests::many::{count_lines, gate, open};
use rcmd_tests::sink::Sink;
use rcmd_tests::{Fault, Finished, Proxy, RunningClient, World, eventually, proc};
use serde_json::Value;

/// Returns a client that runs these lines from a file.
fn commands(world: &World, lines: impl AsRef<[u8]>) -> ClientCommand {
    let file = world.scratch("commands");
    fs::write(&file, lines).unwrap();
    world.client().option("--commands").option(file)
}

/// Returns a client as [`commands`] does, with one line for each string.
fn lines<L: AsRef<str>>(world: &World, lines: &[L]) -> ClientCommand {
    let lines: Vec<_> = lines.iter().map(AsRef::as_ref).collect();
    commands(world, lines.join("\n"))
}

fn results(done: &Finished) -> Vec<Value> {
    done.stdout_text().lines().map(parsed).collect()
}

/// Returns the field `name` of each result.
fn each(done: &Finished, name: &str) -> Vec<Value> {
    results(done).iter().map(|result| result[name].clone()).collect()
}

fn next(client: &mut RunningClient) -> Value {
    parsed(&client.read_line())
}

#[test]
fn results_stand_in_the_order_of_the_lines() {
    let world = World::start();
    let before = world.settled_snapshot();
    let ((first, wait), second) = (gate(&world, "first"), world.scratch("second"));
    let client = lines(&world, &[wait, format!("echo x > {}; exit 3", second.display())]).spawn();
    eventually("the second ran", || count_lines(&second) == 1);
    open(&first);
    let done = client.wait();
    assert_eq!(each(&done, "line"), [1, 2]);
    assert_eq!(each(&done, "code"), [0, 3]);
    done.assert_code(1);
    assert_eq!(done.stderr_text(), "", "nothing is said where nobody sits");
    world.assert_settles_to(&before);
}

#[test]
fn unordered_results_come_as_the_commands_end() {
    let world = World::start();
    let (first, wait) = gate(&world, "first");
    let client = lines(&world, &["", &wait, "# nothing", "echo two"]).option("--unordered");
    let mut client = client.stdout(Sink::Pipe).spawn();
    let result = next(&mut client);
    assert_eq!((&result["line"], &result["stdout"]), (&4.into(), &"two\n".into()));
    open(&first);
    assert_eq!(next(&mut client)["line"], 2);
    client.wait().assert_code(0);
}

#[test]
fn an_array_is_an_exact_argv_and_any_other_line_is_the_shell_s() {
    let world = World::start();
    let bytes = b"[\"printf\", \"%s|\", \"\", \"a  b\", \"\\\"'\\\\$HOME\", \"*\", \"\\n\", \"--\", \"\xc3\xa9\"]
[\"printf\", \"%s\", \"\xff\\\"\xfe\"]
printf '%s|' $((1+1)) \"a  b\" # a remark
 [ 1 = 1 ] && printf '\xfe'
";
    let done = commands(&world, bytes).run();
    done.assert_code(0);
    let stdout = ["|a  b|\"'\\$HOME|*|\n|--|é|", "/yL+", "2|a  b|", "/g=="];
    assert_eq!(each(&done, "stdout"), stdout);
    let encodings = ["utf-8", "base64", "utf-8", "base64"];
    assert_eq!(each(&done, "stdout_encoding"), encodings);
}

#[test]
fn what_a_command_writes_is_escaped_and_never_commands_the_terminal() {
    let world = World::start();
    let done =
        lines(&world, &[r"printf '\033[2J\007\r\n\000'; printf '\033]0;owned\007' >&2"]).run();
    let (line, end) = done.stdout.split_at(done.stdout.len() - 1);
    assert!(end == b"\n" && !line.iter().any(u8::is_ascii_control), "{}", done.stdout_text());
    assert_eq!(each(&done, "stdout"), ["\u{1b}[2J\u{7}\r\n\0"]);
    assert_eq!(each(&done, "stderr"), ["\u{1b}]0;owned\u{7}"]);
}

#[test]
fn two_thousand_commands_take_one_connection() {
    let world = World::start();
    let before = world.settled_snapshot();
    let proxy = Proxy::to(world.address());
    let (last, wait) = gate(&world, "last");
    let mut all: Vec<_> = (1..2000).map(|line| format!("[\"echo\", \"{line}\"]")).collect();
    all.push(wait);
    let client = lines(&world, &all).target(proxy.target()).option("--parallel").option("32");
    let mut client = client.stdout(Sink::Pipe).spawn();
    for line in 1..2000 {
        let result = next(&mut client);
        assert_eq!((&result["line"], &result["outcome"]), (&line.into(), &"exited".into()));
        assert_eq!(result["stdout"], format!("{line}\n"));
    }
    assert_eq!((world.open_connections(), proxy.connections()), (1, 1));
    open(&last);
    client.wait().assert_code(0);
    world.assert_settles_to(&before);
}

#[test]
fn a_file_with_a_bad_line_runs_nothing() {
    let world = World::start();
    let ran = world.scratch("ran");
    let touch = format!("touch {}", ran.display());
    let done = lines(&world, &[touch.as_str(), "", "[\"ls\", 1]", &touch]).run();
    done.assert_code(125).assert_says("line 3 of ").assert_says("hint: ");
    assert_eq!(done.stdout_text(), "");
    assert!(!ran.exists());
    let missing = world.client().option("--commands").option(world.scratch("missing")).run();
    missing.assert_code(125).assert_says("cannot read");
}

#[test]
fn standard_input_is_run_as_it_comes_and_a_bad_line_there_is_a_result() {
    let world = World::start();
    let client = world.client().options(["--commands", "-", "--parallel", "1"]);
    let mut client = client.stdin_pipe().stdout(Sink::Pipe).spawn();
    // The first command is not to find what was meant to be the second.
    client.write_stdin(b"cat; echo one\n");
    assert_eq!(next(&mut client)["stdout"], "one\n");
    client.write_stdin(b"[\"ls\", 1]\n\n# a remark\nexit 3");
    let bad = next(&mut client);
    assert_eq!((&bad["line"], &bad["outcome"]), (&2.into(), &"not_started".into()));
    assert_eq!((&bad["error"]["kind"], &bad["retry_safe"]), (&"usage".into(), &true.into()));
    drop(client.stdin.take());
    let last = next(&mut client);
    assert_eq!((&last["line"], &last["code"]), (&5.into(), &3.into()));
    client.wait().assert_code(125);
}

#[test]
fn a_slow_first_command_holds_up_the_others_and_not_the_memory() {
    let world = World::start();
    let (last, end) = gate(&world, "last");
    let starts = world.scratch("starts");
    // It looks for two seconds whether more begin beside it than the window has room for.
    let slow = format!(
        "for i in $(seq 100); do [ $(cat {} | wc -l) -gt 3 ] && exit 7; sleep 0.02; done",
        starts.display()
    );
    let big = format!("echo x >> {}; head -c 1000000 /dev/zero | tr '\\0' x", starts.display());
    let mut all = vec![big; 60];
    all.insert(0, slow);
    all.push(format!("echo x >> {}; {end}", starts.display()));
    let client = lines(&world, &all).options(["--parallel", "2"]).stdout(Sink::Hash).spawn();
    eventually("all others have ended", || count_lines(&starts) == 61);
    let peak = proc::peak_kib(client.pid()).unwrap();
    assert_eq!(count_lines(&starts), 61);
    // 60 MB of output; what is held is 4 of 62 results, their JSON, and what is on the way.
    assert!(peak < 40 * 1024, "{peak} KiB");
    open(&last);
    let done = client.wait();
    done.assert_code(0);
    assert!(done.stdout_tally().bytes > 60_000_000);
}

#[test]
fn output_past_the_bound_is_cut_and_counted() {
    let world = World::start();
    let whole = world.shell("seq 1 100000; echo é >&2").with_result().run().result();
    let client = lines(&world, &["seq 1 100000; echo é >&2", "echo 5"]);
    let done = client.options(["--max-output", "5"]).run();
    done.assert_code(0);
    let results = results(&done);
    assert_eq!((&results[0]["stdout"], &results[0]["stderr"]), (&"1\n2\n3".into(), &"é\n".into()));
    assert_eq!(each(&done, "truncated"), [true, false]);
    for name in ["stdout_bytes", "stdout_digest", "stderr_digest"] {
        assert_eq!(results[0][name], whole[name]);
    }
    assert_eq!(whole["truncated"], false);
    // Half a character at the cut does not make text into base64; none is kept of it.
    let done = lines(&world, &["printf aé"]).options(["--max-output", "2"]).run();
    assert_eq!(
        (each(&done, "stdout"), each(&done, "stdout_encoding")),
        (vec!["a".into()], vec!["utf-8".into()])
    );
}

#[test]
fn the_options_of_run_hold_for_each_command() {
    let world = World::start();
    let ledger = world.scratch("ledger");
    let note = format!("echo begin >> {0}; pwd; echo $A; echo end >> {0}", ledger.display());
    let client = lines(&world, &[&note, "sleep 600", &note, &note]);
    let client =
        client.options(["--cwd", "/", "--env", "A=b c", "--timeout", "2s", "--lock", "one"]);
    let done = client.options(["--lock-wait", "5m"]).run();
    done.assert_code(124);
    assert_eq!(each(&done, "outcome"), ["exited", "timed_out", "exited", "exited"]);
    assert_eq!(each(&done, "stdout"), ["/\nb c\n", "", "/\nb c\n", "/\nb c\n"]);
    assert_eq!(fs::read_to_string(ledger).unwrap(), "begin\nend\n".repeat(3));
}

#[test]
fn what_never_started_is_told_from_what_failed() {
    let world = World::start();
    let done = lines(&world, &["[\"/nonexistent\"]", "false", "true"]).run();
    done.assert_code(125);
    assert_eq!(each(&done, "outcome"), ["not_started", "exited", "exited"]);
    assert_eq!(results(&done)[0]["error"]["kind"], "not_found");
    lines(&world, &["false", "true"]).run().assert_code(1);
    lines(&world, &["# nothing"]).run().assert_code(0);
    lines(&world, &["true"])
        .target("127.0.0.1:1")
        .run()
        .assert_code(125)
        .assert_says("127.0.0.1:1");
}

#[test]
fn a_busy_host_is_asked_again_as_often_as_it_says() {
    let world =
        World::builder().config("[limits]").config("running = 1").config("queued = 1").start();
    let note = world.scratch("note");
    let line = format!("echo x >> {}; sleep 0.05", note.display());
    let six = vec![line; 6];
    let done = lines(&world, &six).options(["--parallel", "6", "--busy-wait", "5m"]).run();
    done.assert_code(0);
    assert_eq!(count_lines(&note), 6);
    let (first, wait) = gate(&world, "first");
    let client = lines(&world, &vec![wait; 4]).options(["--parallel", "4", "--busy-wait", "0"]);
    let mut client = client.option("--unordered").stdout(Sink::Pipe).spawn();
    let busy = next(&mut client);
    assert_eq!((&busy["error"]["kind"], &busy["retry_safe"]), (&"busy".into(), &true.into()));
    open(&first);
    client.wait().assert_code(125);
}

#[test]
fn a_cut_link_is_resumed_under_all_that_run() {
    let world = World::start();
    let before = world.settled_snapshot();
    let proxy = Proxy::to(world.address());
    let ((first, wait), starts) = (gate(&world, "first"), world.scratch("starts"));
    let line = format!("echo x >> {}; echo begin; {wait}; echo end", starts.display());
    let client = lines(&world, &vec![line; 12]).target(proxy.target()).options(["--parallel", "4"]);
    let client = client.spawn();
    eventually("four run", || count_lines(&starts) == 4);
    proxy.cut(Fault::Reset);
    eventually("it has connected again", || proxy.connections() == 2);
    open(&first);
    let done = client.wait();
    done.assert_code(0);
    assert_eq!(each(&done, "stdout"), ["begin\nend\n"; 12]);
    assert_eq!(count_lines(&starts), 12, "none began twice");
    world.assert_settles_to(&before);
}

#[test]
fn what_makes_no_sense_for_many_is_refused() {
    let world = World::start();
    for options in [
        &["--key", "k"][..],
        &["--result", "r"],
        &["--shell"],
        &["--exec"],
        &["--dry-run"],
        &["--timestamps"],
        &["--encoding", "gbk"],
        &["--parallel", "0"],
    ] {
        lines(&world, &["true"]).options(options).run().assert_code(125);
    }
    lines(&world, &["true"]).words(["true"]).run().assert_code(125).assert_says("after the host");
    world.exec(["true"]).options(["--unordered"]).run().assert_code(125);
}

#[test]
fn a_file_from_windows_runs_the_same_commands() {
    let world = World::start();
    let file = world.scratch("commands");
    fs::write(&file, "\u{feff}echo one\r\n[\"echo\", \"two\"]\r\n\r\n").unwrap();
    let done = world.client().option("--commands").option(&file).run();
    assert_eq!(each(&done, "stdout"), ["one\n", "two\n"], "{}", done.story());
    done.assert_code(0);
}
