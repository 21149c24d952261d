//! What lies on this machine: the sources of a push, and the places of a fetch.
#![expect(
    clippy::disallowed_methods,
    reason = "the program `rcmd-client` before anything starts, and its threads `transfer`"
)]

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcmd_client::{ErrorKind, WireError};
use rcmd_transfer::{
    Destination, Failure, FailureKind, Landing, TransferLimits, TransferSource, current_umask,
};
use rustix::fs::{CWD, Mode, OFlags};

use super::scratch::Scratch;
use super::words;
use crate::arguments::places::{LocalSources, LocalTarget, last_name};
use crate::output::sink;
use crate::settings::copy::{CopyRun, CopyWork};

/// The name of a file that is on its way from a stream, in a folder of its own, and of one that goes to a stream if it
/// has no name of its own.
const SPOOLED: &str = "content";

/// The bytes of a name that a file may have.
const NAME: usize = 255;

/// What is sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    /// The sources; what leads nowhere is among them, and fails.
    pub(super) found: Vec<TransferSource>,
    /// Paths that lead nowhere, and why, if all do.
    pub(super) missing: Vec<(Vec<u8>, Failure)>,
}

impl Sources {
    /// Finds the sources of a push, and reads standard input if it is one, which may wait. A fetch has none.
    ///
    /// # Errors
    /// Standard input can't be read, or there is no room for it.
    pub(super) fn find(run: &CopyRun, scratch: &Scratch) -> Result<Self, WireError> {
        match &run.work {
            CopyWork::Fetch { .. } => Ok(Self::default()),
            CopyWork::Push { sources: LocalSources::Paths(paths), .. } => Ok(Self::at(paths)),
            CopyWork::Push { sources: LocalSources::Standard, to, .. } => {
                let name = last_name(to).unwrap_or(SPOOLED.as_bytes());
                Self::spooled(io::stdin().lock(), name, scratch)
            }
        }
    }

    fn at(paths: &[Vec<u8>]) -> Self {
        // Links in what was typed are followed.
        let found = paths.iter().map(|path| (path, TransferSource::at(CWD, path, true)));
        let found: Vec<_> = found.collect();
        let mut sources = Self::default();
        let has_any = found.iter().any(|(_, source)| source.is_ok());
        for (path, source) in found {
            let source = match source {
                Err(failure) if has_any => lost(path, failure),
                source => source,
            };
            match source {
                Ok(source) => sources.found.push(source),
                Err(failure) => sources.missing.push((path.clone(), failure)),
            }
        }
        sources
    }

    /// Puts what a stream has into a file that nobody else reaches.
    fn spooled(mut from: impl io::Read, name: &[u8], scratch: &Scratch) -> Result<Self, WireError> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            WireError::new(ErrorKind::LocalIo, format!("cannot {what}: {error}")).hint(
                "Standard input is kept in a file until it is sent; $TMPDIR says in which folder.",
            )
        };
        let folder = scratch.folder().map_err(|error| failed("make a folder", &error))?;
        let path = folder.join(SPOOLED);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&path).map_err(|error| failed("make a file", &error))?;
        let copied = io::copy(&mut from, &mut file);
        copied.map_err(|error| failed("keep standard input", &error))?;
        // As a shell's redirection makes it.
        let mode = Permissions::from_mode(0o666 & !current_umask());
        file.set_permissions(mode).map_err(|error| failed("make a file", &error))?;
        let source = TransferSource::at(CWD, path.as_os_str().as_bytes(), false);
        let source = source.and_then(|source| source.under(name));
        let found = vec![source.map_err(|failure| failed("find standard input", &failure))?];
        Ok(Self { found, missing: Vec::new() })
    }
}

/// Returns a source that fails when its turn comes, so that both ends count it.
fn lost(path: &[u8], why: Failure) -> Result<TransferSource, Failure> {
    let folder = File::open(".").map_err(|error| failure(&error, "find this folder"))?;
    TransferSource::lost(Arc::new(folder.into()), path, why)
}

/// Opens a file that was fetched, as a file alone: nothing that a host sends is followed, or waited for.
///
/// # Errors
/// It is missing, is a link or anything else than a file, or can't be read.
pub(super) fn open_fetched(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())?);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "what came is no file"))
}

/// Where what is fetched from one host goes.
#[derive(Clone, Debug)]
pub(super) struct LocalPlace {
    target: LocalTarget,
    landing: Landing,
    /// The name of the folder of this host, in a set.
    host: Option<String>,
    /// The name of the file that goes to standard output.
    name: Vec<u8>,
    is_dry: bool,
    limits: TransferLimits,
    scratch: Scratch,
}

/// A place that is open, with what has to live as long as it is written to.
pub(super) struct OpenPlace {
    pub(super) destination: Destination,
    /// The file for standard output.
    spool: Option<PathBuf>,
}

impl LocalPlace {
    pub(super) fn new(
        target: LocalTarget,
        landing: Landing,
        host: Option<String>,
        name: Option<&[u8]>,
        is_dry: bool,
        scratch: Scratch,
    ) -> Self {
        let name = name.filter(|name| name.len() <= NAME).unwrap_or(SPOOLED.as_bytes()).to_vec();
        let limits = TransferLimits::default();
        Self { target, landing, host, name, is_dry, limits, scratch }
    }

    /// Limits what a host may make this end write.
    pub(super) fn limited(mut self, limits: TransferLimits) -> Self {
        self.limits = limits;
        self
    }

    pub(super) fn limits(&self) -> TransferLimits {
        self.limits
    }

    /// Opens the place. The folders of a set are made if they are missing, but not those above them.
    ///
    /// # Errors
    /// `no_such_file`, `exists` and the like.
    pub(super) fn open(&self) -> Result<OpenPlace, Failure> {
        match &self.target {
            LocalTarget::Standard => OpenPlace::of_stream(&self.name, &self.scratch),
            LocalTarget::Path(path) => self.open_at(path).map_err(|failure| {
                let message = format!("{}: {}", words::path(path), failure.message);
                Failure { message, ..failure }
            }),
        }
    }

    fn open_at(&self, path: &[u8]) -> Result<OpenPlace, Failure> {
        let plain = |destination| OpenPlace { destination, spool: None };
        let Some(host) = &self.host else {
            return Destination::at(CWD, path, self.landing).map(plain);
        };
        let above = Path::new(OsStr::from_bytes(path));
        let folder = above.join(host);
        if self.is_dry && !folder.is_dir() {
            // Nothing is there, and nothing is made.
            let empty = self.scratch.folder();
            let empty = empty.map_err(|error| failure(&error, "make a folder"))?;
            let path = empty.as_os_str().as_bytes();
            return Destination::at(CWD, path, self.landing).map(plain);
        }
        for made in [above, &folder] {
            match fs::create_dir(made) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failure(&error, &format!("make {}", made.display()))),
            }
        }
        Destination::at(CWD, folder.as_os_str().as_bytes(), self.landing).map(plain)
    }
}

impl OpenPlace {
    fn of_stream(name: &[u8], scratch: &Scratch) -> Result<Self, Failure> {
        let folder = scratch.folder().map_err(|error| failure(&error, "make a folder"))?;
        let path = folder.join(OsStr::from_bytes(name));
        let landing = Landing { is_itself: true, has_several: false };
        let destination = Destination::at(CWD, path.as_os_str().as_bytes(), landing)?;
        Ok(Self { destination, spool: Some(path) })
    }

    /// Returns whether what was fetched goes to standard output.
    pub(super) fn is_stream(&self) -> bool {
        self.spool.is_some()
    }

    /// Writes what was fetched to standard output, if that is its place.
    ///
    /// # Errors
    /// Standard output can't be written. A reader that has gone is told as such.
    pub(super) fn finish(self) -> io::Result<()> {
        let Some(spool) = self.spool else { return Ok(()) };
        let mut file = match open_fetched(&spool) {
            Ok(file) => file,
            // It failed, which was told.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        // The reader may take its time; nothing is left then, however this process ends.
        fs::remove_file(&spool)?;
        let place = sink::Place::Stdout;
        let is_terminal = crate::terminal::is_terminal(place.descriptor());
        let mut block = vec![0; 256 * 1024];
        loop {
            let count = file.read(&mut block)?;
            match block.get(..count) {
                None | Some([]) => return Ok(()),
                Some(bytes) => place.write_all(bytes, is_terminal)?,
            }
        }
    }
}

fn failure(error: &io::Error, what: &str) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => FailureKind::NoSuchFile,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            FailureKind::Permission
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => FailureKind::Exists,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::NoSpace,
        _ => FailureKind::Io,
    };
    Failure { kind, message: format!("cannot {what}: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(path: &Path) -> Vec<u8> {
        path.as_os_str().as_bytes().to_vec()
    }

    #[test]
    fn sources_that_are_missing_fail_beside_others_and_are_told_if_there_are_no_others() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("a"), b"x").unwrap();
        let sources =
            Sources::at(&[bytes(&place.path().join("a")), bytes(&place.path().join("none"))]);
        assert_eq!((sources.found.len(), sources.missing.len()), (2, 0));
        let sources = Sources::at(&[bytes(&place.path().join("none"))]);
        assert_eq!((sources.found.len(), sources.missing.len()), (0, 1));
        assert_eq!(sources.missing[0].1.kind, FailureKind::NoSuchFile);
    }

    #[test]
    fn standard_input_is_a_private_file_under_the_name_of_its_destination() {
        let scratch = Scratch::default();
        let sources = Sources::spooled(&b"content"[..], b"list", &scratch).unwrap();
        let parts = sources.found[0].clone().into_parts();
        assert_eq!(
            (&*parts.name, parts.entry.as_deref()),
            (&b"list"[..], Some(SPOOLED.as_bytes()))
        );
        let opened = rustix::fs::openat(&parts.folder, SPOOLED, OFlags::RDONLY, Mode::empty());
        let mut text = String::new();
        File::from(opened.unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        scratch.remove();
        rustix::fs::openat(&parts.folder, SPOOLED, OFlags::RDONLY, Mode::empty()).unwrap_err();
    }

    fn fetch(path: &Path, host: &str, is_dry: bool) -> Result<OpenPlace, Failure> {
        let (target, host) = (LocalTarget::Path(bytes(path)), Some(host.to_owned()));
        let scratch = Scratch::default();
        LocalPlace::new(target, Landing::default(), host, None, is_dry, scratch).open()
    }

    #[test]
    fn each_host_has_a_folder_which_is_made_with_the_one_above_and_no_further() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("out");
        fetch(&out, "web1", false).unwrap();
        assert!(out.join("web1").is_dir());
        fetch(&out, "web1", false).unwrap();
        let error = fetch(&place.path().join("no/such"), "web1", false).err().unwrap();
        assert_eq!(error.kind, FailureKind::NoSuchFile);
        assert!(!place.path().join("no").exists());
        fs::write(place.path().join("file"), b"x").unwrap();
        let error = fetch(&place.path().join("file"), "web1", false).err().unwrap();
        assert_eq!(error.kind, FailureKind::Exists);
    }

    #[test]
    fn what_was_fetched_is_read_as_a_file_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::write(path("secret"), b"secret").unwrap();
        std::os::unix::fs::symlink("secret", path("link")).unwrap();
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(CWD, path("pipe"), kind, Mode::RUSR, 0).unwrap();
        for name in ["link", "pipe", ""] {
            open_fetched(&path(name)).unwrap_err();
        }
        open_fetched(&path("secret")).unwrap();
    }

    #[test]
    fn a_link_for_standard_output_is_not_followed() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("secret"), b"secret").unwrap();
        let scratch = Scratch::default();
        let open = OpenPlace::of_stream(b"f", &scratch).unwrap();
        let spooled = open.spool.as_ref().unwrap();
        std::os::unix::fs::symlink(place.path().join("secret"), spooled).unwrap();
        open.finish().unwrap_err();
        scratch.remove();
    }

    #[test]
    fn a_dry_run_makes_no_folder() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("out");
        fetch(&out, "web1", true).unwrap().finish().unwrap();
        assert!(!out.exists());
    }
}
