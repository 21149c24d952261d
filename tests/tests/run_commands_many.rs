//! `run --commands` over many hosts: each line on each, or on those that it names, with a result for each.

use std::collections::BTreeSet;
use std::fs;

use rcmd_tests::many::commands::{by_place, each, lines, parsed, results};
use rcmd_tests::many::{count_lines, gate, open, put_host, world, write_hosts_toml};
use rcmd_tests::pki::{Authority, Leaf};
use rcmd_tests::sink::Sink;
use rcmd_tests::{Fault, Proxy, World, eventually};
use serde_json::{Value, json};

#[test]
fn each_line_runs_on_each_host_with_its_index_beside_it() {
    let world = world(3);
    let before = world.settled_snapshot();
    let done = lines(&world, "a[1-3]", &["echo {host} {index}", "", "[\"echo\", \"x\"]", "exit 3"]);
    let done = done.run();
    done.assert_code(1).assert_says("9 commands on 3 hosts: 6 exited 0, 3 failed");
    done.assert_says("3 failed with status 3: a[1-3]").assert_says("templates: {host} {index}");
    let expected: Vec<_> = [1, 3, 4]
        .iter()
        .flat_map(|&line| (0..3).map(move |index| (line, format!("a{}", index + 1), index)))
        .collect();
    let found = by_place(&done);
    assert_eq!(found.keys().cloned().collect::<Vec<_>>(), expected);
    for ((line, host, index), result) in found {
        let stdout = match line {
            1 => format!("{host} {index}\n"),
            3 => "x\n".to_owned(),
            _ => String::new(),
        };
        assert_eq!(result["stdout"], stdout, "{result}");
        assert_eq!(result["code"], if line == 4 { 3 } else { 0 }, "{result}");
    }
    world.assert_settles_to(&before);
}

#[test]
fn a_line_may_name_its_own_hosts_with_their_places_there() {
    let world = world(4);
    let own = [
        r#"{"hosts": "a[4,2]", "argv": ["printf", "%s|", "a  b", "$HOME", "{host}{index}"]}"#,
        r#"{"shell": "echo $((1+1)) {host}", "hosts": "a3"}"#,
    ];
    let done = lines(&world, "", &own).without_target().run();
    done.assert_code(0).assert_says("3 commands on 3 hosts: 3 exited 0");
    let found = by_place(&done);
    let stdout: Vec<_> =
        found.iter().map(|(place, result)| (place.clone(), &result["stdout"])).collect();
    let place = |line, host: &str, index| (line, host.to_owned(), index);
    assert_eq!(
        stdout,
        [
            (place(1, "a2", 1), &json!("a  b|$HOME|a21|")),
            (place(1, "a4", 0), &json!("a  b|$HOME|a40|")),
            (place(2, "a3", 0), &json!("2 a3\n")),
        ]
    );
    // Beside HOSTS they go to their own, and the others to HOSTS.
    let mixed = [own[1], "echo all"];
    let done = lines(&world, "a[1-2]", &mixed).run();
    let expected = [
        (1, "a3".into(), json!("2 a3\n")),
        (2, "a1".into(), json!("all\n")),
        (2, "a2".into(), json!("all\n")),
    ];
    assert_eq!(each(&done, "stdout"), expected);
}

#[test]
fn a_host_that_is_not_reached_has_a_result_for_each_line() {
    let world = world(2);
    let done = lines(&world, "a1,dead,a2", &["echo 1", "echo 2", "echo 3"]).run();
    done.assert_code(125).assert_says("9 commands on 3 hosts: 6 exited 0, 3 not started");
    done.assert_says("3 not started: dead: for one: ");
    for (_, host, error) in each(&done, "error") {
        match host.as_str() {
            "dead" => assert_eq!(error["kind"], "unreachable"),
            _ => assert_eq!(error, Value::Null),
        }
    }
    assert_eq!(by_place(&done).len(), 9);
    assert!(
        results(&done)
            .iter()
            .all(|result| result["host"] != "dead" || result["retry_safe"] == true)
    );
}

#[test]
fn a_host_that_refuses_this_client_is_not_dialled_for_each_line() {
    let world = World::start();
    let refusing = Proxy::to(world.address());
    let mut hosts = String::new();
    put_host(&mut hosts, "refusing", refusing.address());
    write_hosts_toml(&world.client_dir().join("hosts.toml"), &hosts);
    // The server takes connections, and does not know who has signed this certificate.
    let stranger = Authority::new("another authority").issue(&Leaf::client("alice"));
    stranger.write(&world.client_dir().join("client"));
    let done = lines(&world, "refusing", &vec!["true"; 50]).options(["-f", "2", "--parallel", "2"]);
    let done = done.run();
    done.assert_code(125).assert_says("50 commands on 1 host: 50 not started");
    for (_, _, error) in each(&done, "error") {
        assert_eq!(error["kind"], "tls", "{error}");
    }
    assert_eq!(by_place(&done).len(), 50);
    // A line that was sent before the refusal was heard of may have had its connection made anew.
    assert!(refusing.connections() <= 2, "{}: {}", refusing.connections(), done.story());
}

#[test]
fn a_host_that_goes_away_in_the_middle_has_a_result_for_each_line() {
    let world = World::builder().config("grace = '1s'").start();
    let proxy = Proxy::to(world.address());
    let mut hosts = String::new();
    put_host(&mut hosts, "well", world.address());
    put_host(&mut hosts, "cut", proxy.address());
    write_hosts_toml(&world.client_dir().join("hosts.toml"), &hosts);
    let (gate, wait) = gate(&world, "gate");
    let ran = world.scratch("ran");
    let line = format!("echo {{host}} >> {}; {wait}; echo end", ran.display());
    let client = lines(&world, "well,cut", &vec![line; 6]).options(["--parallel", "2"]).spawn();
    eventually("two run on each", || count_lines(&ran) == 4);
    proxy.refuse(true);
    proxy.cut(Fault::Reset);
    // The other host goes on meanwhile; it is held up by nothing.
    open(&gate);
    let done = client.wait();
    done.assert_code(255);
    let found = by_place(&done);
    assert_eq!(found.len(), 12, "{}", done.story());
    let outcomes = |host: &str| {
        let of_host = found.iter().filter(|((_, name, _), _)| name == host);
        of_host
            .map(|(_, result)| result["outcome"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(outcomes("well"), ["exited"; 6]);
    assert_eq!(outcomes("cut")[..2], ["unknown"; 2], "they may have run");
    assert_eq!(outcomes("cut")[2..], ["not_started"; 4]);
    let started = fs::read_to_string(&ran).unwrap();
    assert_eq!(started.lines().filter(|host| *host == "cut").count(), 2, "nothing ran twice");
}

#[test]
fn parallel_counts_on_each_host_and_fanout_over_all() {
    let world = world(3);
    let before = world.settled_snapshot();
    let (gate, wait) = gate(&world, "gate");
    let running = world.scratch("running");
    fs::create_dir(&running).unwrap();
    // Each says how many run beside it, there and over all.
    let line = format!(
        "cd {}; : > {{host}}.$$; {wait}; ls {{host}}.* | wc -l; ls | wc -l; rm {{host}}.$$",
        running.display()
    );
    let count = || fs::read_dir(&running).unwrap().count();
    let names = || -> Vec<_> {
        let files = fs::read_dir(&running).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    };
    for (options, most_there, most) in [
        (&["--parallel", "2"][..], 2, 6),
        (&["--parallel", "4", "-f", "3"], 3, 3),
        (&["--parallel", "1", "-f", "2"], 1, 2),
    ] {
        let _ = fs::remove_file(&gate);
        let client = lines(&world, "a[1-3]", &vec![line.clone(); 6]).options(options).spawn();
        eventually("so many run", || count() == most);
        for host in ["a1.", "a2.", "a3."] {
            let there = names().iter().filter(|name| name.starts_with(host)).count();
            assert!(there <= most_there, "{there} on {host} with {options:?}");
        }
        if options.len() == 2 {
            assert_eq!(world.open_connections(), 3, "one for each host");
        }
        open(&gate);
        let done = client.wait();
        done.assert_code(0);
        for (_, host, stdout) in each(&done, "stdout") {
            let counts: Vec<usize> =
                stdout.as_str().unwrap().lines().map(|line| line.trim().parse().unwrap()).collect();
            assert!(
                counts[0] <= most_there && counts[1] <= most,
                "{host}: {counts:?} with {options:?}"
            );
        }
        assert_eq!(by_place(&done).len(), 18);
    }
    world.assert_settles_to(&before);
}

#[test]
fn a_slow_host_holds_up_no_other() {
    let world = world(2);
    let (gate, wait) = gate(&world, "gate");
    let ran = world.scratch("ran");
    let line = format!("if [ {{host}} = a1 ]; then {wait}; else echo x >> {}; fi", ran.display());
    let client = lines(&world, "a[1-2]", &vec![line; 100]).options(["--parallel", "2"]);
    let mut client = client.stdout(Sink::Pipe).spawn();
    for _ in 0..100 {
        assert_eq!(parsed(&client.read_line())["host"], "a2");
    }
    assert_eq!(count_lines(&ran), 100);
    open(&gate);
    for _ in 0..100 {
        assert_eq!(parsed(&client.read_line())["host"], "a1");
    }
    client.wait().assert_code(0);
}

#[test]
fn lines_of_standard_input_run_as_they_come_on_hosts_that_they_name() {
    let world = world(3);
    let client = world.client().without_target().options(["--commands", "-"]);
    let mut client = client.stdin_pipe().stdout(Sink::Pipe).spawn();
    client.write_stdin(b"{\"hosts\": \"a1\", \"shell\": \"cat; echo {host}\"}\n");
    let first = parsed(&client.read_line());
    assert_eq!((&first["host"], &first["stdout"]), (&json!("a1"), &json!("a1\n")));
    client.write_stdin(b"\n{\"hosts\": \"a[2-3]\", \"argv\": [\"echo\", \"{index}\"]}\n");
    let mut two: Vec<_> = (0..2).map(|_| parsed(&client.read_line())).collect();
    two.sort_by_key(|result| result["index"].as_u64());
    assert_eq!(two[0]["stdout"], "0\n");
    assert_eq!((&two[1]["host"], &two[1]["line"]), (&json!("a3"), &json!(3)));
    assert_eq!(two[1]["stdout"], "1\n");
    // What can't be told whose it is has no host; a fault of one host is that host's.
    for (line, host, index) in [
        ("{\"hosts\": \"a1\"\n", "", Value::Null),
        ("echo whose\n", "", Value::Null),
        ("{\"hosts\": \"@nobody\", \"argv\": [\"true\"]}\n", "", Value::Null),
        ("{\"hosts\": \"a2\", \"shell\": \"echo {label.none}\"}\n", "a2", json!(0)),
        ("{\"hosts\": \"a3\"}\n", "a3", json!(0)),
        (" { \"hosts\": \"a3\", \"argv\": [\"ls\"], \"user\": \"x\"}\n", "a3", json!(0)),
    ] {
        client.write_stdin(line.as_bytes());
        let bad = parsed(&client.read_line());
        assert_eq!((&bad["host"], &bad["index"]), (&json!(host), &index), "{bad}");
        assert_eq!(
            (&bad["outcome"], &bad["error"]["kind"]),
            (&json!("not_started"), &json!("usage"))
        );
        assert!(bad["error"]["hint"].is_string(), "{bad}");
    }
    client.write_stdin(b"{\"hosts\": \"a1\", \"argv\": [\"true\"]}");
    drop(client.stdin.take());
    assert_eq!(parsed(&client.read_line())["code"], 0);
    client.wait().assert_code(125).assert_says("10 commands on 3 hosts: 4 exited 0, 6 not started");
}

#[test]
fn more_hosts_than_fanout_take_turns_while_standard_input_stays_open() {
    let world = world(5);
    let client = world.client().options(["--commands", "-", "-f", "2"]).target("a[1-5]");
    let mut client = client.stdin_pipe().stdout(Sink::Pipe).spawn();
    for line in 1..4 {
        client.write_stdin(b"echo {host}\n");
        let hosts: BTreeSet<_> = (0..5)
            .map(|_| {
                let result = parsed(&client.read_line());
                assert_eq!(result["line"], line);
                result["host"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(hosts.len(), 5);
        eventually("no more are connected to", || world.open_connections() <= 2);
    }
    drop(client.stdin.take());
    client.wait().assert_code(0).assert_says("15 commands on 5 hosts: 15 exited 0");
}

#[test]
fn ten_thousand_results_come_each_once() {
    let world = world(50);
    let before = world.settled_snapshot();
    let all: Vec<_> = (1..=200).map(|line| format!("[\"echo\", \"{line} {{host}}\"]")).collect();
    let done = lines(&world, "a[1-50]", &all).run();
    done.assert_code(0).assert_says("10000 commands on 50 hosts: 10000 exited 0");
    let found = by_place(&done);
    assert_eq!(found.len(), 10_000);
    for ((line, host, index), result) in found {
        assert_eq!(result["stdout"], format!("{line} {host}\n"));
        assert_eq!(format!("a{}", index + 1), host);
    }
    world.assert_settles_to(&before);
}
