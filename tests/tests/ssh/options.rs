//! Options of ssh, before the host and behind it.

use std::process::Command;

use rcmd_tests::many::{put_host, write_hosts_toml};
use rcmd_tests::{World, require, skip};

use super::{assert_status, bare, on_host, ssh, text};

/// Returns the name of this user.
fn user() -> String {
    text(&Command::new("id").arg("-un").output().unwrap().stdout).trim().to_owned()
}

#[test]
fn options_behind_the_host_are_read_up_to_the_first_word_that_is_none() {
    let world = World::start();
    let (port, user) = (world.address().port().to_string(), user());
    let done = bare(&world).args(["127.0.0.1", "-p", &port, "-l", &user, "id", "-un"]).output();
    assert_eq!(assert_status(&done.unwrap(), 0).trim(), user);
    let words = [&format!("-oPort={port}"), &format!("{user}@127.0.0.1"), "id", "-un"];
    let done = bare(&world).args(words).output();
    assert_eq!(assert_status(&done.unwrap(), 0).trim(), user);
    let address = format!("ssh://{user}@127.0.0.1:{port}");
    assert_eq!(
        assert_status(&bare(&world).args([&address, "id", "-un"]).output().unwrap(), 0).trim(),
        user
    );
    assert!(!assert_status(&on_host(&world, ["--", "ls", "/"]), 0).is_empty());
    assert_status(&on_host(&world, ["id", "-u"]), 0);
    require!(skip::need_sftp_server());
    assert_status(&on_host(&world, ["-s", "sftp"]), 0);
}

#[test]
fn the_host_that_hosts_toml_names_is_told_by_g_and_reached() {
    let world = World::start();
    let mut hosts = String::new();
    put_host(&mut hosts, "web1", world.address());
    write_hosts_toml(&world.client_dir().join("hosts.toml"), &hosts);
    let told = assert_status(
        &bare(&world).args(["-G", "-o", "SendEnv=GIT_PROTOCOL", "web1"]).output().unwrap(),
        0,
    );
    let port = format!("port {}", world.address().port());
    for line in ["host web1", "hostname 127.0.0.1", &port] {
        assert!(told.lines().any(|shown| shown == line), "{line}: {told}");
    }
    let done = bare(&world).args(["-4", "-C", "web1", "printenv", "RCMD_JOB"]).output().unwrap();
    assert!(!assert_status(&done, 0).is_empty());
    let none = bare(&world).args(["-6", "web1", "true"]).output().unwrap();
    assert_status(&none, 255);
    assert!(text(&none.stderr).contains("no IPv6 address"), "{none:?}");
}

#[test]
fn variables_are_sent_as_asked() {
    let world = World::start();
    let mut command = ssh(&world);
    command.env("LC_TIME", "C").env("GIT_PROTOCOL", "version=2").env("OTHER", "x");
    command.args(["-o", "SendEnv=GIT_PROTOCOL LC_*", "-oSetEnv=\"TERM=dumb\"", "127.0.0.1", "env"]);
    let told = assert_status(&command.output().unwrap(), 0);
    for line in ["LC_TIME=C", "GIT_PROTOCOL=version=2", "TERM=dumb"] {
        assert!(told.lines().any(|shown| shown == line), "{line}: {told}");
    }
    assert!(!told.contains("OTHER="), "{told}");
}

#[test]
fn standard_input_is_sent_unless_it_is_not_wanted() {
    let world = World::start();
    let input = world.scratch("input");
    std::fs::write(&input, "typed\n").unwrap();
    let cat = |options: &[&str]| {
        let mut command = ssh(&world);
        command.args(options).args(["127.0.0.1", "cat"]);
        command.stdin(std::fs::File::open(&input).unwrap());
        assert_status(&command.output().unwrap(), 0)
    };
    assert_eq!(cat(&[]), "typed\n");
    assert_eq!(cat(&["-T"]), "typed\n");
    assert_eq!(cat(&["-tt"]), "typed\n");
    assert_eq!(cat(&["-n"]), "");
    assert_eq!(cat(&["-oStdinNull=yes"]), "");
}

#[test]
fn what_is_not_available_is_refused_by_name_before_anything_runs() {
    let world = World::start();
    for (option, says) in [
        (&["-N"][..], "`-N`"),
        (&["-L", "1:h:2"], "`-L`"),
        (&["-J", "h"], "`-J`"),
        (&["-W", "h:1"], "`-W`"),
        (&["-oProxyCommand=nc %h %p"], "`-o ProxyCommand`"),
        (&["-oFrobnicate=yes"], "`Frobnicate`"),
        (&["-Z"], "`-Z`"),
    ] {
        let done = ssh(&world).args(option).args(["127.0.0.1", "echo", "ran"]).output().unwrap();
        assert_eq!(assert_status(&done, 255), "", "{option:?}");
        let said = text(&done.stderr);
        assert!(said.starts_with("rcmd: ") && said.contains(says), "{option:?}: {said}");
    }
    let marker = world.scratch("x");
    let proxy = format!("-oProxyCommand=touch {}", marker.display());
    assert_status(&bare(&world).args(["--", &proxy, "id"]).output().unwrap(), 255);
    assert!(!marker.exists());
}

#[test]
fn client_and_program_are_the_same() {
    let world = World::start();
    let (dir, port) =
        (world.client_dir().display().to_string(), world.address().port().to_string());
    let words = ["--dir", &dir, "ssh", "-p", &port, "127.0.0.1", "exit", "7"];
    assert_eq!(world.bare_client(words).run().code(), 7);
    let words = ["--dir", &dir, "ssh", "-p", &port, "127.0.0.1"];
    assert_eq!(world.bare_client(words).run().code(), 255);
    let version = bare(&world).arg("-V").output().unwrap();
    assert_status(&version, 0);
    assert!(text(&version.stderr).starts_with("rcmd-ssh "), "{version:?}");
    assert!(
        assert_status(&bare(&world).arg("--help").output().unwrap(), 0)
            .contains("Usage: rcmd-ssh ")
    );
}
