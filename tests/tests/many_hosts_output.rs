//! Much output of many hosts: whole, equal, and in bounded memory of the client.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rcmd_tests::many::{put_host, write_hosts_toml};
use rcmd_tests::proc::{self, Snapshot};
use rcmd_tests::soak::fleet::{line, output};
use rcmd_tests::wait::poll_for;
use rcmd_tests::{World, binaries};

#[test]
fn outputs_of_ten_hosts_at_once_arrive_whole_in_files_and_in_groups() {
    let figures = output::run(10, 4);
    println!("{figures}");
    assert!(figures.wrong.is_empty(), "{figures}");
}

#[test]
fn a_line_that_does_not_end_spoils_nobody_s_and_takes_no_memory() {
    let figures = line::run(64);
    println!("{figures}");
    assert!(figures.wrong.is_empty(), "{figures}");
}

/// The most hosts that a run has at once, however many are asked for.
const AT_ONCE: usize = 1024;

/// The hosts accept a connection and say nothing, so that all that may be there at once are.
#[test]
fn a_fan_out_past_the_memory_of_a_run_is_cut_and_that_is_said() {
    const HOSTS: usize = AT_ONCE + 100;
    let world = World::start();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = silent.local_addr().unwrap();
    thread::spawn(move || silent.incoming().map_while(Result::ok).collect::<Vec<_>>());
    let mut hosts = String::new();
    (1..=HOSTS).for_each(|number| put_host(&mut hosts, &format!("a{number}"), address));
    write_hosts_toml(&world.client_dir().join("hosts.toml"), &hosts);
    let mut client = Command::new(&binaries().client);
    client.arg("--dir").arg(world.client_dir()).args(["-f", "100000", "--connect-timeout", "5s"]);
    client.args(["--exec", &format!("a[1-{HOSTS}]"), "true"]);
    client.env_remove("RCMD_DIR").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = client.spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let said = thread::spawn(move || {
        let mut said = String::new();
        stderr.read_to_string(&mut said).map(|_| said)
    });
    let (mut peak, mut sockets) = (0, 0);
    let ended = poll_for(Duration::from_secs(280), || {
        peak = peak.max(proc::peak_kib(child.id()).unwrap_or(0));
        let now = Snapshot::of(child.id()).and_then(|seen| seen.descriptors.get("socket").copied());
        sockets = sockets.max(now.unwrap_or(0));
        child.try_wait().unwrap()
    });
    if ended.is_none() {
        let _ = child.kill();
    }
    let status = child.wait().unwrap();
    let said = said.join().unwrap().unwrap();
    println!("{sockets} sockets, {} MiB", peak >> 10);
    assert_eq!(status.code(), Some(125), "{said}");
    let cut =
        format!("rcmd: the 256 MiB of memory of a run bear {AT_ONCE} hosts at once, not {HOSTS}\n");
    assert!(said.starts_with(&cut), "{said}");
    assert!(said.contains(&format!("{HOSTS} hosts: {HOSTS} not started\n")), "{said}");
    // The runtime has a pair of its own for signals.
    assert!((AT_ONCE * 9 / 10..=AT_ONCE + 8).contains(&sockets), "{sockets} sockets");
    assert!(peak < 256 << 10, "{peak} KiB");
}
