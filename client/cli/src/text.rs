//! Messages to people: on standard error, in rcmd's form, without control characters.

use std::fmt::Write as _;
use std::io;

use anstyle::{AnsiColor, Style};
pub(crate) use rcmd_certs::text::escaped;
use rcmd_protocol::outcome::WireError;

use crate::terminal;

/// The character that stands for cut text.
pub(crate) const CUT: char = '…';

/// The tone of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Error,
    Notice,
}

/// Returns the line `rcmd: MESSAGE`, coloured if standard error takes it.
pub(crate) fn line(tone: Tone, message: &str) -> String {
    styled(tone, message, terminal::has_colour(&io::stderr()))
}

/// Returns a failure with its hint, and with the host unless the message names it.
pub(crate) fn failure(host: Option<&str>, failure: &WireError) -> String {
    let mut text = match host.filter(|host| !failure.message.contains(host)) {
        Some(host) => line(Tone::Error, &format!("{host}: {}", failure.message)),
        None => line(Tone::Error, &failure.message),
    };
    if let Some(hint) = &failure.hint {
        text.push_str(&line(Tone::Notice, &format!("hint: {hint}")));
    }
    text
}

/// Returns the messages of a failure that stops nothing: the failure, and its consequence.
pub(crate) fn warning(failure: &WireError) -> impl Iterator<Item = String> {
    let first = format!("warning: {}", failure.message);
    std::iter::once(first).chain(failure.hint.clone())
}

/// Returns how many columns a text takes at most.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// Returns how many columns a character takes at most.
pub(crate) fn columns_of(character: char) -> usize {
    if character == CUT { 1 } else { rcmd_certs::text::columns_of(character) }
}

/// Writes to standard error. Errors are ignored: if standard error is closed, only the exit status remains.
pub(crate) fn say(text: &str) {
    let _ = io::Write::write_all(&mut io::stderr(), text.as_bytes());
}

/// Returns the line of a message, with or without colour.
pub(crate) fn styled(tone: Tone, message: &str, colour: bool) -> String {
    let style = match tone {
        Tone::Error if colour => AnsiColor::Red.on_default().bold(),
        Tone::Notice if colour => Style::new().dimmed(),
        _ => Style::new(),
    };
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(text, "{style}rcmd:{style:#} {}", escaped(message));
    text
}

#[cfg(test)]
mod tests {
    use rcmd_protocol::outcome::ErrorKind;

    use super::*;

    #[test]
    fn what_a_server_says_never_commands_the_terminal() {
        let evil = format!("{}\u{1b}]0;owned\u{7}\r\n\u{9b}2J", "a".repeat(600));
        let line = styled(Tone::Notice, &evil, false);
        assert!(!line.trim_end_matches('\n').chars().any(char::is_control), "{line:?}");
        assert!(line.contains("owned"));
    }

    #[test]
    fn a_failure_names_the_host_once_and_the_remedy() {
        let missing = WireError::new(ErrorKind::NotFound, "no program `x`").hint("Install it.");
        assert_eq!(
            failure(Some("web1"), &missing),
            "rcmd: web1: no program `x`\nrcmd: hint: Install it.\n"
        );
        let named = WireError::new(ErrorKind::Unreachable, "web1 refuses connections");
        assert_eq!(failure(Some("web1"), &named), "rcmd: web1 refuses connections\n");
    }

    #[test]
    fn colour_stays_on_the_prefix() {
        let line = styled(Tone::Error, "x", true);
        assert!(line.starts_with("\u{1b}[") && line.ends_with(" x\n"), "{line:?}");
    }
}
