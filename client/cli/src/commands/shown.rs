//! The result of one command of many, as a person reads it at a terminal.

use std::fmt::Write as _;
use std::io;

use anstyle::Style;

use super::one::{Done, Kept};
use crate::{terminal, text};

/// Returns a heading, what went wrong, and the output, standard error last. Whatever came from the host
/// stays text: control characters but newlines and tabs are escaped.
pub(super) fn text(done: &Done) -> String {
    let bold = match terminal::has_colour(&io::stdout()) {
        true => Style::new().bold(),
        false => Style::new(),
    };
    let mut shown = String::new();
    // Writing to a String does not fail.
    let host = done.index.map(|_| format!("{} ", text::escaped(&done.report.host)));
    let (host, line) = (host.unwrap_or_default(), done.line);
    let _ = writeln!(shown, "{bold}{host}line {line}: {}{bold:#}", heading(done));
    if let Some(error) = &done.report.error {
        let _ = writeln!(shown, "rcmd: {}", text::escaped(&error.message));
        if let Some(hint) = &error.hint {
            let _ = writeln!(shown, "rcmd: hint: {}", text::escaped(hint));
        }
    }
    for (kept, all) in
        [(&done.stdout, done.report.stdout_bytes), (&done.stderr, done.report.stderr_bytes)]
    {
        put(&mut shown, kept, all);
    }
    shown
}

fn heading(done: &Done) -> String {
    let report = &done.report;
    let mut heading = report.outcome.to_string();
    if let Some(code) = report.code {
        let _ = write!(heading, " {code}");
    }
    if let Some(signal) = report.signal {
        let _ = write!(heading, " {signal}");
    }
    if let Some(ms) = report.duration_ms {
        let _ = write!(heading, ", {ms} ms");
    }
    heading
}

fn put(shown: &mut String, kept: &Kept, all: u64) {
    let output = String::from_utf8_lossy(&kept.bytes);
    for line in output.split_inclusive('\n') {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let mut parts = line.split('\t');
        shown.push_str(&text::escaped(parts.next().unwrap_or_default()));
        for part in parts {
            shown.push('\t');
            shown.push_str(&text::escaped(part));
        }
        shown.push('\n');
    }
    if kept.cut {
        let _ = writeln!(shown, "rcmd: these are the first {} of {all} bytes", kept.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use rcmd_client::{ErrorKind, WireError};

    use super::*;
    use crate::session::not_started;

    fn done() -> Done {
        let failure = WireError::new(ErrorKind::Denied, "no\u{7}");
        Done::not_started(0, 7, None, not_started("web1", failure))
    }

    #[test]
    fn output_is_shown_in_lines_and_never_commands_the_terminal() {
        let mut done = done();
        done.stdout.bytes = b"a\tb\n\x1b[2Jc".to_vec();
        done.stderr.bytes = b"\xff\r\n".to_vec();
        let shown = text(&done);
        let (_, rest) = shown.split_once('\n').unwrap();
        assert_eq!(rest, "rcmd: no\\u{7}\na\tb\n\\u{1b}[2Jc\n\u{fffd}\\u{d}\n");
        assert!(shown.contains("line 7: not_started") && !shown.contains("web1"), "{shown}");
        done.index = Some(3);
        assert!(text(&done).contains("web1 line 7: not_started"), "{}", text(&done));
    }

    #[test]
    fn a_cut_is_told_with_its_measure() {
        let mut done = done();
        done.stdout = Kept { bytes: b"abc".to_vec(), cut: true };
        done.report.stdout_bytes = 9;
        assert!(text(&done).ends_with("abc\nrcmd: these are the first 3 of 9 bytes\n"));
    }
}
