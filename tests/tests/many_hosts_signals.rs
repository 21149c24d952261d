//! A run over many hosts that is interrupted, ended or stopped from outside.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rcmd_tests::many::{self, account, count_lines, events, shell, world};
use rcmd_tests::proc::Process;
use rcmd_tests::sink::Sink;
use rcmd_tests::{ClientCommand, Finished, RunningClient, World, eventually};
use rustix::process::Signal;
use serde_json::Value;

/// Returns a client whose commands note their start and then do this, and the file in which they
/// note it.
fn noting(world: &World, hosts: &str, does: &str) -> (ClientCommand, PathBuf) {
    let ran = world.scratch("ran");
    let line = format!("echo {{host}} >> {}; {does}", ran.display());
    (shell(world, hosts, &line), ran)
}

/// Returns the result of a host.
fn result(done: &Finished, host: &str) -> Value {
    let events = events(done);
    let end = events.iter().find(|event| event["event"] == "end" && event["host"] == host);
    end.unwrap_or_else(|| panic!("{host} has no end: {}", done.story()))["result"].clone()
}

/// Interrupts until the client has ended: two that come at once are one to the kernel.
fn interrupt_to_the_end(client: &mut RunningClient) {
    eventually("it ends by interrupts", || {
        client.signal(Signal::INT);
        !client.runs()
    });
}

#[test]
fn term_and_hup_begin_no_more_and_are_passed_on_at_once() {
    for (signal, name, status) in [(Signal::TERM, "TERM", 143), (Signal::HUP, "HUP", 129)] {
        let world = world(2);
        let trapped = world.scratch("trapped");
        let waits = format!(
            "trap 'exit 7' {name}; echo >> {}; while :; do sleep 0.05; done",
            trapped.display()
        );
        let (client, ran) = noting(&world, "a[1-2]", &waits);
        let client = client.options(["-f", "1", "--json"]).spawn();
        eventually("the first waits for it", || count_lines(&trapped) == 1);
        client.signal(signal);
        let done = client.wait();
        done.assert_code(status);
        let summary = account(&done, 2);
        assert_eq!((&summary["failed"], &summary["not_started"]), (&1.into(), &1.into()));
        assert_eq!(result(&done, "a1")["code"], 7, "it heard of {name}");
        assert_eq!(result(&done, "a2")["error"]["kind"], "held_back");
        assert_eq!(result(&done, "a2")["retry_safe"], true);
        assert_eq!(count_lines(&ran), 1);
    }
}

#[test]
fn the_second_interrupt_is_passed_on_as_one() {
    let world = world(1);
    let trapped = world.scratch("trapped");
    let waits = format!(
        "trap 'exit 9' INT; trap 'exit 8' TERM; echo >> {}; while :; do sleep 0.05; done",
        trapped.display()
    );
    let (client, _) = noting(&world, "a[1-1]", &waits);
    let mut client = client.option("--json").stderr(Sink::Pipe).spawn();
    let mut said = BufReader::new(client.stderr.take().unwrap()).lines().map(Result::unwrap);
    eventually("it waits", || count_lines(&trapped) == 1);
    client.signal(Signal::INT);
    assert!(said.any(|line| line.contains("again to interrupt what runs")));
    client.signal(Signal::INT);
    let done = client.wait();
    done.assert_code(130);
    assert_eq!(result(&done, "a1")["code"], 9, "{}", done.story());
}

#[test]
fn what_does_not_heed_term_is_killed_five_seconds_later() {
    let world = world(1);
    let deaf = world.scratch("deaf");
    let line = format!("trap '' TERM; echo >> {}; while :; do sleep 0.1; done", deaf.display());
    let client = shell(&world, "a[1-1]", &line).option("--json").spawn();
    eventually("it is deaf", || count_lines(&deaf) == 1);
    let told = Instant::now();
    client.signal(Signal::TERM);
    let done = client.wait();
    done.assert_code(143);
    assert!(told.elapsed() >= Duration::from_secs(5), "after {:?}", told.elapsed());
    assert_eq!(account(&done, 1)["failed"], 1);
    assert_eq!(result(&done, "a1")["signal"], "SIGKILL");
}

#[test]
fn a_host_that_says_nothing_more_has_its_end_too() {
    let world = world(3);
    let (client, ran) = noting(&world, "a[1-3]", "sleep 600");
    let mut client = client.option("--json").spawn();
    eventually("all run", || count_lines(&ran) == 3);
    eventually("the client has heard of it", || {
        let dir = world.client_dir().to_str().unwrap();
        let shown = world.bare_client(["runs", "--dir", dir, "--json"]).run();
        shown.stdout_text().contains("\"running\":3")
    });
    world.signal_server(Signal::STOP);
    interrupt_to_the_end(&mut client);
    world.signal_server(Signal::CONT);
    let done = client.wait();
    done.assert_code(130);
    assert_eq!(account(&done, 3)["unknown"], 3);
}

#[test]
fn each_form_shows_what_it_has_when_it_is_interrupted() {
    for (options, shown) in [
        (&["--format", "{host} {stdout}"][..], "a1 ok\n"),
        (&["--diff"], "a[1,3] (2)\n"),
        (&["--json"], "\"event\":\"summary\""),
        (&["--outdir", "o"], "a3: ok\n"),
    ] {
        let world = world(3);
        let (client, ran) = noting(&world, "a[1-3]", "echo ok; [ {host} != a2 ] || sleep 600");
        let results = world.scratch("results");
        let client = client.options(options).option("--result").option(&results);
        let mut client = client.current_dir(world.dir()).spawn();
        eventually("all run", || count_lines(&ran) == 3);
        eventually("two have ended", || count_lines(&results) == 2);
        interrupt_to_the_end(&mut client);
        let done = client.wait();
        done.assert_code(130);
        assert!(done.stdout_text().contains(shown), "{options:?}: {}", done.story());
        assert!(options == ["--json"] || done.stderr_text().contains("3 hosts: 2 exited 0"));
        assert_eq!(count_lines(&results), 3, "each host has its result");
    }
}

#[test]
fn ctrl_z_stops_the_client_and_no_command_and_it_goes_on_afterwards() {
    // A client that fell silent would have lost its commands after 1.6 s.
    let world = World::builder().config("keepalive = \"200ms\"\ngrace = \"1s\"").start();
    many::write_hosts(&world, 2);
    let gate = world.scratch("gate");
    let waits = format!("until [ -e {} ]; do sleep 0.05; done; echo done", gate.display());
    let (client, ran) = noting(&world, "a[1-2]", &waits);
    let client = client.spawn();
    eventually("both run", || count_lines(&ran) == 2);
    client.signal(Signal::TSTP);
    let state = || Process::find(client.pid()).map(|process| process.state);
    eventually("it is stopped", || state() == Some('T'));
    world.exec(["sleep", "3"]).run().assert_code(0);
    client.signal(Signal::CONT);
    fs::write(gate, "").unwrap();
    let done = client.wait();
    done.assert_code(0);
    assert_eq!(many::sorted_lines(&done), ["a1: done", "a2: done"]);
}
