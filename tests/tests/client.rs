//! The command line as a program among others: pipes, signals, terminals, and the forms of output.

use std::fs::{self, File};
use std::io::{BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use rcmd_tests::proc::{Process, marked};
use rcmd_tests::pty::Terminal;
use rcmd_tests::sink::Sink;
use rcmd_tests::wait::exit_within;
use rcmd_tests::{Proxy, RunningClient, Tally, World, binaries, eventually};
use rcmd_tests::{require, skip};
use rustix::process::Signal;
use serde_json::Value;

/// Returns an argument for a long-lived program that no other process has.
fn unique(test: u32) -> String {
    format!("603.{}{test:02}", std::process::id())
}

/// Returns the output of `seq 1 LAST`.
fn numbers(last: u32) -> String {
    (1..=last).map(|number| format!("{number}\n")).collect()
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let world = World::start();
    // `yes` is a program of its own, so that nobody but it has this argument alone.
    let line = format!("exec yes {}", unique(1));
    let mut client = world.shell(line).stdout(Sink::Pipe).with_result().spawn();
    assert_eq!(client.read_line(), unique(1));
    client.stdout = None;
    let done = client.wait();
    done.assert_code(141);
    assert_eq!(done.stderr_text(), "", "`| head -1` is no error");
    assert_eq!(done.result()["signal"], "SIGPIPE");
    eventually("the command is gone", || marked(&unique(1)).is_empty());
}

#[test]
fn a_command_that_does_not_mind_its_broken_pipe_is_ended() {
    let world = World::start();
    let line = format!("trap '' PIPE; echo one; read go; echo two; exec sleep {}", unique(2));
    let mut client = world.shell(line).stdin_pipe().stdout(Sink::Pipe).spawn();
    assert_eq!(client.read_line(), "one");
    client.stdout = None;
    client.write_stdin(b"go\n");
    let done = client.wait();
    done.assert_code(141);
    eventually("the command is gone", || marked(&unique(2)).is_empty());
}

#[test]
fn output_that_can_not_be_written_kills_the_command_and_is_no_success() {
    let world = World::start();
    for (at, line) in [(3, "exec yes"), (4, "exec >&2; exec yes")] {
        let result = world.scratch("result");
        let mut command = Command::new(&binaries().client);
        command.arg("--dir").arg(world.dir()).arg("--result").arg(&result);
        command.args(["--shell", &world.target(), &format!("{line} {}", unique(at))]);
        let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
        let (stdout, stderr) =
            if at == 3 { (full(), Stdio::piped()) } else { (Stdio::piped(), full()) };
        let done = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).output().unwrap();
        assert_eq!(done.status.code(), Some(255), "{done:?}");
        let result: Value = serde_json::from_slice(&fs::read(result).unwrap()).unwrap();
        assert_eq!(result["outcome"], "unknown", "{result}");
        assert_eq!(result["error"]["kind"], "local_io", "{result}");
        assert!(result["error"]["hint"].is_string(), "{result}");
        eventually("the command is gone", || marked(&unique(at)).is_empty());
    }
}

#[test]
fn output_that_is_lost_after_the_end_is_told_with_that_end() {
    let (sh, prlimit) = (require!(skip::need_tool("sh")), require!(skip::need_tool("prlimit")));
    let world = World::start();
    let events = world.scratch("events");
    // The file has room for the event of the start, but not for that of the end.
    let mut command = Command::new(sh);
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(prlimit).arg("--fsize=300");
    command.arg(&binaries().client).arg("--dir").arg(world.dir());
    command.args(["--json", "--shell", &world.target(), "exit 3"]);
    command.stdin(Stdio::null()).stdout(File::create(&events).unwrap());
    let done = command.output().unwrap();
    assert_eq!(done.status.code(), Some(255), "{done:?}");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("cannot write standard output: "), "{said}");
    let hint = "rcmd: hint: The command exited with status 3, and a part of its output is lost; ";
    assert!(said.contains(hint), "{said}");
    assert!(fs::read_to_string(events).unwrap().contains("\"event\":\"start\""), "the start fits");
}

/// Makes the kernel refuse a handler for SIGTERM (seccomp(2)), and executes a program.
const WITHOUT_HANDLER: &str = r#"
import ctypes, os, struct, sys

def step(code, when_true, when_false, value):
    return struct.pack("HBBI", code, when_true, when_false, value)

rt_sigaction = {"x86_64": 13, "aarch64": 134}[os.uname().machine]
steps = [
    step(0x20, 0, 0, 0), step(0x15, 0, 3, rt_sigaction),
    step(0x20, 0, 0, 16), step(0x15, 0, 1, 15),
    step(0x06, 0, 0, 0x00050001), step(0x06, 0, 0, 0x7fff0000),
]

class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_char_p)]

libc = ctypes.CDLL(None)
number = ctypes.c_ulong
program = Program(len(steps), b"".join(steps))
assert libc.prctl(38, number(1), number(0), number(0), number(0)) == 0
assert libc.prctl(22, number(2), ctypes.byref(program)) == 0
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn a_client_that_can_not_handle_signals_runs_nothing() {
    let python = require!(skip::need_tool("python3"));
    let world = World::start();
    let (ran, file) = (world.scratch("ran"), world.scratch("commands"));
    let line = format!("touch {}", ran.display());
    fs::write(&file, format!("{line}\n")).unwrap();
    let (target, file) = (world.target(), file.to_str().unwrap());
    for arguments in [
        &["--shell", &target, &line][..],
        &["-f", "1", "--shell", &target, &line],
        &["--commands", file, &target],
        &["--commands", file, "-f", "1", &target],
    ] {
        let mut command = Command::new(&python);
        command.args(["-c", WITHOUT_HANDLER]).arg(&binaries().client);
        command.arg("--dir").arg(world.client_dir()).args(arguments);
        let done = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(125), "{arguments:?}: {said}");
        assert!(said.contains("cannot install signal handlers: "), "{arguments:?}: {said}");
        assert!(said.contains("rcmd: hint: Nothing ran; try again.\n"), "{arguments:?}: {said}");
        assert!(!ran.exists(), "{arguments:?}");
    }
}

#[test]
fn a_command_may_answer_a_signal_in_its_own_way() {
    let world = World::start();
    for (signal, name) in [(Signal::INT, "INT"), (Signal::TERM, "TERM"), (Signal::HUP, "HUP")] {
        let line =
            format!("trap 'echo {name}; exit 5' {name}; echo ready; while :; do sleep .1; done");
        let mut client = world.shell(line).stdout(Sink::Pipe).spawn();
        assert_eq!(client.read_line(), "ready");
        client.signal(signal);
        assert_eq!(client.read_line(), name);
        client.wait().assert_code(5);
    }
}

#[test]
fn a_second_interrupt_kills_what_ignores_the_first() {
    let world = World::start();
    let line = format!("trap '' INT; echo ready; sleep {}; true", unique(5));
    let mut client = world.shell(line).stdout(Sink::Pipe).with_result().spawn();
    assert_eq!(client.read_line(), "ready");
    // Two that come at once are one to a process, so again until it is noticed.
    eventually("the client ends", || {
        client.signal(Signal::INT);
        !client.runs()
    });
    let done = client.wait();
    done.assert_code(137);
    assert_eq!(done.result()["signal"], "SIGKILL");
    eventually("the tree is gone", || marked(&unique(5)).is_empty());
}

#[test]
fn five_seconds_after_term_or_hup_the_tree_is_killed() {
    let world = World::start();
    let clients = [(6, Signal::TERM), (7, Signal::HUP)].map(|(at, signal)| {
        let line = format!("trap '' TERM HUP; echo ready; sleep {}; true", unique(at));
        let mut client = world.shell(line).stdout(Sink::Pipe).spawn();
        assert_eq!(client.read_line(), "ready");
        client.signal(signal);
        (at, client)
    });
    for (at, client) in clients {
        let done = client.wait();
        done.assert_code(137);
        assert!(done.elapsed >= Duration::from_secs(5), "{:?}", done.elapsed);
        eventually("the tree is gone", || marked(&unique(at)).is_empty());
    }
}

#[test]
fn without_an_end_the_client_ends_with_128_and_its_own_signal() {
    let world = World::builder().config("grace = \"1s\"").start();
    let proxy = Proxy::to(world.address());
    let line = format!("echo ready; sleep {}", unique(8));
    let client = world.shell(line).target(proxy.target()).stdout(Sink::Pipe).with_result();
    let mut client = client.spawn();
    assert_eq!(client.read_line(), "ready");
    proxy.silence();
    client.signal(Signal::TERM);
    let done = client.wait();
    done.assert_code(143).assert_says("did not confirm");
    assert_eq!(done.result()["outcome"], "unknown");
    proxy.go_on();
    proxy.cut(rcmd_tests::Fault::Reset);
    eventually("the tree is gone", || marked(&unique(8)).is_empty());
}

#[test]
fn ctrl_z_suspends_the_client_and_costs_nothing() {
    let setsid = require!(skip::need_tool("setsid"));
    // A server that took the client for gone would have killed the command long before it goes on.
    let world = World::builder().config("keepalive = \"400ms\"\ngrace = \"1s\"").start();
    let mut terminal = Terminal::open();
    let mut command = Command::new(setsid);
    command.arg("--ctty").arg(&binaries().client).arg("--dir").arg(world.dir());
    command.args(["-n", "--exec", &world.target(), "seq", "1", "1000000"]);
    command.stdin(terminal.side()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = command.spawn().unwrap();
    let mut stdout = BufReader::new(client.stdout.take().unwrap());
    let mut first = [0; 100];
    stdout.read_exact(&mut first).unwrap();

    terminal.keyboard.write_all(b"\x1a").unwrap();
    let state = || Process::find(client.id()).map(|process| process.state);
    eventually("it is stopped", || state() == Some('T'));
    world.exec(["sleep", "4"]).run().assert_code(0);
    assert_eq!(state(), Some('T'));
    rcmd_tests::proc::signal(client.id(), Signal::CONT);
    let whole = Tally::read(first.chain(stdout)).unwrap();
    assert_eq!(whole, Tally::of(numbers(1_000_000).as_bytes()));
    let status = exit_within(&mut client, rcmd_tests::wait::DEADLINE).unwrap();
    assert_eq!(status.expect("an end").code(), Some(0));
}

#[test]
fn output_that_nobody_reads_for_ten_keepalives_is_whole() {
    let world = World::builder().config("keepalive = \"200ms\"").start();
    let mut client = world.exec(["seq", "1", "1000000"]).stdout(Sink::Pipe).spawn();
    world.exec(["sleep", "2.5"]).run().assert_code(0);
    assert!(client.runs(), "it waits for its reader");
    let whole = Tally::read(client.stdout.take().unwrap()).unwrap();
    client.wait().assert_code(0);
    assert_eq!(whole, Tally::of(numbers(1_000_000).as_bytes()));
}

/// Returns whether all of a client's output is in its own hands: its command has ended, and the thread that
/// prints the rest waits for the reader of its pipe.
fn prints_the_rest(client: &RunningClient, world: &World) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", client.pid())).unwrap();
    let names = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")));
    let prints = names.flatten().any(|name| name.trim() == "stdout");
    prints && rcmd_tests::proc::descendants(world.pid()).is_empty()
}

#[test]
fn a_client_that_waits_for_its_reader_alone_is_suspended_and_ended_by_signals() {
    let world = World::start();
    let commands = world.scratch("commands");
    fs::write(&commands, "head -c 100000 /dev/zero\n".repeat(3)).unwrap();
    for (number, signal) in [(15, Signal::TERM), (1, Signal::HUP), (2, Signal::INT)] {
        let one = world.exec(["head", "-c", "200000", "/dev/zero"]);
        let batch = world.client().option("--commands").option(&commands);
        for client in [one, batch] {
            let mut client = client.stdout(Sink::Pipe).spawn();
            eventually("it waits", || prints_the_rest(&client, &world));
            let state = |client: &RunningClient| Process::find(client.pid()).unwrap().state;
            client.signal(Signal::TSTP);
            eventually("it is stopped", || state(&client) == 'T');
            client.signal(Signal::CONT);
            // One that comes before the client has heard of the end is the command's; so it is asked again.
            eventually("it ends", || {
                client.signal(signal);
                !client.runs()
            });
            client.wait().assert_code(128 + number);
        }
    }
}

#[test]
fn five_seconds_after_term_a_client_does_not_wait_for_its_reader_either() {
    let world = World::start();
    let line = format!("head -c 200000 /dev/zero; exec sleep {}", unique(9));
    let mut client = world.shell(line).stdout(Sink::Pipe).spawn();
    eventually("it sleeps", || !marked(&unique(9)).is_empty());
    client.signal(Signal::TERM);
    eventually("the command is gone", || marked(&unique(9)).is_empty());
    eventually("the client ends", || !client.runs());
    client.wait().assert_code(143);
}

#[test]
fn with_timestamps_each_line_begins_with_the_servers_time() {
    let world = World::start();
    let line = "printf 'a\\n\\nb'; echo err >&2";
    let done = world.shell(line).options(["-q", "--timestamps"]).run();
    done.assert_code(0);
    let rest = |text: String| {
        let stamped = text.split_inclusive('\n').map(|line| {
            let (stamp, rest) = line.split_once(' ').expect(line);
            let shape: String =
                stamp.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{line}");
            rest.to_owned()
        });
        stamped.collect::<String>()
    };
    assert_eq!(rest(done.stdout_text()), "a\n\nb");
    assert_eq!(rest(done.stderr_text()), "err\n");
}

#[test]
fn an_encoding_is_converted_on_both_streams_wherever_it_is_cut() {
    let world = World::start();
    let line = r"printf '\304'; sleep .2; printf '\343\272\303\n'; printf '\262\273\n' >&2";
    let done = world.shell(line).options(["--encoding", "gbk"]).run();
    done.assert_code(0);
    assert_eq!(done.stdout, "你好\n".as_bytes());
    assert_eq!(done.stderr, "不\n".as_bytes());
}

#[test]
fn events_carry_every_byte_in_order() {
    let world = World::start();
    let line = r"echo problem >&2; seq 1 100000; printf 'caf\303\251'; sleep .2; printf '\377\376'";
    let done = world.shell(line).option("--json").run();
    done.assert_code(0);
    assert_eq!(done.stderr_text(), "");
    let text = done.stdout_text();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (first, last) = (&events[0], &events[events.len() - 1]);
    assert_eq!((&first["event"], &last["event"]), (&"start".into(), &"end".into()));
    let (mut stdout, mut stderr) = (String::new(), String::new());
    for event in &events {
        assert_eq!((&event["host"], &event["job"]), (&world.target().into(), &first["job"]));
        let stream = match event["event"].as_str().unwrap() {
            "stdout" => &mut stdout,
            "stderr" => &mut stderr,
            _ => continue,
        };
        assert_eq!(event["offset"], stream.len(), "{event}");
        let data = event["data"].as_str().unwrap();
        match event["encoding"].as_str().unwrap() {
            "utf-8" => stream.push_str(data),
            // Two bytes that are no text, and the last ones.
            "base64" => assert_eq!(data, "//4="),
            other => panic!("{other}"),
        }
    }
    assert_eq!(stderr, "problem\n");
    assert!(stdout == numbers(100_000) + "café", "{} bytes", stdout.len());
    assert_eq!(last["result"]["stdout_bytes"], stdout.len() + 2);
}

#[test]
fn quiet_says_less_and_verbose_says_more() {
    let world = World::start();
    let killed = |option: &str| {
        let done = world.shell("kill -9 $$").option(option).run();
        done.assert_code(137);
        done.stderr_text()
    };
    assert_eq!(killed("-q"), "");
    let said = killed("-v");
    assert!(said.contains("started as job") && said.contains("SIGKILL"), "{said}");
    // An error is one at any volume.
    world.exec(["no-such-program"]).option("-q").run().assert_code(127).assert_says("rcmd: ");
}
