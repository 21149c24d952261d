//! A command is a tree of processes: what ends it ends all of it, and the server keeps nothing of it.

use std::time::Duration;

use rcmd_tests::sink::Sink;
use rcmd_tests::soak::kills::{SHAPES, mark, survivors};
use rcmd_tests::{RunningClient, World, eventually, proc, require, skip};
use rustix::process::Signal;

/// Waits until so many processes have the mark.
fn seen(mark: &str, processes: usize) {
    eventually("its processes run on the host", || proc::marked(mark).len() >= processes);
}

fn started(world: &World, line: &str, mark: &str, processes: usize) -> RunningClient {
    let mut client = world.shell(line.replace("MARK", mark)).with_result().spawn();
    eventually("its processes run on the host, or it has ended", || {
        !client.runs() || proc::marked(mark).len() >= processes
    });
    if !client.runs() {
        panic!("{line:?} has ended: {:?}", client.wait());
    }
    client
}

/// The limit is kept, or the server refuses to start on a host without the controller. Each is
/// right on its host, so that a missing controller does not skip the test.
#[test]
fn a_limit_of_processes_is_kept_or_the_server_does_not_start() {
    require!(skip::need_cgroup());
    let limits = ["spawn = \"cgroup\"", "[limits.tree]", "processes = 8"];
    let world = limits.iter().fold(World::builder(), |world, line| world.config(line)).try_start();
    let world = match world {
        Ok(world) => world,
        Err(error) => {
            let told = format!("{error:#}");
            assert!(told.contains("has no controller for [limits.tree]: pids"), "{told}");
            println!("refused, as it must be: the host has no controller `pids`");
            return;
        }
    };
    let mark = mark();
    let line = format!("for n in $(seq 20); do sleep {mark} & done; echo all");
    let done = world.shell(line).run();
    assert_ne!(done.code(), 0);
    assert_eq!(done.stdout_text(), "");
    assert_eq!(survivors(&mark), []);
}

#[test]
fn a_timeout_ends_the_whole_tree() {
    let world = World::start();
    let before = world.settled_snapshot();
    for (name, line) in [
        ("group", "sleep MARK & sleep MARK"),
        ("session", "setsid sleep MARK & wait"),
        ("daemon", "(setsid sleep MARK </dev/null >/dev/null 2>&1 &); sleep MARK"),
        (
            "stubborn daemon",
            "(trap '' TERM; setsid sleep MARK </dev/null >/dev/null 2>&1 &); exec sleep MARK",
        ),
    ] {
        let mark = mark();
        let line = line.replace("MARK", &mark);
        let done = world.shell(line).option("--timeout").option("1s").with_result().run();
        done.assert_code(124);
        assert_eq!(done.result()["outcome"], "timed_out");
        assert_eq!(survivors(&mark), [], "{name}");
    }
    world.assert_settles_to(&before);
}

#[test]
fn a_timeout_ends_a_tree_that_ignores_term() {
    let world = World::start();
    let before = world.settled_snapshot();
    let mark = mark();
    let line = format!(
        "trap '' TERM; (setsid sleep {mark} </dev/null >/dev/null 2>&1 &); \
         echo before; sleep {mark}; sleep {mark}"
    );
    let done = world.shell(line).option("--timeout").option("1s").with_result().run();
    done.assert_code(124);
    assert_eq!(done.stdout, b"before\n");
    assert!(done.elapsed >= Duration::from_secs(6), "TERM is given 5 s: {:?}", done.elapsed);
    assert_eq!(survivors(&mark), []);
    world.assert_settles_to(&before);
}

#[test]
fn a_second_interrupt_ends_the_whole_tree_at_once() {
    let world = World::start();
    let before = world.settled_snapshot();
    let mark = mark();
    let line = format!(
        "trap 'echo interrupted' INT; trap '' TERM; \
         (setsid sleep {mark} </dev/null >/dev/null 2>&1 &); \
         sleep {mark} & echo ready; wait; wait; wait"
    );
    let mut client = world.shell(line).stdout(Sink::Pipe).with_result().spawn();
    assert_eq!(client.read_line(), "ready");
    seen(&mark, 2);
    client.signal(Signal::INT);
    // Two at once could arrive as one.
    assert_eq!(client.read_line(), "interrupted");
    client.signal(Signal::INT);
    let done = client.wait();
    assert_eq!(done.result()["signal"], "SIGKILL", "{}", done.story());
    assert_eq!(survivors(&mark), []);
    world.assert_settles_to(&before);
}

#[test]
fn an_interrupt_that_the_command_obeys_ends_its_daemons_too() {
    let world = World::start();
    let before = world.settled_snapshot();
    let mark = mark();
    let line = "(setsid sleep MARK </dev/null >/dev/null 2>&1 &); exec sleep MARK";
    let client = started(&world, line, &mark, 2);
    client.signal(Signal::INT);
    let done = client.wait();
    done.assert_code(130);
    assert_eq!(done.result()["signal"], "SIGINT");
    assert_eq!(survivors(&mark), []);
    world.assert_settles_to(&before);
}

/// A user who starts a daemon by a command that ends by itself wants the daemon to stay.
#[test]
fn a_daemon_outlives_the_command_that_started_it_and_ended() {
    let world = World::start();
    let mark = mark();
    let line = format!("setsid sleep {mark} </dev/null >/dev/null 2>&1 & echo started");
    let done = world.shell(line).with_result().run();
    done.assert_code(0);
    assert_eq!(done.result()["output_open"], false);
    eventually("only the daemon is below the server", || {
        let now = world.snapshot();
        (now.children, now.zombies) == (1, 0)
    });
    eventually("it is seen by its arguments", || proc::marked(&mark).len() == 1);
    proc::marked(&mark).iter().for_each(proc::Process::kill);
    assert_eq!(survivors(&mark), []);
}

#[test]
fn orphans_leave_no_zombie() {
    let world = World::start();
    let before = world.settled_snapshot();
    let line = "i=0; while [ $i -lt 100 ]; do (sh -c 'exit 3' & ); i=$((i+1)); done; echo all";
    let done = world.shell(line).run();
    done.assert_code(0);
    assert_eq!(done.stdout, b"all\n");
    world.assert_settles_to(&before);
}

#[test]
fn orphans_of_a_command_that_goes_on_are_reaped_meanwhile() {
    let world = World::start();
    let line = "i=0; while [ $i -lt 100 ]; do (true &); i=$((i+1)); done; echo all; exec cat";
    let mut client = world.shell(line).stdin_pipe().stdout(Sink::Pipe).spawn();
    assert_eq!(client.read_line(), "all");
    eventually("only the command itself is below the server", || {
        let now = world.snapshot();
        (now.children, now.zombies) == (1, 0)
    });
    drop(client.stdin.take());
    client.wait().assert_code(0);
}

#[test]
fn many_trees_end_at_once_and_no_other_with_them() {
    let world = World::builder().config("grace = \"300ms\"").start();
    let before = world.settled_snapshot();
    let mut bystander = world.exec(["cat"]).stdin_pipe().stdout(Sink::Pipe).spawn();
    let victims: Vec<_> = (0..6)
        .flat_map(|_| SHAPES)
        .filter(|shape| shape.processes <= 3)
        .map(|shape| {
            let mark = mark();
            let folder = world.scratch("").display().to_string();
            let line = shape.line.replace("DIR", &folder);
            (started(&world, &line, &mark, shape.processes), mark)
        })
        .collect();
    for (client, _) in &victims {
        client.signal(Signal::KILL);
    }
    for (client, mark) in victims {
        client.wait();
        assert_eq!(survivors(&mark), []);
    }
    bystander.write_stdin(b"still here\n");
    assert_eq!(bystander.read_line(), "still here");
    drop(bystander.stdin.take());
    bystander.wait().assert_code(0);
    world.assert_settles_to(&before);
}

/// The truth about a server that is killed, which no back-end without a keeper or a cgroup can better:
/// its commands see the end of their input, and nobody ends those that do not look at it.
#[test]
fn commands_of_a_server_that_was_killed_see_an_end_of_input_and_may_live_on() {
    // With cgroups, the next server that starts kills them, and other tests start servers.
    let builder = World::builder().config("grace = \"1s\"").config("spawn = \"portable\"");
    let mut world = builder.start();
    let mark = mark();
    let file = world.scratch("saw");
    let line = format!("cat; echo eof > {}; exec sleep {mark}", file.display());
    let mut client = world.shell(line).stdin_pipe().stdout(Sink::Pipe).with_result().spawn();
    client.write_stdin(b"here\n");
    assert_eq!(client.read_line(), "here");
    world.kill_server();
    let done = client.wait();
    done.assert_code(255);
    assert_eq!(done.result()["outcome"], "unknown");
    assert_eq!(done.result()["error"]["kind"], "lost");
    eventually("the command has seen the end of its input", || {
        std::fs::read(&file).is_ok_and(|text| text == b"eof\n")
    });
    seen(&mark, 1);
    let there = proc::marked(&mark);
    there.iter().for_each(proc::Process::kill);
    assert_eq!(survivors(&mark), []);
}
