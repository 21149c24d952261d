//! What a permit covers that names no action, the actions that no request asks for yet, and where a
//! request comes from: as a real server and the commands around its policy see them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use rcmd_tests::{World, binaries};
use rustix::process::Signal;

/// Runs `rcmd-server policy` over a folder; returns its status and all that it said.
fn policy(dir: &Path, words: &[&str]) -> (i32, String) {
    let (sub, rest) = words.split_first().unwrap();
    let mut command = Command::new(&binaries().server);
    let done = command.args(["policy", sub, "--dir"]).arg(dir).args(rest).output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// Makes the server read its files again, and waits until it has read the policy.
fn reload(world: &World) {
    let read =
        |world: &World| world.log().iter().filter(|line| line.contains("policy reloaded")).count();
    let before = read(world);
    world.signal_server(Signal::HUP);
    world.wait_for_log_lines("policy reloaded", before + 1);
}

fn reload_rules(world: &World, rules: &str) {
    fs::write(world.dir().join("policy.cedar"), rules).unwrap();
    reload(world);
}

#[test]
fn a_connection_to_a_port_comes_by_tcp_from_the_address_of_its_peer() {
    let world = World::start();
    for (condition, status) in [
        ("context.way == \"tcp\" && context.source == ip(\"127.0.0.1\")", 0),
        ("context.source.isLoopback() && context.way != \"unix\"", 0),
        ("context.way == \"unix\"", 125),
        ("context.way == \"handed\" || context.way == \"relay\"", 125),
        ("context.source == ip(\"::\")", 125),
    ] {
        let rule = "permit (principal, action in [Action::\"run\", Action::\"shell\"], resource)";
        reload_rules(&world, &format!("{rule} when {{ {condition} }};"));
        for command in [world.exec(["true"]), world.shell("true")] {
            command.run().assert_code(status);
        }
        world.exec(["true"]).option("--dry-run").run().assert_code(status);
    }
    // Taking a command up again is asked with the same facts.
    let attach = |way: &str| {
        format!(
            "permit (principal, action == Action::\"run\", resource);
             permit (principal, action == Action::\"attach\", resource) when {{ context.way == \"{way}\" }};"
        )
    };
    reload_rules(&world, &attach("tcp"));
    let echo = || world.exec(["echo", "a"]).options(["--key", "once"]).run();
    echo().assert_code(0);
    echo().assert_code(0);
    reload_rules(&world, &attach("relay"));
    echo().assert_code(255).assert_says("may not take up a command");
}

#[test]
fn vocabulary_2_is_taken_up_with_the_policy_and_a_bad_one_is_not() {
    let world = World::start();
    let settings = world.dir().join("server.toml");
    let number = |world: &World| {
        let log = world.log();
        let line = log.iter().rev().find(|line| line.contains("vocabulary=")).unwrap();
        line.split_once("vocabulary=").unwrap().1[..1].to_owned()
    };
    assert_eq!(number(&world), "2", "of a new host");
    for (text, vocabulary) in [
        ("", "1"),
        ("[policy]\nvocabulary = 2\n", "2"),
        // A file with a mistake changes nothing.
        ("[policy]\nvocabulary = 3\n", "2"),
        ("[policy]\nvocabulary = 1\n", "1"),
        ("policy.vocabulary = 0\n", "1"),
    ] {
        fs::write(&settings, text).unwrap();
        reload(&world);
        assert_eq!(number(&world), vocabulary, "{text}");
        world.exec(["true"]).run().assert_code(0);
    }
    world.wait_for_log("3 is not a vocabulary; write 1 or 2");
}

#[test]
fn check_lists_each_rule_that_vocabulary_2_would_widen() {
    let world = World::builder().prepare();
    let (policy_file, settings) =
        (world.dir().join("policy.cedar"), world.dir().join("server.toml"));
    let rules = "@id(\"staff\") permit (principal in Group::\"staff\", action, resource);\n\
        permit (principal, action, resource)\n  when { context has path && context.source.isLoopback() };\n\
        @id(\"named\") permit (principal, action in [Action::\"run\", Action::\"attach\"], resource);\n\
        @id(\"argued\") permit (principal, action, resource) when { context has argc };\n\
        @id(\"none\") forbid (principal, action, resource) when { principal in Group::\"x\" };\n";
    fs::write(&policy_file, rules).unwrap();
    fs::write(&settings, "").unwrap();
    let (status, said) = policy(world.dir(), &["check"]);
    assert_eq!(status, 0, "{said}");
    let notes: Vec<_> = said.lines().filter(|line| line.contains(": note: ")).collect();
    let [staff, second] = notes[..] else { panic!("{said}") };
    assert!(staff.contains("policy.cedar:1: note: the rule \"staff\" names no action"), "{said}");
    let all = "vocabulary 2 would add terminal, read, write, forward, listen, relay, list, kill";
    assert!(staff.ends_with(all), "{said}");
    assert!(second.contains("policy.cedar:2: note: the rule \"line 2\""), "{said}");
    assert!(second.ends_with("vocabulary 2 would add read, write, forward, listen"), "{said}");
    assert!(said.ends_with("5 rules, all valid\n"), "{said}");

    // The server's own second vocabulary has widened them already, and its first policy needs none.
    fs::write(&settings, "policy.vocabulary = 2\n").unwrap();
    let (status, said) = policy(world.dir(), &["check"]);
    assert!(status == 0 && !said.contains("note"), "{said}");
    for text in ["", "policy.vocabulary = 2\n"] {
        fs::remove_file(&policy_file).unwrap();
        assert_eq!(policy(world.dir(), &["init"]).0, 0);
        fs::write(&settings, text).unwrap();
        let (status, said) = policy(world.dir(), &["check"]);
        assert!(status == 0 && !said.contains("note") && said.contains("3 rules"), "{said}");
    }
}

#[test]
fn init_writes_the_second_vocabulary_where_that_changes_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for (number, (before, after, says)) in [
        (None, "\npolicy.vocabulary = 2\n", "the settings of the server, with vocabulary 2"),
        (
            Some("grace = \"1s\"\n"),
            "grace = \"1s\"\n\n[policy]\nvocabulary = 2\n",
            "was added at the end",
        ),
        (Some("[policy]\nvocabulary = 1\n"), "[policy]\nvocabulary = 1\n", "it sets a vocabulary"),
        (Some("policy.on_reload = \"end\""), "policy.on_reload = \"end\"", "add vocabulary = 2"),
    ]
    .into_iter()
    .enumerate()
    {
        let dir = folder.path().join(number.to_string());
        fs::create_dir(&dir).unwrap();
        let settings = dir.join("server.toml");
        if let Some(before) = before {
            fs::write(&settings, before).unwrap();
        }
        let (status, said) = policy(&dir, &["init"]);
        assert!(status == 0 && said.contains(says), "{said}");
        let text = fs::read_to_string(&settings).unwrap();
        assert!(text.ends_with(after), "{text}");
        // A second one changes nothing: the policy may be an old one by then.
        fs::write(&settings, "grace = \"2s\"\n").unwrap();
        assert_ne!(policy(&dir, &["init"]).0, 0);
        assert_eq!(fs::read_to_string(&settings).unwrap(), "grace = \"2s\"\n");
    }
    let dir = folder.path().join("broken");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("server.toml"), "grace = 1").unwrap();
    let (status, said) = policy(&dir, &["init"]);
    assert!(status != 0 && said.contains("server.toml:1:9"), "{said}");
    assert!(!dir.join("policy.cedar").exists());
}

#[test]
fn explain_asks_about_every_action() {
    let world = World::builder().prepare();
    fs::create_dir(world.scratch("files")).unwrap();
    let folder = world.scratch("files").canonicalize().unwrap();
    fs::write(folder.join("log"), "four").unwrap();
    symlink("log", folder.join("link")).unwrap();
    let shown = folder.display().to_string();
    let rules = format!(
        r#"@id("reads") permit (principal, action == Action::"read", resource)
             when {{ context.path == "{shown}/log" && context.size == 4 }};
           @id("writes") permit (principal, action == Action::"write", resource)
             when {{ context.path like "{shown}/*" && context.size <= 100 }};
           @id("db") permit (principal, action == Action::"forward", resource)
             when {{ context.host == "db1" && context.port == 5432 && context.address.isInRange(ip("10.0.0.0/8")) }};
           @id("ports") permit (principal, action == Action::"listen", resource) when {{ context.port > 1023 }};
           @id("relays") permit (principal == User::"relay1", action == Action::"relay", resource)
             when {{ context.way == "relay" }};
           @id("own") permit (principal, action in [Action::"attach", Action::"list", Action::"kill"], resource)
             when {{ context.owner == principal }};
           @id("shells") permit (principal, action == Action::"terminal", resource) when {{ context.line == "" }};
           @id("local") permit (principal, action == Action::"run", resource)
             when {{ context.way == "unix" && context.source == ip("::") }};
           @id("open") permit (principal in Group::"staff", action, resource);"#
    );
    fs::write(world.dir().join("policy.cedar"), rules).unwrap();
    fs::write(world.dir().join("server.toml"), "").unwrap();
    let path = |name: &str| format!("{shown}/{name}");
    for (words, status, says) in [
        (&["--read", &path("link")][..], 0, "permitted: read "),
        (&["--read", &path("log"), "--size", "5"], 1, "no rule permits it"),
        (&["--read", &path("none")], 1, "cannot look at"),
        (&["--write", &path("new"), "--size", "100"], 0, "by the rule \"writes\""),
        (&["--write", &path("new"), "--size", "101"], 1, "context.size <= 101"),
        (
            &["--write", &path("new"), "--lock", "deploy"],
            1,
            "context has lock && context.lock == \"deploy\"",
        ),
        (&["--read", &path("link"), "--lock", "a b"], 125, "can't be the name of a lock"),
        (&["--forward", "db1:5432", "--address", "10.1.2.3"], 0, "connect to db1:5432 at 10.1.2.3"),
        (
            &["--forward", "db1:5432", "--address", "11.1.2.3"],
            1,
            "context.address == ip(\"11.1.2.3\")",
        ),
        (&["--forward", "db1:5432"], 1, "is not looked up"),
        (&["--forward", "/run/db.sock"], 1, "context.path == \"/run/db.sock\""),
        (&["--listen", "8080"], 0, "listen on 127.0.0.1:8080"),
        (&["--listen", "0.0.0.0:8080"], 1, "\"ports\" names no address"),
        (&["--listen", "80"], 1, "context.port == 80"),
        (&["--relay"], 1, "to relay1"),
        (&["--kill", "alice"], 0, "by the rule \"own\""),
        (&["--list", "bob"], 1, "context.owner == User::\"bob\""),
        (&["--attach", "bob"], 1, "take up a command of bob"),
        (&["--terminal"], 0, "have a login shell as "),
        (&["--way", "unix", "--", "true"], 0, "by the rule \"local\""),
        (&["--way", "unix", "--from", "10.0.0.1", "--", "true"], 1, "no rule permits it"),
        (&["--group", "staff", "--", "true"], 0, "by the rule \"open\""),
        (
            &["--group", "staff", "--relay"],
            1,
            "with policy.vocabulary = 2 in server.toml, by the rule \"open\"",
        ),
        // What is asked is one thing, and each flag belongs to some of them.
        (&["--read", "/x", "--write", "/x"], 125, "cannot be used with"),
        (&["--read", "/x", "--", "true"], 125, "cannot be used with"),
        (&[], 125, "missing argument: --read PATH"),
        (&["--size", "5", "--", "true"], 125, "--size needs --read or --write"),
        (&["--read", "/x", "--shell"], 125, "--shell needs a COMMAND"),
        (&["--relay", "--lock", "x"], 125, "--lock needs a COMMAND"),
        (&["--relay", "--address", "10.0.0.1"], 125, "--address needs --forward"),
        (&["--listen", "nowhere"], 125, "write PORT"),
        (&["--way", "TCP", "--relay"], 125, "write tcp, unix, handed or relay"),
    ] {
        let words = [&["explain", "--as", "alice"], words].concat();
        // One who relays comes by a relay.
        let words = match words.contains(&"--relay") && !words.contains(&"--way") {
            true => [&words[..], &["--way", "relay"]].concat(),
            false => words,
        };
        let (found, said) = policy(world.dir(), &words);
        assert!(found == status && said.contains(says), "{words:?}: {found}, {said}");
    }
    let (_, said) = policy(world.dir(), &["explain", "--as", "alice", "--read", &path("link")]);
    assert!(said.contains(&format!("read {shown}/log as ")), "{said}");
}
