//! The rules that can apply to one identity on this host, and their evaluation.
//!
//! A rule costs as much to evaluate if its scope does not match. Therefore rules for other
//! principals and other actions are left out once, beforehand.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Effect, Entities, Entity, EntityUid,
    PolicySet, PrincipalConstraint, Request, ResourceConstraint, RestrictedExpression,
};

use super::{
    digests::Digests,
    question::Recent,
    rule::Rule,
    vocabulary::{Action, Host, TYPES, Vocabulary, schema, uid, user},
};
use crate::trust::Principal;

/// The rules that can apply to one identity.
#[derive(Debug)]
pub struct PolicySlice {
    principal: Principal,
    host: Host,
    is_missing: bool,
    rules: Vec<Arc<Rule>>,
    principal_uid: EntityUid,
    resource: EntityUid,
    entities: Entities,
    vocabulary: Vocabulary,
    applicable: [(Action, OnceLock<Box<Applicable>>); Action::ALL.len()],
    pub(super) recent: Recent,
}

/// The rules that can apply to one identity and one action.
#[derive(Debug)]
struct Applicable {
    action: EntityUid,
    set: PolicySet,
    rules: HashMap<String, Arc<Rule>>,
}

/// The result of an evaluation.
#[derive(Debug)]
pub(super) struct Verdict {
    /// True if the action is permitted; never true if a rule could not be evaluated.
    pub(super) permitted: bool,
    /// The rules that decided: the permits, or the forbids. Empty if no rule permits the action.
    pub(super) rules: Vec<Arc<Rule>>,
    /// The names of the rules that could not be evaluated, each with the error.
    pub(super) errors: Vec<(String, String)>,
}

impl PolicySlice {
    pub(super) fn new(
        rules: &[Arc<Rule>],
        host: &Host,
        principal: &Principal,
        vocabulary: Vocabulary,
        is_missing: bool,
    ) -> Self {
        let principal_uid = user(&principal.user);
        let groups: HashSet<_> =
            principal.groups.iter().map(|group| uid(&TYPES.group, group)).collect();
        let resource = uid(&TYPES.host, &host.name);
        let labels: HashSet<_> = host.labels.iter().map(|label| uid(&TYPES.label, label)).collect();
        let can_apply = |rule: &&Arc<Rule>| {
            let is_for_peer = match rule.policy.principal_constraint() {
                PrincipalConstraint::Any => true,
                PrincipalConstraint::Eq(one) => one == principal_uid,
                PrincipalConstraint::In(one) => one == principal_uid || groups.contains(&one),
                PrincipalConstraint::Is(kind) => kind == TYPES.user,
                PrincipalConstraint::IsIn(kind, one) => {
                    kind == TYPES.user && (one == principal_uid || groups.contains(&one))
                }
            };
            is_for_peer
                && match rule.policy.resource_constraint() {
                    ResourceConstraint::Any => true,
                    ResourceConstraint::Eq(one) => one == resource,
                    ResourceConstraint::In(one) => one == resource || labels.contains(&one),
                    ResourceConstraint::Is(kind) => kind == TYPES.host,
                    ResourceConstraint::IsIn(kind, one) => {
                        kind == TYPES.host && (one == resource || labels.contains(&one))
                    }
                }
        };
        let rules = rules.iter().filter(can_apply).map(Arc::clone).collect();
        let entities =
            entities((&principal_uid, &principal.user, groups), (&resource, &host.name, labels));
        let (principal, host) = (principal.clone(), host.clone());
        let applicable = Action::ALL.map(|action| (action, OnceLock::new()));
        Self {
            principal,
            host,
            is_missing,
            rules,
            principal_uid,
            resource,
            entities,
            vocabulary,
            applicable,
            recent: Recent::default(),
        }
    }

    /// Returns the principal that the rules are for.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Returns the host that the rules are for.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns whether the host has no policy at all.
    pub fn is_missing(&self) -> bool {
        self.is_missing
    }

    /// Returns whether any rule could permit this action, whatever the details are. If none could,
    /// the request is denied before anything is looked up on the host, and the answer reveals
    /// nothing about it.
    pub fn may_permit(&self, action: Action) -> bool {
        self.permits(action).next().is_some()
    }

    /// Returns the permits among the rules that can apply.
    pub(super) fn permits(&self, action: Action) -> impl Iterator<Item = &Arc<Rule>> {
        let permits = |rule: &&Arc<Rule>| rule.policy.effect() == Effect::Permit;
        self.applicable(action).rules.values().filter(permits)
    }

    /// Returns the use that all rules which can apply make of the program's digest.
    pub(super) fn digests(&self, action: Action) -> Digests {
        let rules = self.applicable(action).rules.values();
        rules.fold(Digests::Unnamed, |all, rule| all.and(&rule.digests))
    }

    pub(super) fn evaluate(&self, action: Action, context: Context) -> Verdict {
        let Applicable { action, set, rules } = self.applicable(action);
        let (principal_uid, resource) = (self.principal_uid.clone(), self.resource.clone());
        let denied = |error: String| Verdict {
            permitted: false,
            rules: Vec::new(),
            errors: vec![(String::new(), error)],
        };
        // The schema is not passed: the context is made from typed facts, and a test compares the
        // two.
        let request = match Request::new(principal_uid, action.clone(), resource, context, None) {
            Ok(request) => request,
            Err(error) => return denied(error.to_string()),
        };
        let answer = Authorizer::new().is_authorized(&request, set, &self.entities);
        let diagnostics = answer.diagnostics();
        let errors = diagnostics.errors().map(|error| {
            let AuthorizationError::PolicyEvaluationError(found) = error;
            (found.policy_id().to_string(), error.to_string())
        });
        let errors: Vec<_> = errors.collect();
        let find = |id: &cedar_policy::PolicyId| rules.get::<str>(id.as_ref()).map(Arc::clone);
        let mut rules: Vec<_> = diagnostics.reason().filter_map(find).collect();
        rules.sort_by_key(|rule| rule.line);
        // Cedar skips a rule that it can't evaluate. If a forbid were skipped, the request would be
        // permitted.
        let permitted = answer.decision() == Decision::Allow && errors.is_empty();
        Verdict { permitted, rules, errors }
    }

    fn applicable(&self, action: Action) -> &Applicable {
        let Some((_, cell)) = self.applicable.iter().find(|(one, _)| *one == action) else {
            unreachable!("every action has its place")
        };
        cell.get_or_init(|| {
            let rules = self.rules.iter().filter(|rule| rule.is_about(action, self.vocabulary));
            let rules: Vec<_> = rules.collect();
            let mut set = PolicySet::new();
            for rule in &rules {
                if let Err(error) = set.add(rule.policy.clone()) {
                    unreachable!("names of rules are distinct: {error}");
                }
            }
            let rules = rules.into_iter().map(|rule| (rule.name().to_owned(), Arc::clone(rule)));
            let action = uid(&TYPES.action, action.as_str());
            Box::new(Applicable { action, set, rules: rules.collect() })
        })
    }
}

type Described<'a> = (&'a EntityUid, &'a str, HashSet<EntityUid>);

fn entities(principal: Described<'_>, host: Described<'_>) -> Entities {
    let parents = principal.2.iter().chain(&host.2);
    let mut entities: Vec<_> =
        parents.map(|parent| Entity::new_no_attrs(parent.clone(), HashSet::new())).collect();
    for (uid, name, parents) in [principal, host] {
        let name = RestrictedExpression::new_string(name.to_owned());
        let attributes = HashMap::from([("name".to_owned(), name)]);
        match Entity::new(uid.clone(), attributes, parents) {
            Ok(entity) => entities.push(entity),
            Err(error) => unreachable!("a string is an attribute: {error}"),
        }
    }
    match Entities::from_entities(entities, Some(schema())) {
        Ok(entities) => entities,
        Err(error) => unreachable!("user, groups, host and labels are of the schema: {error}"),
    }
}
