//! The vocabulary of rules: Cedar's schema, its entity types, the actions, the host.

use std::{str::FromStr as _, sync::LazyLock};

use cedar_policy::{
    EntityId, EntityTypeName, EntityUid, PolicySet, Schema, ValidationMode, ValidationResult,
    Validator,
};

const SCHEMA: &str = include_str!("schema.cedarschema");

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| match Schema::from_str(SCHEMA) {
    Ok(schema) => Validator::new(schema),
    // The text is part of the program, and every test reads it.
    Err(error) => unreachable!("the schema of rules: {error}"),
});

pub(super) fn schema() -> &'static Schema {
    VALIDATOR.schema()
}

/// Validates rules strictly against the schema.
pub(super) fn validate(rules: &PolicySet) -> ValidationResult {
    VALIDATOR.validate(rules, ValidationMode::Strict)
}

/// An action that a request may ask for. The schema has further ones, which no request asks for
/// yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Run a program with its arguments.
    Run,
    /// Run a line in the shell.
    Shell,
    /// Attach to a command that was started before.
    Attach,
}

impl Action {
    /// Returns the action's name in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Shell => "shell",
            Self::Attach => "attach",
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
