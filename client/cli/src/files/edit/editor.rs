//! The editor that a user named: how it is started, and how it ended.

use std::env;
use std::ffi::OsStr;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rcmd_client::{ErrorKind, Signal, WireError};
use tokio::time::timeout;

use crate::files::aside::aside;
use crate::files::verdict::FAILED;
use crate::signals::{self, Caught, Signals};

/// The time in which a signal to all programs of a terminal reaches this one, after it has ended the editor.
const MOMENT: Duration = Duration::from_millis(200);

/// Commands of the shell that are no programs.
const BUILT_IN: [&[u8]; 5] = [b":", b".", b"command", b"eval", b"exec"];

/// How the editor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With this exit status.
    Status(u8),
    /// By a signal.
    Signal(Signal),
}

/// How the editing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edited {
    pub(super) ended: Ended,
    /// The signal that is to end this program too.
    pub(super) signal: Option<Signal>,
}

/// Runs the editor that `$VISUAL` or `$EDITOR` names, or vi, with a file, and waits for its end.
///
/// # Errors
/// Signals can't be caught, or the editor can't be started. It did not run then.
pub(super) async fn run(path: PathBuf) -> Result<Edited, WireError> {
    let mut signals = Signals::catch()?;
    let mut editing = aside("editor", move || command(&path).status())?;
    let mut signal = None;
    let ended = loop {
        tokio::select! {
            ended = &mut editing => break ended,
            caught = signals.next() => note(caught, &mut signal).await,
        }
    };
    let status = ended.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    if !status.success() {
        let late = async {
            while signal.is_none() {
                note(signals.next().await, &mut signal).await;
            }
        };
        // If none comes, the editor ended by itself.
        let _ = timeout(MOMENT, late).await;
    }
    Ok(Edited { ended: Ended::of(status), signal })
}

impl Ended {
    fn of(status: ExitStatus) -> Self {
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        match status.signal().and_then(Signal::from_number) {
            Some(signal) => Self::Signal(signal),
            None => Self::Status(code.unwrap_or(FAILED)),
        }
    }
}

/// Notes a signal that is to end this program when the editor has ended. Ctrl-C is the editor's.
async fn note(caught: Caught, signal: &mut Option<Signal>) {
    match caught {
        Caught::Ending(Signal::INT) => {}
        Caught::Ending(ending) => *signal = Some(ending),
        // The editor has stopped, and the shell waits for both.
        Caught::Suspend => signals::stop().await,
    }
}

fn command(path: &Path) -> Command {
    let named = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| env::var_os(name).filter(|value| !value.is_empty()));
    let editor = named.unwrap_or_else(|| "vi".into());
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(OsStr::from_bytes(&line(editor.as_bytes()))).arg("editor").arg(path);
    command
}

/// Returns the line by which a shell starts an editor with its arguments. What users name is such a line, as for git and
/// others. If it consists of words alone, the editor takes the shell's place: a signal that the editor survives may end
/// a shell, and then nobody knows how the editor ends.
fn line(editor: &[u8]) -> Vec<u8> {
    let exec: &[u8] = if is_plain(editor) { b"exec " } else { b"" };
    [exec, editor, b" \"$@\""].concat()
}

/// Returns whether a line is a program and words, of which a shell makes nothing else.
fn is_plain(editor: &[u8]) -> bool {
    let mut words =
        editor.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let is_program =
        words.next().is_some_and(|word| !word.contains(&b'=') && !BUILT_IN.contains(&word));
    let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || b" \t%+,-./:=@_~".contains(byte);
    is_program && editor.iter().all(is_of_word)
}

fn failed(error: &dyn Display) -> WireError {
    WireError::new(ErrorKind::LocalIo, format!("cannot start the editor: {error}"))
        .hint("Name another one in $VISUAL or $EDITOR.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_editor_takes_the_place_of_the_shell_unless_the_shell_has_more_to_do() {
        for plain in ["vi", "/usr/bin/vim -u NONE", "code --wait", "env TERM=dumb nano", "~/bin/ed"]
        {
            assert_eq!(line(plain.as_bytes()), format!("exec {plain} \"$@\"").into_bytes());
        }
        for other in [
            "TERM=dumb nano",
            "vi; true",
            "'my editor'",
            "vi $FLAGS",
            ": ",
            "exec vi",
            "command vi",
            "f() { vi \"$@\"; }; f",
            "vi\ntrue",
        ] {
            assert_eq!(line(other.as_bytes()), format!("{other} \"$@\"").into_bytes());
        }
    }
}
