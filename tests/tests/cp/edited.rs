//! What an editor leaves is somebody's work: it is sent, or it stays.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcmd_tests::proc::Process;
use rcmd_tests::proxy::Proxy;
use rcmd_tests::wait::{DEADLINE, exit_within};
use rcmd_tests::{World, binaries, eventually};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::listing::{client, editor};
use crate::there;

/// Settings under which a client that fell silent would have lost its transfer after 1.6 s.
const STRICT: &str = "keepalive = \"200ms\"\ngrace = \"1s\"";

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Returns whether a file with this content lies in one of the folders.
fn has_work(temporary: &Path, work: &str) -> bool {
    let mut waiting = entries(temporary);
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(entries(&path));
        } else if fs::read_to_string(&path).is_ok_and(|text| text.ends_with(work)) {
            return true;
        }
    }
    false
}

#[test]
fn what_the_editor_left_in_place_of_the_file_or_beside_it_stays() {
    let world = World::start();
    let temporary = world.scratch("temporary");
    for (line, code, says) in [
        // It writes beside the file, and leaves the file as a link.
        (
            "cp \"$1\" \"$1.new\"; echo work >> \"$1.new\"; ln -sf \"$1.new\" \"$1\"",
            1,
            "nothing was sent",
        ),
        ("rm \"$1\"; mkdir \"$1\"; echo work > \"$1/f\"", 1, "nothing was sent"),
        ("echo work >> \"$1\"; mv \"$1\" \"$1.new\"", 1, "the editor removed the file"),
        ("echo work > \"$1.new\"", 0, "nothing was changed"),
        ("echo work > \"$1.new\"; exit 3", 3, "the editor ended with status 3"),
        ("echo work >> \"$1\"; kill -KILL $$", 137, "the editor was ended by SIGKILL"),
    ] {
        fs::create_dir(&temporary).unwrap();
        let file = world.scratch("f");
        fs::write(&file, b"one\n").unwrap();
        let done = client(&world, &["edit", &there(&world, &file)])
            .env("VISUAL", editor(&world, line))
            .env("TMPDIR", &temporary)
            .run();
        done.assert_code(code).assert_says(says);
        let kept = entries(&temporary);
        assert_eq!(kept.len(), 1, "{line}: {}", done.story());
        done.assert_says(kept[0].to_str().unwrap());
        assert!(has_work(&temporary, "work\n"), "{line}: {}", done.story());
        assert_eq!(fs::read(&file).unwrap(), b"one\n", "{line}");
        fs::remove_dir_all(&temporary).unwrap();
    }
}

#[test]
fn nothing_stays_of_a_file_that_was_sent_left_as_it_is_or_removed() {
    let world = World::start();
    let temporary = world.scratch("temporary");
    fs::create_dir(&temporary).unwrap();
    for (line, code) in [
        ("echo two >> \"$1\"; echo one > \"$1~\"", 0),
        ("true", 0),
        ("exit 3", 3),
        ("rm \"$1\"", 1),
    ] {
        fs::write(world.scratch("f"), b"one\n").unwrap();
        let done = client(&world, &["edit", &there(&world, world.scratch("f"))])
            .env("VISUAL", editor(&world, line))
            .env("TMPDIR", &temporary)
            .run();
        done.assert_code(code);
        assert!(entries(&temporary).is_empty(), "{line}: {}", done.story());
    }
}

#[test]
fn a_file_may_have_any_name() {
    let world = World::start();
    for name in ["again", "probe", "-x", "a b'$(c)"] {
        let file = world.scratch(name);
        fs::write(&file, b"one\n").unwrap();
        let done = client(&world, &["edit", &there(&world, &file)])
            .env("VISUAL", editor(&world, "echo two >> \"$1\""))
            .run();
        done.assert_code(0).assert_says("sent back");
        assert_eq!(fs::read(&file).unwrap(), b"one\ntwo\n", "{name}");
    }
}

/// A client in a group of its own, as a shell at a terminal starts it, with its editor.
struct Editing {
    client: Child,
    gate: PathBuf,
    temporary: PathBuf,
}

impl Editing {
    /// Starts one whose editor is a script that says when it is up and waits for the gate; `visual` is the line that
    /// names it.
    fn start(world: &World, script: &str, visual: impl FnOnce(String) -> String) -> Self {
        let (gate, up) = (world.scratch("gate"), world.scratch("up"));
        let temporary = world.scratch("temporary");
        fs::create_dir(&temporary).unwrap();
        fs::write(world.scratch("f"), b"one\n").unwrap();
        let wait = format!("until [ -e {} ]; do sleep 0.05; done", gate.display());
        let script = script.replace("@WAIT", &wait).replace("@UP", &format!("> {}", up.display()));
        let mut command = Command::new(&binaries().client);
        command.arg("--dir").arg(world.client_dir()).arg("edit");
        command.arg(there(world, world.scratch("f"))).env_remove("RCMD_DIR");
        command.env("VISUAL", visual(editor(world, &script))).env("TMPDIR", &temporary);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let client = command.process_group(0).spawn().unwrap();
        let editing = Self { client, gate, temporary };
        eventually("the editor is up", || up.exists());
        editing
    }

    /// Sends a signal to client and editor, as a terminal does.
    fn signal(&self, signal: Signal) {
        kill_process_group(Pid::from_child(&self.client), signal).unwrap();
    }

    fn end(&mut self) -> Option<i32> {
        exit_within(&mut self.client, DEADLINE).unwrap().expect("an end").code()
    }
}

impl Drop for Editing {
    fn drop(&mut self) {
        // An editor that waits still goes on, and ends.
        let _ = fs::write(&self.gate, "");
        let _ = kill_process_group(Pid::from_child(&self.client), Signal::TERM);
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

/// What an editor does that a hangup ends: it saves what it has, and fails.
const SAVES_LATE: &str =
    "trap '@WAIT; echo late > \"$1.new\"; exit 1' HUP TERM; @UP; while :; do sleep 0.05; done";

#[test]
fn an_editor_that_saves_when_the_terminal_closes_is_waited_for() {
    for signal in [Signal::HUP, Signal::TERM] {
        let world = World::start();
        let mut editing = Editing::start(&world, SAVES_LATE, |editor| editor);
        editing.signal(signal);
        fs::write(&editing.gate, "").unwrap();
        assert_eq!(editing.end(), Some(128 + signal.as_raw()));
        assert!(has_work(&editing.temporary, "late\n"));
    }
}

#[test]
fn an_editor_that_outlives_its_shell_keeps_its_folder() {
    let world = World::start();
    // More than a program and words, so that a shell stays.
    let line = |editor| format!("f() {{ {editor} \"$@\"; exit $?; }}; f");
    let mut editing = Editing::start(&world, SAVES_LATE, line);
    editing.signal(Signal::HUP);
    assert_eq!(editing.end(), Some(129));
    fs::write(&editing.gate, "").unwrap();
    eventually("the editor has saved", || has_work(&editing.temporary, "late\n"));
}

#[test]
fn an_interrupt_is_the_editors() {
    let world = World::start();
    let script = "trap '' INT; @UP; @WAIT; echo work >> \"$1\"";
    let mut editing = Editing::start(&world, script, |editor| editor);
    editing.signal(Signal::INT);
    editing.signal(Signal::INT);
    fs::write(&editing.gate, "").unwrap();
    assert_eq!(editing.end(), Some(0));
    assert_eq!(fs::read(world.scratch("f")).unwrap(), b"one\nwork\n");
    assert!(entries(&editing.temporary).is_empty());
}

#[test]
fn a_transfer_of_an_edited_file_outlives_a_stop() {
    let world = World::builder().config(STRICT).start();
    let temporary = world.scratch("temporary");
    fs::create_dir(&temporary).unwrap();
    fs::write(world.scratch("f"), vec![b'x'; 8 << 20]).unwrap();
    let proxy = Proxy::to(world.address());
    proxy.throttle(Some(1_000_000));
    let place = format!("{}:{}", proxy.target(), world.scratch("f").display());
    let editing = client(&world, &["edit", &place])
        .env("VISUAL", editor(&world, "echo two >> \"$1\""))
        .env("TMPDIR", &temporary)
        .spawn();
    let is_coming = || entries(&temporary).iter().any(|folder| !entries(folder).is_empty());
    eventually("it is being fetched", is_coming);
    editing.signal(Signal::TSTP);
    let state = || Process::find(editing.pid()).map(|process| process.state);
    eventually("it is stopped", || state() == Some('T'));
    // What would have cost a silent client its transfer.
    world.exec(["sleep", "3"]).run().assert_code(0);
    proxy.throttle(None);
    editing.signal(Signal::CONT);
    editing.wait().assert_code(0).assert_says("sent back");
    assert!(fs::read(world.scratch("f")).unwrap().ends_with(b"xtwo\n"));
}
