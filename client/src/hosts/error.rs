//! What is wrong with an expression, where, and what to write instead.

use std::{fmt, path::PathBuf};

use rcmd_certs::{files::shown, text::printable};

use super::limits::{DEEPEST, MAX_DIGITS, MAX_EXPRESSION, MAX_HOSTS, MAX_NAME, MAX_WORK};

/// A set that can't be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", Place(origin, *column, fault))]
pub struct HostsError {
    /// What the expression belongs to.
    pub origin: Origin,
    /// Where in the expression, in characters from 1; 0 for the expression as a whole.
    pub column: usize,
    /// What is wrong there.
    pub fault: Box<Fault>,
}

/// Where an expression stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It was given as such, on a command line or by a caller.
    Given {
        /// The expression.
        text: String,
    },
    /// A line of a file.
    Line {
        /// The file; none is standard input.
        file: Option<PathBuf>,
        /// The line, from 1.
        line: usize,
    },
    /// A group.
    Group {
        /// The group's name.
        name: String,
        /// The file that has it.
        file: PathBuf,
    },
}

/// What is wrong with an expression.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// There is no text.
    #[error("it is empty")]
    Empty,
    /// The text is longer than [`MAX_EXPRESSION`].
    #[error("it has more than {MAX_EXPRESSION} bytes")]
    TooLong,
    /// White space.
    #[error("there is a blank")]
    Blank,
    /// An operator without a name on both sides.
    #[error("a name is missing {} the `{operator}`", if *before { "before" } else { "behind" })]
    MissingName {
        /// `,`, `!`, `&` or `^`.
        operator: char,
        /// Which side.
        before: bool,
    },
    /// `[` without `]`.
    #[error("the bracket is not closed")]
    OpenBracket,
    /// `]` without `[`.
    #[error("the bracket is not opened")]
    StrayBracket,
    /// Two ranges with at most digits between them.
    #[error("two ranges touch each other")]
    TouchingRanges,
    /// Nothing where a number is to be.
    #[error("a number is missing")]
    MissingNumber,
    /// Something else than a number.
    #[error("`{}` is no number", printable(.0))]
    NoNumber(String),
    /// More digits than a range may have.
    #[error("a number of a range has more than {MAX_DIGITS} digits")]
    LongNumber,
    /// A range that ends before it begins.
    #[error("the range `{0}` ends before it begins")]
    Backwards(String),
    /// A range whose ends have not as many digits, although one begins with a zero.
    #[error("the ends of `{0}` have not as many digits, and one begins with 0")]
    UnequalWidths(String),
    /// A step that can't be.
    #[error("`/{}` is no step", printable(.0))]
    BadStep(String),
    /// A step for a single number.
    #[error("a step stands behind a single number")]
    LoneStep,
    /// Digits behind a range with a step.
    #[error("digits follow a range with a step")]
    DigitsBehindStep,
    /// Digits before a range whose numbers have not as many digits.
    #[error("digits stand before a range whose numbers grow in length")]
    DigitsBeforeGrowth,
    /// What is in the brackets has a `:`, and is no IPv6 address.
    #[error("`{}` is no IPv6 address", printable(.0))]
    NoAddress(String),
    /// An IPv6 address in brackets with something else than a port beside it.
    #[error("something else than `:PORT` touches an IPv6 address in brackets")]
    TextBesideAddress,
    /// A `@` alone.
    #[error("the name of a group is missing behind the `@`")]
    MissingGroup,
    /// A character that names do not have.
    #[error("the character {0:?} can't be in a name")]
    BadCharacter(char),
    /// A user before the name.
    #[error("a user is no part of a name")]
    User {
        /// The user.
        user: String,
        /// What stands behind it.
        host: String,
    },
    /// A name that would be taken for an option.
    #[error("a name begins with `-`")]
    Dash,
    /// A name that is a folder.
    #[error("`.` and `..` are no names")]
    Dots,
    /// A name longer than may be, in bytes.
    #[error("a name has more than {MAX_NAME} bytes")]
    LongName,
    /// More hosts than [`MAX_HOSTS`].
    #[error("these are {0} hosts, and {MAX_HOSTS} is the most")]
    TooMany(u128),
    /// More names in all terms than [`MAX_WORK`].
    #[error("all its parts together have more than {MAX_WORK} names")]
    TooMuch,
    /// A group that no inventory has.
    #[error("there is no group `{}`", printable(name))]
    UnknownGroup {
        /// With its source, if one was named.
        name: String,
        /// One that is there and written much like it.
        near: Option<String>,
    },
    /// A source that is not there.
    #[error("there is no source of groups `{}`", printable(name))]
    UnknownSource {
        /// As it was written.
        name: String,
        /// Those that are there.
        known: Vec<String>,
    },
    /// A wildcard in a group's name.
    #[error("a wildcard stands in the name of a group")]
    WildGroup,
    /// A group that holds itself.
    #[error("the group holds itself: {}", .0.join(" -> "))]
    Circle(Vec<String>),
    /// Groups in groups, too deep.
    #[error("groups hold groups more than {DEEPEST} deep")]
    TooDeep,
    /// A wildcard that no known host's name fits.
    #[error("no known host's name fits `{}`", printable(pattern))]
    Unmatched {
        /// The name with its wildcards.
        pattern: String,
        /// How many hosts are known.
        known: usize,
    },
}

impl Fault {
    /// Returns what to do about it, as a sentence.
    #[must_use]
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::Empty => "Name hosts, as in web[01-20]; a variable that is not set is nothing.",
            Self::TooLong => "Write it into a file, an expression a line: --hosts-file FILE.",
            Self::Blank => "Write names without blanks, separated by commas: web1,web2.",
            Self::MissingName { operator: ',', .. } => {
                "A comma stands between two names: web1,web2."
            }
            Self::MissingName { .. } => {
                "An operator stands between two names: web[1-9]!web3; in a shell write it in single \
                 quotes."
            }
            Self::OpenBracket | Self::StrayBracket => {
                "Brackets stand around numbers, as in web[01-20], or around an IPv6 address."
            }
            Self::TouchingRanges => {
                "Write the numbers as one range, as in a[11-19,21-29], or put a letter between them."
            }
            Self::MissingNumber | Self::NoNumber(_) => {
                "Numbers in brackets are written as in web[01-20], web[1-9/2] or web[1,3,7-9]."
            }
            Self::LongNumber => "Write such names one by one.",
            Self::Backwards(_) => "Write the smaller number first.",
            Self::UnequalWidths(_) => {
                "Zeros are part of a name: write both ends with as many digits, as in [001-100], or \
                 both without zeros."
            }
            Self::BadStep(_) => "A step is a number from 1, as in web[1-9/2].",
            Self::LoneStep => "Write a step behind a range, as in web[1-9/2].",
            Self::DigitsBehindStep | Self::DigitsBeforeGrowth => {
                "Write whole numbers into the brackets, as in a[18-19,110-111]."
            }
            Self::MissingGroup => "Write @GROUP, or @* for all known hosts.",
            Self::NoAddress(_) | Self::TextBesideAddress => {
                "Brackets with a `:` in them hold an IPv6 address, as in [fd00::1]:7263."
            }
            Self::BadCharacter('*' | '?') => "A wildcard stands in the name of a host.",
            Self::BadCharacter(_) => "A name has letters, digits and `.-_:/+`.",
            Self::User { user, host } => {
                return format!(
                    "The user is an option: -l {} {}.",
                    printable(user),
                    printable(host)
                );
            }
            Self::Dash => "Options stand before the hosts.",
            Self::Dots => "Name hosts, as in web[01-20].",
            Self::LongName => "A name of the DNS has at most 253 characters.",
            Self::TooMany(_) | Self::TooMuch => "Make several runs of it, each with its own part.",
            Self::UnknownGroup { near: Some(near), .. } => {
                return format!("Did you mean `@{}`?", printable(near));
            }
            Self::UnknownGroup { .. } => {
                "Groups stand in hosts.toml under [groups], as in web = \"web[01-20]\"."
            }
            Self::UnknownSource { known, .. } if known.is_empty() => {
                "There is neither a hosts.toml nor an inventory."
            }
            Self::UnknownSource { known, .. } => {
                let known: Vec<_> = known.iter().map(|name| format!("@{name}:GROUP")).collect();
                return format!("Write {}, or @GROUP for any.", known.join(" or "));
            }
            Self::WildGroup => "Write @* for all hosts, or @GROUP for those of a group.",
            Self::Circle(_) => "Take one of them out of the other.",
            Self::TooDeep => "Name the hosts in fewer steps.",
            Self::Unmatched { known: 0, .. } => {
                "Wildcards stand for names of hosts.toml and of inventories, and none is there."
            }
            Self::Unmatched { .. } => "`rcmd-client hosts '@*'` shows the known names.",
        };
        hint.to_owned()
    }
}

impl HostsError {
    /// Returns the error of an expression that was given as such.
    pub(crate) fn given(text: &str, column: usize, fault: Fault) -> Self {
        Self { origin: Origin::Given { text: text.to_owned() }, column, fault: Box::new(fault) }
    }

    /// Returns the same at another place.
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
