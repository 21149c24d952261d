//! Settings of output: the form, and the files.

use std::collections::HashSet;
use std::path::PathBuf;

use encoding_rs::Encoding;
use rcmd_client::{ErrorKind, WireError};

use super::records::Format;
use crate::arguments::fleet::Summary;
use crate::output::Form;
use crate::settings::Verbosity;

/// The form in which output is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DisplayForm {
    /// Lines as they come, each with its host.
    Lines,
    /// Each answer once, with the hosts that gave it, at the end.
    Fold,
    /// The most common answer, and the differences of the others, at the end.
    Diff,
    /// A record for each host, as it ends.
    Format(Format),
    /// Events in JSON, as they come.
    Json,
}

/// The settings of output.
#[derive(Clone, Debug)]
pub(crate) struct DisplaySettings {
    pub(crate) form: DisplayForm,
    /// The folder with files of each host.
    pub(crate) outdir: Option<PathBuf>,
    /// The file with the result of each host.
    pub(crate) result: Option<PathBuf>,
    pub(crate) summary: Summary,
    /// True if a live line is wanted also beside output that shows how far the run is.
    pub(crate) progress: bool,
    /// True if control characters go to a terminal as they are.
    pub(crate) raw: bool,
    /// True if lines begin with the host's time.
    pub(crate) timestamps: bool,
    pub(crate) encoding: Option<&'static Encoding>,
    pub(crate) verbosity: Verbosity,
    /// Targets that ended earlier in the same run, by their places.
    pub(crate) left_alone: HashSet<usize>,
}

impl DisplaySettings {
    /// Returns what makes bytes of pieces of output.
    ///
    /// # Errors
    /// A usage failure if two settings exclude each other.
    pub(super) fn bytes(&self) -> Result<Form, WireError> {
        let Self { encoding, timestamps, .. } = *self;
        let compared = match self.form {
            DisplayForm::Fold => "--fold",
            DisplayForm::Diff => "--diff",
            DisplayForm::Format(_) => "--format",
            DisplayForm::Lines | DisplayForm::Json => {
                return Ok(Form::Text { encoding, timestamps });
            }
        };
        if timestamps {
            let message = format!("{compared} and --timestamps exclude each other");
            return Err(WireError::new(ErrorKind::Usage, message)
                .hint("Times differ on every host; leave out one of the two."));
        }
        Ok(Form::Text { encoding, timestamps })
    }

    /// Returns whether there is a live line at a terminal; `apart` if what standard output gets can't come
    /// between it.
    pub(super) fn has_live(&self, apart: bool) -> bool {
        let silent = matches!(self.form, DisplayForm::Fold | DisplayForm::Diff);
        self.verbosity > Verbosity::Quiet && (self.progress || silent || apart)
    }
}
