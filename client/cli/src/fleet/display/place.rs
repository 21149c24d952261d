//! The places where output is written, and reports of those that can't be.

use std::io;
use std::path::PathBuf;

use rcmd_certs::files::shown;
use tokio::sync::mpsc;

use crate::output::sink;

/// A place where output is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Standard output or standard error.
    Screen(sink::Place),
    /// This file.
    File(PathBuf),
}

impl Place {
    /// Returns its name in a message.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Screen(place) => place.name().to_owned(),
            Self::File(path) => shown(path),
        }
    }
}

/// The number of failures that may wait to be heard. There are no more places: two screens, `--result`, and of
/// `--outdir` the results and one file.
const PLACES: usize = 5;

/// The channel for failures to write. Each place reports its first failure and is not written after it.
#[derive(Clone, Debug)]
pub(super) struct Failures(mpsc::Sender<(Place, io::Error)>);

impl Failures {
    /// Returns one, and where they are heard.
    pub(super) fn channel() -> (Self, mpsc::Receiver<(Place, io::Error)>) {
        let (told, heard) = mpsc::channel(PLACES);
        (Self(told), heard)
    }

    /// Reports that a place can't be written any more.
    pub(super) fn tell(&self, place: Place, error: io::Error) {
        // Whoever ran the command may have left already.
        let _ = self.0.try_send((place, error));
    }
}
