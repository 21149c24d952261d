//! One rule of a policy.

use cedar_policy::{ActionConstraint, Effect, Policy};

use super::{
    digests::Digests,
    environment::Allowed,
    vocabulary::{Action, TYPES, Vocabulary, uid},
};

/// A rule, with the meaning of its annotations.
#[derive(Debug)]
pub(super) struct Rule {
    /// The rule as Cedar evaluates it; its ID is the rule's name.
    pub(super) policy: Policy,
    /// The settings of the environment that the rule permits, if it is a permit.
    pub(super) env: Allowed,
    /// True if a request that it permits must run with no_new_privs: `@no_new_privs("true")`.
    pub(super) no_new_privs: bool,
    /// The use that the rule makes of the program's digest.
    pub(super) digests: Digests,
    /// True if the rule's text has `context.address`, without which it permits listening on
    /// loopback only.
    pub(super) names_address: bool,
    /// True if the rule's text has `context.lock` or `context has lock`, without which it permits
    /// no transfer that takes a lock.
    pub(super) names_lock: bool,
    /// The line of the file at which the rule begins, from 1.
    pub(super) line: usize,
}

impl Rule {
    /// Returns the rule's name: the value of `@id("...")`, or `line N` without that.
    pub(super) fn name(&self) -> &str {
        self.policy.id().as_ref()
    }

    /// Returns whether the rule is a permit that names no action in its scope. Actions in its
    /// conditions do not count: they may be those that the rule is not for.
    pub(super) fn is_open(&self) -> bool {
        self.policy.effect() == Effect::Permit
            && self.policy.action_constraint() == ActionConstraint::Any
    }

    /// Returns whether the rule can permit or forbid this action under this vocabulary. A forbid
    /// that names no action forbids every action under both vocabularies.
    pub(super) fn is_about(&self, action: Action, vocabulary: Vocabulary) -> bool {
        if self.is_open() {
            return vocabulary.covers(action);
        }
        let action = uid(&TYPES.action, action.as_str());
        match self.policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(one) => one == action,
            // The schema has no groups of actions.
            ActionConstraint::In(some) => some.contains(&action),
        }
    }

    /// Returns whether the rule permits this action to anybody.
    pub(super) fn permits(&self, action: Action, vocabulary: Vocabulary) -> bool {
        self.policy.effect() == Effect::Permit && self.is_about(action, vocabulary)
    }
}
