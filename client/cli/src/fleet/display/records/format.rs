//! `--format`: text with fields in braces, one record a target.

use rcmd_client::hosts::HostTarget;
use rcmd_client::{ErrorKind, Report, WireError};

/// A field of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Field {
    /// The host as it was written.
    Host,
    /// The place of the host in the set, from 0.
    Index,
    /// The outcome of the command, such as `exited`.
    Outcome,
    /// The status that the command exited with.
    Code,
    /// The signal that ended the command.
    Signal,
    /// The job's name on the host.
    Job,
    /// The standard output of the command, without the newlines at the end.
    Stdout,
    /// The standard error of the command, without the newlines at the end.
    Stderr,
    /// The time that the command ran, in milliseconds.
    Duration,
    /// The failure, if something went wrong beside the command itself.
    Error,
    /// A label of the host.
    Label(String),
}

/// A part of a format.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Text(String),
    Field(Field),
}

/// The form of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Format(Vec<Part>);

/// The fields, as a message lists them.
const FIELDS: &str = "host, index, outcome, code, signal, job, stdout, stderr, duration_ms, error and \
                      label.NAME";

impl Format {
    /// Reads a format. `\t`, `\n` and `\\` are a tab, a newline and a backslash. A name in braces is a
    /// field; any other brace, and those that are doubled, stay as they are.
    ///
    /// # Errors
    /// A usage failure that names what is neither.
    pub(crate) fn parse(text: &str) -> Result<Self, WireError> {
        let mut parts = Vec::new();
        let (mut plain, mut rest) = (String::new(), text);
        while let Some(at) = rest.find(['\\', '{']) {
            let (before, here) = rest.split_at(at);
            plain.push_str(before);
            if let Some(behind) = here.strip_prefix('\\') {
                let mut behind = behind.chars();
                plain.push(escape(behind.next())?);
                rest = behind.as_str();
            } else if let Some(behind) = here.strip_prefix("{{") {
                // What is in doubled braces is no field.
                let end = behind.find("}}").map_or(0, |end| end + 2);
                let (doubled, behind) = behind.split_at(end);
                plain.extend(["{{", doubled]);
                rest = behind;
            } else {
                let inside = here.strip_prefix('{').unwrap_or_default();
                match inside.split_once('}').filter(|(name, _)| is_name(name)) {
                    None => {
                        plain.push('{');
                        rest = inside;
                    }
                    Some((name, behind)) => {
                        if !plain.is_empty() {
                            parts.push(Part::Text(std::mem::take(&mut plain)));
                        }
                        parts.push(Part::Field(field(name)?));
                        rest = behind;
                    }
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// Returns the parts in their order.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.0
    }
}

fn escape(character: Option<char>) -> Result<char, WireError> {
    match character {
        Some('t') => Ok('\t'),
        Some('n') => Ok('\n'),
        Some('\\') => Ok('\\'),
        other => {
            let written: String = other.into_iter().collect();
            let message = format!("`\\{written}` means nothing in --format");
            Err(WireError::new(ErrorKind::Usage, message)
                .hint("There are \\t, \\n and \\\\; a backslash by itself is written \\\\."))
        }
    }
}

/// Returns whether a text in braces is meant as the name of a field.
fn is_name(text: &str) -> bool {
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic());
    begins && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn field(name: &str) -> Result<Field, WireError> {
    Ok(match name {
        "host" => Field::Host,
        "index" => Field::Index,
        "outcome" => Field::Outcome,
        "code" => Field::Code,
        "signal" => Field::Signal,
        "job" => Field::Job,
        "stdout" => Field::Stdout,
        "stderr" => Field::Stderr,
        "duration_ms" => Field::Duration,
        "error" => Field::Error,
        _ => match name.strip_prefix("label.").filter(|label| !label.is_empty()) {
            Some(label) => Field::Label(label.to_owned()),
            None => {
                let message = format!("`{{{name}}}` is no field of --format");
                return Err(WireError::new(ErrorKind::Usage, message)
                    .hint(format!("The fields are {FIELDS}.")));
            }
        },
    })
}

impl Field {
    /// Returns what stands for the field; nothing where there is none, and for the two streams, which
    /// the report does not have.
    pub(super) fn text(&self, target: &HostTarget, report: &Report) -> String {
        match self {
            Self::Host => target.name.to_string(),
            Self::Index => target.index.to_string(),
            Self::Outcome => report.outcome.to_string(),
            Self::Code => report.code.map(|code| code.to_string()).unwrap_or_default(),
            Self::Signal => report.signal.map(|signal| signal.to_string()).unwrap_or_default(),
            Self::Job => report.job.clone().unwrap_or_default(),
            Self::Duration => report.duration_ms.map(|ms| ms.to_string()).unwrap_or_default(),
            Self::Error => {
                let error = report.error.as_ref();
                error.map(|error| error.message.clone()).unwrap_or_default()
            }
            Self::Label(name) => target.label(name).unwrap_or_default().to_owned(),
            Self::Stdout | Self::Stderr => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let format = Format::parse(text).unwrap();
        let parts = format.parts().iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Field(field) => format!("<{field:?}>"),
        });
        parts.collect()
    }

    #[test]
    fn names_in_braces_are_fields_and_escapes_are_characters() {
        assert_eq!(shown("{host}\\t{code}\\n{stdout}"), "<Host>\t<Code>\n<Stdout>");
        assert_eq!(shown("{label.rack-1}{duration_ms}"), "<Label(\"rack-1\")><Duration>");
        assert_eq!(shown("a\\\\tb"), "a\\tb");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn other_braces_stay_as_they_are() {
        for text in
            ["{}", "{ host}", "{{host}}", "{{.ID}}", "a}b{", "{1}", "{{", "{{host}", "${x y}"]
        {
            assert_eq!(shown(text), text);
        }
        assert_eq!(shown("{\"h\":\"{host}\"}"), "{\"h\":\"<Host>\"}");
    }

    #[test]
    fn what_is_no_field_is_named_with_those_there_are() {
        for text in ["{nonsense}", "{Host}", "{label.}", "{hosts}"] {
            let error = Format::parse(text).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Usage);
            assert!(error.message.contains(text), "{}", error.message);
            assert!(error.hint.unwrap().contains("duration_ms"));
        }
        for text in ["\\x", "ends in \\"] {
            assert!(Format::parse(text).unwrap_err().hint.unwrap().contains("\\t"));
        }
    }
}
