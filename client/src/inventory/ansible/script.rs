//! Programs that print an inventory.

use std::{
    io::{self, Read},
    os::{fd::AsFd, unix::process::CommandExt as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rcmd_certs::text::printable;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use super::MAX_INVENTORY;

/// The time limit of a program.
const PATIENCE: Duration = Duration::from_secs(60);

/// The number of bytes of its standard error that are kept.
const MAX_SAID: u64 = 4096;

/// Runs `PROGRAM --list` and returns its standard output. The program has no standard input. After 60 s it is killed,
/// with its process group.
///
/// # Errors
/// The reason, with the standard error of the program.
pub(super) fn list(program: &Path) -> Result<Vec<u8>, String> {
    list_within(program, PATIENCE)
}

fn list_within(program: &Path, patience: Duration) -> Result<Vec<u8>, String> {
    let whole = std::path::absolute(program).map_err(|error| error.to_string())?;
    let mut command = Command::new(whole);
    command.arg("--list").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.process_group(0).spawn().map_err(|error| {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOEXEC) => {
                "it is marked executable and can't be run; for a text: chmod -x".to_owned()
            }
            _ => format!("it is marked executable and can't be run: {error}"),
        }
    })?;
    let mut running = Running { child, printed: Vec::new(), said: Vec::new() };
    let status = running.watch(Instant::now() + patience);
    running.end();
    let said = String::from_utf8_lossy(&running.said);
    let said = match said.trim() {
        "" => String::new(),
        said => format!("; it said: {}", printable(said)),
    };
    let limit = usize::try_from(MAX_INVENTORY).unwrap_or(usize::MAX);
    match status {
        Err(error) => Err(format!("it can't be read: {error}{said}")),
        Ok(_) if running.printed.len() > limit => {
            Err(format!("it printed more than {MAX_INVENTORY} bytes{said}"))
        }
        Ok(None) => Err(format!("it gave no answer within {} s{said}", patience.as_secs())),
        Ok(Some(status)) if !status.success() => Err(format!("it failed, {status}{said}")),
        Ok(Some(_)) => Ok(std::mem::take(&mut running.printed)),
    }
}

struct Running {
    child: Child,
    printed: Vec<u8>,
    said: Vec<u8>,
}

impl Running {
    /// Reads both outputs until they and the program have ended; `None` if that takes too long.
    fn watch(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let exit = pidfd_open(pid.ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
        let (mut stdout, mut stderr) = (self.child.stdout.take(), self.child.stderr.take());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let outputs = [stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)];
            let both_ended = outputs.iter().all(Option::is_none);
            let waited = match both_ended {
                true => vec![exit.as_fd()],
                false => outputs.iter().flatten().copied().collect(),
            };
            let mut polled: Vec<_> =
                waited.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
            let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
            match poll(&mut polled, Some(&left)) {
                Err(Errno::INTR) | Ok(0) => continue,
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
            if both_ended {
                return self.child.wait().map(Some);
            }
            let mut ready = polled.iter().map(|fd| !fd.revents().is_empty());
            let mut is_ready = |output: bool| output && ready.next().unwrap_or_default();
            let (has_out, has_err) = (stdout.is_some(), stderr.is_some());
            let (out_ready, err_ready) = (is_ready(has_out), is_ready(has_err));
            drop(polled);
            if out_ready && !take(&mut stdout, &mut self.printed, MAX_INVENTORY + 1)? {
                stdout = None;
            }
            if err_ready && !take(&mut stderr, &mut self.said, MAX_SAID)? {
                stderr = None;
            }
            if self.printed.len() as u64 > MAX_INVENTORY {
                return Ok(None);
            }
        }
    }

    /// Kills the remaining processes of the group.
    fn end(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // If there is no such group, the program has ended.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Reads once, and keeps up to a limit. Returns false at the end.
fn take(from: &mut Option<impl Read>, to: &mut Vec<u8>, limit: u64) -> io::Result<bool> {
    let Some(from) = from else { return Ok(false) };
    let mut piece = [0; 16 << 10];
    let count = from.read(&mut piece)?;
    let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(to.len());
    to.extend(piece.iter().take(count.min(room)));
    Ok(count > 0)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

    use super::*;

    fn script(folder: &tempfile::TempDir, text: &str) -> PathBuf {
        let path = folder.path().join("inventory");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn what_it_prints_counts_only_if_it_ended_well() {
        let folder = tempfile::tempdir().unwrap();
        let list = |text: &str| list(&script(&folder, text));
        assert_eq!(list("#!/bin/sh\necho \"$1\"; cat").unwrap(), b"--list\n");
        let failed = list("#!/bin/sh\necho '{}'; echo no token >&2; exit 3").unwrap_err();
        assert!(failed.contains("exit status: 3") && failed.contains("no token"), "{failed}");
        let killed = list("#!/bin/sh\nkill -9 $$").unwrap_err();
        assert!(killed.contains("signal: 9"), "{killed}");
        let text = list("[web]\na1\n").unwrap_err();
        assert!(
            text.contains("marked executable and can't be run; for a text: chmod -x"),
            "{text}"
        );
    }

    #[test]
    fn one_that_does_not_end_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let path = script(&folder, "#!/bin/sh\nsleep 1000 & echo $!; wait");
        let began = Instant::now();
        let told = list_within(&path, Duration::from_secs(1)).unwrap_err();
        assert!(told.contains("no answer within 1 s"), "{told}");
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn one_that_prints_without_end_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let told = list(&script(&folder, "#!/bin/sh\nyes; yes")).unwrap_err();
        assert!(told.contains("more than"), "{told}");
    }
}
