//! Tests with real processes: started, seen to end, killed with all that came of them.

/// Makes two tests of each function, one for each way to start processes.
macro_rules! over_both {
    ($($name:ident),+ $(,)?) => {
        mod portable {
            $(#[tokio::test]
            async fn $name() {
                super::WAY.scope(super::Spawn::Portable, super::$name()).await;
            })+
        }
        mod cgroup {
            $(#[tokio::test]
            async fn $name() {
                if super::has_cgroups() {
                    super::WAY.scope(super::Spawn::Cgroup, super::$name()).await;
                }
            })+
        }
    };
}

mod cgroups;
mod found;
mod handed;
mod inheritance;
mod portable;
mod start;
mod stuck;
mod trees;
mod users;

use std::{
    path::{Path, PathBuf},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, RawPid};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::unix::pipe,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Plan, Process, Processes, ReadEnd, Spawn, SpawnError, TreeLimits, proc_fs};

/// A deadline that is met however slow the machine is.
const DEADLINE: Duration = Duration::from_secs(30);

/// The identity that the starts are for.
const IDENTITY: &str = "tests";

/// The token of starts that are never called off.
static CALLED_OFF_NEVER: LazyLock<CancellationToken> = LazyLock::new(CancellationToken::new);

tokio::task_local! {
    /// The way in which the current test starts processes.
    static WAY: Spawn;
}

impl Processes {
    /// Starts a process with nothing to be done before.
    pub(crate) async fn spawn(
        &self,
        plan: &Plan,
        identity: &str,
        off: &CancellationToken,
    ) -> Result<Process, SpawnError> {
        self.start(plan, identity, off, || Ok(())).await
    }
}

fn processes() -> Processes {
    processes_with(&TreeLimits::default())
}

fn processes_with(limits: &TreeLimits) -> Processes {
    Processes::new(WAY.get(), limits).unwrap().0
}

/// Returns whether this host has cgroups for the tests; prints the reason if it has none.
fn has_cgroups() -> bool {
    let why = match Processes::new(Spawn::Cgroup, &TreeLimits::default()) {
        Ok(_) => return true,
        Err(why) => why,
    };
    assert!(std::env::var_os("RCMD_TEST_REQUIRE").is_none(), "needs a writable cgroup v2: {why}");
    println!("skipped: needs a writable cgroup v2: {why}");
    false
}

fn unique_job() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn plan(program: &str, args: &[&str]) -> Plan {
    let job = unique_job();
    Plan {
        program: PathBuf::from(program),
        arg0: program.into(),
        args: args.iter().map(Into::into).collect(),
        env: vec![
            ("RCMD_JOB".into(), job.clone().into()),
            ("PATH".into(), std::env::var_os("PATH").unwrap()),
        ],
        cwd: PathBuf::from("/"),
        folder: None,
        trusted: true,
        job,
        stdin: false,
        sealed: None,
        handed: None,
        credentials: None,
        no_new_privs: false,
    }
}

fn shell(line: &str) -> Plan {
    plan("/bin/sh", &["-c", line])
}

/// A process whose standard output is read line by line.
struct Started {
    process: Process,
    stdout: BufReader<pipe::Receiver>,
}

fn pipe_of(end: Option<ReadEnd>) -> pipe::Receiver {
    let ReadEnd::Pipe(pipe) = end.unwrap();
    pipe
}

async fn start(processes: &Processes, plan: &Plan) -> Started {
    let mut process = processes.spawn(plan, IDENTITY, &CALLED_OFF_NEVER).await.unwrap();
    let stdout = BufReader::new(pipe_of(process.stdout.take()));
    Started { process, stdout }
}

impl Started {
    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(DEADLINE, self.stdout.read_line(&mut line)).await.expect("a line in time").unwrap();
        line.trim_end().to_owned()
    }

    async fn pid_line(&mut self) -> Pid {
        let line = self.line().await;
        line.parse::<RawPid>().ok().and_then(Pid::from_raw).unwrap_or_else(|| panic!("{line:?}"))
    }

    /// Returns the rest of the output, up to the moment when no process holds the pipe.
    async fn rest(&mut self) -> String {
        let mut rest = String::new();
        let read = self.stdout.read_to_string(&mut rest);
        timeout(DEADLINE, read).await.expect("nothing holds the pipe").unwrap();
        rest
    }
}

async fn output_of(processes: &Processes, plan: &Plan) -> String {
    let mut started = start(processes, plan).await;
    let output = started.rest().await;
    started.process.exited().await;
    started.process.reap();
    output
}

/// Writes a script through a child: if this process had the file open for writing while another
/// test starts something, the script would be busy (ETXTBSY, execve(2)).
async fn script(processes: &Processes, path: &Path, text: &str, mode: &str) {
    let line = r#"printf %s "$1" >"$0" && chmod "$2" "$0""#;
    let path = path.to_str().unwrap();
    assert_eq!(output_of(processes, &plan("/bin/sh", &["-c", line, path, text, mode])).await, "");
}

fn is_alive(pid: Pid) -> bool {
    proc_fs::stat(pid).is_some_and(|stat| stat.alive)
}

/// Waits for a condition that only `/proc` can show.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(1)).await;
    }
}
