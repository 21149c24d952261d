//! The attacker's kit itself: what is to be in the way is in the way and goes without a trace, and a raw server
//! is taken for one.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rcmd_tests::disk::SmallDisk;
use rcmd_tests::hostile::{InTheWay, pipe, script};
use rcmd_tests::proc;
use rcmd_tests::processors::{Pinned, Two, When};
use rcmd_tests::raw::{RawServer, frame, sha256};
use rcmd_tests::wait::{DEADLINE, exit_within};
use rcmd_tests::{World, eventually, require};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A time long enough for anything that does not wait.
const MOMENT: Duration = Duration::from_millis(300);

fn quiet(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

#[test]
fn whoever_looks_into_a_silent_mount_waits_even_after_sigkill_until_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("silent");
    let mut silent = require!(InTheWay::silent_mount(&at, 65_534));
    let mut looks = quiet("stat").arg(at.join("file")).spawn().unwrap();
    silent.await_look();
    proc::signal(looks.id(), Signal::KILL);
    assert_eq!(exit_within(&mut looks, MOMENT).unwrap(), None, "it was ended");
    drop(silent);
    assert!(exit_within(&mut looks, DEADLINE).unwrap().is_some());
    assert!(!mounts().contains(at.to_str().unwrap()));
}

#[test]
fn a_file_under_a_lease_is_not_executed_until_it_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("true");
    fs::copy(rcmd_tests::skip::need_tool("true").unwrap(), &program).unwrap();
    let lease = require!(InTheWay::lease(&program));
    // The shell is there at once, and its child waits in exec.
    let mut shell = quiet("sh").args(["-c", "\"$0\"; exit $?"]).arg(&program).spawn().unwrap();
    assert_eq!(exit_within(&mut shell, MOMENT).unwrap(), None, "it was executed");
    drop(lease);
    assert!(exit_within(&mut shell, DEADLINE).unwrap().unwrap().success());
}

#[test]
fn a_swapped_link_leads_to_both_of_its_targets() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    let swapped = require!(InTheWay::swapped_link(&link, ["/one".as_ref(), "/other".as_ref()]));
    for target in ["/one", "/other", "/one"] {
        eventually(target, || fs::read_link(&link).is_ok_and(|now| now == Path::new(target)));
    }
    drop(swapped);
    let last = fs::read_link(&link).unwrap();
    assert!((0..1000).all(|_| fs::read_link(&link).unwrap() == last));
}

#[test]
fn a_script_whose_interpreter_is_a_pipe_waits_for_a_writer() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = pipe(folder.path().join("pipe"));
    let script = script(folder.path().join("script"), &pipe);
    assert_eq!(fs::read_to_string(script).unwrap(), format!("#!{}\n", pipe.display()));
    let mut reads = quiet("cat").arg(&pipe).spawn().unwrap();
    assert_eq!(exit_within(&mut reads, MOMENT).unwrap(), None, "it did not wait");
    drop(fs::File::options().write(true).open(&pipe).unwrap());
    assert!(exit_within(&mut reads, DEADLINE).unwrap().unwrap().success());
}

#[test]
fn a_small_disk_is_full_then_free_again_and_gone_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("disk");
    let disk = require!(SmallDisk::mount(&at, 256));
    let mut file = fs::File::create(at.join("file")).unwrap();
    disk.fill();
    assert_eq!(file.write_all(&[1; 8192]).unwrap_err().raw_os_error(), Some(28), "ENOSPC");
    disk.free();
    file.write_all(&[1; 8192]).unwrap();
    drop(file);
    drop(disk);
    assert!(!mounts().contains(at.to_str().unwrap()));
}

#[test]
fn who_attacks_idly_has_the_other_processor_alone() {
    let two = require!(Two::find());
    let words = require!(two.on_loud(When::Idle));
    let run = |what: &[&str]| {
        let done = Command::new(&words[0]).args(&words[1..]).args(what).output().unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    let status = run(&["cat", "/proc/self/status"]);
    let allowed = status.lines().find(|line| line.starts_with("Cpus_allowed_list:")).unwrap();
    assert_eq!(allowed.split_whitespace().nth(1).unwrap(), two.loud.to_string());
    // The 41st field is the policy, and 5 is SCHED_IDLE (proc_pid_stat(5), sched(7)).
    let stat = run(&["cat", "/proc/self/stat"]);
    assert_eq!(stat.rsplit(") ").next().unwrap().split(' ').nth(38), Some("5"), "{stat}");
    let pinned = Pinned::to(two.quiet).unwrap();
    assert!(Two::find().is_err(), "one processor is not two");
    drop(pinned);
    assert_eq!(Two::find().unwrap().loud, two.loud);
}

/// Returns the frames by which a server answers a start without input: a greeting, one piece of
/// output and its end.
fn answers(ch: u64, key: &Value, output: &[u8], digest: &str) -> Vec<u8> {
    let hello = json!({
        "type": "hello", "agent": "raw server", "capabilities": ["exec"], "instance": "0".repeat(32),
        "keepalive_ms": 15_000, "grace_ms": 10_000, "retain_ms": 600_000,
    });
    let started = json!({
        "type": "started", "ch": ch, "key": key, "job": "aaaaaaaaaaaaaaaa", "digest": "sha256",
        "started_at": 1,
    });
    let data = json!({"type": "data", "ch": ch, "stream": "stdout", "offset": 0});
    let end = |stream: &str, total: usize, digest: &str| json!({"type": "end", "ch": ch, "stream": stream, "total": total, "digest": digest});
    let exit = json!({
        "type": "exit", "ch": ch, "outcome": "exited", "code": 0, "stdout_bytes": output.len(),
        "stderr_bytes": 0, "stdout_digest": digest, "stderr_digest": sha256(b""),
        "started_at": 1, "ended_at": 2, "duration_ms": 1,
    });
    let ends = [end("stdout", output.len(), digest), end("stderr", 0, &sha256(b"")), exit];
    let rest = ends.iter().flat_map(|header| frame(header, &[]));
    [frame(&hello, &[]), frame(&started, &[]), frame(&data, output)]
        .concat()
        .into_iter()
        .chain(rest)
        .collect()
}

#[test]
fn a_raw_server_answers_a_real_client_with_what_it_likes() {
    let world = World::builder().prepare();
    let server = RawServer::of(&world);
    for (digest, code) in [(sha256(b"said"), 0), (sha256(b"other"), 255)] {
        let client = world.exec(["true"]).option("-n").target(server.address().to_string()).spawn();
        let mut peer = server.accept().unwrap();
        peer.expect_frame("hello");
        let (start, _) = peer.expect_frame("start");
        let ch = start["ch"].as_u64().unwrap();
        peer.send(&answers(ch, &start["key"], b"said", &digest)).unwrap();
        peer.expect_frame(if code == 0 { "done" } else { "cancel" });
        drop(peer);
        let done = client.wait();
        assert_eq!((done.code(), &*done.stdout_text()), (code, "said"), "{}", done.story());
    }
}
