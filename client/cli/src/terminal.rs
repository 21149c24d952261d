//! Job control: the terminal is not read or written while that would stop this process. Also whether text is
//! coloured.
//!
//! SIGTTIN stops a process in the background that reads its terminal, and SIGTTOU one that writes to it under `stty
//! tostop` (termios(3)). A stopped client does not answer pings, so its command would be killed.

use std::env;
use std::os::fd::{AsFd, BorrowedFd};

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
pub(crate) use rcmd_certs::terminal::columns;
use rcmd_certs::terminal::obeys;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::termios::{LocalModes, isatty, tcgetattr, tcgetpgrp};

/// The time between two checks whether this process is in the foreground. No signal reports this: a shell need not
/// send SIGCONT to a process that never stopped.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Returns whether a descriptor is a terminal.
pub(crate) fn is_terminal(fd: impl AsFd) -> bool {
    isatty(fd)
}

/// Returns whether a line at a descriptor can be drawn again and again in its place: it is a terminal, and one that
/// supports control sequences.
pub(crate) fn can_redraw(fd: impl AsFd) -> bool {
    is_terminal(fd) && obeys()
}

/// Returns whether text for a standard stream is coloured: at a terminal that supports it, unless `NO_COLOR` or
/// `CLICOLOR=0` is set, and always with `CLICOLOR_FORCE`. `TERM` is checked here because anstream, if `CI` is set,
/// also colours text for a dumb terminal, which would show the sequences.
pub(crate) fn has_colour(stream: &(impl RawStream + AsFd)) -> bool {
    let forced = env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    (forced || obeys()) && AutoStream::choice(stream) != ColorChoice::Never
}

/// Returns whether text that is written to a descriptor can't reach the terminal: it is a file or the null device.
/// The reader of a pipe may print to the same terminal.
pub(crate) fn is_apart(fd: impl AsFd) -> bool {
    let kind = fstat(&fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
    match kind {
        Ok(FileType::RegularFile) => true,
        Ok(FileType::CharacterDevice) => !is_terminal(fd),
        _ => false,
    }
}

/// Returns whether a descriptor is the controlling terminal of this process, and another process group is in its
/// foreground.
pub(crate) fn is_in_background(fd: impl AsFd) -> bool {
    // For any other terminal, or one that hung up, the call fails.
    tcgetpgrp(fd).is_ok_and(|front| front != getpgrp())
}

/// Waits until a terminal has input, and this process is in its foreground.
pub(crate) fn wait_for_input(terminal: BorrowedFd<'_>) {
    loop {
        while is_in_background(terminal) {
            pause();
        }
        match poll(&mut [PollFd::new(&terminal, PollFlags::IN)], None) {
            // The input may be for another process.
            Ok(_) if is_in_background(terminal) => {}
            Err(Errno::INTR) => {}
            // A read returns the error.
            Ok(_) | Err(_) => return,
        }
    }
}

/// Waits until writing to a descriptor would not stop this process.
pub(crate) fn wait_to_write(fd: BorrowedFd<'_>) {
    while is_in_background(fd)
        && tcgetattr(fd).is_ok_and(|modes| modes.local_modes.contains(LocalModes::TOSTOP))
    {
        pause();
    }
}

fn pause() {
    // Only a signal can end it early, which does no harm.
    let _ = poll(&mut [], Some(&LOOK));
}
