//! The subcommand `edit`: fetch, edit here, send back.
#![expect(clippy::disallowed_methods, reason = "programs that serve nobody")]

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

use rcmd_certs::files::shown;
use rcmd_client::{Config, ErrorKind, Signal, WireError};
use tokio::runtime::Runtime;

use self::moving::{Moved, move_file};
use super::aside::aside;
use super::local::open_fetched;
use super::scratch::Scratch;
use super::verdict::{FAILED, HostEnd};
use crate::session;
use crate::settings::Verbosity;
use crate::settings::copy::CopyRun;
use crate::settings::listing::Edit;
use crate::signals::interrupts::{Interrupt, Interrupts};
use crate::signals::{self, Action};
use crate::text::{self, Tone};

mod moving;

/// Edits a file of a host, and returns the exit status.
///
/// # Errors
/// A failure when nothing was asked of the host, or this machine fails.
pub(crate) fn edit(edit: &Edit) -> Result<u8, WireError> {
    let reach = &edit.reach;
    let config = Config::from_dir(reach.layout.dir())?;
    let config = config.connect_timeout(reach.connect_timeout).compress(reach.compress);
    let runtime = session::runtime()?;
    let (config, _) = runtime.block_on(config.unexpired())?;
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
        self.probe(&folder)?;
        let before = digest(&path)?;
        let (ended, ending) = self.run_editor(&path)?;
        let after = match digest(&path) {
            Ok(after) => after,
            Err(_) if !path.exists() => {
                let message = "the editor removed the file; nothing was sent";
                text::say(&text::line(Tone::Error, message));
                return Ok(FAILED);
            }
            Err(failure) => return Err(failure.into()),
        };
        let is_changed = after != before;
        if let Some(signal) = ending {
            let why = "was not sent: a signal came while it was edited";
            if is_changed {
                self.keep(&folder, &path, why);
            }
            return Ok(signal.exit_status());
        }
        if ended != 0 {
            let message = format!("the editor ended with status {ended}; nothing was sent");
            text::say(&text::line(Tone::Error, &message));
            if is_changed {
                self.keep(&folder, &path, "was not sent");
            }
            return Ok(ended);
        }
        if !is_changed {
            self.notice("nothing was changed");
            return Ok(0);
        }
        self.send(&folder, &path, before, is_new)
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
        let again = folder.join("again");
        fs::create_dir(&again).map_err(|error| kept(local("make a folder", &error).into()))?;
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
    fn probe(&self, folder: &Path) -> Result<(), Stop> {
        let folder = folder.join("probe");
        fs::create_dir(&folder).map_err(|error| local("make a folder", &error))?;
        let path = folder.join(OsStr::from_bytes(&self.edit.name));
        // Another content than whatever is there.
        let odd = blake3::hash(path.as_os_str().as_bytes());
        fs::write(&path, odd.as_bytes()).map_err(|error| local("make a file", &error))?;
        let judged = self.transfer(self.edit.probe(bytes(&path)), "nothing was changed")?;
        let _ = fs::remove_dir_all(&folder);
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
                let message = format!("{}: interrupted; {state}", self.edit.written);
                text::say(&text::line(Tone::Error, &message));
                Err(Stop::Status(signal.exit_status()))
            }
            Moved { end, .. } => Ok(end),
        }
    }

    /// Runs the editor, and returns its exit status, with the signal that is to end this program too. Ctrl-C is the
    /// editor's.
    fn run_editor(&self, path: &Path) -> Result<(u8, Option<Signal>), Stop> {
        let path = path.to_owned();
        self.runtime.block_on(async {
            let mut interrupts = Interrupts::catch()?;
            let mut editing = aside("editor", move || editor(&path))?;
            let mut came = None;
            loop {
                tokio::select! {
                    ended = &mut editing => {
                        let failed = |error| local("run the editor", &io::Error::other(error));
                        return Ok((ended.map_err(failed)??, came));
                    }
                    interrupt = interrupts.next() => match interrupt {
                        Interrupt::Act(Action::Pass(signal)) if signal != Signal::INT => {
                            came = Some(signal);
                        }
                        Interrupt::Act(_) => {}
                        // The editor has stopped, and the shell waits for both.
                        Interrupt::Suspend => signals::stop().await,
                    }
                }
            }
        })
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

    fn notice(&self, what: &str) {
        if self.edit.reach.verbosity > Verbosity::Quiet {
            text::say(&text::line(Tone::Notice, &format!("{}: {what}", self.edit.written)));
        }
    }
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

/// Runs the editor, and returns its exit status.
fn editor(path: &Path) -> Result<u8, WireError> {
    let named = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| env::var_os(name).filter(|value| !value.is_empty()));
    let editor = named.unwrap_or_else(|| "vi".into());
    // A line for the shell, as git and others take it: it may have arguments.
    let line = [editor.as_bytes(), b" \"$@\""].concat();
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(OsStr::from_bytes(&line)).arg("editor").arg(path);
    let ended = command.status().map_err(|error| local("start the editor", &error))?;
    // A signal has no status.
    Ok(ended.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED))
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
