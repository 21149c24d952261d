//! Messages to a person at a terminal when a command does not heed an interrupt.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rcmd_tests::many::count_lines;
use rcmd_tests::pty::{Emulator, Resize, Terminal, Viewer};
use rcmd_tests::{World, binaries, eventually, require, skip};
use rustix::process::Signal;

/// The longest time from the last key to the end of the client, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Starts a client in front of its own terminal, with these arguments behind the folder.
fn in_front(world: &World, setsid: &Path, arguments: &[&str]) -> Viewer {
    let mut command = Command::new(setsid);
    command.arg("--ctty").arg(&binaries().client).arg("--dir").arg(world.client_dir());
    command.args(arguments).env("NO_COLOR", "1");
    Viewer::start(120, Resize::Reflow, |terminal: &Terminal| {
        command.stdin(terminal.side()).stdout(terminal.side()).stderr(terminal.side());
        command
    })
}

fn shows(screen: &Emulator, text: &str) -> bool {
    screen.lines().iter().any(|line| line.ends_with(text))
}

/// Returns a line that writes that it runs, and ignores interrupts.
fn deaf(ran: &Path) -> String {
    format!("trap '' INT; echo x >> {}; while :; do sleep 0.05; done", ran.display())
}

const PASSED: &str =
    "SIGINT was passed on, and what runs has not ended; interrupt again to kill it";
const KILLED: &str = "what still runs is killed";

#[test]
fn an_ignored_interrupt_is_told_with_what_to_do_and_so_is_the_kill() {
    let setsid = require!(skip::need_tool("setsid"));
    let world = World::start();
    let (ran, target) = (world.scratch("ran"), world.target());
    let mut viewer = in_front(&world, &setsid, &[&target, &deaf(&ran)]);
    viewer.until("it runs", |_| count_lines(&ran) == 1);
    viewer.types(&[3]);
    viewer.until("it says that it was passed on", |screen| shows(screen, PASSED));
    // Whatever the terminal echoed, the message has a line of its own.
    let row = format!("rcmd: {target}: {PASSED}");
    assert!(viewer.look().lines().contains(&row), "{}", viewer.look());
    viewer.types(&[3]);
    let (screen, status) = viewer.end(LIMIT);
    assert_eq!(status, Some(137), "{screen}");
    assert!(shows(screen, KILLED), "{screen}");
}

#[test]
fn an_interrupt_that_is_heeded_is_not_told() {
    let setsid = require!(skip::need_tool("setsid"));
    let world = World::start();
    let (ran, target) = (world.scratch("ran"), world.target());
    let line = format!("echo x >> {}; exec sleep 600", ran.display());
    let mut viewer = in_front(&world, &setsid, &[&target, &line]);
    viewer.until("it runs", |_| count_lines(&ran) == 1);
    viewer.types(&[3]);
    let (screen, status) = viewer.end(LIMIT);
    assert_eq!(status, Some(130), "{screen}");
    assert!(!screen.to_string().contains("rcmd:"), "{screen}");
}

#[test]
fn many_commands_on_one_host_tell_the_same() {
    let setsid = require!(skip::need_tool("setsid"));
    let world = World::start();
    let (ran, file, target) = (world.scratch("ran"), world.scratch("commands"), world.target());
    fs::write(&file, format!("{0}\n{0}\n", deaf(&ran))).unwrap();
    let file = file.to_str().unwrap();
    let mut viewer = in_front(&world, &setsid, &["run", "--commands", file, &target]);
    viewer.until("both run", |_| count_lines(&ran) == 2);
    viewer.types(&[3]);
    viewer.until("it says that it was passed on", |screen| shows(screen, PASSED));
    viewer.types(&[3]);
    let (screen, status) = viewer.end(LIMIT);
    assert_eq!(status, Some(1), "{screen}");
    assert!(shows(screen, KILLED), "{screen}");
    assert_eq!(screen.to_string().matches("signaled SIGKILL").count(), 2, "{screen}");
}

#[test]
fn where_nobody_sits_nothing_is_told() {
    let world = World::start();
    let ran = world.scratch("ran");
    let mut client = world.shell(deaf(&ran)).spawn();
    eventually("it runs", || count_lines(&ran) == 1);
    // Two that come at once are one to the kernel.
    eventually("it ends by interrupts", || {
        client.signal(Signal::INT);
        !client.runs()
    });
    let done = client.wait();
    done.assert_code(137);
    let said = done.stderr_text();
    assert!(!said.contains("passed on") && !said.contains(KILLED), "{said}");
}
