//! `--result`: the result object of each target, one a line, as it ends.
#![expect(
    clippy::disallowed_methods,
    reason = "the program `rcmd-client` before anything starts, and its thread `display`"
)]

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rcmd_certs::files::shown;
use rcmd_client::{ErrorKind, Report, WireError};

use super::place::{Failures, Place};

/// A file of results.
pub(super) struct Results {
    path: PathBuf,
    file: Option<File>,
    failures: Failures,
}

impl Results {
    /// Returns the results that go to this file.
    pub(super) fn new(path: PathBuf, file: File, failures: Failures) -> Self {
        Self { path, file: Some(file), failures }
    }

    /// Makes a file of results, or empties the one that is there.
    ///
    /// # Errors
    /// A failure of kind `local_io`.
    pub(super) fn create(path: &Path, failures: &Failures) -> Result<Self, WireError> {
        let file = File::create(path).map_err(|error| {
            WireError::new(ErrorKind::LocalIo, format!("cannot write {}: {error}", shown(path)))
                .hint("Nothing ran; name another file for --result.")
        })?;
        Ok(Self::new(path.to_owned(), file, failures.clone()))
    }

    /// Writes a result. After one that could not be written there are no more.
    pub(super) fn put(&mut self, report: &Report) {
        let Some(file) = &mut self.file else { return };
        let line = serde_json::to_vec(report).map_err(io::Error::from);
        let written = line.and_then(|mut line| {
            line.push(b'\n');
            file.write_all(&line)
        });
        if let Err(error) = written {
            self.file = None;
            self.failures.tell(Place::File(self.path.clone()), error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::harness::exited;
    use super::*;

    #[test]
    fn a_file_that_can_not_be_written_is_told_once() {
        let (failures, mut told) = Failures::channel();
        let path = Path::new("/dev/full");
        let mut results = Results::create(path, &failures).unwrap();
        results.put(&exited(0));
        results.put(&exited(0));
        assert_eq!(told.try_recv().unwrap().0, Place::File(path.to_owned()));
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn a_file_that_can_not_be_made_is_refused_with_its_name() {
        let (failures, _) = Failures::channel();
        let path = Path::new("/nowhere/r.jsonl");
        let error = Results::create(path, &failures).err().unwrap();
        assert!(error.message.contains("/nowhere/r.jsonl") && error.hint.is_some());
    }
}
