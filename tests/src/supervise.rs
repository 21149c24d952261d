//! Programs that start others and leave none of them behind.
//!
//! The outer process runs the same program again with `--inner`, which does the work. When that ends in
//! any way, or a signal comes, the outer one kills whatever runs below it and removes the temporary
//! folder. So the inner one may be interrupted anywhere, also while it sets up what it needs.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use rustix::process::{getpid, set_child_subreaper};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::proc;

/// Runs this program again with `--inner` and clears up behind it. The temporary folder's name begins
/// with `prefix`.
///
/// # Errors
///
/// When it can't be run, or something can't be cleared up.
pub fn run(prefix: &str) -> Result<ExitCode> {
    // What loses its parent becomes ours, so that it is found below this process.
    set_child_subreaper(Some(getpid())).context("can't become a subreaper")?;
    let folder = tempfile::Builder::new().prefix(prefix).tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(async {
        // Caught before anything runs: a signal must not end this process alone.
        let mut signals = Signals::catch()?;
        let mut inner = Command::new(std::env::current_exe()?);
        inner.args(std::env::args_os().skip(1)).arg("--inner").env("TMPDIR", folder.path());
        let mut inner = inner.spawn().context("can't run this program again")?;
        signals.or_end_of(&mut inner).await
    });
    // Whatever came of it.
    let cleared = proc::end_all_below();
    unmount_below(folder.path());
    let removed = folder.close();
    let status = status?;
    cleared.context("processes below this one do not end")?;
    removed.context("can't remove the temporary folder")?;
    Ok(status)
}

/// Detaches what is mounted in a folder, the last first: who mounted it may have been killed.
fn unmount_below(folder: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // The fifth field is the mount point (proc_pid_mountinfo(5)).
    let points = mounts.lines().rev().filter_map(|line| line.split(' ').nth(4));
    for point in points.filter(|point| Path::new(point).starts_with(folder)) {
        let _ = std::process::Command::new("umount").arg("-l").arg(point).status();
    }
}

/// The signals that end a program from outside, caught.
struct Signals([(SignalKind, Signal); 3]);

impl Signals {
    fn catch() -> Result<Self> {
        let catch = |kind| Ok::<_, std::io::Error>((kind, signal(kind)?));
        Ok(Self([
            catch(SignalKind::interrupt())?,
            catch(SignalKind::terminate())?,
            catch(SignalKind::hangup())?,
        ]))
    }

    /// Waits for the inner process, or for a signal that ends this one, and returns the status to end with.
    async fn or_end_of(&mut self, inner: &mut Child) -> Result<ExitCode> {
        let [interrupt, terminate, hangup] = &mut self.0;
        let kind = tokio::select! {
            status = inner.wait() => {
                let code = status?.code().and_then(|code| u8::try_from(code).ok());
                return Ok(code.map_or(ExitCode::FAILURE, ExitCode::from));
            }
            _ = interrupt.1.recv() => interrupt.0,
            _ = terminate.1.recv() => terminate.0,
            _ = hangup.1.recv() => hangup.0,
        };
        let code = u8::try_from(128 + kind.as_raw_value()).unwrap_or(u8::MAX);
        Ok(ExitCode::from(code))
    }
}
