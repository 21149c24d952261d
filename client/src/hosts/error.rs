//! Errors in expressions, with their place and advice.

use std::{fmt, path::PathBuf};

use rcmd_certs::{files::shown, text::printable};

use super::limits::{DEEPEST, MAX_DIGITS, MAX_EXPRESSION, MAX_HOSTS, MAX_NAME, MAX_WORK};

/// An error in an expression.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", Place(origin, *column, fault))]
pub struct HostsError {
    /// The place of the expression.
    pub origin: Origin,
    /// The column in the expression, in characters from 1; 0 for the whole expression.
    pub column: usize,
    /// The fault.
    pub fault: Box<Fault>,
}

/// The place of an expression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A command line, or an argument of a call.
    Given {
        /// The expression.
        text: String,
    },
    /// A line of a file.
    Line {
        /// The file; `None` for standard input.
        file: Option<PathBuf>,
        /// The line, from 1.
        line: usize,
    },
    /// A group.
    Group {
        /// The name of the group.
        name: String,
        /// The file of the group.
        file: PathBuf,
    },
}

/// A fault in an expression.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// An empty text.
    #[error("it is empty")]
    Empty,
    /// A text longer than [`MAX_EXPRESSION`] bytes.
    #[error("it has more than {MAX_EXPRESSION} bytes")]
    TooLong,
    /// A blank where none may stand.
    #[error("it contains a blank")]
    Blank,
    /// An operator without a name on both sides.
    #[error("a name is missing {} the `{operator}`", if *before { "before" } else { "behind" })]
    MissingName {
        /// The operator: `,`, `!`, `&` or `^`.
        operator: char,
        /// True if the name before the operator is missing, and not the one behind it.
        before: bool,
    },
    /// A `[` without its `]`.
    #[error("the bracket is not closed")]
    OpenBracket,
    /// A `]` without its `[`.
    #[error("the bracket is not opened")]
    StrayBracket,
    /// Two ranges with nothing or only digits between them.
    #[error("two ranges touch each other")]
    TouchingRanges,
    /// A missing number.
    #[error("a number is missing")]
    MissingNumber,
    /// A text that is not a number.
    #[error("`{}` is not a number", printable(.0))]
    NoNumber(String),
    /// A number of a range with too many digits.
    #[error("a number of a range has more than {MAX_DIGITS} digits")]
    LongNumber,
    /// A range that ends before it begins.
    #[error("the range `{0}` ends before it begins")]
    Backwards(String),
    /// A range whose ends differ in their number of digits, although one begins with a zero.
    #[error("the ends of `{0}` differ in their number of digits, and one begins with 0")]
    UnequalWidths(String),
    /// An invalid step.
    #[error("`/{}` is not a step", printable(.0))]
    BadStep(String),
    /// A step after a single number.
    #[error("a step follows a single number")]
    LoneStep,
    /// Digits after a range with a step.
    #[error("digits follow a range with a step")]
    DigitsBehindStep,
    /// Digits before a range whose numbers differ in their number of digits.
    #[error("digits precede a range whose numbers differ in their number of digits")]
    DigitsBeforeGrowth,
    /// A text with a `:` in brackets that is not an IPv6 address.
    #[error("`{}` is not an IPv6 address", printable(.0))]
    NoAddress(String),
    /// An IPv6 address in brackets with other text than a port next to it.
    #[error("only `:PORT` may follow an IPv6 address in brackets")]
    TextBesideAddress,
    /// A `@` without a name.
    #[error("the name of a group is missing after the `@`")]
    MissingGroup,
    /// A character that is not allowed in names.
    #[error("the character {0:?} is not allowed in a name")]
    BadCharacter(char),
    /// A name with a user.
    #[error("a name cannot contain a user")]
    User {
        /// The user.
        user: String,
        /// The text after the `@`.
        host: String,
    },
    /// A name that begins with `-`, as options do.
    #[error("a name begins with `-`")]
    Dash,
    /// One of the names `.` and `..`.
    #[error("`.` and `..` are not names")]
    Dots,
    /// A name longer than a name may be.
    #[error("a name has more than {MAX_NAME} bytes")]
    LongName,
    /// The expression means more hosts than [`MAX_HOSTS`]. Contains their number.
    #[error("these are {0} hosts, and {MAX_HOSTS} is the most")]
    TooMany(u128),
    /// The terms together have more names than [`MAX_WORK`].
    #[error("all its parts together have more than {MAX_WORK} names")]
    TooMuch,
    /// A group that is in no inventory.
    #[error("unknown group `{}`", printable(name))]
    UnknownGroup {
        /// The group, with its source if one was named.
        name: String,
        /// An existing group with a similar name.
        near: Option<String>,
    },
    /// A source that does not exist.
    #[error("unknown source of groups `{}`", printable(name))]
    UnknownSource {
        /// The source as written.
        name: String,
        /// The existing sources.
        known: Vec<String>,
    },
    /// A wildcard in the name of a group.
    #[error("the name of a group cannot have wildcards")]
    WildGroup,
    /// A group that contains itself.
    #[error("the group contains itself: {}", .0.join(" -> "))]
    Circle(Vec<String>),
    /// Groups that are nested too deep.
    #[error("groups are nested more than {DEEPEST} deep")]
    TooDeep,
    /// A wildcard that no known host matches.
    #[error("no known host matches `{}`", printable(pattern))]
    Unmatched {
        /// The name with its wildcards.
        pattern: String,
        /// The number of known hosts.
        known: usize,
    },
}

impl Fault {
    /// Returns advice, as a sentence.
    #[must_use]
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::Empty => {
                "Name hosts, as in web[01-20]; a shell variable that is not set is an empty word."
            }
            Self::TooLong => {
                "Write it into a file, one expression on each line: --hosts-file FILE."
            }
            Self::Blank => "Write names without blanks, separated by commas: web1,web2.",
            Self::MissingName { operator: ',', .. } => {
                "Write a comma between two names: web1,web2."
            }
            Self::MissingName { .. } => {
                "Write an operator between two names: web[1-9]!web3; in a shell, put it in single \
                 quotes."
            }
            Self::OpenBracket | Self::StrayBracket => {
                "Write brackets around numbers, as in web[01-20], or around an IPv6 address."
            }
            Self::TouchingRanges => {
                "Write the numbers as one range, as in a[11-19,21-29], or put a letter between them."
            }
            Self::MissingNumber | Self::NoNumber(_) => {
                "Write numbers in brackets as in web[01-20], web[1-9/2] or web[1,3,7-9]."
            }
            Self::LongNumber => "Write such names one by one.",
            Self::Backwards(_) => "Write the smaller number first.",
            Self::UnequalWidths(_) => {
                "Zeros are part of a name: write both ends with as many digits, as in [001-100], or \
                 both without zeros."
            }
            Self::BadStep(_) => "A step is a number from 1, as in web[1-9/2].",
            Self::LoneStep => "Write a step after a range, as in web[1-9/2].",
            Self::DigitsBehindStep | Self::DigitsBeforeGrowth => {
                "Write whole numbers into the brackets, as in a[18-19,110-111]."
            }
            Self::MissingGroup => "Write @GROUP, or @* for all known hosts.",
            Self::NoAddress(_) | Self::TextBesideAddress => {
                "Text with a `:` in brackets must be an IPv6 address, as in [fd00::1]:7263."
            }
            Self::BadCharacter('*' | '?') => "Write wildcards only in the names of hosts.",
            Self::BadCharacter(_) => "Use letters, digits and `.-_:/+`.",
            Self::User { user, host } => {
                return format!(
                    "Name the user with -l: -l {} {}.",
                    printable(user),
                    printable(host)
                );
            }
            Self::Dash => "Write options before the hosts.",
            Self::Dots => "Name hosts, as in web[01-20].",
            Self::LongName => "A DNS name has at most 253 characters.",
            Self::TooMany(_) | Self::TooMuch => "Split the hosts over several runs.",
            Self::UnknownGroup { near: Some(near), .. } => {
                return format!("Did you mean `@{}`?", printable(near));
            }
            Self::UnknownGroup { .. } => {
                "Define groups in hosts.toml under [groups], as in web = \"web[01-20]\"."
            }
            Self::UnknownSource { known, .. } if known.is_empty() => {
                "There is neither a hosts.toml nor an inventory."
            }
            Self::UnknownSource { known, .. } => {
                let known: Vec<_> = known.iter().map(|name| format!("@{name}:GROUP")).collect();
                return format!("Write {}, or @GROUP for any.", known.join(" or "));
            }
            Self::WildGroup => "Write @* for all hosts, or @GROUP for those of a group.",
            Self::Circle(_) => "Remove one of them from the other.",
            Self::TooDeep => "Name the hosts in fewer steps.",
            Self::Unmatched { known: 0, .. } => {
                "Wildcards match names in hosts.toml and inventories, and there are none."
            }
            Self::Unmatched { .. } => "`rcmd-client hosts '@*'` shows the known names.",
        };
        hint.to_owned()
    }
}

impl HostsError {
    /// Returns an error in an expression of a command line or a call.
    pub(crate) fn given(text: &str, column: usize, fault: Fault) -> Self {
        Self { origin: Origin::Given { text: text.to_owned() }, column, fault: Box::new(fault) }
    }

    /// Returns this error with another place.
    pub(crate) fn at(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }
}

/// `PLACE: FAULT`.
struct Place<'a>(&'a Origin, usize, &'a Fault);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(origin, column, fault) = self;
        match origin {
            Origin::Given { text } if text.is_empty() => f.write_str("the expression")?,
            Origin::Given { text } => write!(f, "`{}`", printable(text))?,
            Origin::Line { file: Some(file), line } => write!(f, "{}:{line}", shown(file))?,
            Origin::Line { file: None, line } => write!(f, "standard input, line {line}")?,
            Origin::Group { name, file } => {
                write!(f, "{}: group `{}`", shown(file), printable(name))?;
            }
        }
        match (column, origin) {
            (0, _) => write!(f, ": {fault}"),
            (column, Origin::Line { file: Some(_), .. }) => write!(f, ":{column}: {fault}"),
            (column, _) => write!(f, ", column {column}: {fault}"),
        }
    }
}
