//! The vocabulary of rules: Cedar's schema, its entity types, the actions, the host; and what a
//! permit that names no action covers.

use std::{str::FromStr as _, sync::LazyLock};

use cedar_policy::{
    EntityId, EntityTypeName, EntityUid, PolicySet, Schema, ValidationMode, ValidationResult,
    Validator,
};
use serde::Deserialize;

static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| validator(include_str!("schema.cedarschema")));
static FORMER: LazyLock<Validator> =
    LazyLock::new(|| validator(include_str!("former.cedarschema")));

fn validator(schema: &str) -> Validator {
    match Schema::from_str(schema) {
        Ok(schema) => Validator::new(schema),
        // The text is part of the program, and a test reads it.
        Err(error) => unreachable!("the schema of rules: {error}"),
    }
}

pub(super) fn schema() -> &'static Schema {
    VALIDATOR.schema()
}

/// Returns whether rules are valid by the schema of the time when requests asked for nothing but
/// `run`, `shell` and `attach`.
pub(super) fn were_valid(rules: &PolicySet) -> bool {
    FORMER.validate(rules, ValidationMode::Strict).validation_passed()
}

/// Validates rules strictly against the schema.
pub(super) fn validate(rules: &PolicySet) -> ValidationResult {
    VALIDATOR.validate(rules, ValidationMode::Strict)
}

/// An action that a peer may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Run a program with its arguments.
    Run,
    /// Run a line in the shell.
    Shell,
    /// Have a terminal: that of a login shell or of a command.
    Terminal,
    /// Attach to a command that was started before.
    Attach,
    /// Read a file, or a folder with what is in it.
    Read,
    /// Write a file, or a folder with what is in it.
    Write,
    /// Have this host connect to another host, or to a Unix socket.
    Forward,
    /// Have this host listen.
    Listen,
    /// Pass connections of others on to this host.
    Relay,
    /// See a command in a list.
    List,
    /// End a command that another connection has.
    Kill,
}

impl Action {
    /// Every action of the schema.
    pub const ALL: [Self; 11] = [
        Self::Run,
        Self::Shell,
        Self::Terminal,
        Self::Attach,
        Self::Read,
        Self::Write,
        Self::Forward,
        Self::Listen,
        Self::Relay,
        Self::List,
        Self::Kill,
    ];

    /// Returns the action's name in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Shell => "shell",
            Self::Terminal => "terminal",
            Self::Attach => "attach",
            Self::Read => "read",
            Self::Write => "write",
            Self::Forward => "forward",
            Self::Listen => "listen",
            Self::Relay => "relay",
            Self::List => "list",
            Self::Kill => "kill",
        }
    }
}

/// The actions that a permit covers if it names none: `policy.vocabulary` in `server.toml`.
///
/// A policy that was written when there were fewer actions must not permit more under a newer
/// server, which has more of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(try_from = "i64")]
pub enum Vocabulary {
    /// A permit that names no action covers `run`, `shell` and `attach`.
    #[default]
    One,
    /// A permit that names no action covers every action.
    Two,
}

impl Vocabulary {
    /// Returns whether a permit that names no action covers this one.
    pub fn covers(self, action: Action) -> bool {
        match self {
            Self::One => matches!(action, Action::Run | Action::Shell | Action::Attach),
            Self::Two => true,
        }
    }

    /// Returns the vocabulary's number in `server.toml`.
    pub fn number(self) -> i64 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

impl TryFrom<i64> for Vocabulary {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        match number {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            _ => Err(format!("{number} is not a vocabulary; write 1 or 2")),
        }
    }
}

/// This host, as rules see it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Host {
    /// The host's name.
    pub name: String,
    /// The host's labels, from the configuration.
    pub labels: Vec<String>,
}

/// Names of Cedar's entity types, parsed once.
pub(super) struct Types {
    pub(super) user: EntityTypeName,
    pub(super) group: EntityTypeName,
    pub(super) host: EntityTypeName,
    pub(super) label: EntityTypeName,
    pub(super) action: EntityTypeName,
}

pub(super) static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let name = |name: &str| match name.parse() {
        Ok(name) => name,
        Err(error) => unreachable!("{name} is the name of a type: {error}"),
    };
    Types {
        user: name("User"),
        group: name("Group"),
        host: name("Host"),
        label: name("Label"),
        action: name("Action"),
    }
});

/// Returns the entity of this type and name.
pub(super) fn uid(kind: &EntityTypeName, name: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(name))
}

pub(super) fn is_user(uid: &EntityUid) -> bool {
    *uid.type_name() == TYPES.user
}

pub(super) fn is_group(uid: &EntityUid) -> bool {
    *uid.type_name() == TYPES.group
}

/// Returns the user of this name, for a context.
pub(super) fn user(name: &str) -> EntityUid {
    uid(&TYPES.user, name)
}
