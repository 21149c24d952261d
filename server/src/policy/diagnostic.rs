//! Diagnostics of a policy: line, column, message, and advice.

use std::fmt;

use rcmd_certs::text::place;

/// The number of characters of a line that are shown.
const SHOWN: usize = 200;

/// A fault in a policy, and its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// The line of the fault, from 1.
    pub line: usize,
    /// The column of the fault in characters, from 1.
    pub column: usize,
    /// The fault in words, on one line.
    pub message: String,
    /// Advice on what to do, if the message does not contain it.
    pub help: Option<String>,
    /// The text of the line.
    pub source: String,
}

/// Writes `line:column: message`, the line, a caret below it, and the advice.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, message, help, source } = self;
        writeln!(f, "{line}:{column}: {message}")?;
        // Of a long line, only the part around the place is shown.
        let from = if *column > SHOWN { column - SHOWN / 2 } else { 1 };
        let shown: String = source.chars().skip(from - 1).take(SHOWN).collect();
        writeln!(f, "  | {}", shown.replace('\t', " "))?;
        write!(f, "  | {:>width$}", "^", width = column - from + 1)?;
        match help {
            Some(help) => write!(f, "\n  = {help}"),
            None => Ok(()),
        }
    }
}

impl Diagnostic {
    /// Makes a diagnostic from an error of Cedar's about `text`.
    pub(super) fn of(text: &str, error: &dyn miette::Diagnostic) -> Self {
        let label = error.labels().and_then(|mut labels| labels.next());
        let at = label.as_ref().map_or(0, miette::LabeledSpan::offset);
        let detail = label.as_ref().and_then(miette::LabeledSpan::label);
        let message = match detail {
            Some(detail) => format!("{error}: {detail}"),
            None => error.to_string(),
        };
        let help = error.help().map(|help| one_line(&help.to_string()));
        Self::at(text, at, one_line(&message), help)
    }

    /// Makes a diagnostic for the byte `at` of `text`.
    pub(super) fn at(text: &str, at: usize, message: String, help: Option<String>) -> Self {
        let (line, column) = place(text.as_bytes(), at);
        let source = text.lines().nth(line - 1).unwrap_or_default().to_owned();
        Self { line, column, message, help, source }
    }
}

/// Sorts diagnostics by their places.
pub(super) fn sorted(diagnostics: impl Iterator<Item = Diagnostic>) -> Vec<Diagnostic> {
    let mut diagnostics: Vec<_> = diagnostics.collect();
    diagnostics.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
    diagnostics
}

/// Joins the lines of a message, and escapes what it quotes of the file.
fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    rcmd_certs::text::escaped(&words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_line_what_surrounds_the_place_is_shown() {
        let text = "é".repeat(100_000);
        for at in [0, 199, 200, 201, 70_000, 99_999] {
            let found = Diagnostic::at(&text, at * "é".len(), "odd".to_owned(), None);
            let shown = found.to_string();
            let lines: Vec<_> = shown.lines().collect();
            assert_eq!(lines[0], format!("1:{}: odd", at + 1));
            let (source, caret) = (lines[1].chars().count(), lines[2].chars().count());
            assert!(caret <= source && source <= 4 + SHOWN, "{at}: {caret} in {source}");
        }
    }
}
