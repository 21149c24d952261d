//! The server's package under the service manager: what starts, what goes on and what ends.

use rcmd_tests::require;
use rcmd_tests::wait::{DEADLINE, eventually, poll_for};

use super::booted::Booted;
use super::packages::{OLDER, version};
use super::root::{IDENTITY, Root};

/// The lines that run a command by the server.
const COMMAND: &str = "rcmd-client --dir /root/demo 127.0.0.1";

/// Returns a Debian with a server of this version that serves.
fn serving(root: Root, version: &str) -> Booted {
    let booted = Booted::start(root);
    let said = booted.run(&format!(
        "dpkg --install /root/rcmd-client_*.deb /root/rcmd-certs_*.deb\n{}",
        install(version)
    ));
    assert!(
        said.contains("rcmd-server: not started, since this host has no certificate"),
        "{said}"
    );
    assert_eq!(state(&booted), "enabled inactive");
    booted.run(&format!("{IDENTITY}\nsystemctl start rcmd-server"));
    answers(&booted);
    booted
}

fn install(version: &str) -> String {
    format!("dpkg --install /root/rcmd-server_{version}_*.deb\ndpkg --audit")
}

/// Returns whether the unit is enabled, and whether it is active.
fn state(booted: &Booted) -> String {
    let said = booted.run(
        "systemctl is-enabled rcmd-server.service || :
         systemctl is-active rcmd-server.service || :",
    );
    said.trim_end().replace('\n', " ")
}

fn pid(booted: &Booted) -> String {
    booted.run("systemctl show --property MainPID --value rcmd-server.service").trim().to_owned()
}

/// Waits until a command runs.
fn answers(booted: &Booted) {
    let mut said = String::new();
    let found = poll_for(DEADLINE, || {
        said = booted.run(&format!("{COMMAND} sh -c 'echo it runs' 2>&1 || :"));
        (said == "it runs\n").then_some(())
    });
    let log = || booted.run("journalctl --no-pager --unit rcmd-server");
    assert!(found.is_some(), "no command runs: {said}\n{}", log());
}

#[test]
fn what_the_administrator_set_holds_through_upgrades_and_removals() {
    let booted = serving(require!(Root::new()), OLDER);
    let again = || {
        booted.run(&format!("dpkg --remove rcmd-server\n{}", install(version())));
        state(&booted)
    };

    booted.run(&format!("systemctl stop rcmd-server\n{}", install(version())));
    assert_eq!(state(&booted), "enabled inactive", "it was stopped before the upgrade");
    assert_eq!(again(), "enabled active", "who installs it again wants it to run");
    answers(&booted);

    booted.run(&format!("systemctl disable --now rcmd-server\n{}", install(OLDER)));
    assert_eq!(state(&booted), "disabled inactive");
    assert_eq!(again(), "disabled inactive");

    booted.run(&format!("systemctl mask rcmd-server\n{}", install(OLDER)));
    assert_eq!(state(&booted), "masked inactive");
    assert_eq!(again(), "masked inactive");

    booted.run("systemctl unmask rcmd-server\nsystemctl enable --now rcmd-server");
    answers(&booted);
    booted.run(
        "dpkg --purge rcmd-server\ndpkg --audit\n! systemctl --quiet is-active rcmd-server
         test ! -e /run/rcmd -a ! -e /etc/rcmd/server.toml -a -e /etc/rcmd/server/key.pem",
    );
    assert_eq!(booted.run("systemctl --failed --no-legend"), "");
}

#[test]
fn an_upgrade_asks_the_running_server_to_make_room_and_else_restarts_it() {
    let booted = serving(require!(Root::new()), OLDER);
    let first = pid(&booted);
    // Found before the real one: it notes what it is asked.
    booted.run(
        "printf '#!/bin/sh\\necho \"$@\" >/root/asked\\n' >/usr/local/bin/rcmd-server
         chmod 755 /usr/local/bin/rcmd-server",
    );
    booted.run(&install(version()));
    assert_eq!(booted.run("cat /root/asked; rm /usr/local/bin/rcmd-server"), "upgrade\n");
    assert_eq!(pid(&booted), first, "it was restarted too");

    let policy = "/usr/sbin/policy-rc.d";
    booted.run(&format!("printf '#!/bin/sh\\nexit 101\\n' >{policy}\nchmod 755 {policy}"));
    let said = booted.run(&install(OLDER));
    assert!(said.contains("the old version goes on, as policy-rc.d says"), "{said}");
    assert_eq!(pid(&booted), first);

    booted.run(&format!("rm {policy}\n{}", install(version())));
    eventually("another server has taken over", || !["0", &first].contains(&&*pid(&booted)));
    answers(&booted);
}

#[test]
fn a_command_of_the_server_upgrades_it_and_none_removes_it() {
    let booted = serving(require!(Root::new()), OLDER);
    let new = format!("/root/rcmd-server_{}_*.deb", version());
    let said = booted.run(&format!("{COMMAND} dpkg --install {new}\ndpkg --audit"));
    assert!(said.contains(&format!("Setting up rcmd-server ({})", version())), "{said}");
    if booted.run("rcmd-server upgrade --help 2>&1 || :").contains("unrecognized subcommand") {
        assert!(said.contains("\nrcmd-server:   systemctl restart rcmd-server\n"), "{said}");
    }
    answers(&booted);

    let said = booted.fails(&format!("{COMMAND} dpkg --purge rcmd-server"));
    assert!(said.contains("systemd-run --collect apt-get"), "{said}");
    assert_eq!(booted.run("dpkg --audit"), "");
    answers(&booted);
    // What is typed instead ends the server and outlives it.
    booted.run(&format!("{COMMAND} systemd-run --quiet --collect dpkg --purge rcmd-server"));
    eventually("the package is gone", || {
        booted.run("dpkg-query --show rcmd-server 2>&1 || :").contains("no packages found")
    });
    assert!(booted.root.path("etc/rcmd/server/key.pem").exists());
    assert!(!booted.root.path("usr/bin/rcmd-server").exists());
}
