//! The outer process. The inner one measures; when that ends in any way, or a signal comes, whatever
//! runs below is killed and the temporary folder removed.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use rustix::process::{getpid, set_child_subreaper};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::proc::{self, Process};
use crate::wait::{DEADLINE, poll_for};

/// Runs this program again with `--inner`, and clears up behind it.
///
/// # Errors
///
/// When it can't be run, or something can't be cleared up.
pub fn run() -> Result<ExitCode> {
    // What loses its parent becomes ours, so that it is found below this process.
    set_child_subreaper(Some(getpid())).context("can't become a subreaper")?;
    let folder = tempfile::Builder::new().prefix("rcmd-bench-").tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(async {
        let mut inner = Command::new(std::env::current_exe()?);
        inner.args(std::env::args_os().skip(1)).arg("--inner").env("TMPDIR", folder.path());
        let mut inner = inner.spawn().context("can't run this program again")?;
        ended(&mut inner).await
    })?;
    let own = std::process::id();
    let clear = || {
        let left = proc::descendants(own);
        left.iter().for_each(Process::kill);
        left.iter().all(|process| !process.runs()).then_some(())
    };
    poll_for(DEADLINE, clear).context("processes below this one do not end")?;
    folder.close().context("can't remove the temporary folder")?;
    Ok(status)
}

/// Waits for the inner process, or for a signal that ends this one.
async fn ended(inner: &mut Child) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let number = tokio::select! {
        status = inner.wait() => {
            let code = status?.code().and_then(|code| u8::try_from(code).ok());
            return Ok(code.map_or(ExitCode::FAILURE, ExitCode::from));
        }
        _ = interrupt.recv() => SignalKind::interrupt(),
        _ = terminate.recv() => SignalKind::terminate(),
        _ = hangup.recv() => SignalKind::hangup(),
    };
    let code = u8::try_from(128 + number.as_raw_value()).unwrap_or(u8::MAX);
    Ok(ExitCode::from(code))
}
