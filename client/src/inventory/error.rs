//! Errors in files of hosts, with their place and advice.

use std::path::PathBuf;

use rcmd_certs::{
    files::{FileError, shown},
    text::{printable, without_long_words},
};

/// A file of hosts that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InventoryError {
    /// The file cannot be read, or other users could change it.
    #[error(transparent)]
    File(#[from] FileError),
    /// The content is invalid.
    #[error("{}{}: {fault}", shown(file), place(*.line, *.column))]
    Wrong {
        /// The file.
        file: PathBuf,
        /// The line, from 1; 0 for the whole file.
        line: usize,
        /// The column, in characters from 1; 0 for the whole line.
        column: usize,
        /// The fault.
        fault: InventoryFault,
    },
}

/// A fault in a file of hosts.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InventoryFault {
    /// A fault of syntax.
    #[error("{}", printable(.0))]
    Syntax(String),
    /// A setting that does not exist.
    #[error("unknown setting `{}`", without_long_words(&printable(key)))]
    Unknown {
        /// The setting as written.
        key: String,
        /// The existing settings.
        known: &'static str,
    },
    /// A setting of a later version.
    #[error("`{0}` is a setting that this version does not support")]
    Later(&'static str),
    /// A value of the wrong kind.
    #[error("`{}` must be {wanted}", without_long_words(&printable(key)))]
    Kind {
        /// The setting.
        key: String,
        /// The kind that is needed.
        wanted: &'static str,
    },
    /// A program that printed no inventory.
    #[error("{0}")]
    Script(String),
    /// A group that contains itself.
    #[error("the group `{0}` contains itself")]
    Circle(String),
    /// Too many hosts, variables or nodes.
    #[error("there are more than 100000 hosts, or more variables than are read")]
    TooMany,
    /// A text that is not a valid name of a host or a group.
    #[error("`{}` is not a valid name of a {kind}: {why}", printable(name))]
    Name {
        /// The kind of name: `host` or `group`.
        kind: &'static str,
        /// The text.
        name: String,
        /// The reason.
        why: String,
    },
}

impl InventoryFault {
    /// Returns advice, as a sentence.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Syntax(_) => "Correct the line, or remove it.".to_owned(),
            Self::Unknown { known, .. } => format!("The settings are {known}."),
            Self::Later(_) => "Remove it; a host is reached only by its address.".to_owned(),
            Self::Kind { key, .. } if key == "address" => {
                "The port has a setting of its own: port = 7263. A Unix socket is `unix:/run/rcmd/rcmd.sock`."
                    .to_owned()
            }
            Self::Kind { .. } => "Correct the line, or remove it.".to_owned(),
            Self::Script(_) => {
                "Run it by hand: it prints JSON when it is called with --list.".to_owned()
            }
            Self::Circle(_) => "Remove one of them from the other.".to_owned(),
            Self::TooMany => "Split it into several inventories.".to_owned(),
            Self::Name { .. } => "Use letters, digits and `.-_:/+`.".to_owned(),
        }
    }
}

impl InventoryError {
    /// Returns advice, as a sentence, if the message has none.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(_) => None,
            Self::Wrong { fault, .. } => Some(fault.hint()),
        }
    }
}

fn place(line: usize, column: usize) -> String {
    match (line, column) {
        (0, _) => String::new(),
        (line, 0) => format!(":{line}"),
        (line, column) => format!(":{line}:{column}"),
    }
}
