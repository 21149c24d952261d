//! The output that README.md shows is what the programs print.

use std::net::SocketAddr;

use rcmd_tests::many::{put_host, write_hosts_toml};
use rcmd_tests::{World, require, skip};

const README: &str = include_str!("../../README.md");

/// Asserts that README.md shows these lines, with its names in place of this host's.
#[track_caller]
fn assert_shown<'a>(lines: impl IntoIterator<Item = &'a str>, names: &[(&str, &str)]) {
    let mut lines = lines.into_iter().peekable();
    assert!(lines.peek().is_some(), "nothing was printed");
    for line in lines {
        let theirs = |line: String, (ours, theirs): &(&str, &str)| line.replace(ours, theirs);
        let line = names.iter().fold(line.to_owned(), theirs);
        assert!(README.lines().any(|shown| shown == line), "README.md does not show {line:?}");
    }
}

#[test]
fn an_unknown_authority_is_told_as_the_readme_shows() {
    let (world, other) = (World::start(), World::start());
    let (target, dir) = (world.target(), other.client_dir());
    let place = format!("{target} ({target})");
    let names = [(place.as_str(), "web1:7263 (192.0.2.7:7263)")];
    let told = world.exec(["true"]).dir(dir).run();
    told.assert_code(125);
    assert_shown(told.stderr_text().lines(), &names);
    let words = ["doctor", "--dir", dir.to_str().unwrap(), &target];
    let doctor = world.bare_client(words).run().stdout_text();
    let mut failed = doctor.lines().skip_while(|line| !line.starts_with("FAIL"));
    let (_, why) = failed.next().unwrap().split_once(" ms  ").unwrap();
    assert!(README.contains(&why.replace(&place, names[0].1)), "README.md does not show {why:?}");
    assert_shown(failed, &names);
}

#[test]
fn a_denial_is_explained_as_the_readme_shows() {
    require!(skip::need_tool("systemctl"));
    let world = World::builder().prepare();
    std::fs::remove_file(world.dir().join("policy.cedar")).unwrap();
    let run = |words: &[&str]| {
        let done = world.server_program().args(words).output().unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    run(&["policy", "init"]);
    let typed = "policy explain --as alice --group web -- systemctl restart nginx";
    assert!(README.contains(&format!("$ rcmd-server {typed}\n")));
    let said = run(&typed.split(' ').collect::<Vec<_>>());
    let host = said.lines().next().unwrap().rsplit_once(" on ").unwrap().1;
    let host = format!(" on {}", host.split_once(':').unwrap().0);
    let dir = world.dir().display().to_string();
    assert_shown(said.lines(), &[(&host, " on web1"), (&dir, "/etc/rcmd")]);
}

#[test]
fn many_hosts_are_answered_for_as_the_readme_shows() {
    let world = World::start();
    let mut hosts = String::new();
    for number in 1..=20 {
        put_host(&mut hosts, &format!("web{number}"), world.address());
    }
    put_host(&mut hosts, "db1", SocketAddr::from(([127, 0, 0, 1], 1)));
    write_hosts_toml(&world.client_dir().join("hosts.toml"), &hosts);
    let done = world.client().option("-b").target("web[1-20],db1").words(["echo", "ready"]).run();
    done.assert_code(125);
    let (errors, dir) = (done.stderr_text(), format!(" --dir {}", world.client_dir().display()));
    let (_, run) = errors.trim_end().rsplit_once(' ').unwrap();
    let names = [("127.0.0.1:1", "192.0.2.9:7263"), (dir.as_str(), ""), (run, "19ac7436cdbdef01")];
    assert_shown(done.stdout_text().lines(), &names);
    assert_shown(errors.lines(), &names);
}
