//! What is wrong with a file of hosts, where, and what to write instead.

use std::path::PathBuf;

use rcmd_certs::{
    files::{FileError, shown},
    text::printable,
};

/// A file of hosts that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InventoryError {
    /// It can't be read, or others could change it.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is wrong.
    #[error("{}{}: {fault}", shown(file), place(*.line, *.column))]
    Wrong {
        /// The file.
        file: PathBuf,
        /// The line, from 1; 0 for the file as a whole.
        line: usize,
        /// The column, in characters from 1; 0 for the line as a whole.
        column: usize,
        /// What is wrong.
        fault: InventoryFault,
    },
}

/// What is wrong with a file of hosts.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InventoryFault {
    /// It is not of its form.
    #[error("{}", printable(.0))]
    Syntax(String),
    /// A setting that does not exist.
    #[error("there is no setting `{}`", printable(key))]
    Unknown {
        /// As it was written.
        key: String,
        /// Those that exist there.
        known: &'static str,
    },
    /// A setting of a later version.
    #[error("`{0}` is a setting for something that this version does not have")]
    Later(&'static str),
    /// A value of another kind than is wanted.
    #[error("`{}` is to be {wanted}", printable(key))]
    Kind {
        /// The setting.
        key: String,
        /// What it is to be.
        wanted: &'static str,
    },
    /// A program that gave no inventory.
    #[error("{0}")]
    Script(String),
    /// A group that holds itself.
    #[error("the group `{0}` holds itself")]
    Circle(String),
    /// More hosts, variables or nodes than are read.
    #[error("there are more than 100000 hosts, or more variables than are read")]
    TooMany,
    /// A text that is no name of a host or a group.
    #[error("`{}` can't be the name of a {kind}: {why}", printable(name))]
    Name {
        /// `host` or `group`.
        kind: &'static str,
        /// The text.
        name: String,
        /// Why not.
        why: String,
    },
}

impl InventoryFault {
    /// Returns what to do about it, as a sentence.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Syntax(_) => "Mend that line, or remove it.".to_owned(),
            Self::Unknown { known, .. } => format!("The settings are {known}."),
            Self::Later(_) => "Remove it; such a host is reached by its address alone.".to_owned(),
            Self::Kind { key, .. } if key == "address" => {
                "The port has a setting of its own: port = 7263.".to_owned()
            }
            Self::Kind { .. } => "Mend that line, or remove it.".to_owned(),
            Self::Script(_) => {
                "Run it by hand: it prints JSON when it is called with --list.".to_owned()
            }
            Self::Circle(_) => "Take one of them out of the other.".to_owned(),
            Self::TooMany => "Make several inventories of it.".to_owned(),
            Self::Name { .. } => "A name has letters, digits and `.-_:/+`.".to_owned(),
        }
    }
}

impl InventoryError {
    /// Returns what to do about it, as a sentence, unless the message says so.
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
