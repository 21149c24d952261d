//! The subcommand `edit`: fetch, edit here, send back.
#![expect(clippy::disallowed_methods, reason = "programs that serve nobody")]

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rcmd_certs::files::shown;
use rcmd_client::{Config, ErrorKind, WireError};
use tempfile::TempDir;
use tokio::sync::watch;

use super::display::Display;
use super::errand::{Errands, Word};
use super::local::{Sources, open_fetched, private_folder};
use super::run::pace::Pace;
use super::verdict::{FAILED, HostEnd};
use crate::session;
use crate::settings::Verbosity;
use crate::settings::copy::CopyRun;
use crate::settings::listing::Edit;
use crate::text::{self, Tone};

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
    let ends = |run: CopyRun| runtime.block_on(transfer(run, config.clone()));
    let status = carry_out(edit, ends);
    session::renew_in_own_time(&reach.layout, reach.verbosity);
    // A look-up of a name may still hang in a thread of its own.
    runtime.shutdown_background();
    status
}

fn carry_out(
    edit: &Edit,
    transfer: impl Fn(CopyRun) -> Result<HostEnd, WireError>,
) -> Result<u8, WireError> {
    let folder = private_folder().map_err(|error| local("make a folder", &error))?;
    let path = folder.path().join(OsStr::from_bytes(&edit.name));
    let fetched = transfer(edit.fetch(bytes(&path)))?;
    let is_new = is_missing(&fetched);
    if is_new {
        File::create_new(&path).map_err(|error| local("make a file", &error))?;
    } else if fetched.status != 0 {
        say(&edit.reach.host.name, &fetched);
        return Ok(fetched.status);
    }
    let before = digest(&path)?;
    let ended = editor(&path)?;
    if ended != 0 {
        let message = format!("the editor ended with status {ended}; nothing was sent");
        text::say(&text::line(Tone::Error, &message));
        return Ok(ended);
    }
    let after = digest(&path)?;
    if after == before {
        notice(edit, "nothing was changed");
        return Ok(0);
    }
    // Whoever changed it meanwhile would lose that.
    let again = folder.path().join("again");
    fs::create_dir(&again).map_err(|error| local("make a folder", &error))?;
    let again = again.join(OsStr::from_bytes(&edit.name));
    let now = transfer(edit.fetch(bytes(&again)))?;
    let is_same = match is_missing(&now) {
        true => is_new,
        false => now.status == 0 && !is_new && digest(&again)? == before,
    };
    if !is_same {
        if now.status != 0 && !is_missing(&now) {
            say(&edit.reach.host.name, &now);
        }
        return Ok(keep(folder, &path, edit, "was changed there meanwhile, or can't be compared"));
    }
    let sent = transfer(edit.send(bytes(&path)))?;
    if sent.status != 0 {
        say(&edit.reach.host.name, &sent);
        return Ok(keep(folder, &path, edit, "was not sent").max(sent.status));
    }
    notice(edit, "sent back");
    Ok(0)
}

/// Leaves the folder with what was edited, and says how it is sent. Returns the exit status.
fn keep(folder: TempDir, path: &Path, edit: &Edit, why: &str) -> u8 {
    let _ = folder.keep();
    let what = format!("{} {why}; your version is {}", edit.written, shown(path));
    let failure = WireError::new(ErrorKind::Changed, what);
    let hint =
        format!("To replace the file there: `rcmd-client cp {} {}`.", shown(path), edit.written);
    text::say(&text::failure(None, &failure.hint(hint)));
    FAILED
}

fn notice(edit: &Edit, what: &str) {
    if edit.reach.verbosity > Verbosity::Quiet {
        text::say(&text::line(Tone::Notice, &format!("{}: {what}", edit.written)));
    }
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

/// Carries out one transfer with one host.
async fn transfer(run: CopyRun, config: Config) -> Result<HostEnd, WireError> {
    let sources = Sources::find(&run)?;
    let (display, feed) = Display::open(&run)?;
    // The sender stays, so that the word is never over.
    let (_words, word) = watch::channel(Word::default());
    let tallies = Arc::clone(&display.tallies);
    let (run, folders) = (Arc::new(run), Vec::new());
    let (pace, feed_of_one) = (Pace::new(run.rate), feed.clone());
    let errands = Errands { run, config, sources, folders, feed: feed_of_one, tallies, pace, word };
    let end = errands.one().await;
    display.finish(feed).await;
    Ok(end)
}
