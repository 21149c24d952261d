//! Setting up the server's own process, so that what it inherited does not reach the commands.
#![expect(
    clippy::disallowed_methods,
    reason = "the main thread, before the program serves and after; programs that serve nobody"
)]
#![allow(unsafe_code)]

mod manager;

use std::{
    fs::{self, File},
    io, mem, ptr,
};

use nix::{libc, sys::signal::SigSet};
use rustix::{
    fd::{AsRawFd as _, BorrowedFd, RawFd},
    fs::{Mode, OFlags, open},
    io::{FdFlags, fcntl_setfd},
    process::{Resource, getrlimit, umask},
};

pub use self::manager::{FromManager, PassedSocket};
use super::program::{OwnProgram, Sealed};

/// Sets up the server's own process, once, before it has a second thread, and returns what the service manager
/// passed to it.
///
/// - Signals that the starter of the server left ignored (nohup(1), a shell's `&`) get their
///   default back, which commands inherit. SIGPIPE stays ignored here; the standard library resets
///   it in a child.
/// - The signal mask is emptied; the umask is set to 022.
/// - The terminal is given up, so that no command can open `/dev/tty`. Ctrl-C still reaches a
///   server in the foreground of a shell, because it is sent to a process group. If the server
///   itself leads the session, as in a container with a terminal, the whole session loses the
///   terminal and Ctrl-C with it; SIGTERM ends it.
/// - The variables of the service manager leave the environment.
/// - Descriptors from 3 on are marked to be closed in commands.
///
/// The server stays dumpable until it first runs something as another user: otherwise its `/proc`
/// files would belong to root, and commands that run as its own user can read its key anyway. A
/// child that gives up root while it shares the server's memory makes the server not dumpable. This
/// is not reverted: only a root server has such children, and to root it makes no difference. If it
/// were reverted while another such child has not executed yet, that child's user could look into
/// the server's memory (ptrace(2)).
///
/// # Errors
/// If `/proc` is not mounted, the kernel refuses, or what the service manager passed does not fit together.
pub fn prepare_self() -> io::Result<FromManager> {
    for signal in 1..=libc::SIGRTMAX() {
        if signal != libc::SIGPIPE && disposition(signal, None) == Some(libc::SIG_IGN) {
            disposition(signal, Some(libc::SIG_DFL));
        }
    }
    SigSet::empty().thread_set_mask()?;
    umask(Mode::WGRP | Mode::WOTH);
    give_up_terminal();
    let passed = manager::take()?;
    close_on_exec()?;
    Ok(passed)
}

/// Opens the program of this process.
///
/// # Errors
/// If `/proc` is not mounted, or no descriptor is left.
pub fn own_program() -> io::Result<OwnProgram> {
    const LINK: &str = "/proc/self/exe";
    let path = fs::read_link(LINK)?;
    let file = open(LINK, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    Ok(OwnProgram { path, file: Sealed::new(File::from(file), None) })
}

/// Returns the number of descriptors that the server may have open: the soft RLIMIT_NOFILE. It is
/// never raised, because commands would inherit that: posix_spawn(3) can't restore the old limit,
/// and programs that use select(2) fail beyond 1,024. The unit of a service raises it with
/// LimitNOFILE.
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Returns the disposition of a signal, if it can be changed, and sets the disposition `new`, if
/// given.
fn disposition(signal: libc::c_int, new: Option<libc::sighandler_t>) -> Option<libc::sighandler_t> {
    // SAFETY: all zeroes is a valid sigaction: the default disposition, no flags, no handler.
    let (mut action, mut old): (libc::sigaction, libc::sigaction) = unsafe { mem::zeroed() };
    let action = match new {
        Some(handler) => {
            action.sa_sigaction = handler;
            ptr::from_ref(&action)
        }
        None => ptr::null(),
    };
    // SAFETY: `action` is null or points to a sigaction with SIG_DFL or SIG_IGN, so that no handler
    // of ours ever runs; `old` may be written.
    (unsafe { libc::sigaction(signal, action, &mut old) } == 0).then_some(old.sa_sigaction)
}

fn give_up_terminal() {
    // Without a terminal, the file can't be opened.
    let Ok(terminal) = File::options().read(true).write(true).open("/dev/tty") else { return };
    // If a session's leader does this, it gets SIGHUP, as does the group in the foreground.
    let old = disposition(libc::SIGHUP, Some(libc::SIG_IGN));
    // SAFETY: TIOCNOTTY takes no argument and touches no memory; the descriptor is open.
    unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY) };
    disposition(libc::SIGHUP, old);
}

fn close_on_exec() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(fd) = name.to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        if fd > 2 {
            // SAFETY: the descriptor is open: /proc listed it, and there is no other thread that
            // could have closed it.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            fcntl_setfd(fd, FdFlags::CLOEXEC)?;
        }
    }
    Ok(())
}
