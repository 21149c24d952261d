//! Requirements on starts by `tokio::process`: no descriptor is needed too late, no process is
//! lost, no start waits for ever, and only the register reaps.

use std::{fs::File, os::fd::AsRawFd as _};

use rcmd_protocol::{
    outcome::{ErrorKind, WireError},
    signal::Signal,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Handle;

use super::{
    super::children,
    stuck::{LeasedProgram, nothing_is_left_in, orphans_are_reaped, waiting_in},
    *,
};
use crate::process::{ProcessExit, SpawnError, environment::JOB, exit::Watch};

/// The variable that is set for a process that runs one test alone.
const ALONE: &str = "TEST_ALONE";

/// Returns whether this process runs this test alone. If not, runs the test in a process that does,
/// and asserts that it passes there.
async fn is_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some_and(|alone| alone == test) {
        return true;
    }
    let path = format!("process::tests::portable::{test}");
    let own = std::env::current_exe().unwrap();
    let mut plan = plan(own.to_str().unwrap(), &[&path, "--exact", "--nocapture"]);
    plan.env.push((ALONE.into(), test.into()));
    let mut started = start(&processes(), &plan).await;
    let mut errors = pipe_of(started.process.stderr.take());
    let output = started.rest().await;
    let mut complaints = String::new();
    errors.read_to_string(&mut complaints).await.unwrap();
    assert_eq!(started.process.exited().await, ProcessExit::Code(0), "{output}{complaints}");
    assert!(output.contains("1 passed"), "{output}");
    false
}

fn portable<T: Future>(test: T) -> impl Future<Output = T::Output> {
    WAY.scope(Spawn::Portable, test)
}

/// Returns processes whose runtime for watching is gone, so that none can be registered there.
fn unwatched() -> Processes {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut processes = processes();
    processes.starter.runtime = Handle::clone(runtime.handle());
    std::thread::spawn(|| drop(runtime)).join().unwrap();
    processes
}

/// Returns the number of living processes that bear the mark of a job.
fn marked(job: &str) -> usize {
    let job = Some(job.as_bytes().to_vec());
    let all = proc_fs::all().into_iter().filter(|stat| stat.alive);
    all.filter(|stat| proc_fs::variable(stat.pid, JOB).is_ok_and(|mark| mark == job)).count()
}

#[tokio::test]
async fn a_process_that_the_runtime_can_not_watch_is_killed_and_unknown() {
    portable(async {
        let processes = unwatched();
        for _ in 0..20 {
            let plan = shell("setsid sleep 600 & exec sleep 600");
            let error = processes.spawn(&plan, IDENTITY, &CALLED_OFF_NEVER).await.unwrap_err();
            assert!(matches!(error, SpawnError::Unwatched { .. }), "{error:?}");
            assert!(error.may_have_run());
            assert_eq!(WireError::from(error).kind, ErrorKind::Lost);
            assert_eq!(marked(&plan.job), 0);
        }
    })
    .await;
}

#[tokio::test]
async fn a_process_that_ended_before_it_could_be_watched_is_unknown_too() {
    portable(async {
        let processes = unwatched();
        for _ in 0..50 {
            let plan = plan("/bin/true", &[]);
            let error = processes.spawn(&plan, IDENTITY, &CALLED_OFF_NEVER).await.unwrap_err();
            assert!(error.may_have_run(), "{error:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_program_that_is_not_there_has_not_run_whatever_the_runtime_does() {
    portable(async {
        let plan = plan("/no/such/program", &[]);
        let error = unwatched().spawn(&plan, IDENTITY, &CALLED_OFF_NEVER).await.unwrap_err();
        assert!(matches!(error, SpawnError::NotFound(_)), "{error:?}");
        assert!(!error.may_have_run());
    })
    .await;
}

#[tokio::test]
async fn a_trusted_program_that_does_not_execute_in_time_is_killed() {
    portable(async {
        let (leased, mut processes) = (LeasedProgram::new(), processes());
        processes.starter.patience = Duration::from_millis(300);
        let plan = Plan { trusted: true, ..leased.plan() };
        let error = processes.spawn(&plan, IDENTITY, &CALLED_OFF_NEVER).await.unwrap_err();
        assert!(matches!(error, SpawnError::Stuck(_)), "{error:?}");
        assert!(!error.may_have_run());
        nothing_is_left_in(leased.folder()).await;
    })
    .await;
}

#[tokio::test]
async fn a_stuck_trusted_program_holds_up_no_other_and_can_be_called_off() {
    portable(async {
        let (leased, processes) = (LeasedProgram::new(), processes());
        let plan = Plan { trusted: true, ..leased.plan() };
        let off = CancellationToken::new();
        let others = async {
            waiting_in(leased.folder()).await;
            orphans_are_reaped(&processes).await;
            off.cancel();
        };
        let (stuck, ()) = tokio::join!(processes.spawn(&plan, IDENTITY, &off), others);
        let error = stuck.unwrap_err();
        assert!(matches!(error, SpawnError::CalledOff(_)), "{error:?}");
        nothing_is_left_in(leased.folder()).await;
        until("its place is free", || processes.starter.has_no_starts_of(IDENTITY)).await;
    })
    .await;
}

#[tokio::test]
async fn a_start_of_a_trusted_program_that_is_dropped_leaves_nothing() {
    portable(async {
        let (leased, processes) = (LeasedProgram::new(), processes());
        let plan = Plan { trusted: true, ..leased.plan() };
        tokio::select! {
            started = processes.spawn(&plan, IDENTITY, &CALLED_OFF_NEVER) => {
                panic!("{:?}", started.map(|process| process.pid()))
            }
            _ = waiting_in(leased.folder()) => {}
        }
        nothing_is_left_in(leased.folder()).await;
    })
    .await;
}

#[tokio::test]
async fn only_the_register_reaps_what_is_released_before_its_end() {
    portable(async {
        if !is_alone("only_the_register_reaps_what_is_released_before_its_end").await {
            return;
        }
        let processes = processes();
        let plan = Plan { stdin: true, ..shell("read line") };
        let mut process = processes.spawn(&plan, IDENTITY, &CALLED_OFF_NEVER).await.unwrap();
        let pid = Pid::from_raw(process.pid()).unwrap();
        process.reap();
        process.signal_group(Signal::KILL);
        let stdin = process.stdin.take();
        drop(process);
        assert!(is_alive(pid), "what is released is signalled no more");
        let watch = Watch::new(pid, None);
        drop(stdin);
        timeout(DEADLINE, watch.ended()).await.expect("it ends");
        // On each SIGCHLD, tokio reaps the processes in its queue of orphans.
        for _ in 0..3 {
            output_of(&processes, &shell(":")).await;
        }
        assert!(proc_fs::stat(pid).is_some(), "only the register reaps");
        assert_eq!(children::reap_orphans(), 1);
        assert_eq!(proc_fs::stat(pid), None);
    })
    .await;
}

/// Opens files until no descriptor is left.
fn all_descriptors() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[tokio::test]
async fn a_command_runs_to_its_end_or_not_at_all_when_descriptors_run_out() {
    portable(async {
        if !is_alone("a_command_runs_to_its_end_or_not_at_all_when_descriptors_run_out").await {
            return;
        }
        let processes = processes();
        let folder = tempfile::tempdir().unwrap();
        let first_free = File::open("/dev/null").unwrap().as_raw_fd() as u64;
        let limit = Rlimit { current: Some(first_free + 32), ..getrlimit(Resource::Nofile) };
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut held = all_descriptors();
        let all = held.len();
        let mut ran = Vec::new();
        for free in 0..12 {
            held.truncate(all - free);
            let path = folder.path().join(free.to_string());
            let plan = Plan { stdin: true, ..shell(&format!(": >{}", path.display())) };
            match processes.spawn(&plan, IDENTITY, &CALLED_OFF_NEVER).await {
                Ok(mut process) => {
                    assert_eq!(process.exited().await, ProcessExit::Code(0), "{free}");
                    process.reap();
                    ran.push(free);
                }
                Err(error) => {
                    assert!(matches!(error, SpawnError::Resources { .. }), "{error:?}");
                    assert!(!path.exists(), "{free}");
                }
            }
            assert_eq!(path.exists(), ran.contains(&free), "{free}");
            held.extend(all_descriptors());
            assert_eq!(held.len(), all, "each descriptor was given back");
        }
        // Both ends of three pipes; the pidfds are opened after those of the command are closed.
        assert_eq!(ran, Vec::from_iter(6..12));
    })
    .await;
}

#[tokio::test]
async fn a_command_takes_no_more_descriptors_than_its_limit_counts() {
    portable(async {
        if !is_alone("a_command_takes_no_more_descriptors_than_its_limit_counts").await {
            return;
        }
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let processes = processes();
        // Threads open files while they begin, which the first command waits for.
        let first = processes.spawn(&plan("/bin/true", &[]), IDENTITY, &CALLED_OFF_NEVER).await;
        let first = first.unwrap();
        let pid = Pid::from_raw(first.pid()).unwrap();
        drop(first);
        until("the first is gone", || {
            children::reap_orphans();
            proc_fs::stat(pid).is_none()
        })
        .await;
        let before = open();
        let plan = Plan { stdin: true, ..plan("/bin/cat", &[]) };
        let process = processes.spawn(&plan, IDENTITY, &CALLED_OFF_NEVER).await.unwrap();
        // Three pipes and two pidfds.
        assert_eq!(open(), before + 5);
        let pid = Pid::from_raw(process.pid()).unwrap();
        drop(process);
        until("it is gone", || {
            children::reap_orphans();
            proc_fs::stat(pid).is_none()
        })
        .await;
        assert_eq!(open(), before);
    })
    .await;
}
