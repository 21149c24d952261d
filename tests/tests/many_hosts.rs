//! One command on many hosts: labelled output, an end for each, an account, an exit status.

use std::fs;
use std::io::{BufRead as _, BufReader};

use rcmd_tests::eventually;
use rcmd_tests::many::{account, count_lines, events, exec, shell, sorted_lines, world};
use rcmd_tests::sink::Sink;
use rustix::process::Signal;

#[test]
fn each_line_has_its_host_and_its_stream() {
    let world = world(3);
    let done = shell(&world, "a[1-3]", "echo out; printf 'err' >&2").run();
    done.assert_code(0);
    assert_eq!(sorted_lines(&done), ["a1: out", "a2: out", "a3: out"]);
    let errors = done.stderr_text();
    for host in ["a1", "a2", "a3"] {
        assert!(errors.contains(&format!("{host}: err\n")), "{errors}");
    }
    done.assert_says("3 hosts: 3 exited 0");
}

#[test]
fn two_names_of_one_address_are_two_hosts_and_each_runs_once() {
    let world = world(2);
    let file = world.scratch("ran");
    let line = format!("echo x >> {}", file.display());
    shell(&world, "a[1-2],a1,a2", &line).run().assert_code(0);
    assert_eq!(count_lines(&file), 2);
}

#[test]
fn a_set_of_one_is_a_set() {
    let world = world(1);
    let done = exec(&world, "a[1-1]", &["echo", "x"]).run();
    assert_eq!(done.stdout_text(), "a1: x\n");
    let done = exec(&world, "a1", &["echo", "x"]).option("--fold").run();
    assert!(done.stdout_text().contains("a1 (1)"), "{}", done.story());
    assert_eq!(
        exec(&world, "a1", &["echo", "x"]).run().stdout_text(),
        "x\n",
        "and one host is not"
    );
}

#[test]
fn the_least_certain_end_decides_the_status() {
    let world = world(2);
    for (hosts, line, options, status) in [
        ("a[1-2]", "true", &[][..], 0),
        ("a[1-2]", "[ {host} = a1 ]", &[], 1),
        ("a[1-2]", "[ {host} = a1 ] || kill -9 $$", &[], 1),
        ("a[1-2]", "[ {host} = a1 ] || sleep 600", &["--timeout", "100ms"], 124),
        ("dead,a[1-2]", "false", &[], 125),
    ] {
        let done = shell(&world, hosts, line).options(options).run();
        done.assert_code(status);
    }
}

#[test]
fn the_account_is_the_last_event_and_each_target_has_one_end() {
    let world = world(4);
    let line = "case {index} in 0) ;; 1) exit 3;; 2) kill -9 $$;; 3) sleep 600;; esac";
    let done = shell(&world, "a[1-4],dead", line).options(["--json", "--timeout", "300ms"]).run();
    let summary = account(&done, 5);
    for (kind, count) in
        [("exited", 1), ("failed", 2), ("timed_out", 1), ("not_started", 1), ("unknown", 0)]
    {
        assert_eq!(summary[kind], count, "{kind}: {summary}");
    }
    let of = |host: &str| {
        let all = events(&done);
        let end = all.into_iter().find(|event| event["event"] == "end" && event["host"] == host);
        end.unwrap()["result"].clone()
    };
    assert_eq!((&of("a2")["code"], &of("a3")["signal"]), (&3.into(), &"SIGKILL".into()));
    assert_eq!(of("dead")["error"]["kind"], "unreachable");
    done.assert_code(125);
}

#[test]
fn limits_count_what_is_allowed_and_percent_of_all() {
    let world = world(4);
    let ran = world.scratch("ran");
    for (options, hosts, line, runs, status) in [
        (&["--batch", "1", "--max-failures", "100%"][..], "a[1-4]", "false", 4, 1),
        (&["--batch", "1", "--max-failures", "0"], "dead,a[1-3]", "true", 0, 125),
        (&["--batch", "1", "--max-failures", "1"], "a[1-4]", "false", 2, 1),
        (&["--batch", "10%"], "a[1-4]", "true", 4, 0),
        (&["--canary", "2"], "dead,a[1-3]", "true", 1, 125),
        (&["--batch", "1", "--max-failures", "50%"], "a[1-3]", "false", 2, 1),
        (&["--canary", "1"], "a[1-4]", "true", 4, 0),
        (&["--canary", "1"], "a[1-4]", "false", 1, 1),
    ] {
        let _ = fs::remove_file(&ran);
        let line = format!("echo x >> {}; {line}", ran.display());
        let done = shell(&world, hosts, &line).options(options).option("--json").run();
        done.assert_code(status);
        let total = if hosts == "a[1-3]" { 3 } else { 4 };
        let summary = account(&done, total);
        assert_eq!(count_lines(&ran), runs, "{options:?}: {summary}");
    }
}

#[test]
fn the_time_of_the_whole_run_ends_what_runs_and_begins_nothing_more() {
    let world = world(3);
    let done = shell(&world, "a[1-3]", "sleep 600")
        .options(["--deadline", "1s", "-f", "2", "--json"])
        .run();
    let summary = account(&done, 3);
    assert_eq!((&summary["timed_out"], &summary["not_started"]), (&2.into(), &1.into()));
    done.assert_code(124);
}

#[test]
fn standard_input_goes_to_each_host_whole() {
    let world = world(3);
    let input: Vec<u8> = (0..300_000_u32).map(|at| (at * 7 % 251) as u8).collect();
    let done = exec(&world, "a[1-3]", &["cksum"]).option("-i").stdin(input.clone()).run();
    done.assert_code(0);
    let sums: Vec<_> = sorted_lines(&done);
    assert_eq!(sums.len(), 3);
    assert!(sums.iter().all(|sum| sum[4..] == sums[0][4..] && sum.contains("300000")), "{sums:?}");
    // Without -i a set reads none.
    let done = exec(&world, "a[1-2]", &["wc", "-c"]).stdin(input).run();
    assert_eq!(sorted_lines(&done), ["a1: 0", "a2: 0"]);
    let done =
        exec(&world, "a[1-2]", &["cat"]).options(["-i", "--max-input", "3"]).stdin(*b"four").run();
    done.assert_code(125).assert_says("more than 3 bytes");
}

#[test]
fn templates_are_filled_and_all_other_braces_stay() {
    let world = world(2);
    let words = ["printf", "%s|", "{{.ID}}", "{{host}}", "${host}", "{host }", "{Host}", "{}"];
    let words = [&words[..], &["{index}", "{host}"]].concat();
    let done = exec(&world, "a[1-2]", &words).run();
    assert_eq!(
        sorted_lines(&done),
        [
            "a1: {{.ID}}|{{host}}|${host}|{host }|{Host}|{}|0|a1|",
            "a2: {{.ID}}|{{host}}|${host}|{host }|{Host}|{}|1|a2|"
        ]
    );
    done.assert_says("templates: {index} {host}");
    assert_eq!(exec(&world, "a1", &["echo", "{host}"]).run().stdout_text(), "{host}\n");
    let done = exec(&world, "a[1-2]", &["echo", "{host}"]).option("--no-templates").run();
    assert_eq!(sorted_lines(&done), ["a1: {host}", "a2: {host}"]);
    let ran = world.scratch("ran");
    let done = shell(&world, "a[1-2]", &format!("touch {}; echo {{label.rack}}", ran.display()));
    done.run().assert_code(125).assert_says("label.rack");
    assert!(!ran.exists(), "nothing runs when one host lacks a value");
}

#[test]
fn a_dry_run_asks_each_host_and_runs_nothing() {
    let world = world(2);
    let ran = world.scratch("ran");
    let touch = &["touch", ran.to_str().unwrap()];
    let done = exec(&world, "a[1-2]", touch).option("--dry-run").run();
    done.assert_code(0).assert_says("a1: ").assert_says("a2: ").assert_says("touch");
    done.assert_says("2 hosts: 2 would be permitted");
    assert_eq!(done.stdout_text(), "");
    let done = exec(&world, "a[1-2],dead", touch).options(["--dry-run", "--max-failures", "0"]);
    let done = done.run();
    done.assert_code(125).assert_says("2 would be permitted, 1 not started");
    done.assert_says("1 not started: dead: ");
    let done = exec(&world, "a[1-2]", &["no-such-program"]).option("--dry-run").run();
    done.assert_code(125).assert_says("2 not started: a[1-2]: for one: ");
    assert!(!ran.exists());
    assert!(!world.client_dir().join("runs").exists(), "there is nothing to resume");
}

#[test]
fn a_dry_run_has_events_with_one_end_for_each_host() {
    let world = world(2);
    let done = exec(&world, "a[1-2],dead", &["true"]).options(["--dry-run", "--json"]).run();
    done.assert_code(125);
    let summary = account(&done, 3);
    assert_eq!((&summary["permitted"], &summary["not_started"]), (&2.into(), &1.into()));
    let events = events(&done);
    let of = |kind: &str, host: &str| {
        let event = events.iter().find(|event| event["event"] == kind && event["host"] == host);
        event.unwrap_or_else(|| panic!("no {kind} of {host}: {}", done.story())).clone()
    };
    for host in ["a1", "a2"] {
        let result = &of("end", host)["result"];
        assert_eq!((&result["outcome"], &result["error"]), (&"not_started".into(), &().into()));
        of("note", host);
    }
    assert_eq!(of("end", "dead")["result"]["error"]["kind"], "unreachable");
}

#[test]
fn nothing_is_never_everything() {
    let world = world(2);
    let ran = world.scratch("ran");
    let ran = ran.to_str().unwrap();
    for hosts in ["", ",", " ", "@web!@web", "a1!a1", "b*", "@nobody", "a[1-"] {
        exec(&world, hosts, &["touch", ran]).run().assert_code(125);
    }
    for options in [["-x", ""], ["--where", ""], ["--pick", "0"], ["-x", "a[1-2]"]] {
        exec(&world, "a1,a2", &["touch", ran]).options(options).run().assert_code(125);
    }
    let empty = world.scratch("empty");
    fs::write(&empty, "\n # nobody\n").unwrap();
    for file in ["/dev/null", empty.to_str().unwrap()] {
        let client = world.client().options(["--hosts-file", file]);
        client.target("touch").words([ran]).run().assert_code(125);
    }
    assert!(!fs::exists(ran).unwrap());
}

#[test]
fn what_is_no_set_or_no_command_is_refused_with_what_to_write() {
    let world = world(2);
    for (hosts, words, options, says) in [
        ("root@a1,a2", &["id"][..], &[][..], "`rcmd-client -l root HOSTS"),
        ("a[1-2]", &[], &[], "command is missing"),
        ("a[1-2]", &["id"], &["--dry-run", "--fold"], "combined with --dry-run"),
        ("a[1-2]", &["id"], &["--parallel", "2"], "need --commands"),
        ("a[1-2]", &["id"], &["--batch", "0"], "at least one"),
        ("a[1-2]", &["id"], &["--format", "{nonsense}"], "The fields are host"),
        ("a[1-2]", &["id"], &["--resume", "last"], "combined with hosts"),
        ("@web", &["id"], &["--hosts-file", "/dev/null"], "leave out HOSTS"),
    ] {
        let done = exec(&world, hosts, words).options(options).run();
        done.assert_code(125).assert_says(says).assert_says("rcmd: hint: ");
    }
}

#[test]
fn an_option_behind_a_set_is_the_program_and_its_place_is_told() {
    let world = world(2);
    for words in [&["--fold", "id"][..], &["--fold"]] {
        let done = world.client().target("a[1-2]").words(words).run();
        done.assert_says(
            "rcmd: Write options before HOSTS: `rcmd-client --fold HOSTS COMMAND...`.",
        );
        assert_ne!(done.code(), 0, "{}", done.story());
    }
    let done = exec(&world, "a[1-2]", &["echo", "--fold"]).run();
    done.assert_code(0);
    assert!(!done.stderr_text().contains("Options"), "{}", done.story());
}

#[test]
fn the_first_interrupt_begins_no_more_and_what_runs_goes_on() {
    let world = world(3);
    let (ran, gate) = (world.scratch("ran"), world.scratch("gate"));
    let line = format!(
        "echo x >> {}; until [ -e {} ]; do sleep 0.02; done; echo well",
        ran.display(),
        gate.display()
    );
    let client = shell(&world, "a[1-3]", &line).options(["-f", "1"]).stderr(Sink::Pipe);
    let mut client = client.spawn();
    let mut said = BufReader::new(client.stderr.take().unwrap()).lines().map(Result::unwrap);
    eventually("the first runs", || count_lines(&ran) == 1);
    client.signal(Signal::INT);
    assert!(said.any(|line| line.contains("no further host begins")));
    fs::write(&gate, "").unwrap();
    let done = client.wait();
    assert_eq!(done.stdout_text(), "a1: well\n");
    done.assert_code(130);
    assert!(said.any(|line| line.contains("a[2-3]")), "those that never started are named");
    assert_eq!(count_lines(&ran), 1);
}

#[test]
fn what_was_folded_is_printed_after_an_interrupt_too() {
    let world = world(3);
    let ran = world.scratch("ran");
    let line = format!("echo ok; echo x >> {}; [ {{host}} != a2 ] || sleep 600", ran.display());
    let result = world.scratch("result");
    let client = shell(&world, "a[1-3]", &line).option("--fold").option("--result").option(&result);
    let mut client = client.spawn();
    eventually("all run", || count_lines(&ran) == 3);
    eventually("two have ended", || count_lines(&result) == 2);
    // Two that come at once are one to the kernel.
    eventually("it ends by interrupts", || {
        client.signal(Signal::INT);
        !client.runs()
    });
    let done = client.wait();
    done.assert_code(130);
    assert!(done.stdout_text().contains("a[1,3] (2)"), "{}", done.story());
}

#[test]
fn a_reader_that_goes_away_ends_the_run() {
    let world = world(3);
    let before = world.settled_snapshot();
    let result = world.scratch("result");
    let client = shell(&world, "a[1-3]", "yes").option("--result").option(&result);
    let mut client = client.stdout(Sink::Pipe).spawn();
    client.read_line();
    drop(client.stdout.take());
    client.wait().assert_code(141);
    assert_eq!(count_lines(&result), 3, "each host has its result");
    world.assert_settles_to(&before);
}

#[test]
fn hosts_that_mean_harm_have_their_own_end_and_nobody_elses() {
    let figures = rcmd_tests::soak::fleet::run(60, 64, true);
    assert!(figures.wrong.is_empty(), "{figures}");
    assert_eq!((figures.exited, figures.hostile.len()), (60, 10), "{figures}");
}

#[test]
fn a_reader_that_stands_still_holds_no_run_that_was_interrupted() {
    let world = world(2);
    let mut client = shell(&world, "a[1-2]", "yes").stdout(Sink::Pipe).spawn();
    client.read_line();
    eventually("it ends by interrupts", || {
        client.signal(Signal::INT);
        !client.runs()
    });
    client.wait().assert_code(130);
}
