//! The subcommand `edit`: fetch, edit here, send back.
#![expect(clippy::disallowed_methods, reason = "programs that serve nobody")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rcmd_certs::files::shown;
use rcmd_client::{Config, ErrorKind, WireError};
use tokio::runtime::Runtime;

use self::editor::Ended;
use self::moving::{Moved, move_file};
use super::local::open_fetched;
use super::scratch::Scratch;
use super::verdict::{FAILED, HostEnd};
use crate::session;
use crate::settings::Verbosity;
use crate::settings::copy::CopyRun;
use crate::settings::listing::Edit;
use crate::text::{self, Tone};

mod editor;
mod moving;

/// Edits a file of a host, and returns the exit status.
///
/// # Errors
/// A failure when nothing was asked of the host, or this machine fails.
pub(crate) fn edit(edit: &Edit) -> Result<u8, WireError> {
    let reach = &edit.reach;
    let runtime = session::runtime()?;
    let config = session::config(&reach.layout, reach.connect_timeout, reach.compress, None);
    let config = runtime.block_on(config)?;
    let editing = Editing { edit, config, runtime, scratch: Scratch::default() };
    let status = editing.carry_out();
    editing.scratch.remove();
    session::renew_in_own_time(&reach.layout, reach.verbosity);
    // A look-up of a name may still hang in a thread of its own.
    editing.runtime.shutdown_background();
    // What ended it was said where it did.
    status.or_else(|stop| match stop {
        Stop::Failed(failure) => Err(*failure),
        Stop::Status(status) => Ok(status),
    })
}

/// Why nothing more is done.
enum Stop {
    /// A failure that was not said.
    Failed(Box<WireError>),
    /// What was said, as an exit status.
    Status(u8),
}

impl From<WireError> for Stop {
    fn from(failure: WireError) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// A file that is being edited.
struct Editing<'a> {
    edit: &'a Edit,
    config: Config,
    runtime: Runtime,
    scratch: Scratch,
}

impl Editing<'_> {
    fn carry_out(&self) -> Result<u8, Stop> {
        let edit = self.edit;
        let folder = self.scratch.folder().map_err(|error| local("make a folder", &error))?;
        let path = folder.join(OsStr::from_bytes(&edit.name));
        let fetched = self.transfer(edit.fetch(bytes(&path)), "nothing was changed")?;
        let is_new = is_missing(&fetched);
        if is_new && !edit.has_pattern() {
            File::create_new(&path).map_err(|error| local("make a file", &error))?;
        } else if fetched.status != 0 {
            say(&edit.reach.host.name, &fetched);
            if is_new && edit.has_pattern() {
                hint("`edit` takes a path as it is: *, ? and [ are no patterns in it.");
            }
            return Ok(fetched.status);
        }
        self.probe()?;
        let before = digest(&path)?;
        let edited = self.runtime.block_on(editor::run(path.clone()))?;
        // From here on the folder has somebody's work.
        let left = Left::at(&folder, &path, before);
        match (edited.signal, edited.ended) {
            (Some(signal), _) => {
                self.keep(&folder, &path, "was not sent: a signal came while it was edited");
                return Ok(signal.exit_status());
            }
            (None, Ended::Signal(signal)) => {
                error(&format!("the editor was ended by {signal}; nothing was sent"));
                // Where that was a shell, the editor may run on, and save yet.
                self.keep(&folder, &path, "was not sent");
                return Ok(signal.exit_status());
            }
            (None, Ended::Status(0)) => {}
            (None, Ended::Status(status)) => {
                error(&format!("the editor ended with status {status}; nothing was sent"));
                match left.file {
                    Found::Changed => {
                        self.keep(&folder, &path, "was not sent");
                    }
                    _ => self.leave(&folder, &left),
                }
                return Ok(status);
            }
        }
        match &left.file {
            Found::Changed => return self.send(&folder, &path, before, is_new),
            Found::Same => self.notice("nothing was changed"),
            Found::Nothing => error("the editor removed the file; nothing was sent"),
            Found::Odd(failure) => error(&format!("{failure}; nothing was sent")),
        }
        self.leave(&folder, &left);
        Ok(if matches!(left.file, Found::Same) { 0 } else { FAILED })
    }

    /// Sends the file back, unless it was changed there meanwhile: whoever did that would lose it.
    fn send(
        &self,
        folder: &Path,
        path: &Path,
        before: blake3::Hash,
        is_new: bool,
    ) -> Result<u8, Stop> {
        let edit = self.edit;
        let kept = |stop: Stop| {
            self.keep(folder, path, "was not sent");
            stop
        };
        // Not beside the file, which may have any name.
        let again = self.scratch.folder();
        let again = again.map_err(|error| kept(local("make a folder", &error).into()))?;
        let again = again.join(OsStr::from_bytes(&edit.name));
        let now = self.transfer(edit.fetch(bytes(&again)), "nothing was sent").map_err(kept)?;
        let is_same = match is_missing(&now) {
            true => is_new,
            false => {
                now.status == 0 && !is_new && digest(&again).is_ok_and(|digest| digest == before)
            }
        };
        let was_compared = now.status == 0 || is_missing(&now);
        let _ = fs::remove_file(&again);
        match (is_same, was_compared) {
            (true, _) => {}
            (false, true) => {
                let why = "was changed on the host since it was fetched, so that nothing was sent";
                return Ok(self.keep(folder, path, why));
            }
            (false, false) => {
                say(&edit.reach.host.name, &now);
                let why = "can't be compared with what is on the host now, and was not sent";
                return Ok(self.keep(folder, path, why).max(now.status));
            }
        }
        let sending = self.transfer(edit.send(bytes(path)), "it may not have been sent");
        let sent = sending.map_err(kept)?;
        if sent.status != 0 {
            say(&edit.reach.host.name, &sent);
            return Ok(self.keep(folder, path, "was not sent").max(sent.status));
        }
        self.notice("sent back");
        Ok(0)
    }

    /// Asks whether the file can be written, before anybody takes the trouble to edit it.
    fn probe(&self) -> Result<(), Stop> {
        let folder = self.scratch.folder().map_err(|error| local("make a folder", &error))?;
        let path = folder.join(OsStr::from_bytes(&self.edit.name));
        // Another content than whatever is there.
        let odd = blake3::hash(path.as_os_str().as_bytes());
        fs::write(&path, odd.as_bytes()).map_err(|error| local("make a file", &error))?;
        let judged = self.transfer(self.edit.probe(bytes(&path)), "nothing was changed")?;
        let _ = fs::remove_file(&path);
        if judged.status == 0 {
            return Ok(());
        }
        say(&self.edit.reach.host.name, &judged);
        hint(
            "Nothing was edited, since it can't be written there. Another user is named with -l, and \
             `rcmd-client cp HOST:PATH -` shows a file.",
        );
        Err(Stop::Status(judged.status))
    }

    /// Carries out one transfer. `state` says what it leaves if it is interrupted.
    fn transfer(&self, run: CopyRun, state: &str) -> Result<HostEnd, Stop> {
        let moving = move_file(run, self.config.clone(), self.scratch.clone());
        match self.runtime.block_on(moving)? {
            Moved { interrupted: Some(signal), end } if end.status != 0 => {
                error(&format!("{}: interrupted; {state}", self.edit.written));
                Err(Stop::Status(signal.exit_status()))
            }
            Moved { end, .. } => Ok(end),
        }
    }

    /// Leaves the folder with what was edited, and says how it is sent. Returns the exit status.
    fn keep(&self, folder: &Path, path: &Path, why: &str) -> u8 {
        self.scratch.keep(folder);
        let edit = self.edit;
        let what = format!("{} {why}; your version is {}", edit.written, shown(path));
        let failure = WireError::new(ErrorKind::Changed, what);
        let (copy, here) = (&edit.copy, edit.word(path));
        let hint = format!(
            "To compare: `{copy} {0} - | diff - {here}`. To replace the file there: `{copy} {here} {0}`.",
            edit.written
        );
        text::say(&text::failure(None, &failure.hint(hint)));
        FAILED
    }

    /// Leaves the folder, and says where it is, if the editor left anything else in it than the file as it came.
    fn leave(&self, folder: &Path, left: &Left) {
        if left.has_more || matches!(left.file, Found::Odd(_)) {
            self.scratch.keep(folder);
            let (written, folder) = (&self.edit.written, shown(folder));
            let what = format!("{written}: what the editor left is in {folder}");
            text::say(&text::line(Tone::Notice, &what));
        }
    }

    fn notice(&self, what: &str) {
        if self.edit.reach.verbosity > Verbosity::Quiet {
            text::say(&text::line(Tone::Notice, &format!("{}: {what}", self.edit.written)));
        }
    }
}

/// What the editor left.
struct Left {
    file: Found,
    /// Something lies beside the file.
    has_more: bool,
}

/// What stands where the file was.
enum Found {
    Same,
    Changed,
    Nothing,
    /// What is no file, or can't be read, and why.
    Odd(WireError),
}

impl Left {
    fn at(folder: &Path, path: &Path, before: blake3::Hash) -> Self {
        let file = match digest(path) {
            Ok(after) if after == before => Found::Same,
            Ok(_) => Found::Changed,
            Err(failure) => match fs::symlink_metadata(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
                _ => Found::Odd(failure),
            },
        };
        let is_other = |entry: fs::DirEntry| Some(&*entry.file_name()) != path.file_name();
        // What can't be looked at is kept.
        let has_more = fs::read_dir(folder)
            .map_or(true, |mut entries| entries.any(|entry| entry.map_or(true, is_other)));
        Self { file, has_more }
    }
}

fn error(what: &str) {
    text::say(&text::line(Tone::Error, what));
}

fn hint(what: &str) {
    text::say(&text::line(Tone::Notice, &format!("hint: {what}")));
}

fn say(host: &str, end: &HostEnd) {
    if let Some(failure) = &end.failure {
        text::say(&text::failure(Some(host), failure));
    }
}

/// Returns whether nothing stands at the path there.
fn is_missing(end: &HostEnd) -> bool {
    end.failure.as_ref().is_some_and(|failure| failure.kind == ErrorKind::NoSuchFile)
}

fn digest(path: &Path) -> Result<blake3::Hash, WireError> {
    let read = open_fetched(path).and_then(|file| {
        let mut hasher = blake3::Hasher::new();
        io::copy(&mut &file, &mut hasher)?;
        Ok(hasher.finalize())
    });
    read.map_err(|error| local(&format!("read {}", shown(path)), &error))
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

fn local(what: &str, error: &io::Error) -> WireError {
    WireError::new(ErrorKind::LocalIo, format!("cannot {what}: {error}"))
        .hint("$TMPDIR says in which folder files are edited.")
}
