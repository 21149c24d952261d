//! One rule of a policy, with what its annotations say.

use cedar_policy::{ActionConstraint, Effect, EntityUid, Policy};

use super::{
    digests::Digests,
    environment::Allowed,
    vocabulary::{Action, TYPES, uid},
};

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// The rule as Cedar evaluates it; its id is the rule's name.
    pub(super) policy: Policy,
    /// The settings of the environment that it permits, if it is a permit.
    pub(super) env: Allowed,
    /// Whether what it permits runs with no_new_privs: `@no_new_privs("true")`.
    pub(super) no_new_privs: bool,
    /// What it does with the program's digest.
    pub(super) digests: Digests,
    /// Its first line in the file, from 1.
    pub(super) line: usize,
}

impl Rule {
    /// Returns the rule's name: `@id("...")`, else `line N`.
    pub(super) fn name(&self) -> &str {
        self.policy.id().as_ref()
    }

    /// Returns whether the rule can permit or forbid this action.
    pub(super) fn is_about(&self, action: &EntityUid) -> bool {
        match self.policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(one) => one == *action,
            ActionConstraint::In(some) => some.contains(action),
        }
    }

    /// Returns whether the rule permits an action to somebody.
    pub(super) fn permits(&self, action: Action) -> bool {
        self.policy.effect() == Effect::Permit
            && self.is_about(&uid(&TYPES.action, action.as_str()))
    }
}
