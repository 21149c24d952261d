//! Job control: a terminal is neither read nor written to while that would stop this process.
//!
//! A process in the background that reads its terminal is stopped by SIGTTIN, and by SIGTTOU if it
//! writes under `stty tostop` (termios(3)). A stopped client answers no ping, and its command would be
//! killed for it. Text is coloured where a terminal obeys.

use std::env;
use std::os::fd::{AsFd, BorrowedFd};

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::termios::{LocalModes, isatty, tcgetattr, tcgetpgrp, tcgetwinsize};

/// Between two looks whether this process has come to the front. Nothing tells it: a shell need not
/// send SIGCONT to what has never stopped.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// The width of a terminal that does not know its own, in columns.
const COLUMNS: usize = 80;

/// Returns whether a descriptor is a terminal.
pub(crate) fn is_terminal(fd: impl AsFd) -> bool {
    isatty(fd)
}

/// Returns whether this process's terminals obey control sequences, as far as `TERM` says (environ(7)).
pub(crate) fn obeys() -> bool {
    env::var_os("TERM").is_some_and(|kind| !kind.is_empty() && kind != "dumb")
}

/// Returns whether text for a standard stream is coloured: at a terminal that obeys, unless `NO_COLOR` or
/// `CLICOLOR=0` says no, and wherever `CLICOLOR_FORCE` says so. Where `CI` is set anstream colours what is
/// written to a dumb terminal too, which would show the sequences as text.
pub(crate) fn has_colour(stream: &(impl RawStream + AsFd)) -> bool {
    let forced = env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    (forced || obeys()) && AutoStream::choice(stream) != ColorChoice::Never
}

/// Returns whether what is written to a descriptor can't come to a terminal: it is a file or the null device. Of a
/// pipe, whoever reads it may show it at the same one.
pub(crate) fn is_apart(fd: impl AsFd) -> bool {
    let kind = fstat(&fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
    match kind {
        Ok(FileType::RegularFile) => true,
        Ok(FileType::CharacterDevice) => !is_terminal(fd),
        _ => false,
    }
}

/// Returns how many columns a terminal has; 80 for one that does not know.
pub(crate) fn columns(fd: impl AsFd) -> usize {
    match tcgetwinsize(fd) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => COLUMNS,
    }
}

/// Returns whether a descriptor is the terminal that controls this process, and another process is in
/// front of it.
pub(crate) fn is_in_background(fd: impl AsFd) -> bool {
    // Of any other terminal, or one that hung up, it is no business of ours who is in front.
    tcgetpgrp(fd).is_ok_and(|front| front != getpgrp())
}

/// Waits until a terminal has something to be read, and this process is in front of it.
pub(crate) fn wait_for_input(terminal: BorrowedFd<'_>) {
    loop {
        while is_in_background(terminal) {
            pause();
        }
        match poll(&mut [PollFd::new(&terminal, PollFlags::IN)], None) {
            // What was typed meanwhile may be for another process.
            Ok(_) if is_in_background(terminal) => {}
            Err(Errno::INTR) => {}
            // The read says why.
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
    // It can't fail but by a signal, which is no reason to hurry.
    let _ = poll(&mut [], Some(&LOOK));
}
