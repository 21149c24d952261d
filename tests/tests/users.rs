//! Commands as another user of the host.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rcmd_tests::audit::{events, records};
use rcmd_tests::raw::{RawPeer, Start};
use rcmd_tests::{World, require, skip};

/// The two ways to start a command.
const WAYS: [&str; 2] = ["spawn = \"portable\"", "spawn = \"auto\""];

fn worlds() -> [World; 2] {
    WAYS.map(|way| World::builder().config(way).server_env("SECRET_OF_THE_SERVER", "x").start())
}

/// Asserts that the one request so far is in the audit once, with the user that it asked for.
#[track_caller]
fn assert_refusal_of(world: &World, user: &str) {
    let audit = records(world);
    let asked: Vec<_> = audit.iter().filter(|record| record["event"] == "attempt").collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0]["user"], user);
    assert_eq!(events(&audit, asked[0]["job"].as_str().unwrap()), ["attempt", "refusal"]);
}

fn fields(text: &str) -> BTreeMap<&str, &str> {
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name, value.trim())).collect()
}

#[test]
fn a_command_as_nobody_is_nobody_in_all_that_the_kernel_knows() {
    require!(skip::need_root());
    for world in worlds() {
        let before = world.settled_snapshot();
        let done = world.exec(["cat", "/proc/self/status"]).options(["-l", "nobody"]).run();
        done.assert_code(0);
        let text = done.stdout_text();
        let status = fields(&text);
        assert_eq!(status["Uid"], ["65534"; 4].join("\t"));
        assert_eq!(status["Gid"], ["65534"; 4].join("\t"));
        assert_eq!(status["Groups"], "65534");
        let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
        for set in sets.into_iter().chain(["SigBlk", "SigIgn", "SigCgt"]) {
            assert_eq!(status[set], "0000000000000000", "{set}");
        }
        world.assert_settles_to(&before);
    }
}

#[test]
fn a_command_as_nobody_has_nothing_of_the_server() {
    require!(skip::need_root());
    for world in worlds() {
        let run = |words: [&str; 3]| {
            let done = world.exec(words).options(["-l", "nobody"]).run();
            (done.code(), done.stdout_text())
        };
        let (code, environment) = run(["env", "--", "printenv"]);
        assert_eq!(code, 0);
        assert!(!environment.contains("SECRET_OF_THE_SERVER"), "{environment}");
        for setting in ["USER=nobody", "LOGNAME=nobody", "HOME=/nonexistent"] {
            assert!(environment.lines().any(|line| line == setting), "{setting}: {environment}");
        }
        // The last one is the folder that is listed.
        assert_eq!(run(["ls", "-x", "/proc/self/fd"]), (0, "0  1  2  3\n".to_owned()));
        assert_ne!(run(["cat", "--", "/etc/shadow"]).0, 0);
        assert_ne!(run(["sh", "-c", "echo x >/dev/tty"]).0, 0);
        let back = "setpriv --reuid=0 true || setpriv --regid=0 --clear-groups true";
        assert_ne!(run(["sh", "-c", back]).0, 0);
        let pid = world.pid();
        assert_ne!(run(["kill", "-0", &pid.to_string()]).0, 0);
        assert_ne!(run(["cat", "--", &format!("/proc/{pid}/environ")]).0, 0);
        assert_ne!(run(["head", "-c1", &format!("/proc/{pid}/mem")]).0, 0);
    }
}

#[test]
fn what_a_rule_permits_with_no_new_privs_gains_nothing_by_a_file() {
    require!(skip::need_root());
    for mut world in worlds() {
        // Where nobody can reach it, and nobody but root can write.
        let folder = tempfile::tempdir_in("/var/lib").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let id = folder.path().join("id");
        fs::copy("/usr/bin/id", &id).unwrap();
        fs::set_permissions(&id, fs::Permissions::from_mode(0o4755)).unwrap();
        let mut run = |rule: &str| {
            let rule = format!("{rule} permit (principal, action, resource);");
            fs::write(world.dir().join("policy.cedar"), rule).unwrap();
            world.restart();
            let done = world.exec(["cat", "/proc/self/status"]).options(["-l", "nobody"]).run();
            let privs = fields(&done.stdout_text())["NoNewPrivs"].to_owned();
            let id = [id.as_os_str(), "-u".as_ref()];
            (privs, world.exec(id).options(["-l", "nobody"]).run().stdout_text())
        };
        assert_eq!(run("@no_new_privs(\"true\")"), ("1".into(), "65534\n".into()));
        assert_eq!(run("@no_new_privs(\"false\")"), ("0".into(), "0\n".into()));
        assert_eq!(run(""), ("0".into(), "0\n".into()));
    }
}

#[test]
fn a_program_that_is_named_by_its_digest_runs_from_its_copy_as_another_user_too() {
    require!(skip::need_root());
    for mut world in worlds() {
        // What the file says meanwhile is nobody's business: it can be changed by everybody.
        let folder = tempfile::tempdir_in("/var/lib").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let id = folder.path().join("id");
        fs::copy("/usr/bin/id", &id).unwrap();
        fs::set_permissions(&id, fs::Permissions::from_mode(0o777)).unwrap();
        let digest = rcmd_tests::raw::sha256(&fs::read(&id).unwrap());
        let when = format!("context has digest && context.digest == \"{digest}\"");
        let rule = format!("permit (principal, action, resource) when {{ {when} }};");
        fs::write(world.dir().join("policy.cedar"), rule).unwrap();
        world.restart();
        let run = || world.exec([id.as_os_str(), "-u".as_ref()]).options(["-l", "nobody"]).run();
        let done = run();
        done.assert_code(0);
        assert_eq!(done.stdout_text(), "65534\n");
        fs::copy("/usr/bin/env", &id).unwrap();
        run().assert_code(125);
    }
}

#[test]
fn a_user_that_does_not_exist_runs_nothing() {
    let world = World::start();
    // A number is nobody's name, also one that the kernel takes for "as before".
    for user in ["no-such-user-here", "0", "#0", "#-1", "4294967295", "#4294967295", "ROOT"] {
        let done = world.exec(["true"]).options(["-l", user]).with_result().run();
        done.assert_code(125);
        assert_eq!(done.result()["error"]["kind"], "no_such_user", "{user}");
        assert_eq!(done.result()["retry_safe"], true);
    }
}

#[test]
fn what_other_programs_take_for_an_option_is_nobodys_name() {
    let world = World::start();
    let mut peer = RawPeer::greeted(&world);
    for (ch, user) in (1..).zip(["-f root", "-froot", "-f", "root -f", "--", "-h here root"]) {
        let exit = peer.run(&Start::exec(ch, &["id"]).user(user)).unwrap().exit;
        assert_eq!(exit["outcome"], "not_started", "{user}: {exit}");
        assert_eq!(exit["kind"], "no_such_user", "{user}: {exit}");
    }
}

#[test]
fn an_account_without_a_login_runs_programs_and_no_shell_lines() {
    require!(skip::need_root());
    let world = World::start();
    let done = world.shell("true").options(["-l", "nobody"]).with_result().run();
    done.assert_code(125);
    assert_eq!(done.result()["error"]["kind"], "no_such_user");
    assert!(done.result()["error"]["message"].as_str().unwrap().contains("nologin"));
    world.exec(["true"]).options(["-l", "nobody"]).run().assert_code(0);
}

/// Starts a server whose host knows one account more, `probe`, with these fields of shadow(5)
/// behind its name.
fn world_with(uid: u32, shadow: &str) -> World {
    let passwd = format!("probe:x:{uid}:65534:probe:/:/bin/sh");
    World::builder().account(&passwd, &format!("probe:{shadow}")).start()
}

#[test]
fn an_account_that_is_locked_or_over_runs_nothing() {
    require!(skip::need_root());
    require!(skip::need_tool("unshare"));
    for (shadow, because) in [
        ("!*:20000:0:99999:7:::", "is locked"),
        // chage -E 0, and a day that is over.
        ("*:20000:0:99999:7::0:", "has expired"),
        ("*:20000:0:99999:7::20001:", "has expired"),
        // chage -d 0, and a password that is too old.
        ("*:0:0:99999:7:::", "must be changed first"),
        ("*:20000:0:1:7:::", "must be changed first"),
        ("*:20000:0:1:7:1::", "must be changed first"),
    ] {
        let world = world_with(54_321, shadow);
        let done = world.exec(["true"]).options(["-l", "probe"]).with_result().run();
        done.assert_code(125);
        let message = done.result()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(because), "{shadow}: {message}");
        assert_refusal_of(&world, "probe");
    }
    let world = world_with(54_321, "*:20000:0:99999:7::99999:");
    world.exec(["true"]).options(["-l", "probe"]).run().assert_code(0);
}

#[test]
fn a_locked_name_of_root_s_number_runs_nothing_and_root_itself_runs() {
    require!(skip::need_root());
    require!(skip::need_tool("unshare"));
    let world = world_with(0, "!*:20000:0:99999:7:::");
    let done = world.exec(["true"]).options(["-l", "probe"]).with_result().run();
    done.assert_code(125);
    assert!(done.result()["error"]["message"].as_str().unwrap().contains("is locked"));
    assert_refusal_of(&world, "probe");
    world.exec(["true"]).options(["-l", "root"]).run().assert_code(0);
}

#[test]
fn while_the_host_lets_nobody_in_root_s_commands_alone_run() {
    require!(skip::need_root());
    require!(skip::need_tool("unshare"));
    let world = World::builder().nologin().start();
    let done = world.exec(["true"]).options(["-l", "nobody"]).with_result().run();
    done.assert_code(125);
    let message = done.result()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("/run/nologin exists"), "{message}");
    world.exec(["true"]).run().assert_code(0);
}

#[test]
fn a_server_that_is_not_root_becomes_nobody_else() {
    require!(skip::need_root());
    let world = World::builder().server_uid(54_321).start();
    let done = world.exec(["true"]).options(["-l", "root"]).with_result().run();
    done.assert_code(125);
    assert!(done.result()["error"]["message"].as_str().unwrap().contains("cannot change to"));
    assert_refusal_of(&world, "root");
}

#[test]
fn what_runs_as_another_user_and_can_not_be_ended_is_named() {
    require!(skip::need_root());
    let setpriv = require!(skip::need_tool("setpriv"));
    // As sudo does: whoever executes it becomes root, by its real number too.
    let folder = tempfile::tempdir_in("/var/lib").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let sudo = folder.path().join("sudo");
    fs::copy(setpriv, &sudo).unwrap();
    fs::set_permissions(&sudo, fs::Permissions::from_mode(0o4755)).unwrap();
    let as_root = format!("{} --reuid=0 --regid=0 --clear-groups sleep 600", sudo.display());
    let world = World::builder().server_uid(54_322).start();
    let by_itself = world.exec(as_root.split(' '));
    let below = world.shell(format!("{as_root} >/dev/null 2>&1 </dev/null & sleep 600"));
    for command in [by_itself, below] {
        let done = command.options(["--timeout", "200ms"]).with_result().run();
        done.assert_code(255);
        let result = done.result();
        assert_eq!((&result["outcome"], &result["retry_safe"]), (&"unknown".into(), &false.into()));
        let message = result["error"]["message"].as_str().unwrap();
        let named =
            message.split_once("process ").and_then(|(_, rest)| rest.split_once(" of user 0"));
        let pid: u32 = named.unwrap_or_else(|| panic!("{message}")).0.parse().unwrap();
        let left = rcmd_tests::proc::Process::find(pid).expect("it lives");
        assert_eq!(left.name, "sleep");
        left.kill();
    }
}
