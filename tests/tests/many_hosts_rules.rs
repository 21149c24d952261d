//! The rules by which a run goes over many hosts, and the values that are put into the command of
//! each.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use rcmd_tests::many::{
    self, account, count_lines, events, exec, put_host, shell, sorted_lines, world,
};
use rcmd_tests::pty::Terminal;
use rcmd_tests::sink::Sink;
use rcmd_tests::{ClientCommand, Proxy, World, binaries, eventually};

/// Adds to the world's hosts.toml.
fn add_hosts(world: &World, text: &str) {
    let file = world.client_dir().join("hosts.toml");
    let file = fs::OpenOptions::new().append(true).open(file);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

/// Returns a client that runs a line on a set and tells each of its events.
fn watched(world: &World, hosts: &str, line: &str) -> ClientCommand {
    shell(world, hosts, line).option("--json")
}

#[test]
fn a_host_that_was_not_reached_is_tried_again_and_runs_once() {
    let world = world(1);
    let proxy = Proxy::to(world.address());
    proxy.refuse(true);
    let mut late = String::new();
    put_host(&mut late, "late", proxy.address());
    add_hosts(&world, &late);
    let ran = world.scratch("ran");
    let line = format!("echo x >> {}", ran.display());
    let client = watched(&world, "a1,late", &line).options(["--retry", "100"]);
    let mut client = client.stdout(Sink::Pipe).spawn();
    let mut all = Vec::new();
    loop {
        let line = client.read_line();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        let is_last = event["event"] == "summary";
        if event["event"] == "note" && event["host"] == "late" {
            assert!(event["data"].as_str().unwrap().contains("trying again"), "{line}");
            proxy.refuse(false);
        }
        all.push(event);
        if is_last {
            break;
        }
    }
    client.wait().assert_code(0);
    assert_eq!(all.last().unwrap()["exited"], 2, "{all:?}");
    assert_eq!(count_lines(&ran), 2);
}

#[test]
fn nothing_else_is_tried_again() {
    let world = world(1);
    let ran = world.scratch("ran");
    let line = format!("echo x >> {}", ran.display());
    for (does, options, status) in [
        ("exit 3", &[][..], 1),
        ("kill -9 $$", &[], 1),
        ("sleep 600", &["--timeout", "100ms"], 124),
    ] {
        let done = watched(&world, "a[1-1]", &format!("{line}; {does}"));
        let done = done.options(["--retry", "3"]).options(options).run();
        done.assert_code(status);
        assert!(events(&done).iter().all(|event| event["event"] != "note"), "{}", done.story());
    }
    assert_eq!(count_lines(&ran), 3, "each once");
    // What its host would say again is not asked again.
    let done = exec(&world, "a[1-1]", &["/nonexistent"]).options(["--retry", "3", "--json"]).run();
    done.assert_code(125);
    assert!(events(&done).iter().all(|event| event["event"] != "note"), "{}", done.story());
}

#[test]
fn a_pause_lies_between_the_end_of_a_batch_and_the_start_of_the_next() {
    let world = world(3);
    let client = shell(&world, "a[1-3]", "date +%s%N; sleep 0.1; date +%s%N");
    let done = client.options(["--batch", "2", "--pause", "1500ms", "--json"]).run();
    assert_eq!(account(&done, 3)["exited"], 3);
    let times = |host: &str| -> Vec<u64> {
        let events = events(&done);
        let texts = events.iter().filter(|one| one["event"] == "stdout" && one["host"] == host);
        let text: String = texts.map(|one| one["data"].as_str().unwrap()).collect();
        text.lines().map(|line| line.parse().unwrap()).collect()
    };
    let last_end = times("a1")[1].max(times("a2")[1]);
    let next_start = times("a3")[0];
    assert!(next_start >= last_end + 1_500_000_000, "{last_end}, {next_start}");
}

#[test]
fn templates_are_filled_in_the_environment_and_the_folder() {
    let world = world(0);
    let port = world.address().port();
    let host = |name: &str, folder: &str, rack: &str| {
        format!(
            "[hosts.{name}]\naddress = \"127.0.0.1\"\nport = {port}\ncertificate = \"localhost\"\n\
             labels = {{ folder = \"{folder}\" }}\nvars = {{ rack = \"{rack}\" }}\n"
        )
    };
    let hosts = host("b1", "tmp", "12 a; b") + &host("b2", "usr", "{host}");
    many::write_hosts_toml(&world.client_dir().join("hosts.toml"), &hosts);
    let client = shell(&world, "b[1-2]", "pwd -P; echo \"$RACK $WHO\"");
    let filled = ["--cwd", "/{label.folder}", "--env", "RACK={var.rack}", "--env", "WHO={host}"];
    let done = client.options(filled).run();
    done.assert_code(0).assert_says("{var.rack} {host} {label.folder}");
    let lines = ["b1: /tmp", "b1: 12 a; b b1", "b2: /usr", "b2: {host} b2"];
    let mut sorted = lines.map(str::to_owned);
    sorted.sort();
    assert_eq!(sorted_lines(&done), sorted, "a value is not looked at again");
    // As an argument any value will do; in a line of a shell one that makes another command is refused.
    let done = exec(&world, "b[1-2]", &["echo", "{var.rack}"]).run();
    assert_eq!(sorted_lines(&done), ["b1: 12 a; b", "b2: {host}"]);
    let ran = world.scratch("ran");
    for unsafe_value in ["{var.rack}", "{label.folder}{var.rack}"] {
        let done =
            shell(&world, "b[1-2]", &format!("touch {}; echo {unsafe_value}", ran.display()));
        let done = done.run();
        done.assert_code(125).assert_says("b[1-2]: ").assert_says("{var.rack} has something else");
        done.assert_says("the command can't be made for 2 of 2 hosts");
    }
    assert!(!ran.exists(), "nothing runs on any host");
    shell(&world, "b[1-2]", "echo {label.folder}").run().assert_code(0);
}

#[test]
fn a_variable_is_the_text_that_an_inventory_has() {
    let world = world(0);
    let inventory = world.scratch("inventory");
    let text = format!(
        "a1 ansible_host=127.0.0.1 rcmd_port={} rcmd_certificate=localhost rack=000123 z=000000 \
         big=1_000 flag=True list=[1,2]\n",
        world.address().port()
    );
    fs::write(&inventory, text).unwrap();
    let run = |words: &[&str]| {
        let client = world.client().options(["--exec", "--inventory"]).option(&inventory);
        client.options(["-f", "1"]).target("a1").words(words).run()
    };
    let done = run(&["echo", "{var.rack}", "{var.z}", "{var.big}", "{var.flag}"]);
    assert_eq!(done.stdout_text(), "a1: 000123 000000 1_000 True\n", "{}", done.story());
    run(&["echo", "{var.list}"]).assert_code(125).assert_says("{var.list} is a list or a table");
}

#[test]
fn standard_input_is_one_thing() {
    let world = world(2);
    let ran = world.scratch("ran");
    let client = world.client().options(["-i", "--hosts-file", "-", "--exec"]);
    let done = client.target("touch").words([&ran]).stdin(*b"a1\n").run();
    done.assert_code(125).assert_says("cannot be used for both --hosts-file and -i");
    assert!(!ran.exists());
    // By itself each is taken.
    let client = world.client().options(["--hosts-file", "-", "--exec"]);
    let done = client.target("echo").words(["{host}"]).stdin(*b"a[1-2]\n").run();
    assert_eq!(sorted_lines(&done), ["a1: a1", "a2: a2"]);
}

#[test]
fn a_fan_out_that_the_limit_of_descriptors_can_not_bear_is_cut_and_said() {
    let world = world(40);
    let dir = world.client_dir().to_str().unwrap();
    let run = |limit: &str, fanout: &str| {
        let mut client = Command::new("sh");
        client.args(["-c", &format!("ulimit -n {limit}; exec \"$@\""), "sh"]);
        client.arg(&binaries().client).args(["--dir", dir, "-f", fanout]);
        let done = client.args(["--shell", "a[1-40]", "true"]).output().unwrap();
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        String::from_utf8(done.stderr).unwrap()
    };
    let said = run("100", "64");
    assert!(said.contains("bears 18 hosts at once, not 40; see `ulimit -Hn`"), "{said}");
    assert!(!run("100", "18").contains("at once"));
}

#[test]
fn words_that_the_shell_here_made_of_brackets_are_warned_of() {
    let world = world(3);
    let folder = world.scratch("folder");
    fs::create_dir(&folder).unwrap();
    for name in ["a1", "a2", "a3", "python3"] {
        fs::write(folder.join(name), "").unwrap();
    }
    // `rcmd-client a[1-2] uptime` there, and with an option that makes a set of it.
    for options in [&[][..], &["-f", "2"]] {
        let client = exec(&world, "a1", &["a2", "uptime"]).options(options);
        let done = client.current_dir(&folder).run();
        done.assert_says("`a2` is used as the program").assert_says("in single quotes");
        let quiet = exec(&world, "a1", &["a2", "uptime"]).options(options).option("-q");
        let said = quiet.current_dir(&folder).run().stderr_text();
        assert!(!said.contains("is used as the program"), "{said}");
    }
    for words in [&["echo", "a2"][..], &["python3", "--version"]] {
        let said = exec(&world, "a1", words).current_dir(&folder).run().stderr_text();
        assert!(!said.contains("is used as the program"), "{said}");
    }
    let elsewhere = exec(&world, "a1", &["a2", "uptime"]).run().stderr_text();
    assert!(!elsewhere.contains("is used as the program"), "{elsewhere}");
}

#[test]
fn control_characters_reach_a_terminal_by_raw_alone() {
    let world = world(1);
    for (options, shown) in [(&[][..], "a1: \\u{1b}[2Jx"), (&["--raw"], "a1: \u{1b}[2Jx")] {
        let mut terminal = Terminal::open();
        let dir = world.client_dir().to_str().unwrap();
        let mut client = Command::new(&binaries().client)
            .args(["--dir", dir])
            .args(options)
            .args(["--shell", "a[1-1]", "printf '\\033[2Jx\\n'"])
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(terminal.side())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut seen = Vec::new();
        // A terminal that nobody has any more can't be read.
        let mut block = [0; 4096];
        while let Ok(count @ 1..) = terminal.keyboard.read(&mut block) {
            seen.extend_from_slice(&block[..count]);
        }
        let seen = String::from_utf8_lossy(&seen);
        assert!(seen.contains(shown), "{seen:?}");
        assert!(client.wait().unwrap().success());
    }
}

#[test]
fn one_unknown_end_is_more_than_any_other() {
    let world = World::builder().config("keepalive = \"500ms\"\ngrace = \"2s\"").start();
    many::write_hosts(&world, 3);
    let proxy = Proxy::to(world.address());
    let mut cut = String::new();
    put_host(&mut cut, "cut", proxy.address());
    add_hosts(&world, &cut);
    let ran = world.scratch("ran");
    let line = format!(
        "echo x >> {}; case {{host}} in a1) ;; a2) exit 3;; *) sleep 600;; esac",
        ran.display()
    );
    // Of one nothing more is heard: its grace passes, and nobody knows.
    let client = watched(&world, "a[1-3],dead,cut", &line).options(["--timeout", "1s"]).spawn();
    eventually("all run", || count_lines(&ran) == 4);
    proxy.silence();
    let done = client.wait();
    let summary = account(&done, 5);
    for kind in ["exited", "failed", "timed_out", "not_started", "unknown"] {
        assert_eq!(summary[kind], 1, "{kind}: {summary}");
    }
    done.assert_code(255);
}
