//! What the server does to its own process, so that its commands start in a clean world.
#![allow(unsafe_code)]

use std::io;

use nix::{
    libc,
    sys::signal::{SigSet, SigmaskHow, sigprocmask},
};

/// Open files that this process may have: the soft limit, which its commands inherit. It is not
/// raised, since posix_spawn can't give a child another one back.
pub fn descriptor_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Undoes what the server's own parent may have left in its process: ignored and blocked signals, a
/// terminal, open descriptors, a umask. To be called before there is a second thread.
///
/// # Errors
/// When the kernel refuses one of them.
pub fn prepare_self() -> io::Result<()> {
    default_signals()?;
    give_up_terminal();
    close_on_exec()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // Orphans of commands come to this process, and not to init, where they would be lost.
    nix::sys::prctl::set_child_subreaper(true)?;
    Ok(())
}

/// A server that nohup(1) or a shell's `&` has started ignores signals, and posix_spawn would hand
/// that to every command. SIGPIPE stays ignored here: std sets it to its default in each child.
fn default_signals() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        if matches!(signal, libc::SIGKILL | libc::SIGSTOP | libc::SIGPIPE) {
            continue;
        }
        // SAFETY: SIG_DFL installs no handler, and no other thread runs yet. glibc keeps two signals
        // for itself and refuses them, which is right.
        unsafe {
            let mut old: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &mut old) == 0
                && old.sa_sigaction == libc::SIG_IGN
            {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

/// No command can reach the terminal that the server was started from. Ctrl-C still reaches the
/// server there, since it goes to the process group.
fn give_up_terminal() {
    let Ok(terminal) = std::fs::File::options().read(true).write(true).open("/dev/tty") else {
        return;
    };
    // SAFETY: plain system calls on a descriptor that is open, before there is a second thread. When
    // a session's leader gives its terminal up, its group gets SIGHUP (ioctl_tty(2)), which must not
    // end it here.
    unsafe {
        use std::os::fd::AsRawFd as _;
        let before = libc::signal(libc::SIGHUP, libc::SIG_IGN);
        libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY);
        libc::signal(libc::SIGHUP, before);
    }
}

/// Descriptors that the server was given by accident stay with it.
fn close_on_exec() -> io::Result<()> {
    // SAFETY: it sets a flag on descriptors, whoever owns them (close_range(2)).
    let done = unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
