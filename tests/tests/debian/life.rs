//! Packages that are installed, upgraded and removed where no service manager runs, as while an image is built.

use std::collections::BTreeSet;
use std::fs;

use rcmd_tests::require;

use super::packages::{OLDER, version};
use super::root::{IDENTITY, Root};

/// Lines that run a command by a server that they start and end.
const SERVE: &str = ": >/tmp/said
    rcmd-server --listen 127.0.0.1:0 >/tmp/said 2>/tmp/log & server=$!
    until grep -q '^listening on ' /tmp/said; do kill -0 $server || { cat /tmp/log; exit 1; }; sleep 0.1; done
    rcmd-client --dir /root/demo \"127.0.0.1:$(sed 's/.*://' /tmp/said)\" sh -c 'echo it runs here'
    kill $server; wait $server";

#[test]
fn what_is_installed_without_a_service_manager_works_and_goes_again() {
    let root = require!(Root::new());
    let before = root.files();
    let said = root.run(&format!(
        "dpkg --install /root/rcmd-server_{OLDER}_*.deb /root/rcmd-client_*.deb /root/rcmd-certs_*.deb
         test -d /run/rcmd -a -d /var/lib/rcmd
         dpkg --audit"
    ));
    assert!(said.contains("Setting up rcmd-server"), "{said}");
    assert!(!said.contains("rcmd-server: "), "it speaks of what it can't start here: {said}");
    let said = root.run(&format!("{IDENTITY}\n{SERVE}"));
    assert!(said.contains("the configuration is valid\nit runs here\n"), "{said}");

    // What people and programs wrote is theirs through an upgrade, which asks nothing.
    let settings = root.path("etc/rcmd/server.toml");
    let written = format!("{}# by hand\n", fs::read_to_string(&settings).unwrap());
    fs::write(&settings, &written).unwrap();
    root.run(&format!("dpkg --install /root/rcmd-server_{}_*.deb\ndpkg --audit", version()));
    assert_eq!(fs::read_to_string(&settings).unwrap(), written);
    let said =
        root.run(&format!("dpkg-query --show --showformat '${{Version}}\\n' rcmd-server\n{SERVE}"));
    assert_eq!(said, format!("{}\nit runs here\n", version()));

    // A removal takes the programs, a purge also what the package made.
    root.run("dpkg --remove rcmd-server rcmd-client rcmd-certs\ndpkg --audit");
    assert!(!root.path("usr/bin/rcmd-server").exists());
    assert_eq!(fs::read_to_string(&settings).unwrap(), written);
    root.run(
        "mkdir -p /var/lib/rcmd/audit /var/lib/rcmd/locks
         touch /var/lib/rcmd/audit/1 /var/lib/rcmd/keys.jsonl /var/lib/rcmd/locks/1",
    );
    let said = root.run("dpkg --purge rcmd-server rcmd-client rcmd-certs\ndpkg --audit");
    let kept = "rcmd-server: kept the audit in /var/lib/rcmd/audit
rcmd-server: kept in /etc/rcmd: ca.pem policy.cedar server\n";
    assert!(said.contains(kept), "{said}");
    let after = root.files();
    let lost: Vec<_> = before.difference(&after).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let kept: BTreeSet<_> = after.difference(&before).map(String::as_str).collect();
    let audit = ["var/lib/rcmd", "var/lib/rcmd/audit", "var/lib/rcmd/audit/1"];
    let ours = |file: &&str| {
        let identity = ["ca.pem", "policy.cedar"].map(|name| format!("etc/rcmd/{name}"));
        audit.contains(file)
            || *file == "etc/rcmd"
            || identity.iter().any(|name| name == file)
            || file.starts_with("etc/rcmd/server")
            || file.starts_with("var/lib/rcmd/audit/")
    };
    assert!(kept.iter().all(ours), "{kept:#?}");
    assert!(!kept.contains("etc/rcmd/server.toml"), "{kept:#?}");
    for file in audit.iter().chain(&["etc/rcmd/server/key.pem", "etc/rcmd/ca.pem"]) {
        assert!(kept.contains(file), "{file} is gone: {kept:#?}");
    }
}

#[test]
fn a_purge_of_a_server_that_never_ran_leaves_nothing() {
    let root = require!(Root::new());
    let before = root.files();
    let said = root.run(&format!(
        "dpkg --install /root/rcmd-server_{}_*.deb\ndpkg --purge rcmd-server\ndpkg --audit\ntest ! -e /run/rcmd",
        version()
    ));
    assert!(!said.contains("kept"), "{said}");
    let (lost, left): (Vec<_>, Vec<_>) = {
        let after = root.files();
        let lost = before.difference(&after).cloned().collect();
        (lost, after.difference(&before).cloned().collect())
    };
    assert!(lost.is_empty() && left.is_empty(), "lost {lost:?}, left {left:?}");
}

#[test]
fn the_state_of_a_server_that_was_there_before_its_package_stays_in_use() {
    let root = require!(Root::new());
    let said = root.run(&format!(
        "mkdir -p /etc/rcmd/server/audit\ndpkg --install /root/rcmd-server_{}_*.deb
         test ! -e /etc/rcmd/server.toml",
        version()
    ));
    assert!(said.contains("rcmd-server: /etc/rcmd/server has the state of a server"), "{said}");
}
