//! Transfers of files between the engine in a client and a real server.

mod ends;
mod exchanged;
mod foreign;
mod hostile;
mod in_place;
mod linked;
mod locks;
mod sizes;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use ends::{Peer, described, make_tree};
use rcmd_client::{Outcome, Signal, TransferVerb};
use rcmd_tests::audit::{assert_whole, events, records};
use rcmd_tests::proc::{self, Process};
use rcmd_tests::{
    Direction, Fault, Plan, Proxy, World, eventually, eventually_some, require, skip,
};
use tempfile::TempDir;

/// Both ways to start what runs on a host.
const WAYS: [&str; 2] = ["spawn = \"portable\"", "spawn = \"auto\""];

/// A folder with a tree `tree` in it, and an empty folder `there`.
fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    make_tree(&place.path().join("tree"));
    fs::create_dir(place.path().join("there")).unwrap();
    place
}

/// A world whose server has these rules, in which `{}` is a path.
fn world_with(rules: &str, path: &Path) -> World {
    let mut world = World::builder().prepare();
    write_rules(&world, rules, path);
    world.start_server();
    world
}

fn write_rules(world: &World, rules: &str, path: &Path) {
    let rules = rules.replace("{}", path.canonicalize().unwrap().to_str().unwrap());
    fs::write(world.dir().join("policy.cedar"), rules).unwrap();
}

/// The process of the one transfer that runs.
fn process_of(world: &World) -> Process {
    eventually_some("the process of the transfer", || {
        let mut below = proc::descendants(world.pid()).into_iter();
        below.find(|process| {
            let line = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
            line.split(|byte| *byte == 0).nth(1) == Some(&b"_transfer"[..])
        })
    })
}

/// Waits until a part of a file is in a folder under a name of its own.
fn wait_for_a_part(folder: &Path) {
    eventually("a part of the file is there", || {
        let mut entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        entries.any(|entry| {
            let is_part = entry.file_name().to_str().unwrap().starts_with(".rcmd-part-");
            is_part && entry.metadata().is_ok_and(|facts| facts.len() > 0)
        })
    });
}

/// The record of the one transfer.
fn transfer_record(world: &World) -> serde_json::Value {
    let all = records(world);
    let mut found = all.iter().filter(|record| record["event"] == "transfer");
    let record = found.next().unwrap_or_else(|| panic!("no record: {all:?}")).clone();
    assert!(found.next().is_none());
    let job = record["job"].as_str().unwrap();
    assert_eq!(events(&all, job), ["attempt", "start", "transfer", "end"]);
    assert_whole(world, None);
    record
}

#[test]
fn a_tree_goes_there_and_back_and_is_equal_and_the_server_keeps_nothing() {
    for way in WAYS {
        let (world, place) = (World::builder().config(way).start(), place());
        let before = world.settled_snapshot();
        let (tree, there) = (place.path().join("tree"), place.path().join("there"));
        let peer = Peer::of(&world);
        let pushed = peer.push(&tree, &there).complete();
        assert_eq!((pushed.counts.sent, pushed.counts.failed), (6, 0), "{way}");
        assert_eq!(described(&there.join("tree")), described(&tree), "{way}");
        let back = place.path().join("back");
        fs::create_dir(&back).unwrap();
        let fetched = peer.fetch(&[&there.join("tree")], &back).complete();
        assert_eq!(fetched.digest, pushed.digest);
        assert_eq!(described(&back.join("tree")), described(&tree), "{way}");
        // A second time nothing is to be done.
        let again = peer.push(&tree, &there).complete();
        assert_eq!((again.counts.sent, again.crossed), (0, 0));
        drop(peer);
        world.assert_settles_to(&before);
    }
}

#[test]
fn paths_begin_at_the_home_and_patterns_mean_what_is_there() {
    let (world, place) = (World::start(), place());
    let peer = Peer::of(&world);
    let back = place.path().join("back");
    fs::create_dir(&back).unwrap();
    fs::create_dir(place.path().join("x")).unwrap();
    for name in ["one.txt", "two.txt", "three.md", ".four.txt"] {
        fs::write(place.path().join("x").join(name), name).unwrap();
    }
    symlink("one.txt", place.path().join("x/link.txt")).unwrap();
    let pattern = place.path().join("x/*.txt");
    let fetched = peer.fetch(&[&pattern], &back);
    assert_eq!(fetched.complete().counts.sent, 3);
    assert_eq!(fs::read(back.join("link.txt")).unwrap(), b"one.txt");
    assert!(back.join("two.txt").exists() && !back.join(".four.txt").exists());
    let home = std::env::var_os("HOME").unwrap();
    let own = tempfile::tempdir_in(&home).unwrap();
    fs::write(own.path().join("f"), b"at home").unwrap();
    let name = own.path().file_name().unwrap();
    for (path, number) in [(Path::new(name).join("f"), 0), (Path::new("~").join(name).join("f"), 1)]
    {
        let into = place.path().join(format!("home{number}"));
        fs::create_dir(&into).unwrap();
        peer.fetch(&[&path], &into).complete();
        assert_eq!(fs::read(into.join("f")).unwrap(), b"at home");
    }
}

#[test]
fn what_leads_nowhere_is_told_before_anything_runs_and_among_others_is_one_failure() {
    let (world, place) = (World::start(), place());
    let peer = Peer::of(&world);
    let path = |name: &str| place.path().join(name);
    let tree = path("tree");
    symlink("/nowhere", path("dangling")).unwrap();
    assert_eq!(peer.fetch(&[&path("no")], place.path()).refusal(), "no_such_file");
    assert_eq!(peer.fetch(&[&path("no*")], place.path()).refusal(), "no_such_file");
    assert_eq!(peer.push(&tree, &path("no/such")).refusal(), "no_such_file");
    assert_eq!(peer.push(&tree, &path("dangling")).refusal(), "no_such_file");
    assert_eq!(peer.push(&tree, Path::new("/dev/null")).refusal(), "exists");
    let ended = peer.fetch(&[&path("no"), &tree.join("-rf")], &path("there"));
    assert_eq!((ended.agreed().counts.failed, ended.report.code), (1, Some(1)));
    assert!(ended.lines[0].ends_with("/no no_such_file"), "{:?}", ended.lines);
    assert_eq!(fs::read_dir(path("there")).unwrap().count(), 1);
}

#[test]
fn another_user_s_transfer_has_that_user_s_rights_and_makes_that_user_s_files() {
    require!(skip::need_root());
    for way in WAYS {
        let (world, place) = (World::builder().config(way).start(), place());
        let there = place.path().join("there");
        for folder in [place.path(), &there] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let peer = Peer::of(&world).for_user("nobody");
        peer.push(&place.path().join("tree"), &there).complete();
        let owner = fs::symlink_metadata(there.join("tree/large")).unwrap().uid();
        assert_eq!(owner, 65534, "{way}");
        // What nobody may not read or write stays where it is.
        assert_eq!(peer.fetch(&[Path::new("/etc/shadow")], &there).agreed().counts.failed, 1);
        let private = place.path().join("private");
        fs::create_dir(&private).unwrap();
        fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(private.join("secret"), b"x").unwrap();
        assert_eq!(peer.fetch(&[&private.join("secret")], &there).refusal(), "permission");
        assert_eq!(
            peer.push(&place.path().join("tree/-rf"), &private.join("x")).refusal(),
            "permission"
        );
        assert_eq!(fs::read_dir(&private).unwrap().count(), 1);
    }
}

#[test]
fn a_transfer_that_a_rule_denies_is_denied_before_anything_runs() {
    let place = place();
    let rules = r#"permit (principal, action == Action::"write", resource)
        when { context.path like "{}/there/*" };"#;
    let world = world_with(rules, place.path());
    let peer = Peer::of(&world);
    let path = |name: &str| place.path().join(name);
    // The folder itself is another path than those in it, and what a link means is judged.
    symlink("there", path("link")).unwrap();
    symlink(path("tree"), path("there/out")).unwrap();
    for to in ["there", "tree", "no/such", "there/out/x", "link/../x"] {
        let ended = peer.push(&path("tree/-rf"), &path(to));
        assert!(
            ["denied", "no_such_file"].contains(&&*ended.refusal()),
            "{to}: {:?}",
            ended.report
        );
        assert_eq!(ended.refusal() == "no_such_file", to == "no/such", "{to}");
    }
    assert_eq!(peer.fetch(&[&path("tree")], place.path()).refusal(), "denied");
    for to in ["there/new", "link/other"] {
        peer.push(&path("tree/-rf"), &path(to)).complete();
    }
    let made = ["new", "other", "out"].map(|name| path("there").join(name));
    assert!(made.iter().all(|path| path.exists()));
    assert_eq!(fs::read_dir(path("there")).unwrap().count(), made.len());
    let verb = TransferVerb::Receive { is_itself: false, has_several: false, is_delta: false };
    let asked = |to: &str| peer.runtime.block_on(peer.command(verb, &[&path(to)]).dry_run());
    assert!(asked("there/x").unwrap().contains("write"), "{:?}", asked("there/x"));
    assert_eq!(asked("tree/x").unwrap_err().kind().to_string(), "denied");
    let all = records(&world);
    let denied = all.iter().find(|record| record["event"] == "denial").unwrap();
    assert_eq!(events(&all, denied["job"].as_str().unwrap()), ["attempt", "denial"]);
}

#[test]
fn a_folder_that_a_rule_denies_is_skipped_and_counted_and_the_rest_is_transferred() {
    let place = place();
    let rules = r#"permit (principal, action in [Action::"read", Action::"write"], resource)
        unless { context.path like "*/sub" };"#;
    let world = world_with(rules, place.path());
    let (tree, there) = (place.path().join("tree"), place.path().join("there"));
    let pushed = Peer::of(&world).push(&tree, &there);
    // The folder, and the three entries that would go into it.
    assert_eq!((pushed.agreed().counts.failed, pushed.report.code), (4, Some(1)));
    assert!(pushed.lines.contains(&"Failed tree/sub denied".to_owned()), "{:?}", pushed.lines);
    assert!(there.join("tree/large").exists() && !there.join("tree/sub").exists());
    let record = transfer_record(&world);
    assert_eq!((&record["denied"], &record["said"]["failed"]), (&1.into(), &4.into()));
    let fetched = Peer::of(&world).fetch(&[&tree], place.path().join("there").as_path());
    assert_eq!(fetched.agreed().counts.failed, 1);
    assert!(fetched.lines.contains(&"Failed tree/sub denied".to_owned()), "{:?}", fetched.lines);
}

#[test]
fn a_transfer_is_recorded_with_what_its_process_said_of_it() {
    let (world, place) = (World::start(), place());
    let (tree, there) = (place.path().join("tree"), place.path().join("there"));
    let summary = Peer::of(&world).push(&tree, &there).complete();
    let record = transfer_record(&world);
    let path = there.canonicalize().unwrap();
    assert_eq!(record["verb"], "receive");
    assert_eq!(record["paths"], serde_json::json!([path]));
    assert_eq!(record.get("denied"), None);
    let said = &record["said"];
    assert_eq!(said["files"], summary.counts.sent);
    assert_eq!(said["bytes"], summary.counts.bytes);
    assert_eq!((&said["failed"], &said["deleted"]), (&0.into(), &0.into()));
    let digest: String = summary.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(said["digest"], digest);
    let shown = rcmd_tests::audit::run(&world, &["show"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let expected =
        format!("; it said {} files, {} bytes", summary.counts.sent, summary.counts.bytes);
    assert!(shown.contains(&expected), "{shown}");
}

#[test]
fn a_link_that_is_cut_in_the_middle_goes_on_where_it_was() {
    let (world, place) = (World::start(), place());
    let (tree, there) = (place.path().join("tree"), place.path().join("there"));
    for (direction, name) in [(Direction::ToServer, "up"), (Direction::ToClient, "down")] {
        let proxy = Proxy::to(world.address());
        proxy.plan(move |number| match number {
            0..3 => Plan::after(direction, 400_000, Fault::Reset),
            _ => Plan::HONEST,
        });
        let peer = Peer::through(&world, &proxy.target());
        let into = there.join(name);
        fs::create_dir(&into).unwrap();
        match direction {
            Direction::ToServer => peer.push(&tree, &into).complete(),
            Direction::ToClient => peer.fetch(&[&tree], &into).complete(),
        };
        assert_eq!(described(&into.join("tree")), described(&tree), "{name}");
        assert!(proxy.connections() >= 3, "{name}: {}", proxy.connections());
    }
}

#[test]
fn a_process_that_is_killed_leaves_nothing_half_done_and_the_next_one_goes_on() {
    let (world, place) = (World::start(), place());
    let (large, there) = (place.path().join("tree/large"), place.path().join("there"));
    let proxy = Proxy::to(world.address());
    proxy.throttle(Some(1_000_000));
    let peer = Peer::through(&world, &proxy.target());
    let running = peer.begin_push(&large, &there);
    wait_for_a_part(&there);
    process_of(&world).kill();
    let ended = running.wait();
    assert!(ended.summary.is_err());
    assert_eq!(
        (ended.report.outcome, ended.report.signal),
        (Outcome::Signaled, Some(Signal::KILL))
    );
    assert!(!there.join("large").exists());
    let record = transfer_record(&world);
    assert_eq!(record.get("said"), None, "{record}");
    proxy.throttle(None);
    peer.push(&large, &there).complete();
    assert_eq!(fs::read(there.join("large")).unwrap(), fs::read(&large).unwrap());
    assert_eq!(fs::read_dir(&there).unwrap().count(), 1);
}

#[test]
fn a_signal_ends_a_transfer_and_leaves_at_most_a_part_to_go_on_with() {
    let (world, place) = (World::start(), place());
    let (large, there) = (place.path().join("tree/large"), place.path().join("there"));
    let proxy = Proxy::to(world.address());
    proxy.throttle(Some(1_000_000));
    for signal in [Signal::TERM, Signal::INT] {
        let peer = Peer::through(&world, &proxy.target());
        let running = peer.begin_push(&large, &there);
        wait_for_a_part(&there);
        running.child.signal(signal);
        let ended = running.wait();
        assert!(ended.summary.is_err());
        assert_eq!(ended.report.code, Some(2), "{:?}", ended.report);
        assert!(ended.stderr.contains("cancelled"), "{}", ended.stderr);
        let left: Vec<_> = fs::read_dir(&there).unwrap().map(|entry| entry.unwrap()).collect();
        let is_part = |entry: &fs::DirEntry| {
            entry.file_name().to_str().unwrap().starts_with(".rcmd-part-")
                && entry.metadata().unwrap().len() >= 1 << 20
        };
        assert!(left.len() <= 1 && left.iter().all(is_part), "{left:?}");
        Peer::of(&world).push(&large, &there).complete();
        assert_eq!(fs::read(there.join("large")).unwrap(), fs::read(&large).unwrap());
        assert_eq!(fs::read_dir(&there).unwrap().count(), 1);
        fs::remove_file(there.join("large")).unwrap();
    }
}

#[test]
fn the_process_of_a_transfer_is_confined_and_has_nothing_of_the_server() {
    for way in WAYS {
        let world = World::builder().config(way).server_env("SECRET_OF_THE_SERVER", "x").start();
        let place = place();
        let (large, there) = (place.path().join("tree/large"), place.path().join("there"));
        let proxy = Proxy::to(world.address());
        proxy.throttle(Some(1_000_000));
        let peer = Peer::through(&world, &proxy.target());
        let running = peer.begin_push(&large, &there);
        wait_for_a_part(&there);
        let pid = process_of(&world).pid;
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}"));
        let status = String::from_utf8(read("status").unwrap()).unwrap();
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        assert!(status.starts_with("Name:\trcmd-transfer\n"), "{status}");
        assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), Path::new("/"));
        let mut open: Vec<i32> = fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
            .collect();
        open.sort_unstable();
        // Its streams, the socket, the folder; two copies of the streams, a pipe that signals close,
        // the lists of users and groups, and what it has open of the file.
        assert!(open.len() <= 14 && open.starts_with(&[0, 1, 2, 3, 4]), "{open:?}");
        let environment = String::from_utf8(read("environ").unwrap()).unwrap();
        assert!(environment.starts_with("RCMD_JOB="), "{environment}");
        assert_eq!(environment.matches('\0').count(), 1, "{environment}");
        proxy.throttle(None);
        running.wait().complete();
    }
}

#[test]
fn rules_that_deny_a_transfer_end_it_where_the_server_is_told_so() {
    let place = place();
    let permit = r#"permit (principal, action == Action::"write", resource);"#;
    let mut world = World::builder().config("policy.on_reload = \"end\"").prepare();
    write_rules(&world, permit, place.path());
    world.start_server();
    let (large, there) = (place.path().join("tree/large"), place.path().join("there"));
    let proxy = Proxy::to(world.address());
    proxy.throttle(Some(1_000_000));
    let peer = Peer::through(&world, &proxy.target());
    let running = peer.begin_push(&large, &there);
    wait_for_a_part(&there);
    write_rules(&world, r#"permit (principal, action == Action::"read", resource);"#, place.path());
    world.signal_server(rustix::process::Signal::HUP);
    let ended = running.wait();
    assert!(ended.summary.is_err());
    assert_eq!(ended.report.error.unwrap().kind.to_string(), "denied");
    assert!(!there.join("large").exists());
}

#[test]
fn a_server_whose_program_was_replaced_transfers_with_the_one_that_it_runs() {
    require!(skip::need_root());
    let place = place();
    let there = place.path().join("there");
    for folder in [place.path(), &there] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let world = World::builder().server_uid(64_871).start();
    let program = fs::read_link(format!("/proc/{}/exe", world.pid())).unwrap();
    fs::rename(&program, program.with_extension("old")).unwrap();
    fs::write(&program, b"#!/bin/false\n").unwrap();
    fs::remove_file(program.with_extension("old")).unwrap();
    Peer::of(&world).push(&place.path().join("tree/large"), &there).complete();
    assert_eq!(fs::symlink_metadata(there.join("large")).unwrap().uid(), 64_871);
}

#[test]
fn a_folder_is_listed_as_one_object_a_line() {
    let (world, place) = (World::start(), place());
    let peer = Peer::of(&world);
    let listed = |path: &Path| {
        let mut command = peer.command(TransferVerb::List { is_long: true }, &[path]);
        peer.runtime.block_on(command.output()).unwrap()
    };
    let output = listed(&place.path().join("tree"));
    assert_eq!(output.report.code, Some(0), "{:?}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let entries: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = entries.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["-rf", ".hidden", "empty", "hard", "large", "link", "new\nline", "sub"]);
    assert_eq!((&entries[4]["size"], &entries[4]["kind"]), (&3_000_000.into(), &"file".into()));
    assert_eq!(entries[5]["target"], "sub/a b");
    assert_eq!(entries[0]["mode"], "0640");
    let one = listed(&place.path().join("tree/large"));
    assert_eq!(one.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
    let missing = listed(&place.path().join("no"));
    assert_eq!(missing.report.error.unwrap().kind.to_string(), "no_such_file");
}
