//! The policy of a real server, its reload, and the commands around it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use rcmd_tests::client::ClientCommand;
use rcmd_tests::pki::{Authority, Leaf};
use rcmd_tests::proc::marked;
use rcmd_tests::raw::{RawPeer, Start};
use rcmd_tests::sink::Sink;
use rcmd_tests::{World, binaries, eventually};
use rustix::process::Signal;

/// Replaces the policy and has it read.
fn reload(world: &World, policy: &str) {
    fs::write(world.dir().join("policy.cedar"), policy).unwrap();
    let before = world.log().iter().filter(|line| line.contains("policy reloaded")).count();
    world.signal_server(Signal::HUP);
    world.wait_for_log_lines("policy reloaded", before + 1);
}

/// Makes a folder of this user's own, in these groups.
fn identity(world: &World, user: &str, groups: &[&str]) -> PathBuf {
    let uris: Vec<String> = std::iter::once(format!("rcmd://user/{user}"))
        .chain(groups.iter().map(|group| format!("rcmd://group/{group}")))
        .collect();
    let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
    let dir = world.scratch(&format!("as-{user}-{}", groups.join("-")));
    Authority::of(world.dir()).issue(&Leaf::client_uris(&uris)).write(&dir.join("client"));
    fs::copy(world.dir().join("ca.pem"), dir.join("ca.pem")).unwrap();
    dir
}

trait By {
    fn by(self, world: &World, user: &str, groups: &[&str]) -> Self;
}

impl By for ClientCommand {
    fn by(self, world: &World, user: &str, groups: &[&str]) -> Self {
        self.dir(identity(world, user, groups))
    }
}

fn policy(world: &World, words: &[&str]) -> Output {
    let (sub, rest) = words.split_first().unwrap();
    let mut command = Command::new(&binaries().server);
    command.args(["policy", sub, "--dir"]).arg(world.dir()).args(rest).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const ONCALL: &str = r#"
@id("admin") @env("may-run-code: *") permit (principal in Group::"admin", action, resource);
@id("oncall-echo") permit (principal in Group::"oncall", action == Action::"run", resource)
when { context.program == "/usr/bin/echo" && context.argc == 2 };
@id("own-commands") permit (principal, action == Action::"attach", resource)
when { context.owner == principal };
"#;

#[test]
fn a_check_names_each_rule_as_it_is_called_on_lines_of_its_own() {
    let world = World::builder().prepare();
    let rules = "@id(\"good\") permit (principal, action, resource);\n\
        @id(\"deploys\") permit (principal, action, resource) when { context.prgram == \"x\" };\n\
        permit (principal, action, resource) when { context.argz == 1 };\n";
    fs::write(world.dir().join("policy.cedar"), rules).unwrap();
    for done in [policy(&world, &["check"]), policy(&world, &["explain", "--as", "a", "--", "id"])]
    {
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(125), "{said}");
        assert!(!said.contains("\\u{a}"), "{said}");
        assert!(said.contains("policy.cedar:2:") && said.contains("`deploys`"), "{said}");
        assert!(said.contains("policy.cedar:3:") && said.contains("`line 3`"), "{said}");
        assert!(said.lines().any(|line| line.trim_start().starts_with("| ")), "{said}");
        assert_eq!(said.matches("rcmd: ").count(), 1, "{said}");
    }
}

#[test]
fn a_check_refuses_what_the_server_refuses() {
    let world = World::builder().prepare();
    let own = world.dir().join("policy.cedar");
    let elsewhere = world.scratch("next.cedar");
    fs::copy(&own, &elsewhere).unwrap();
    for file in [&own, &elsewhere] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap();
    }
    for words in [&["check"][..], &["check", own.to_str().unwrap()]] {
        let done = policy(&world, words);
        assert!(!done.status.success(), "{}", text(&done.stdout));
        assert!(text(&done.stderr).contains("chmod go-w"), "{}", text(&done.stderr));
    }
    // One that is on its way to a host is good by what it says.
    let done = policy(&world, &["check", elsewhere.to_str().unwrap()]);
    let said = text(&done.stdout);
    assert!(done.status.success() && said.contains("a server would refuse this file"), "{said}");
    fs::remove_file(&own).unwrap();
    let done = policy(&world, &["check"]);
    assert!(text(&done.stderr).contains("rcmd-server policy init"), "{}", text(&done.stderr));
    assert!(!done.status.success());
}

#[test]
fn a_host_without_a_policy_denies_and_says_what_to_type() {
    let mut world = World::builder().prepare();
    fs::remove_file(world.dir().join("policy.cedar")).unwrap();
    world.start_server();
    let done = world.exec(["true"]).with_result().run();
    done.assert_code(125).assert_says("rcmd-server policy init");
    assert_eq!(done.result()["error"]["kind"], "denied");
    assert_eq!(done.result()["retry_safe"], true);
    world.wait_for_log("rcmd-server policy init");

    let made = policy(&world, &["init"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    world.signal_server(Signal::HUP);
    world.wait_for_log("policy reloaded");
    world.exec(["true"]).run().assert_code(0);
    assert!(!policy(&world, &["init"]).status.success(), "it was overwritten");
}

#[test]
fn a_rule_permits_what_it_says_to_whom_it_says() {
    let world = World::start();
    reload(&world, ONCALL);
    let oncall = |words: &[&str]| world.exec(words).by(&world, "alice", &["oncall"]);
    let done = oncall(&["echo", "hi"]).run();
    done.assert_code(0);
    assert_eq!(done.stdout, b"hi\n");
    let done = oncall(&["echo", "hi", "there"]).with_result().run();
    done.assert_code(125).assert_says("no rule permits it");
    assert_eq!(done.result()["error"]["kind"], "denied");
    let done = world.exec(["echo", "hi"]).by(&world, "bob", &["off-call"]).run();
    done.assert_code(125).assert_says("bob may not run echo");
}

#[test]
fn a_denied_shell_line_that_exec_would_permit_says_so() {
    let world = World::start();
    reload(&world, ONCALL);
    let line = |line: &str| world.shell(line).by(&world, "alice", &["oncall"]).run();
    line("echo hi").assert_code(125).assert_says("--exec");
    let other = line("echo hi; id");
    other.assert_code(125);
    assert!(!other.stderr_text().contains("--exec"), "{}", other.stderr_text());
}

#[test]
fn the_next_request_is_judged_by_the_new_policy_and_a_bad_one_changes_nothing() {
    let world = World::start();
    world.exec(["true"]).run().assert_code(0);
    fs::write(world.dir().join("policy.cedar"), "permit (principal, action, resource)\n").unwrap();
    world.signal_server(Signal::HUP);
    world.wait_for_log("policy not reloaded");
    let log = world.log().join("\n");
    assert!(log.contains("policy.cedar:1:37"), "{log}");
    world.exec(["true"]).run().assert_code(0);

    reload(&world, "");
    world.exec(["true"]).run().assert_code(125).assert_says("no rule permits it");
}

#[test]
fn a_policy_that_nests_without_end_is_refused_and_its_server_goes_on() {
    let world = World::start();
    let deep = |open: &str, close: &str| {
        let condition = open.repeat(100_000) + "true" + &close.repeat(100_000);
        format!("permit (principal, action, resource) when {{ {condition} }};\n")
    };
    let shapes =
        [("(", ")"), ("[", "]"), ("if true then ", " else false"), ("principal.", ""), ("1+", "")];
    for (number, (open, close)) in shapes.into_iter().enumerate() {
        fs::write(world.dir().join("policy.cedar"), deep(open, close)).unwrap();
        world.signal_server(Signal::HUP);
        world.wait_for_log_lines("policy not reloaded", number + 1);
        world.exec(["true"]).run().assert_code(0);
    }
}

#[test]
fn a_policy_that_others_may_write_to_is_refused() {
    let world = World::start();
    let file = world.dir().join("policy.cedar");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    world.signal_server(Signal::HUP);
    world.wait_for_log("others than its owner may change");
    world.exec(["true"]).run().assert_code(0);
}

#[test]
fn a_running_command_is_ended_when_its_permission_is_taken_away() {
    let world = World::builder().config("policy.on_reload = \"end\"").start();
    let time = format!("602.{}", std::process::id());
    let kept = format!("603.{}", std::process::id());
    let running = world.exec(["sleep", &time]).with_result().spawn();
    let other = world.exec(["sleep", &kept]).by(&world, "bob", &["oncall"]);
    reload(&world, &ONCALL.replace("echo", "sleep"));
    let other = other.spawn();
    // Not their clients, which have the same arguments.
    let runs = |mark: &str| {
        let below = rcmd_tests::proc::descendants(world.pid());
        marked(mark).iter().any(|one| below.iter().any(|process| process.pid == one.pid))
    };
    eventually("both run", || runs(&time) && runs(&kept));
    reload(&world, &ONCALL.replace("echo", "sleep").replace("\"admin\"", "\"nobody\""));
    let done = running.wait();
    assert_eq!(done.result()["error"]["kind"], "denied", "{}", done.story());
    assert_eq!(done.result()["outcome"], "signaled");
    assert!(runs(&kept), "one that is still permitted was ended as well");
    drop(other);
    eventually("nothing is left", || marked(&time).is_empty() && marked(&kept).is_empty());
}

#[test]
fn by_default_a_running_command_goes_on_under_another_policy() {
    let world = World::start();
    let go = world.scratch("go");
    let line = format!("echo up; until test -e {}; do sleep 0.05; done; echo done", go.display());
    let mut running = world.shell(line).stdout(Sink::Pipe).spawn();
    assert_eq!(running.read_line(), "up");
    reload(&world, &ONCALL.replace("\"admin\"", "\"nobody\""));
    fs::write(&go, "").unwrap();
    running.wait().assert_code(0);
}

#[test]
fn check_says_what_is_wrong_where() {
    let world = World::builder().prepare();
    let good = policy(&world, &["check"]);
    assert!(good.status.success() && text(&good.stdout).contains("3 rules, all valid"));
    let file = world.scratch("bad.cedar");
    fs::write(&file, "permit (principal, action == Action::\"run\", resource)\nwhen { context.progam == \"/bin/x\" };\n").unwrap();
    let bad = policy(&world, &["check", file.to_str().unwrap()]);
    assert_eq!(bad.status.code(), Some(125));
    let said = text(&bad.stderr);
    assert!(said.contains("bad.cedar:2:8: ") && said.contains("  |        ^"), "{said}");
    fs::write(&file, "permit (principal, action == Action::\"run\", resource);").unwrap();
    let warned = policy(&world, &["check", file.to_str().unwrap()]);
    assert!(warned.status.success() && text(&warned.stdout).contains("no rule permits \"attach\""));
}

#[test]
fn explain_says_which_rule_decides_and_what_would_permit_it() {
    let world = World::builder().prepare();
    fs::write(world.dir().join("policy.cedar"), ONCALL).unwrap();
    let explain = |words: &[&str]| {
        let done = policy(&world, &[&["explain", "--as", "alice"], words].concat());
        (done.status.code().unwrap(), text(&done.stdout) + &text(&done.stderr))
    };
    let (status, said) = explain(&["--group", "oncall", "--", "echo", "hi"]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("permitted: /usr/bin/echo as root"), "{said}");
    assert!(
        said.contains("by the rule \"oncall-echo\" (") && said.contains("policy.cedar:3)"),
        "{said}"
    );

    let (status, said) = explain(&["--", "echo", "hi"]);
    assert_eq!(status, 1, "{said}");
    for part in [
        "denied: alice may not run",
        "alice in the group oncall by the rule \"oncall-echo\"",
        "alice in the group admin",
        "context.argv == [\"0=echo\", \"1=hi\"]",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (status, said) = explain(&["--shell", "--group", "oncall", "--", "echo hi"]);
    assert!(status == 1 && said.contains("without the shell, with --exec"), "{said}");
    let (status, said) = explain(&["--user", "no-such-user", "--", "id"]);
    assert!(status == 125 && said.contains("no-such-user"), "{said}");
}

#[test]
fn the_lock_is_part_of_what_is_asked() {
    let world = World::start();
    let rules = "permit (principal, action == Action::\"run\", resource)\n\
        when { context has lock && context.lock == \"deploy\" };\n";
    reload(&world, rules);
    let explain = |lock: &[&str]| {
        let words = [&["explain", "--as", "alice"], lock, &["--", "echo", "hi"]].concat();
        let done = policy(&world, &words);
        (done.status.code().unwrap(), text(&done.stdout) + &text(&done.stderr))
    };
    assert_eq!(explain(&["--lock", "deploy"]).0, 0);
    assert_eq!(explain(&[]).0, 1);
    let (status, said) = explain(&["--lock", "other"]);
    assert!(status == 1 && said.contains("context.lock == \"other\""), "{said}");
    let (status, said) = explain(&["--lock", "a b"]);
    assert!(status == 125 && said.contains("lock"), "{said}");
    let mut peer = RawPeer::greeted(&world);
    let echo = |ch| Start::exec(ch, &["echo", "hi"]);
    let questions = [echo(1).lock("deploy", 0), echo(2), echo(3).lock("other", 0)];
    for (question, permitted) in questions.iter().zip([true, false, false]) {
        peer.send(&question.ask()).unwrap();
        assert_eq!(peer.expect_frame("verdict").0["permitted"], permitted);
    }
}

#[test]
fn taking_a_command_up_again_is_judged_too() {
    let world = World::start();
    let key = ["--key", "once"];
    world.exec(["echo", "a"]).options(key).run().assert_code(0);
    reload(
        &world,
        &ONCALL
            .replace("\"admin\"", "\"nobody\"")
            .replace("own-commands\") permit", "own-commands\") forbid"),
    );
    let done = world.exec(["echo", "a"]).options(key).with_result().run();
    done.assert_code(255).assert_says("may not take up a command");
    assert_eq!(done.result()["error"]["kind"], "denied");
    assert!(done.stdout.is_empty());
}

#[test]
fn a_dry_run_is_judged_with_its_lock() {
    let world = World::start();
    reload(
        &world,
        r#"@id("deploys") permit (principal, action == Action::"run", resource)
        when { context has lock && context.lock == "deploy" };"#,
    );
    let file = world.scratch("made");
    let asked = |options: &[&str]| {
        let touch = world.exec(["touch", file.to_str().unwrap()]).option("--dry-run");
        touch.options(options).by(&world, "alice", &["ci"]).run()
    };
    let done = asked(&["--lock", "deploy"]);
    done.assert_code(0).assert_says("permitted: /usr/bin/touch as root").assert_says("\"deploys\"");
    asked(&["--lock", "other"]).assert_code(125).assert_says("no rule permits it");
    asked(&[]).assert_code(125).assert_says("no rule permits it");
    assert!(!file.exists());
    // Asking holds no lock, nor waits for one.
    let waits = ["--lock", "deploy", "--lock-wait", "1h"];
    asked(&waits).assert_code(0);
    asked(&waits).assert_code(0);
    let locks = fs::read_dir(world.dir().join("server/locks")).into_iter().flatten();
    assert_eq!(locks.count(), 0);
}

#[test]
fn a_dry_run_says_what_would_be_and_runs_nothing() {
    let world = World::start();
    reload(&world, ONCALL);
    let file = world.scratch("made");
    let touch = ["touch", file.to_str().unwrap()];
    let done = world.exec(touch).option("--dry-run").run();
    done.assert_code(0).assert_says("permitted: /usr/bin/touch as root").assert_says("\"admin\"");
    assert!(done.stdout.is_empty());
    let done = world.exec(touch).option("--dry-run").by(&world, "alice", &["oncall"]).run();
    done.assert_code(125).assert_says("no rule permits it");
    let done = world.shell("echo hi").option("--dry-run").by(&world, "alice", &["oncall"]).run();
    done.assert_code(125).assert_says("--exec");
    world.exec(["no-such-program"]).option("--dry-run").run().assert_code(127);
    assert!(!file.exists());
    assert!(!world.log().iter().any(|line| line.contains(" started ")), "{:?}", world.log());
}
