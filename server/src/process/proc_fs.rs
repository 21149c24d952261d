//! The state of processes, read from `/proc` (proc(5)). All of it may be outdated a moment later.
#![expect(
    clippy::disallowed_methods,
    reason = "any thread, since the kernel answers by itself; environments are for the threads `marks`"
)]

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use rustix::process::{Pid, RawPid};

/// The maximum bytes of an environment that are read: the kernel allows arguments and environment 6
/// MiB together (execve(2)).
const ENVIRONMENT: u64 = 6 << 20;

/// The flag of a process that has not executed a program (PF_FORKNOEXEC, include/linux/sched.h).
const FORKED: u64 = 0x40;

/// The state of a process, from `/proc/PID/stat`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stat {
    pub(super) pid: Pid,
    /// The parent; `None` if it is outside this PID namespace.
    pub(super) parent: Option<Pid>,
    pub(super) group: RawPid,
    pub(super) session: RawPid,
    /// The time of its start, in ticks since boot. Together with the process ID, it identifies the
    /// process for ever.
    pub(super) start: u64,
    /// True while any thread of it runs.
    pub(super) alive: bool,
    /// True if its environment has no variable.
    pub(super) bare: bool,
    /// True once it has executed a program, and no longer runs that of its parent.
    pub(super) has_executed: bool,
}

/// Returns the state of a process, if it exists.
pub(super) fn stat(pid: Pid) -> Option<Stat> {
    parse_stat(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(pid: Pid, text: &[u8]) -> Option<Stat> {
    // The name is in parentheses and may contain any byte, parentheses and blanks too.
    let after_name = text.iter().rposition(|&byte| byte == b')')? + 1;
    let rest = std::str::from_utf8(text.get(after_name..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The first of these fields is number 3 in proc(5).
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |at| field(at)?.parse::<RawPid>().ok();
    let threads: u64 = field(20)?.parse().ok()?;
    let (environment, end) = (field(50)?, field(51)?);
    Some(Stat {
        pid,
        parent: number(4).and_then(Pid::from_raw),
        group: number(5)?,
        session: number(6)?,
        start: field(22)?.parse().ok()?,
        // A first thread that has ended is a zombie while other threads continue.
        alive: !matches!(field(3)?, "Z" | "X" | "x") || threads > 1,
        bare: environment == end && end != "0",
        has_executed: field(9)?.parse::<u64>().ok()? & FORKED == 0,
    })
}

/// Opens a file of `/proc` about the server or the host.
pub(super) fn open(name: &str) -> io::Result<File> {
    File::open(Path::new("/proc").join(name))
}

/// Reads a file of `/proc` about the server or the host.
pub(super) fn read(name: &str) -> io::Result<String> {
    fs::read_to_string(Path::new("/proc").join(name))
}

/// Returns the effective user ID of a process.
pub(super) fn user(pid: RawPid) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Returns the children of a process, including dead ones that are not reaped.
///
/// The list of the kernel is complete only while the process is stopped.
pub(super) fn children(pid: Pid) -> Vec<Pid> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut children = Vec::new();
    for task in tasks.flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(list) => children.extend(list.split_ascii_whitespace().filter_map(parse_pid)),
            // The kernel lacks CONFIG_PROC_CHILDREN, unless the thread has ended.
            Err(_) if task.path().exists() => return children_by_scan(pid),
            Err(_) => {}
        }
    }
    children
}

/// Returns the children that a thread of the server has started, including dead ones that are not
/// reaped. Returns `None` where the kernel does not list them (CONFIG_PROC_CHILDREN).
pub(super) fn children_of_thread(thread: Pid) -> Option<Vec<Pid>> {
    let list = fs::read_to_string(format!("/proc/self/task/{thread}/children")).ok()?;
    Some(list.split_ascii_whitespace().filter_map(parse_pid).collect())
}

/// Returns the children of the server as [`children`] does, without those that `threads` have
/// started. Returns none at all where the kernel does not list the children of threads.
pub(super) fn children_but_of(threads: &[Pid]) -> Vec<Pid> {
    let mut children = children(rustix::process::getpid());
    for thread in threads {
        let Some(started) = children_of_thread(*thread) else { return Vec::new() };
        children.retain(|child| !started.contains(child));
    }
    children
}

/// Returns the children of a process by looking at every process of the host.
fn children_by_scan(parent: Pid) -> Vec<Pid> {
    all().into_iter().filter(|stat| stat.parent == Some(parent)).map(|stat| stat.pid).collect()
}

/// Returns the state of every process of the host.
pub(super) fn all() -> Vec<Stat> {
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    all.flatten()
        .filter_map(|entry| parse_pid(entry.file_name().to_str()?))
        .filter_map(stat)
        .collect()
}

fn parse_pid(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(Pid::from_raw)
}

/// The state of a process whose environment can't be read at the moment: it is executing a program,
/// or dying.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct InBetween;

/// Returns the value of a variable in the environment that a process was started with. Returns
/// `None` also for processes whose environment may not be read.
pub(super) fn variable(pid: Pid, name: &str) -> Result<Option<Vec<u8>>, InBetween> {
    let mut environment = Vec::new();
    let Ok(file) = File::open(format!("/proc/{pid}/environ")) else { return Ok(None) };
    if file.take(ENVIRONMENT).read_to_end(&mut environment).is_err() {
        return Ok(None);
    }
    // A process with an empty environment has an address for it all the same.
    if environment.is_empty() && !stat(pid).is_some_and(|stat| stat.bare) {
        return Err(InBetween);
    }
    Ok(find_variable(&environment, name).map(<[u8]>::to_vec))
}

fn find_variable<'a>(environment: &'a [u8], name: &str) -> Option<&'a [u8]> {
    environment
        .split(|&byte| byte == 0)
        .find_map(|setting| setting.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(raw: RawPid) -> Pid {
        Pid::from_raw(raw).unwrap()
    }

    fn line(name: &str, state: &str, threads: u32) -> String {
        let head =
            format!("77 ({name}) {state} 5 70 60 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 {threads}");
        let tail = " 0".repeat(27);
        format!("{head} 0 123456{tail} 9000 9000 0\n")
    }

    #[test]
    fn a_name_can_not_forge_a_state() {
        let forged = line("x) Z 1 1 1 0 (y", "S", 1);
        let stat = parse_stat(pid(77), forged.as_bytes()).unwrap();
        assert_eq!(stat.parent, Some(pid(5)));
        assert_eq!((stat.group, stat.session, stat.start, stat.alive), (70, 60, 123_456, true));
    }

    #[test]
    fn a_process_lives_as_long_as_one_thread_does() {
        let alive = |state, threads| {
            parse_stat(pid(77), line("sh", state, threads).as_bytes()).unwrap().alive
        };
        assert!(alive("T", 1));
        assert!(alive("Z", 2));
        assert!(!alive("Z", 1));
    }

    #[test]
    fn a_process_of_its_parent_s_program_has_executed_none() {
        let parsed = |flags: &str| {
            let text = line("sh", "S", 1).replace("4194560", flags);
            parse_stat(pid(77), text.as_bytes()).unwrap().has_executed
        };
        assert!(parsed("4194560"));
        assert!(!parsed("4194368"));
    }

    #[test]
    fn a_line_cut_short_is_no_state() {
        let whole = line("sh", "S", 1);
        for cut in 0..whole.len() - " 9000 0\n".len() {
            assert_eq!(parse_stat(pid(77), &whole.as_bytes()[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let environment = b"XRCMD_JOB=a\0RCMD_JOBS=b\0A=RCMD_JOB=c\0RCMD_JOB=d\0RCMD_JOB=e\0";
        assert_eq!(find_variable(environment, "RCMD_JOB"), Some(&b"d"[..]));
        assert_eq!(find_variable(b"RCMD_JOB", "RCMD_JOB"), None);
        assert_eq!(find_variable(b"", "RCMD_JOB"), None);
    }

    #[test]
    fn the_server_sees_itself() {
        let own = rustix::process::getpid();
        let stat = stat(own).unwrap();
        assert!(stat.alive);
        // Not rustix's: it panics at a group outside this PID namespace, 0.
        assert_eq!(stat.group, nix::unistd::getpgrp().as_raw());
    }
}
