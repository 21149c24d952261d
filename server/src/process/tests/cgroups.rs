//! Tests of what only cgroups can guarantee.

use std::fs;

use rustix::{
    fs::{XattrFlags, setxattr},
    process::{Signal as KernelSignal, kill_process},
};

use super::*;
use crate::{
    process::{ProcessExit, TreeKill},
    units::Size,
};

/// Runs a test if the host has cgroups.
async fn with_cgroups(test: impl Future<Output = ()>) {
    if has_cgroups() {
        WAY.scope(Spawn::Cgroup, test).await;
    }
}

#[tokio::test]
async fn what_clears_its_environment_and_forks_twice_is_killed() {
    with_cgroups(async {
        let processes = processes();
        let line = "(setsid env -i sh -c 'echo $$; exec sleep 600' &); exec sleep 600";
        let mut started = start(&processes, &shell(line)).await;
        let daemon = started.pid_line().await;
        let own = rustix::process::getpid();
        until("its parents are gone", || {
            proc_fs::stat(daemon).is_some_and(|stat| stat.parent == Some(own))
        })
        .await;
        let kill = started.process.tree().kill().await;
        assert_eq!(kill, TreeKill { killed: 2, left: Vec::new() });
        assert!(!is_alive(daemon));
        started.rest().await;
    })
    .await;
}

fn folders(processes: &Processes) -> usize {
    let (base, _) = processes.cgroups().unwrap();
    fs::read_dir(base).unwrap().flatten().filter(|entry| entry.path().is_dir()).count()
}

#[tokio::test]
async fn an_empty_cgroup_serves_the_next_command() {
    with_cgroups(async {
        let processes = processes();
        for _ in 0..20 {
            assert_eq!(output_of(&processes, &shell("echo here")).await, "here\n");
        }
        assert!(folders(&processes) <= 2, "{}", folders(&processes));
        let base = processes.cgroups().unwrap().0.to_owned();
        drop(processes);
        until("the server's folder is removed", || !base.exists()).await;
    })
    .await;
}

#[tokio::test]
async fn a_command_that_makes_cgroups_of_its_own_is_killed_with_them() {
    with_cgroups(async {
        let processes = processes();
        let base = processes.cgroups().unwrap().0.display().to_string();
        let line = format!(
            "own={base}/$(ls {base} | grep -x '[0-9]*' | head -1)/mine; mkdir $own && \
             sh -c 'echo $$ > '$own'/cgroup.procs; echo ready; exec sleep 600' & wait"
        );
        let mut started = start(&processes, &shell(&line)).await;
        assert_eq!(started.line().await, "ready");
        let kill = started.process.tree().kill().await;
        assert_eq!(kill, TreeKill { killed: 2, left: Vec::new() });
        started.rest().await;
        started.process.exited().await;
        started.process.reap();
        // A cgroup with others below it is not used again.
        until("its folder is removed", || folders(&processes) == 0).await;
    })
    .await;
}

/// Makes a cgroup as a killed server leaves it, with a process in it.
fn left_over(parent: &Path, mark: bool) -> (PathBuf, std::process::Child) {
    let base = parent.join(format!("rcmd-left-{}-{mark}", std::process::id()));
    let folder = base.join("0");
    // A server that starts meanwhile may remove it while it is empty.
    for _ in 0..1000 {
        let child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let made = fs::create_dir_all(&folder);
        let marked = if mark {
            setxattr(&folder, "user.rcmd.left", b"1", XattrFlags::empty()).is_ok()
        } else {
            true
        };
        let moved = fs::write(folder.join("cgroup.procs"), child.id().to_string());
        if made.is_ok() && marked && moved.is_ok() {
            return (base, child);
        }
        let mut child = child;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    panic!("{} does not stay", folder.display());
}

#[tokio::test]
async fn what_an_earlier_server_left_is_killed_but_for_daemons() {
    with_cgroups(async {
        let parent = processes().cgroups().unwrap().0.parent().unwrap().to_owned();
        let (base, mut lost) = left_over(&parent, false);
        let (daemons, mut daemon) = left_over(&parent, true);
        let _server = processes();
        until("what was lost is killed", || lost.try_wait().unwrap().is_some()).await;
        until("its folder is removed", || {
            drop(processes());
            !base.exists()
        })
        .await;
        assert!(daemon.try_wait().unwrap().is_none());
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        until("the daemon's folder is removed with it", || {
            drop(processes());
            !daemons.exists()
        })
        .await;
    })
    .await;
}

/// Returns processes under limits that need one controller; `None` where the host lacks the
/// controller, which must have been named in the error.
fn limited(limits: &TreeLimits, controller: &str) -> Option<Processes> {
    let (auto, why) = Processes::new(Spawn::Auto, limits).unwrap();
    assert_eq!(auto.cgroups().is_none(), why.is_some());
    match Processes::new(Spawn::Cgroup, limits) {
        Ok((processes, _)) => Some(processes),
        Err(error) => {
            assert!(error.to_string().contains(controller), "{error}");
            None
        }
    }
}

#[tokio::test]
async fn a_limit_of_processes_is_kept_or_refused() {
    with_cgroups(async {
        let limits = TreeLimits { processes: Some(8), ..TreeLimits::default() };
        let Some(processes) = limited(&limits, "pids") else { return };
        let line = "for n in 1 2 3 4 5 6 7 8 9 10; do sleep 600 >/dev/null & done; echo started";
        let mut started = start(&processes, &shell(line)).await;
        assert_eq!(started.rest().await, "");
        assert_ne!(started.process.exited().await, ProcessExit::Code(0));
        started.process.tree().kill().await;
    })
    .await;
}

#[tokio::test]
async fn a_limit_of_memory_is_kept_or_refused() {
    with_cgroups(async {
        let limits = TreeLimits { memory: Some(Size(32 << 20)), ..TreeLimits::default() };
        let Some(processes) = limited(&limits, "memory") else { return };
        assert_eq!(output_of(&processes, &shell("echo within")).await, "within\n");
        // The command would keep 128 MiB in memory, and is killed; the shell of the same command
        // continues.
        let line = "head -c 256M /dev/zero | tail -c 128M >/dev/null; echo $?";
        assert_eq!(output_of(&processes, &shell(line)).await, "137\n");
    })
    .await;
}

#[tokio::test]
async fn a_limit_of_processor_time_is_kept_or_refused() {
    with_cgroups(async {
        let limits = TreeLimits { cpu: Some(10), ..TreeLimits::default() };
        let Some(processes) = limited(&limits, "cpu") else { return };
        let busy = start(&processes, &shell("while :; do :; done")).await;
        let base = fs::read_dir(processes.cgroups().unwrap().0).unwrap();
        let folder = base.flatten().map(|entry| entry.path()).find(|path| path.is_dir()).unwrap();
        until("the kernel holds it up", || {
            let stat = fs::read_to_string(folder.join("cpu.stat")).unwrap();
            let held_up = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
            held_up.unwrap().parse::<u64>().unwrap() > 2
        })
        .await;
        busy.process.tree().kill().await;
    })
    .await;
}

#[tokio::test]
async fn a_daemon_keeps_its_cgroup_and_is_not_the_next_commands() {
    with_cgroups(async {
        let processes = processes();
        let line = "setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $!";
        let mut started = start(&processes, &shell(line)).await;
        let daemon = started.pid_line().await;
        assert_eq!(started.rest().await, "");
        started.process.exited().await;
        started.process.reap();
        let mut next = start(&processes, &shell("echo ready; exec sleep 600")).await;
        assert_eq!(next.line().await, "ready");
        next.process.tree().kill().await;
        assert!(is_alive(daemon));
        kill_process(daemon, KernelSignal::KILL).unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_leaves_its_cgroup_is_ended_where_it_can_leave() {
    with_cgroups(async {
        let mut processes = processes();
        // As with a server that is not root.
        processes.cgroups_leak = true;
        let outside = processes.cgroups().unwrap().0.parent().unwrap().join("cgroup.procs");
        let line = format!(
            "sleep 600 & echo $$ >{} && (setsid sleep 600 & echo $!); wait",
            outside.display()
        );
        let mut started = start(&processes, &shell(&line)).await;
        let escaped = started.pid_line().await;
        let cgroup = fs::read_to_string(format!("/proc/{escaped}/cgroup")).unwrap();
        assert!(!cgroup.contains("rcmd-"), "{cgroup}");
        let kill = started.process.tree().kill().await;
        assert!(kill.killed >= 2 && kill.left.is_empty(), "{kill:?}");
        assert!(!is_alive(escaped));
        assert_eq!(started.rest().await, "");
    })
    .await;
}
