//! Where something is written, and what is told when it can't be.

use std::io;
use std::path::PathBuf;

use rcmd_certs::files::shown;
use tokio::sync::mpsc::UnboundedSender;

use crate::output::sink;

/// Where something is written.
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

/// Where failures to write are told. Each writer tells its first and writes nothing after it, so there
/// are only a few.
#[derive(Clone, Debug)]
pub(super) struct Failures(UnboundedSender<(Place, io::Error)>);

impl Failures {
    /// Returns one that tells them there.
    pub(super) fn new(to: UnboundedSender<(Place, io::Error)>) -> Self {
        Self(to)
    }

    /// Tells that a place can't be written any more.
    pub(super) fn tell(&self, place: Place, error: io::Error) {
        // Whoever ran the command may have left already.
        let _ = self.0.send((place, error));
    }
}
