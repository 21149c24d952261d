//! Processors, and what runs on them, where attackers must not take the time of who is measured.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::process::{Command, Stdio};

use crate::skip::need_tool;

/// The rule for when a program may have a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The program has the processor as often as any other program.
    Always,
    /// The program has the processor while no other one wants it (sched(7), `SCHED_IDLE`).
    Idle,
}

/// The first two processors of this thread: one for what is tested and measured, one for what
/// disturbs it.
#[derive(Debug, Clone, Copy)]
pub struct Two {
    /// The processor of the server and its neighbours.
    pub quiet: usize,
    /// The processor of the attackers.
    pub loud: usize,
}

impl Two {
    /// Returns the first two that this thread may run on.
    ///
    /// # Errors
    ///
    /// The error names what is missing on this machine.
    pub fn find() -> Result<Self, String> {
        let list = allowed().map_err(|error| error.to_string())?;
        let mut all = list.split(',').filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse().ok()?..=last.parse().ok()?)
        });
        let mut all = all.by_ref().flatten();
        match (all.next(), all.next()) {
            (Some(quiet), Some(loud)) => Ok(Self { quiet, loud }),
            _ => Err("two processors".to_owned()),
        }
    }

    /// Returns the words before a program that runs it on the loud one.
    ///
    /// # Errors
    ///
    /// The error names what is missing on this machine.
    pub fn on_loud(self, when: When) -> Result<Vec<OsString>, String> {
        let loud = self.loud.to_string();
        let mut words = vec![need_tool("taskset")?.into(), "-c".into(), loud.into()];
        if when == When::Idle {
            words.extend([need_tool("chrt")?.into(), "--idle".into(), "0".into()]);
        }
        Ok(words)
    }
}

/// Returns the processors that this thread may run on, as in `0-3,8` (proc_pid_status(5)).
fn allowed() -> io::Result<String> {
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    Ok(list.unwrap_or_default().trim().to_owned())
}

/// Keeps this thread, and what it starts from now on, on one processor until it is dropped.
#[derive(Debug)]
pub struct Pinned(String);

impl Pinned {
    /// Pins this thread.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or a tool is missing.
    pub fn to(processor: usize) -> io::Result<Self> {
        let before = allowed()?;
        keep_to(&processor.to_string())?;
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = keep_to(&self.0);
    }
}

/// Keeps this thread on these processors (taskset(1)).
fn keep_to(list: &str) -> io::Result<()> {
    let own = fs::read_link("/proc/thread-self")?;
    let own = own.file_name().unwrap_or_default();
    let mut taskset = Command::new(need_tool("taskset").map_err(io::Error::other)?);
    taskset.args(["-c", "-p", list]).arg(own).stdout(Stdio::null());
    match taskset.status()?.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("taskset refuses {list}"))),
    }
}
