//! Pseudo-terminals, for programs that behave differently on one (pty(7)).

use std::fs::File;
use std::path::PathBuf;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

mod emulator;
mod viewer;

pub use emulator::{Emulator, Resize};
pub use viewer::Viewer;

/// A terminal, and the keyboard of the person in front of it.
#[derive(Debug)]
pub struct Terminal {
    /// The side of the person: what is written to it is typed, and what is read from it was shown.
    pub keyboard: File,
    path: PathBuf,
}

impl Terminal {
    /// Makes one, which is nobody's controlling terminal yet.
    ///
    /// # Panics
    ///
    /// When the kernel gives none.
    #[must_use]
    pub fn open() -> Self {
        // A program that had this end would keep the terminal from hanging up.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keyboard = openpt(flags).expect("a pseudo-terminal");
        grantpt(&keyboard).and_then(|()| unlockpt(&keyboard)).expect("its other side");
        let path = ptsname(&keyboard, Vec::new()).expect("its name");
        let path = PathBuf::from(path.into_string().expect("a name in ASCII"));
        Self { keyboard: File::from(keyboard), path }
    }

    /// Returns the side that a program has as a standard stream. `setsid --ctty` makes what it has
    /// as standard input its controlling terminal.
    ///
    /// # Panics
    ///
    /// When it can't be opened.
    #[must_use]
    pub fn side(&self) -> File {
        // The test itself must not get a terminal by this.
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        let side = rustix::fs::open(&self.path, flags, rustix::fs::Mode::empty());
        File::from(side.expect("the other side of a pseudo-terminal"))
    }
}
