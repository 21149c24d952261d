//! A program at a terminal, and whoever looks at it and types.

use std::io::{self, Read as _, Write as _};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::termios::{Winsize, tcsetwinsize};

use super::Terminal;
use super::emulator::{Emulator, Resize};
use crate::wait::{DEADLINE, poll_for};

/// The rows of a window.
const HEIGHT: u16 = 24;

/// A program at a terminal. Dropping it kills the program.
///
/// What the program writes is taken whenever this is looked at, and not otherwise: a test that waits for
/// something else does so by [`Viewer::until`].
#[derive(Debug)]
pub struct Viewer {
    terminal: Terminal,
    screen: Emulator,
    shown: Vec<u8>,
    child: Child,
}

impl Viewer {
    /// Makes a terminal of so many columns, and starts the program that `arrange` makes for it.
    ///
    /// # Panics
    ///
    /// When that can't be done.
    #[must_use]
    pub fn start(columns: u16, resize: Resize, arrange: impl FnOnce(&Terminal) -> Command) -> Self {
        let terminal = Terminal::open();
        set_size(&terminal, columns);
        let flags = fcntl_getfl(&terminal.keyboard).expect("flags");
        fcntl_setfl(&terminal.keyboard, flags | OFlags::NONBLOCK)
            .expect("a terminal that waits for nobody");
        let mut command = arrange(&terminal);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // The other side stays open as long as the program runs, and no longer.
        drop(command);
        let screen = Emulator::new(usize::from(columns), usize::from(HEIGHT), resize);
        Self { terminal, screen, shown: Vec::new(), child }
    }

    /// Returns the process number of the program.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads what the program has written, and returns the screen as it is now.
    ///
    /// # Panics
    ///
    /// When the terminal can't be read.
    pub fn look(&mut self) -> &Emulator {
        let mut block = [0; 4096];
        loop {
            match self.terminal.keyboard.read(&mut block) {
                // Nobody has the other side any more: end of file, or EIO.
                Ok(0) => break,
                Ok(count) => {
                    self.shown.extend_from_slice(&block[..count]);
                    self.screen.take(&block[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) =>
                {
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("the terminal can't be read: {error}"),
            }
        }
        &self.screen
    }

    /// Returns all that the program has written so far.
    #[must_use]
    pub fn shown(&self) -> &[u8] {
        &self.shown
    }

    /// Waits until something holds, with an eye on the screen.
    ///
    /// # Panics
    ///
    /// When it never does; the message has the screen.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&Emulator) -> bool) {
        let held = poll_for(DEADLINE, || holds(self.look()).then_some(()));
        assert!(held.is_some(), "not within {DEADLINE:?}: {what}\n{}", self.screen);
    }

    /// Types keys.
    ///
    /// # Panics
    ///
    /// When they can't be typed.
    pub fn types(&mut self, keys: &[u8]) {
        self.terminal.keyboard.write_all(keys).expect("a terminal");
    }

    /// Sets the width of the window, in columns. What was written for the old one is on the screen
    /// before.
    ///
    /// # Panics
    ///
    /// When that can't be done.
    pub fn set_columns(&mut self, columns: u16) {
        self.look();
        set_size(&self.terminal, columns);
        self.screen.set_columns(usize::from(columns));
    }

    /// Waits for the end of the program, prints the screen for whoever looks, and returns it with the exit status.
    ///
    /// # Panics
    ///
    /// When the program does not end.
    #[track_caller]
    pub fn end(&mut self, limit: Duration) -> (&Emulator, Option<i32>) {
        let ended = poll_for(limit, || {
            self.look();
            self.child.try_wait().expect("our own child")
        });
        self.look();
        println!("{}", self.screen);
        let status = ended.unwrap_or_else(|| panic!("it did not end within {limit:?}"));
        (&self.screen, status.code())
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        // One that has ended already is no fault here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_size(terminal: &Terminal, columns: u16) {
    let size = Winsize { ws_row: HEIGHT, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal.keyboard, size).expect("a size");
}
