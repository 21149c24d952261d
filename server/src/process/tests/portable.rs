//! What a start takes of the server and gives back: no descriptor is asked for too late, and nobody but
//! the register reaps.

use std::{fs::File, os::fd::AsRawFd as _};

use rcmd_protocol::signal::Signal;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{super::children, *};
use crate::process::{ProcessExit, SpawnError, exit::Watch};

/// Set for a process that runs one test alone.
const ALONE: &str = "TEST_ALONE";

/// Returns whether this process runs this test alone. If not, it runs the test in a process that does,
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
        // Both ends of four pipes, one of which says how it went, and the pidfd.
        assert_eq!(ran, Vec::from_iter(9..12));
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
        let before = open();
        let plan = Plan { stdin: true, ..plan("/bin/cat", &[]) };
        let process = processes.spawn(&plan, IDENTITY, &CALLED_OFF_NEVER).await.unwrap();
        // Three pipes and the pidfd.
        assert_eq!(open(), before + 4);
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
