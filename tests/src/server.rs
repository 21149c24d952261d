//! A real `rcmd-server`, as a child of the test.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use crate::lines::Lines;
use crate::proc::{self, Process};
use crate::skip::need_tool;
use crate::wait::{DEADLINE, exit_within, poll_for};

/// The parameters with which a server is started, kept to start it again.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) dir: PathBuf,
    /// True if the server logs each command, as tests that await its lines need it.
    pub(crate) verbose: bool,
    /// The address to listen on; port 0 means any port.
    pub(crate) listen: SocketAddr,
    /// The socket that is passed to the server as by a service manager, in place of an address.
    pub(crate) passed: Option<Arc<TcpListener>>,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    /// The limits, each with its name for prlimit(1) and the value of both the soft and the hard
    /// limit.
    pub(crate) limits: Vec<(String, u64)>,
    pub(crate) uid: Option<u32>,
    /// True if the server gets a process group of its own, out of reach of a terminal's Ctrl-C.
    pub(crate) own_group: bool,
    /// The lines of sh that change what the server finds where, in a mount namespace of its own.
    pub(crate) mounts: Vec<String>,
}

/// Returns a command that runs another with a socket that is passed to it, as sd_listen_fds(3) says.
///
/// # Panics
///
/// When no descriptor is left.
#[must_use]
pub fn passing(socket: &TcpListener, program: &Command) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", PASS, "sh"]).arg(program.get_program()).args(program.get_args());
    let socket = socket.try_clone().expect("a descriptor");
    command.env_remove("RCMD_DIR").stdin(Stdio::from(OwnedFd::from(socket)));
    command
}

/// Lines of sh that pass the socket on standard input to a program as sd_listen_fds(3) says.
const PASS: &str = "exec 3<&0 </dev/null
    LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=rcmd exec \"$@\"";

impl Launch {
    fn command(&self) -> Result<Command> {
        let mut words: Vec<OsString> = Vec::new();
        // Each of these changes itself and then executes the rest, so that the pid stays.
        if !self.mounts.is_empty() {
            words.push(tool("unshare")?);
            let script = format!("set -e\n{}\nexec \"$@\"", self.mounts.join("\n"));
            let own = ["--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
            words.extend(own.map(OsString::from));
        }
        if let Some(uid) = self.uid {
            words.push(tool("setpriv")?);
            words.push(format!("--reuid={uid}").into());
            words.push(format!("--regid={uid}").into());
            words.push("--clear-groups".into());
        }
        if !self.limits.is_empty() {
            words.push(tool("prlimit")?);
            words.extend(self.limits.iter().map(|(name, n)| format!("--{name}={n}:{n}").into()));
        }
        if self.passed.is_some() {
            words.extend(["sh", "-c", PASS, "sh"].map(OsString::from));
        }
        words.push(self.program.clone().into());
        words.extend(["--dir".into(), self.dir.clone().into()]);
        if self.passed.is_none() {
            words.extend(["--listen".into(), self.listen.to_string().into()]);
        }
        words.extend(self.verbose.then(|| "--verbose".into()));
        words.extend(self.args.iter().cloned());

        let mut command = Command::new(words.remove(0));
        command.args(words).current_dir(&self.dir).env_remove("RCMD_DIR");
        command.stdin(match &self.passed {
            Some(socket) => Stdio::from(OwnedFd::from(socket.try_clone()?)),
            None => Stdio::null(),
        });
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.own_group {
            command.process_group(0);
        }
        Ok(command)
    }
}

fn tool(name: &str) -> Result<OsString> {
    need_tool(name).map(OsString::from).map_err(|name| anyhow::anyhow!("no program {name}"))
}

#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts it and waits for the line that says where it listens. Its log goes to `log`.
    pub(crate) fn start(launch: &Launch, log: &Lines) -> Result<Self> {
        let mut command = launch.command()?;
        let mut child =
            command.spawn().with_context(|| format!("can't run {}", launch.program.display()))?;
        let output = Lines::default();
        if let Some(stdout) = child.stdout.take() {
            output.add(stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            log.add(stderr);
        }
        let said = output.wait_for("listening on ", 1, DEADLINE);
        let address = said
            .as_deref()
            .and_then(|lines| lines.first())
            .and_then(|line| line.strip_prefix("listening on ")?.parse::<SocketAddr>().ok());
        let Some(address) = address else {
            let _ = child.kill();
            let ended = child.wait()?;
            // Why it ended may still be on its way here.
            log.wait_for_end(DEADLINE);
            bail!(
                "rcmd-server said no `listening on ADDR` ({ended})\nstdout:\n{}stderr:\n{}",
                output.tail(),
                log.tail()
            );
        };
        Ok(Self { child, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        proc::signal(self.pid(), signal);
    }

    /// Ends it as an operator would who does not want to wait: TERM, and TERM again. Nothing that ran
    /// below it may be left.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus> {
        let below = proc::descendants(self.pid());
        self.signal(Signal::TERM);
        let mut ended = exit_within(&mut self.child, Duration::from_millis(200))?;
        if ended.is_none() {
            self.signal(Signal::TERM);
            ended = exit_within(&mut self.child, DEADLINE)?;
        }
        let Some(status) = ended else {
            self.kill();
            bail!("rcmd-server did not end within {DEADLINE:?} of two TERM");
        };
        let left =
            || below.iter().filter(|process| process.runs()).cloned().collect::<Vec<Process>>();
        if poll_for(DEADLINE, || left().is_empty().then_some(())).is_none() {
            let left = left();
            left.iter().for_each(Process::kill);
            bail!("rcmd-server ended and left {left:?}");
        }
        Ok(status)
    }

    /// Waits for it to end by itself.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus> {
        exit_within(&mut self.child, DEADLINE)?
            .with_context(|| format!("rcmd-server did not end within {DEADLINE:?}"))
    }

    /// Kills it; what ran below it is returned, since nobody else ends that now.
    pub(crate) fn kill(&mut self) -> Vec<Process> {
        let below = proc::descendants(self.pid());
        let _ = self.child.kill();
        let _ = self.child.wait();
        below
    }
}
