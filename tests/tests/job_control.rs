//! A client at a terminal among other programs: in the background, and when the terminal hangs up.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

use rcmd_tests::proc::{Process, marked};
use rcmd_tests::pty::Terminal;
use rcmd_tests::wait::{DEADLINE, exit_within};
use rcmd_tests::{World, binaries, eventually};
use rcmd_tests::{require, skip};

/// Settings under which a client that fell silent would have lost its command after 1.6 s.
const STRICT: &str = "keepalive = \"200ms\"\ngrace = \"1s\"";

/// A shell with job control on a terminal of its own. It runs a script whose `"$@"` is a client.
struct Shell {
    terminal: Terminal,
    shell: Child,
    /// The target in the arguments of the client, by which its process is found.
    target: String,
}

impl Shell {
    /// Starts it; `line` is for the remote shell. Standard output goes to `out`, or to the terminal.
    fn start(world: &World, setsid: &Path, script: &str, line: &str, out: Option<&Path>) -> Self {
        let terminal = Terminal::open();
        let mut command = Command::new(setsid);
        command.args(["--ctty", "bash", "--norc", "-m", "-c", script, "sh"]);
        command.arg(&binaries().client).arg("--dir").arg(world.dir());
        command.args(["--shell", &world.target(), line]).stdin(terminal.side());
        match out {
            Some(out) => command.stdout(File::create(out).unwrap()),
            None => command.stdout(terminal.side()),
        };
        // Without a terminal there the shell has no job control.
        let shell = command.stderr(terminal.side()).spawn().unwrap();
        // What is shown has to be read, or the terminal holds its writers up.
        let mut shown = terminal.keyboard.try_clone().unwrap();
        thread::spawn(move || while let Ok(1..) = shown.read(&mut [0; 4096]) {});
        Self { terminal, shell, target: world.target() }
    }

    fn types(&mut self, keys: &[u8]) {
        self.terminal.keyboard.write_all(keys).unwrap();
    }

    fn client(&self) -> Option<Process> {
        marked(&self.target).into_iter().find(|process| process.name == "rcmd-client")
    }

    fn client_is_stopped(&self) -> bool {
        self.client().is_some_and(|client| client.state == 'T')
    }

    fn ends_well(mut self) {
        let status = exit_within(&mut self.shell, DEADLINE).unwrap();
        assert_eq!(status.expect("an end").code(), Some(0));
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let Some(client) = self.client() {
            rcmd_tests::proc::signal(client.pid, rustix::process::Signal::KILL);
        }
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Returns the path of a file that a remote command waits for, with the line that does.
fn gate(world: &World) -> (PathBuf, String) {
    let gate = world.scratch("gate");
    let wait = format!("until [ -e {} ]; do sleep 0.05; done", gate.display());
    (gate, format!("echo ready; {wait}; echo done"))
}

fn says(file: &Path, text: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|said| said == text)
}

/// Lets pass what would have cost a silent client its command.
fn outlast(world: &World) {
    world.exec(["sleep", "3"]).run().assert_code(0);
}

#[test]
fn a_client_in_the_background_runs_on_and_leaves_the_terminal_alone() {
    let setsid = require!(skip::need_tool("setsid"));
    let world = World::builder().config(STRICT).start();
    let (gate, line) = gate(&world);
    let out = world.scratch("out");
    let shell = Shell::start(&world, &setsid, "\"$@\" & wait $!", &line, Some(&out));
    eventually("the command says so", || says(&out, "ready\n"));
    outlast(&world);
    assert!(!shell.client_is_stopped());
    fs::write(gate, "").unwrap();
    shell.ends_well();
    assert!(says(&out, "ready\ndone\n"), "{:?}", fs::read_to_string(&out));
}

#[test]
fn a_client_that_comes_to_the_front_reads_what_is_typed_from_then_on() {
    let setsid = require!(skip::need_tool("setsid"));
    let world = World::builder().config(STRICT).start();
    let out = world.scratch("out");
    let line = "echo ready; read line; echo \"got $line\"";
    let mut shell =
        Shell::start(&world, &setsid, "\"$@\" & read go; fg > /dev/null", line, Some(&out));
    eventually("the command says so", || says(&out, "ready\n"));
    shell.types(b"for the shell\n");
    shell.types(b"for the client\n");
    shell.ends_well();
    assert!(says(&out, "ready\ngot for the client\n"), "{:?}", fs::read_to_string(&out));
}

#[test]
fn ctrl_z_and_bg_let_a_client_run_on() {
    let setsid = require!(skip::need_tool("setsid"));
    let world = World::builder().config(STRICT).start();
    let (gate, line) = gate(&world);
    let out = world.scratch("out");
    let mut shell =
        Shell::start(&world, &setsid, "\"$@\"; bg > /dev/null; wait", &line, Some(&out));
    eventually("the command says so", || says(&out, "ready\n"));
    shell.types(b"\x1a");
    // The shell hears of the stop, and continues it.
    outlast(&world);
    eventually("it goes on", || !shell.client_is_stopped());
    fs::write(gate, "").unwrap();
    shell.ends_well();
    assert!(says(&out, "ready\ndone\n"), "{:?}", fs::read_to_string(&out));
}

#[test]
fn under_tostop_output_waits_for_the_front_and_stops_nobody() {
    let setsid = require!(skip::need_tool("setsid"));
    let world = World::builder().config(STRICT).start();
    let file = world.scratch("wrote");
    let line = format!("echo out; echo ready > {}; exit 0", file.display());
    let script = "stty tostop; \"$@\" & read go; fg > /dev/null";
    let mut shell = Shell::start(&world, &setsid, script, &line, None);
    eventually("the command has written", || says(&file, "ready\n"));
    outlast(&world);
    assert!(!shell.client_is_stopped());
    shell.types(b"go\n");
    shell.ends_well();
}

#[test]
fn a_terminal_that_hangs_up_is_the_end_of_the_input() {
    let world = World::start();
    for line in ["cat; echo over", "read x; cat > /dev/null; echo over"] {
        let mut terminal = Terminal::open();
        let client = world.shell(line).stdin_file(terminal.side()).spawn();
        eventually("the command runs", || !rcmd_tests::proc::descendants(world.pid()).is_empty());
        terminal.keyboard.write_all(b"half a line").unwrap();
        drop(terminal);
        let done = client.wait();
        assert_eq!((done.code(), done.stdout_text()), (0, "over\n".to_owned()), "{}", done.story());
    }
}
