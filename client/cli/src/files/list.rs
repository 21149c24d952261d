//! The subcommand `ls`.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcmd_client::{ChildStdout, Client, ErrorKind, Outcome, TransferVerb, WireError};
use rcmd_transfer::is_pattern;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::pipe::hear;
use super::verdict;
use super::words;
use crate::output::safe_json;
use crate::output::sink::Place;
use crate::settings::listing::Listing;
use crate::{session, status, terminal, text};

/// The longest line that a host may say: a name and the target of a link, both in base64.
const LINE: usize = 64 * 1024;

/// The pieces of the list that wait for standard output.
const WAITING: usize = 16;

/// An entry, as a host tells it.
#[derive(Debug, Deserialize, Serialize)]
struct Listed {
    name: String,
    name_encoding: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtime: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<Whose>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<Whose>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_encoding: Option<String>,
}

/// An account or a group: its name, or its number.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Whose {
    Name(String),
    Number(u32),
}

impl Whose {
    fn text(&self) -> String {
        match self {
            Self::Name(name) => text::escaped(name),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// Lists files of a host, and returns the exit status.
///
/// # Errors
/// A failure when nothing was asked.
pub(crate) fn list(listing: &Listing) -> Result<u8, WireError> {
    let reach = &listing.reach;
    let runtime = session::runtime()?;
    let status = runtime.block_on(carry_out(listing));
    session::renew_in_own_time(&reach.layout, reach.verbosity);
    // A look-up of a name may still hang in a thread of its own.
    runtime.shutdown_background();
    status
}

async fn carry_out(listing: &Listing) -> Result<u8, WireError> {
    let reach = &listing.reach;
    let host = &reach.host;
    let config =
        session::config(&reach.layout, reach.connect_timeout, reach.compress, None).await?;
    let client = Client::connect(&config, &host.target).await?;
    let verb = TransferVerb::List { is_long: listing.is_long };
    let mut command = client.transfer(verb, [OsStr::from_bytes(&listing.path)]);
    if let Some(user) = &host.user {
        command.user(user);
    }
    let mut child = command.spawn().await?;
    let stderr = child.stderr.take();
    let stdout = child.stdout.take();
    let (printed, said) = tokio::join!(print(stdout, listing), hear(stderr));
    let status = match printed {
        Err(Stop::Status(status)) => status,
        Err(Stop::Failed(failure)) => {
            text::say(&text::failure(Some(&host.name), &failure));
            status::UNKNOWN
        }
        Ok(()) => {
            let report = child.wait().await;
            let failure = match (report.outcome, report.code) {
                (Outcome::Exited, Some(0)) => None,
                (Outcome::Exited, _) => Some(verdict::explained(
                    WireError::new(ErrorKind::Lost, "the list is not whole"),
                    &said,
                )),
                _ => report.error.clone().or_else(|| {
                    Some(WireError::new(ErrorKind::Lost, "the end of the list is not known"))
                }),
            };
            let failure = failure.map(|failure| or_no_pattern(failure, &listing.path));
            if let Some(failure) = &failure {
                text::say(&text::failure(Some(&host.name), failure));
            }
            match (report.outcome, &failure) {
                (_, None) => 0,
                (Outcome::NotStarted, Some(failure)) => verdict::not_started_status(failure),
                (Outcome::Exited, Some(_)) => verdict::FAILED,
                _ => status::UNKNOWN,
            }
        }
    };
    client.close().await;
    Ok(status)
}

/// Adds to the failure of a path that is not there that it was taken as it is, if it looks like a pattern.
fn or_no_pattern(failure: WireError, path: &[u8]) -> WireError {
    match failure.kind == ErrorKind::NoSuchFile && is_pattern(path) {
        true => failure.hint("`ls` takes a path as it is: *, ? and [ are no patterns in it."),
        false => failure,
    }
}

/// Why no more is printed.
enum Stop {
    Failed(WireError),
    Status(u8),
}

/// Prints what a host lists, up to its end.
async fn print(stdout: Option<ChildStdout>, listing: &Listing) -> Result<(), Stop> {
    let Some(mut stdout) = stdout else { return Ok(()) };
    let (feed, lines) = mpsc::channel(WAITING);
    let (end, ended) = oneshot::channel();
    let writing = move || {
        // Nobody waits for it after an error of the host.
        let _ = end.send(write(lines));
    };
    thread::Builder::new().name("stdout".to_owned()).spawn(writing).map_err(|error| {
        let message = format!("cannot start a thread: {error}");
        Stop::Failed(WireError::new(ErrorKind::Resources, message))
    })?;
    let mut lines = Lines::default();
    while let Some(chunk) = stdout.chunk().await {
        let shown = lines.take(&chunk.bytes, listing)?;
        if feed.send(shown).await.is_err() {
            break;
        }
    }
    drop(feed);
    match ended.await.unwrap_or(Ok(())) {
        Ok(()) if lines.rest.is_empty() => Ok(()),
        Ok(()) => Err(odd()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(Stop::Status(status::READER_GONE))
        }
        Err(error) => {
            let message = format!("cannot write standard output: {error}");
            Err(Stop::Failed(WireError::new(ErrorKind::LocalIo, message)))
        }
    }
}

/// Writes lines to standard output, which may wait.
fn write(mut lines: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    let is_terminal = terminal::is_terminal(Place::Stdout.descriptor());
    while let Some(bytes) = lines.blocking_recv() {
        Place::Stdout.write_all(&bytes, is_terminal)?;
    }
    Ok(())
}

fn odd() -> Stop {
    Stop::Failed(WireError::new(ErrorKind::Protocol, "the host says what is no list"))
}

/// The beginning of a line whose end has not come.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Returns what is printed for the lines that are whole by now.
    fn take(&mut self, bytes: &[u8], listing: &Listing) -> Result<Vec<u8>, Stop> {
        let mut shown = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.rest.len() + piece.len() > LINE {
                return Err(odd());
            }
            self.rest.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let listed: Listed = serde_json::from_slice(&self.rest).map_err(|_| odd())?;
                self.rest.clear();
                put(&listed, listing, &mut shown).ok_or_else(odd)?;
            }
        }
        Ok(shown)
    }
}

/// Appends the line of an entry; none if a name in it is not what its encoding says.
fn put(listed: &Listed, listing: &Listing, out: &mut Vec<u8>) -> Option<()> {
    if listing.json {
        safe_json::append(out, listed).ok()?;
        out.push(b'\n');
        return Some(());
    }
    let name = decoded(&listed.name, Some(&listed.name_encoding))?;
    if listing.is_long {
        let target = match &listed.target {
            Some(target) => Some(decoded(target, listed.target_encoding.as_deref())?),
            None => None,
        };
        out.extend(long(listed, &name, target.as_deref()).into_bytes());
    } else if terminal::is_terminal(Place::Stdout.descriptor()) {
        out.extend(words::path(&name).into_bytes());
    } else {
        // A program gets the name as it is.
        out.extend(name);
    }
    out.push(b'\n');
    Some(())
}

fn decoded(text: &str, encoding: Option<&str>) -> Option<Vec<u8>> {
    match encoding {
        Some("base64") => STANDARD.decode(text).ok(),
        _ => Some(text.as_bytes().to_vec()),
    }
}

/// Returns the long line of an entry, which has no characters that a terminal obeys.
fn long(listed: &Listed, name: &[u8], target: Option<&[u8]>) -> String {
    let kind = match listed.kind.as_str() {
        "file" => '-',
        "folder" => 'd',
        "link" => 'l',
        "block_device" => 'b',
        "char_device" => 'c',
        "pipe" => 'p',
        "socket" => 's',
        _ => '?',
    };
    let whose = |whose: &Option<Whose>| whose.as_ref().map_or("-".to_owned(), Whose::text);
    let mode = listed.mode.as_deref().and_then(|mode| u32::from_str_radix(mode, 8).ok());
    let time = listed.mtime.as_deref().map(in_seconds).unwrap_or_else(|| "-".to_owned());
    let mut line = format!(
        "{kind}{} {:<8} {:<8} {:>12} {time} {}",
        bits(mode.unwrap_or_default()),
        whose(&listed.owner),
        whose(&listed.group),
        listed.size.unwrap_or_default(),
        words::path(name)
    );
    if let Some(target) = target {
        let _ = write!(line, " -> {}", words::path(target));
    }
    line
}

/// Returns a time without the fraction of a second, so that all are of one length. JSON has it whole.
fn in_seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) if time.ends_with('Z') => text::escaped(&format!("{seconds}Z")),
        _ => text::escaped(time),
    }
}

/// Returns permission bits as ls(1) prints them.
fn bits(mode: u32) -> String {
    let mut text = String::new();
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let three = mode >> shift & 7;
        text.push(if three & 4 == 0 { '-' } else { 'r' });
        text.push(if three & 2 == 0 { '-' } else { 'w' });
        text.push(match (three & 1 != 0, mode & special != 0) {
            (false, false) => '-',
            (true, false) => 'x',
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permission_bits_are_printed_as_ls_does() {
        for (mode, text) in [
            (0o644, "rw-r--r--"),
            (0o755, "rwxr-xr-x"),
            (0o4755, "rwsr-xr-x"),
            (0o2644, "rw-r-Sr--"),
            (0o1777, "rwxrwxrwt"),
            (0, "---------"),
        ] {
            assert_eq!(bits(mode), text);
        }
    }

    #[test]
    fn a_long_line_commands_no_terminal() {
        let line = r#"{"name":"a\u001b[2K","name_encoding":"utf-8","kind":"link","size":3,"mode":"0777",
            "mtime":"2026-01-02T03:04:05.678Z","owner":"ro\u001bot","group":7,"target":"/w==","target_encoding":"base64"}"#;
        let listed: Listed = serde_json::from_str(line).unwrap();
        let target = decoded("/w==", Some("base64")).unwrap();
        let long = long(&listed, listed.name.as_bytes(), Some(&target));
        assert_eq!(
            long,
            "lrwxrwxrwx ro\\u{1b}ot 7                   3 2026-01-02T03:04:05Z a\\u{1b}[2K -> \\xff"
        );
    }
}
