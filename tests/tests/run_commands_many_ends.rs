//! The ends of `run --commands` over many hosts, its refusals, and what people see of it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

use rcmd_tests::many::commands::{by_place, each, lines, parsed, results};
use rcmd_tests::many::{count_lines, gate, open, world};
use rcmd_tests::pty::Terminal;
use rcmd_tests::sink::Sink;
use rcmd_tests::{Finished, binaries, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};

#[test]
fn a_value_that_fits_an_option_and_no_shell_line_is_found_before_anything_runs() {
    let world = world(2);
    let ran = world.scratch("ran");
    let file = world.client_dir().join("hosts.toml");
    let hosts = fs::read_to_string(&file).unwrap()
        + "[hosts.a2.vars]\nv = \"a b\"\n[hosts.a1.vars]\nv = \"a\"\n";
    fs::write(&file, hosts).unwrap();
    let touch = format!("touch {}", ran.display());
    let run = lines(&world, "a[1-2]", &[touch.as_str(), "echo {var.v}"]);
    let done = run.options(["--env", "X={var.v}"]).run();
    done.assert_code(125).assert_says("line 2 of ").assert_says("a2: ");
    assert!(!ran.exists(), "nothing has run");
}

#[test]
fn commands_at_once_are_as_many_as_the_memory_of_a_run_bears() {
    let world = world(1);
    let run = |output: &str| {
        let run = lines(&world, "a[1-1]", &["true"]);
        run.options(["-f", "500", "--max-output", output]).run()
    };
    run("1048576").assert_code(0).assert_says("bear 64 commands at once, not 500");
    assert!(!run("1000").assert_code(0).stderr_text().contains("at once"));
}

#[test]
fn what_is_wrong_with_a_file_is_found_before_anything_runs() {
    let world = world(2);
    let ran = world.scratch("ran");
    let touch = format!("touch {}", ran.display());
    for (line, says) in [
        ("[1]", "line 2 of "),
        ("{\"hosts\": \"a1\"}", "either `argv` or `shell`"),
        ("{\"hosts\": \"@nobody\", \"argv\": [\"true\"]}", "nobody"),
        ("{\"hosts\": \"a1!a1\", \"argv\": [\"true\"]}", "no host is left"),
        ("{\"hosts\": \"root@a1\", \"argv\": [\"true\"]}", "cannot name a user"),
        ("echo {label.rack}", "a[1-2]: there is no label for {label.rack}"),
        (
            "{\"hosts\": \"a2\", \"argv\": [\"echo\", \"{var.x}\"]}",
            "a2: there is no variable for {var.x}",
        ),
        ("{\"hosts\": \"a2\", \"shell\": \"echo {var.x}\"}", "by `!` in the line's `hosts`"),
        (" { \"hosts\": \"a1\", \"argv\": [1] }", "at column"),
    ] {
        let done = lines(&world, "a[1-2]", &[touch.as_str(), line]).run();
        done.assert_code(125)
            .assert_says("line 2 of ")
            .assert_says(says)
            .assert_says("rcmd: hint: ");
        assert_eq!(done.stdout_text(), "");
        assert!(!ran.exists(), "{line}");
    }
    let done = lines(&world, "", &[&touch]).without_target().run();
    done.assert_code(125).assert_says("line 1 of ").assert_says("names no hosts");
    let named = "{\"hosts\": \"a1\", \"argv\": [\"true\"]}";
    let done = lines(&world, "a[1-2]", &[named]).options(["-x", "a2"]).run();
    done.assert_code(125)
        .assert_says("so --exclude cannot be applied to the line")
        .assert_says("web[1-9]!web3");
    let done = lines(&world, "a[1-2]", &[named]).options(["--pick", "1"]).run();
    done.assert_code(125)
        .assert_says("so --pick cannot be applied to the line")
        .assert_says("hosts --pick ... EXPR --fold");
    let done = lines(&world, "a1", &[named]).run();
    done.assert_code(125).assert_says("Leave that host out");
    assert!(!ran.exists());
    // Braces stay with --no-templates.
    let done =
        lines(&world, "a[1-2]", &["echo {label.rack} {host}"]).option("--no-templates").run();
    assert!(results(&done).iter().all(|result| result["stdout"] == "{label.rack} {host}\n"));
}

#[test]
fn the_first_interrupt_begins_nothing_more_and_each_line_has_its_result() {
    let world = world(2);
    let before = world.settled_snapshot();
    let (ran, (gate, wait)) = (world.scratch("ran"), gate(&world, "gate"));
    let line = format!("echo x >> {}; {wait}; echo well", ran.display());
    let client = lines(&world, "a[1-2]", &vec![line; 3]).options(["--parallel", "1"]);
    let mut client = client.stderr(Sink::Pipe).spawn();
    let mut said = BufReader::new(client.stderr.take().unwrap()).lines().map(Result::unwrap);
    eventually("one runs on each", || count_lines(&ran) == 2);
    client.signal(Signal::INT);
    assert!(said.any(|line| line.contains("nothing further begins")));
    assert!(said.any(|line| line.contains("2 run; ")));
    open(&gate);
    let done = client.wait();
    done.assert_code(130);
    assert_eq!(count_lines(&ran), 2);
    for (line, _, result) in each(&done, "error") {
        match line {
            1 => assert_eq!(result, Value::Null),
            _ => assert_eq!(result["kind"], "held_back"),
        }
    }
    assert_eq!(by_place(&done).len(), 6);
    let account: Vec<_> = said.collect();
    assert!(
        account
            .iter()
            .any(|line| line.contains("6 commands on 2 hosts: 2 exited 0, 4 not started"))
    );
    world.assert_settles_to(&before);
}

#[test]
fn lines_that_were_not_read_at_an_interrupt_stand_in_the_account() {
    const LINES: usize = 30_000;
    let world = world(1);
    let (ran, (gate, wait)) = (world.scratch("ran"), gate(&world, "gate"));
    // More than what is kept of lines that wait: the last ones are not read while the first runs.
    let mut all = vec![format!(": {}", "x".repeat(2046)); LINES];
    all[0] = format!("echo x >> {}; {wait}", ran.display());
    let client = lines(&world, "a[1-1]", &all).options(["--parallel", "1", "--summary", "json"]);
    let mut client = client.stderr(Sink::Pipe).spawn();
    let mut said = BufReader::new(client.stderr.take().unwrap()).lines().map(Result::unwrap);
    eventually("one runs", || count_lines(&ran) == 1);
    client.signal(Signal::INT);
    let waiting = format!("1 run; {} wait and will not begin", LINES - 1);
    assert!(said.any(|line| line.ends_with(&waiting)));
    open(&gate);
    let done = client.wait();
    done.assert_code(130);
    let account = parsed(&said.last().unwrap());
    let unread = account["unread"].as_u64().unwrap_or_else(|| panic!("{account}"));
    let total = by_place(&done).len() as u64;
    assert_eq!(account["total"], total, "{account}");
    assert!(unread > 0 && total + unread == LINES as u64, "{account}");
}

/// Returns a line that waits for an interrupt, does this then, and writes where it runs.
fn until_interrupted(trap: &str, ran: &Path) -> [String; 2] {
    let wait = "while :; do sleep 0.05; done";
    [format!("trap '{trap}' INT; echo x >> {}; {wait}", ran.display()), "true".to_owned()]
}

/// Asserts how the first of two lines ended on two hosts, and that the second never began.
fn assert_ends(done: &Finished, outcome: &str) {
    done.assert_code(130);
    let ends = each(done, "outcome").into_iter().map(|(line, _, end)| (line, end));
    let [first, never] = [(1, json!(outcome)), (2, json!("not_started"))];
    let expected = [first.clone(), first, never.clone(), never];
    assert_eq!(ends.collect::<Vec<_>>(), expected, "{}", done.story());
}

#[test]
fn the_second_interrupt_reaches_what_runs() {
    let world = world(2);
    let ran = world.scratch("ran");
    let client = lines(&world, "a[1-2]", &until_interrupted("exit 7", &ran));
    let client = client.options(["--parallel", "1"]).stderr(Sink::Pipe);
    let mut client = client.spawn();
    let mut said = BufReader::new(client.stderr.take().unwrap()).lines().map(Result::unwrap);
    eventually("one runs on each", || count_lines(&ran) == 2);
    client.signal(Signal::INT);
    assert!(said.any(|line| line.contains("nothing further begins; again to interrupt what runs")));
    client.signal(Signal::INT);
    let told = "nothing further begins, and what runs gets SIGINT; in 5s, or if interrupted again, it is killed";
    assert!(said.any(|line| line.contains(told)));
    assert!(said.any(|line| line.contains("2 run; ")));
    let done = client.wait();
    assert_ends(&done, "exited");
    assert_eq!(each(&done, "code")[0].2, 7);
}

#[test]
fn the_third_interrupt_kills_what_ignores_the_second() {
    let world = world(2);
    let before = world.settled_snapshot();
    let ran = world.scratch("ran");
    let client = lines(&world, "a[1-2]", &until_interrupted("", &ran));
    let mut client = client.options(["--parallel", "1"]).spawn();
    eventually("one runs on each", || count_lines(&ran) == 2);
    // Two that come at once are one to the kernel.
    eventually("it ends by interrupts", || {
        client.signal(Signal::INT);
        !client.runs()
    });
    assert_ends(&client.wait(), "signaled");
    world.assert_settles_to(&before);
}

#[test]
fn a_reader_that_goes_away_ends_the_run() {
    let world = world(2);
    let before = world.settled_snapshot();
    let client = lines(&world, "a[1-2]", &vec!["echo x"; 2000]);
    let mut client = client.stdout(Sink::Pipe).spawn();
    client.read_line();
    drop(client.stdout.take());
    let done = client.wait();
    done.assert_code(141).assert_says("4000 commands on 2 hosts");
    world.assert_settles_to(&before);
}

#[test]
fn what_makes_no_sense_beside_it_is_refused_with_what_to_write() {
    let world = world(2);
    let ran = world.scratch("ran");
    let touch = format!("touch {}", ran.display());
    for (options, says) in [
        (&["--outdir", "d"][..], "`host` and `line`"),
        (&["--fold"], "jq"),
        (&["--diff"], "jq"),
        (&["--format", "{host}"], "@tsv"),
        (&["--batch", "1"], "-f N"),
        (&["--canary", "1"], "-f N"),
        (&["--max-failures", "1"], "-f N"),
        (&["--deadline", "1m"], "--timeout D"),
        (&["--retry", "1"], "--busy-wait D"),
        (&["-i"], "no standard input"),
        (&["--progress"], "shows the progress"),
        (&["--raw"], "--json"),
    ] {
        let done = lines(&world, "a[1-2]", &[&touch]).options(options).run();
        done.assert_code(125)
            .assert_says(options[0])
            .assert_says("combined with --commands")
            .assert_says(says);
    }
    lines(&world, "a[1-2]", &[&touch])
        .words(["ls"])
        .run()
        .assert_code(125)
        .assert_says("after the host");
    let done = lines(&world, "a[1-2]", &[&touch]).words(["--parallel", "2"]).run();
    done.assert_code(125).assert_says("`--parallel` stands behind the hosts");
    done.assert_says("`rcmd-client run --commands FILE --parallel HOSTS`");
    let done =
        world.client().target("a[1-2]").words(["touch", "x"]).options(["--parallel", "3"]).run();
    done.assert_code(125).assert_says("need --commands");
    assert!(!ran.exists());
}

#[test]
fn the_account_is_an_object_when_asked_for_and_quiet_when_all_is_well() {
    let world = world(2);
    let done = lines(&world, "a[1-2],dead", &["true"]).options(["--summary", "json"]).run();
    let account = parsed(done.stderr_text().trim_end());
    let expected = json!({"event": "summary", "run": "", "exited": 2, "failed": 0, "timed_out": 0,
        "not_started": 1, "unknown": 0, "total": 3});
    assert_eq!(account, expected);
    assert_eq!(by_place(&done).len(), 3, "standard output has results alone");
    let done = lines(&world, "a[1-2],dead", &["true"]).options(["--summary", "none"]).run();
    assert_eq!(done.stderr_text(), "");
    assert_eq!(lines(&world, "a[1-2]", &["true"]).option("-q").run().stderr_text(), "");
}

#[test]
fn at_a_terminal_each_result_has_its_host_before_it() {
    let world = world(2);
    let file = world.scratch("commands");
    fs::write(&file, "printf '\\033[2J'; exit 3\n").unwrap();
    let mut terminal = Terminal::open();
    let mut command = Command::new(&binaries().client);
    command.arg("--dir").arg(world.client_dir()).arg("--commands").arg(&file).arg("a[1-2]");
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    let mut client = command.stdout(terminal.side()).stderr(Stdio::null()).spawn().unwrap();
    let (mut shown, mut block) = (Vec::new(), [0; 4096]);
    // The last holder of the other side is the client: its end ends the terminal.
    drop(command);
    while let Ok(count @ 1..) = terminal.keyboard.read(&mut block) {
        shown.extend_from_slice(&block[..count]);
    }
    client.wait().unwrap();
    let shown = String::from_utf8(shown).unwrap().replace("\r\n", "\n");
    for host in ["a1", "a2"] {
        assert!(shown.contains(&format!("{host} line 1: exited 3, ")), "{shown}");
    }
    assert_eq!(shown.matches("\n\\u{1b}[2J\n").count(), 2, "{shown}");
}
