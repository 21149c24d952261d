//! Each command on the right of docs/migrating.md, run as it stands.

use std::fs;
use std::process::{Command, Stdio};

use rcmd_tests::many::put_host;
use rcmd_tests::{World, binaries};

const DOCUMENT: &str = include_str!("../../docs/migrating.md");

/// Returns the commands of the right column.
fn commands() -> Vec<String> {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| `"));
    let command = |row: &str| {
        let (_, right) = row.rsplit_once(" | `").expect(row);
        right.trim_end_matches(" |").trim_end_matches('`').replace("\\|", "|")
    };
    rows.map(command).collect()
}

#[test]
fn every_command_for_those_who_come_from_elsewhere_works() {
    let world = World::start();
    let mut hosts = "[groups]\nweb = \"web[1-3]\"\n".to_owned();
    for name in ["web1", "web2", "web3"] {
        put_host(&mut hosts, name, world.address());
    }
    rcmd_tests::many::write_hosts_toml(&world.client_dir().join("hosts.toml"), &hosts);
    let folder = world.scratch("folder");
    fs::create_dir(&folder).unwrap();
    fs::create_dir(folder.join("site")).unwrap();
    fs::write(folder.join("site/index.html"), "<p>").unwrap();
    fs::write(folder.join("hosts.txt"), "web1\nweb[2-3]\n").unwrap();
    fs::write(folder.join("script.sh"), "echo from the script\n").unwrap();
    let address = format!(
        "ansible_host={} rcmd_port={} rcmd_certificate=localhost",
        world.address().ip(),
        world.address().port()
    );
    fs::write(folder.join("inventory.ini"), format!("[web]\nweb1 {address}\nweb2 {address}\n"))
        .unwrap();
    let programs = binaries().client.parent().unwrap().to_owned();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let commands = commands();
    assert!(commands.len() > 30, "{commands:?}");
    for command in commands {
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).current_dir(&folder).env("PATH", &path);
        shell.env("RCMD_DIR", world.client_dir()).stdin(Stdio::null());
        let done = shell.output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "`{command}`: {}\n{said}", done.status);
        assert!(
            !done.stdout.is_empty()
                || command.ends_with(" true")
                || command.contains("--outdir")
                || command.contains("/dev/null")
                || command.starts_with("rcmd-client cp ")
                || command.contains("'true'"),
            "`{command}`: {said}"
        );
    }
}
