//! Tests of killing all that came of a command. All processes here hold the command's standard
//! output, so its end proves that all of them are gone.

use std::fs;

use rcmd_protocol::signal::Signal;
use rustix::process::{Signal as KernelSignal, kill_process};

use super::*;
use crate::process::{ProcessExit, TreeKill, spawn};

over_both! {
    a_command_is_killed,
    children_in_the_background_are_killed,
    what_the_command_left_behind_is_killed,
    a_daemon_is_killed,
    groups_of_their_own_are_killed,
    what_ignores_every_signal_is_killed,
    what_is_stopped_is_killed,
    what_clears_its_environment_is_killed_while_its_parent_lives,
    a_session_is_known_by_one_of_its_processes,
    what_forks_again_every_2_milliseconds_is_killed,
    what_moves_to_a_new_session_every_2_milliseconds_is_killed,
    what_takes_another_name_every_2_milliseconds_is_killed,
    a_small_fork_bomb_is_killed,
    another_jobs_tree_is_left_alone,
    what_starts_after_a_kill_is_not_killed_by_it,
    many_trees_are_killed_at_once,
    a_kill_waits_for_no_start,
    a_request_to_end_reaches_other_sessions_too,
    a_daemon_outlives_a_normal_end_and_leaves_no_zombie,
}

/// Starts a line that prints `ready`, kills its tree, and checks that nothing is left.
async fn killed(line: &str) -> TreeKill {
    let processes = processes();
    let mut started = start(&processes, &shell(line)).await;
    while started.line().await != "ready" {}
    let kill = timeout(DEADLINE, started.process.tree().kill()).await.unwrap();
    assert!(kill.left.is_empty(), "{kill:?} of {line}");
    started.rest().await;
    timeout(DEADLINE, started.process.exited()).await.unwrap();
    started.process.reap();
    kill
}

async fn a_command_is_killed() {
    assert_eq!(killed("echo ready; exec sleep 600").await.killed, 1);
}

async fn children_in_the_background_are_killed() {
    assert_eq!(killed("sleep 600 & sleep 600 & echo ready; wait").await.killed, 3);
}

async fn what_the_command_left_behind_is_killed() {
    let line = "sleep 600 & (sleep 600 & echo ready; exec sleep 600) & exit";
    assert!(killed(line).await.killed >= 3);
}

async fn a_daemon_is_killed() {
    let line = "(setsid sh -c 'cd /; (echo ready; exec sleep 600) & exit' &) & exit";
    assert!(killed(line).await.killed >= 1);
}

async fn groups_of_their_own_are_killed() {
    let line = "set -m; sleep 600 | sleep 600 & sleep 600 & echo ready; wait";
    assert_eq!(killed(line).await.killed, 4);
}

async fn what_ignores_every_signal_is_killed() {
    let line = "trap '' HUP INT QUIT TERM TSTP; \
        setsid sh -c 'sleep 600; sleep 600' & echo ready; wait; wait; wait";
    assert!(killed(line).await.killed >= 2);
}

async fn what_is_stopped_is_killed() {
    assert_eq!(killed("sleep 600 & kill -STOP $!; echo ready; wait").await.killed, 2);
}

async fn what_clears_its_environment_is_killed_while_its_parent_lives() {
    assert_eq!(killed("setsid env -i sleep 600 & sleep 600 & echo ready; wait").await.killed, 3);
}

async fn a_session_is_known_by_one_of_its_processes() {
    // The first has the job's ID in its environment; the other has neither that nor a parent.
    let line = "setsid sh -c '(env -i sleep 600 &); echo ready; exec sleep 600' & exit";
    assert!(killed(line).await.killed >= 2);
}

/// Runs a script that starts itself again in a new session every other millisecond, and ends.
async fn chain(step: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain");
    let text = format!("#!/bin/sh\nsleep 0.002\n[ \"$1\" != 5 ] || echo ready\n{step}\n");
    script(&processes(), &path, &text, "755").await;
    // Escaping is a matter of luck, so there are several tries.
    for _ in 0..8 {
        killed(&format!("{} 0", path.display())).await;
    }
}

async fn what_forks_again_every_2_milliseconds_is_killed() {
    chain(r#""$0" $(($1 + 1)) & exit"#).await;
}

async fn what_moves_to_a_new_session_every_2_milliseconds_is_killed() {
    chain(r#"setsid "$0" $(($1 + 1)) & exit"#).await;
}

async fn what_takes_another_name_every_2_milliseconds_is_killed() {
    chain(r#"next="${0%/*}/n$(($1 + 1))"; ln -sf "$0" "$next"; setsid "$next" $(($1 + 1)) & exit"#)
        .await;
}

async fn a_small_fork_bomb_is_killed() {
    let line = "echo ready; b() { sleep 0.01; [ $1 = 0 ] || { b $(($1 - 1)) & b $(($1 - 1)) & }; \
        wait; }; b 6";
    killed(line).await;
}

/// The one case that this back-end can't handle: no mark, no session, no group, no parent.
#[tokio::test]
async fn a_daemon_without_its_environment_escapes_without_cgroups() {
    let (processes, _) = Processes::new(Spawn::Portable, &TreeLimits::default()).unwrap();
    let line = "(setsid env -i sh -c 'echo $$; exec sleep 600' &); exec sleep 600";
    let mut started = start(&processes, &shell(line)).await;
    let daemon = started.pid_line().await;
    let own = rustix::process::getpid();
    until("its parents are gone", || {
        proc_fs::stat(daemon).is_some_and(|stat| stat.parent == Some(own))
    })
    .await;
    assert_eq!(started.process.tree().kill().await, TreeKill { killed: 1, left: Vec::new() });
    assert!(is_alive(daemon));
    kill_process(daemon, KernelSignal::KILL).unwrap();
    started.rest().await;
}

async fn what_starts_after_a_kill_is_not_killed_by_it() {
    let processes = processes();
    for _ in 0..4 {
        let mut started = start(&processes, &shell("echo ready; exec sleep 600")).await;
        assert_eq!(started.line().await, "ready");
        assert_eq!(started.process.tree().kill().await.killed, 1);
        started.rest().await;
        started.process.exited().await;
        started.process.reap();
    }
    assert_eq!(output_of(&processes, &shell("echo here")).await, "here\n");
}

async fn another_jobs_tree_is_left_alone() {
    let processes = processes();
    let line = "setsid sleep 600 & echo $!; exec sleep 600";
    let (mut one, mut other) =
        (start(&processes, &shell(line)).await, start(&processes, &shell(line)).await);
    one.pid_line().await;
    let others = other.pid_line().await;
    assert_eq!(one.process.tree().kill().await, TreeKill { killed: 2, left: Vec::new() });
    assert!(is_alive(others) && is_alive(Pid::from_raw(other.process.pid()).unwrap()));
    other.process.tree().kill().await;
    other.rest().await;
}

async fn many_trees_are_killed_at_once() {
    let processes = processes();
    let line = "setsid sleep 600 & sleep 600 & echo ready; wait";
    let mut all = Vec::new();
    for _ in 0..16 {
        all.push(start(&processes, &shell(line)).await);
    }
    for started in &mut all {
        assert_eq!(started.line().await, "ready");
    }
    let mut kills = tokio::task::JoinSet::new();
    for started in &all {
        let tree = started.process.tree();
        kills.spawn(async move { tree.kill().await });
    }
    for kill in kills.join_all().await {
        assert_eq!(kill, TreeKill { killed: 3, left: Vec::new() });
    }
    for started in &mut all {
        started.rest().await;
    }
}

async fn a_kill_waits_for_no_start() {
    let processes = processes();
    let mut started = start(&processes, &shell("echo ready; exec sleep 600")).await;
    assert_eq!(started.line().await, "ready");
    // Every thread that starts processes waits.
    let (go_on, far_away) = std::sync::mpsc::channel::<()>();
    let far_away = std::sync::Arc::new(std::sync::Mutex::new(far_away));
    for _ in 0..spawn::THREADS {
        let far_away = std::sync::Arc::clone(&far_away);
        processes.starter.occupy(move || _ = far_away.lock().unwrap().recv());
    }
    let kill = timeout(DEADLINE, started.process.tree().kill()).await.expect("a kill in time");
    assert_eq!(kill, TreeKill { killed: 1, left: Vec::new() });
    drop(go_on);
    started.rest().await;
}

async fn a_request_to_end_reaches_other_sessions_too() {
    let processes = processes();
    let line = "setsid sh -c 'trap \"echo asked; exit\" TERM; echo ready; while :; do sleep 0.01; done' & \
        trap 'echo never' TERM; while :; do wait; sleep 0.01; done";
    let mut started = start(&processes, &shell(line)).await;
    assert_eq!(started.line().await, "ready");
    started.process.tree().terminate();
    assert_eq!(started.line().await, "asked");
    // The leader's group must be signalled by its owner.
    started.process.signal_group(Signal::KILL);
    assert_eq!(started.rest().await, "");
    assert_eq!(started.process.exited().await, ProcessExit::Signal(Signal::KILL));
}

async fn a_daemon_outlives_a_normal_end_and_leaves_no_zombie() {
    let processes = processes();
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let line = format!(
        "mkfifo {0} && {{ setsid sh -c 'exec cat {0}' </dev/null >/dev/null 2>&1 & echo $!; }}",
        fifo.display()
    );
    let mut started = start(&processes, &shell(&line)).await;
    let daemon = started.pid_line().await;
    assert_eq!(started.rest().await, "");
    assert_eq!(started.process.exited().await, ProcessExit::Code(0));
    started.process.reap();
    assert!(is_alive(daemon));
    let _reaping = tokio::task::JoinSet::from_iter([processes.reap_orphans()]);
    // The open succeeds when the daemon reads; closing the file ends the daemon.
    timeout(DEADLINE, tokio::task::spawn_blocking(move || fs::write(fifo, "").unwrap()))
        .await
        .unwrap()
        .unwrap();
    until("the daemon is reaped", || proc_fs::stat(daemon).is_none()).await;
}
