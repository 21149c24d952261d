//! Parsing a policy: from a text to rules that are validated strictly and have a name and a line.

use std::{collections::HashSet, str::FromStr as _, sync::Arc};

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, ValidationError, ValidationResult};
use rcmd_certs::text::place;

use super::{
    depth,
    diagnostic::{Diagnostic, sorted},
    digests::Digests,
    environment::Allowed,
    rule::Rule,
    vocabulary::{Vocabulary, validate, were_valid},
    words,
};
use crate::trust::Way;

/// A parsed policy.
#[derive(Debug)]
pub(super) struct Parsed {
    /// The rules, in the order of the text.
    pub(super) rules: Vec<Arc<Rule>>,
    /// The warnings: valid text that is probably a mistake.
    pub(super) warnings: Vec<Diagnostic>,
}

/// Parses and validates a policy. Under vocabulary 1, errors of rules that were valid before there
/// were further actions are warnings.
///
/// # Errors
/// All errors of the policy, in the order of the text.
pub(super) fn parse(text: &str, vocabulary: Vocabulary) -> Result<Parsed, Vec<Diagnostic>> {
    depth::check(text).map_err(|wrong| vec![wrong])?;
    let set = PolicySet::from_str(text).map_err(|errors| match has_rules(text) {
        true => sorted(errors.iter().map(|error| Diagnostic::of(text, error))),
        false => vec![no_rules()],
    })?;
    if let Some(template) = set.templates().next() {
        let at = text.find(&template.to_cedar()).unwrap_or(0);
        let message = "a template permits nothing: name the principal and the resource".into();
        return Err(vec![Diagnostic::at(text, at, message, None)]);
    }
    let mut warnings = Vec::new();
    let rules = named(text, &set, &mut warnings)?;
    // The rules get their own names first, so that errors name them.
    let policies = rules.iter().map(|rule| rule.policy.clone());
    let set = PolicySet::from_policies(policies)
        .map_err(|error| vec![Diagnostic::at(text, 0, error.to_string(), None)])?;
    let found = validate(&set);
    let errors = found.validation_errors().map(|error| Diagnostic::of(text, error));
    if !found.validation_passed()
        && (vocabulary == Vocabulary::Two || !were_valid(&wrong_ones(&set, &found)))
    {
        return Err(sorted(errors));
    }
    warnings.extend(errors.map(of_a_former_rule));
    warnings.extend(found.validation_warnings().map(|warning| Diagnostic::of(text, warning)));
    Ok(Parsed { rules, warnings: sorted(warnings.into_iter()) })
}

/// Returns whether there may be a rule in a text.
fn has_rules(text: &str) -> bool {
    text.contains("permit") || text.contains("forbid")
}

/// Makes the diagnostic of a file that is no policy at all. It quotes nothing of the file, which
/// may be a private key in the policy's place.
fn no_rules() -> Diagnostic {
    let message = "it has no rule, neither permit nor forbid; is it the right file?".into();
    Diagnostic::at("", 0, message, None)
}

/// Returns the rules in the order of the text, each under its own name, and adds to `warnings`.
fn named(
    text: &str,
    set: &PolicySet,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Vec<Arc<Rule>>, Vec<Diagnostic>> {
    let mut policies: Vec<_> = set.policies().collect();
    // Cedar numbers them in the order of the text: policy0, policy1, ...
    let number = |policy: &&Policy| policy.id().to_string().get(6..).and_then(|n| n.parse().ok());
    policies.sort_by_key(|policy| number(policy).unwrap_or(usize::MAX));
    let mut diagnostics = Vec::new();
    let mut rules: Vec<Arc<Rule>> = Vec::new();
    let mut from = 0;
    for policy in policies {
        let source = policy.to_cedar().unwrap_or_default();
        let at = text.get(from..).and_then(|rest| rest.find(&source)).map_or(from, |at| from + at);
        from = at + source.len();
        let mut refuse =
            |message: String| diagnostics.push(Diagnostic::at(text, at, message, None));
        let line = place(text.as_bytes(), at).0;
        let name = match policy.annotation("id") {
            Some(id) if id.is_empty() || id.chars().any(char::is_control) => {
                refuse("an @id needs at least one letter, and no control characters".into());
                continue;
            }
            Some(id) => id.to_owned(),
            None => format!("line {line}"),
        };
        if rules.iter().any(|rule| rule.name() == name) {
            refuse(format!("the @id {name:?} was used before"));
        }
        let env = match Allowed::parse(policy.annotation("env").unwrap_or_default()) {
            Ok(env) => env,
            Err(message) => {
                refuse(message);
                continue;
            }
        };
        let env_at = at + source.find("@env").unwrap_or(0);
        warnings.extend(env.doubts().map(|doubt| Diagnostic::at(text, env_at, doubt, None)));
        let no_new_privs = match annotated(policy) {
            Ok(no_new_privs) => no_new_privs,
            Err((annotation, message)) => {
                let at = at + source.find(&format!("@{annotation}")).unwrap_or(0);
                diagnostics.push(Diagnostic::at(text, at, message, None));
                continue;
            }
        };
        let unknown = words::compared(&source, "way").into_iter();
        let is_way = |text: &str| Way::ALL.iter().any(|way| way.as_str() == text.trim_matches('"'));
        let unknown = unknown.filter(|(_, way)| !is_way(way));
        warnings.extend(unknown.map(|(way_at, way)| never_equal(text, at + way_at, way)));
        let digests = Digests::parse(&source);
        let names_address = words::names(&source, "address");
        let names_lock = words::names(&source, "lock") || words::tests_for(&source, "lock");
        let policy = policy.new_id(PolicyId::new(name));
        rules.push(Arc::new(Rule {
            policy,
            env,
            no_new_privs,
            digests,
            names_address,
            names_lock,
            line,
        }));
    }
    if diagnostics.is_empty() { Ok(rules) } else { Err(diagnostics) }
}

/// Returns those of the rules in which the validator has found errors.
fn wrong_ones(rules: &PolicySet, found: &ValidationResult) -> PolicySet {
    let wrong: HashSet<_> = found.validation_errors().map(ValidationError::policy_id).collect();
    let wrong = rules.policies().filter(|rule| wrong.contains(rule.id())).cloned();
    match PolicySet::from_policies(wrong) {
        Ok(wrong) => wrong,
        Err(error) => unreachable!("names of rules are distinct: {error}"),
    }
}

/// Makes the warning about an error in a rule that was valid before there were further actions.
fn of_a_former_rule(error: Diagnostic) -> Diagnostic {
    let message = format!(
        "{}; the rule is kept because it was valid in earlier versions. A request for an action \
         under which it cannot be evaluated is denied, and vocabulary 2 refuses the rule",
        error.message
    );
    Diagnostic { message, ..error }
}

/// Makes the warning about a way that no connection has. To Cedar it is a text as any other.
fn never_equal(text: &str, at: usize, way: &str) -> Diagnostic {
    let ways = Way::ALL.map(|way| format!("{:?}", way.as_str())).join(", ");
    let way = rcmd_certs::text::printable(way);
    Diagnostic::at(text, at, format!("context.way is never {way}; it is one of {ways}"), None)
}

/// Checks a rule's annotations and returns whether one requires no_new_privs. Cedar gives
/// annotations no meaning, so a misspelt one would silently do nothing.
///
/// # Errors
/// The annotation that is wrong, and the reason.
fn annotated(policy: &Policy) -> Result<bool, (&str, String)> {
    let mut no_new_privs = false;
    for (name, value) in policy.annotations() {
        let wrong = match (name, value) {
            ("id" | "env", _) => continue,
            ("no_new_privs", _) if policy.effect() == Effect::Forbid => {
                "@no_new_privs has no effect in a forbid; it belongs to a permit".to_owned()
            }
            ("no_new_privs", "true" | "false") => {
                no_new_privs = value == "true";
                continue;
            }
            ("no_new_privs", _) => {
                format!("@no_new_privs must be \"true\" or \"false\", not {value:?}")
            }
            _ => format!("unknown annotation @{name}; a rule can have @id, @env and @no_new_privs"),
        };
        return Err((name, wrong));
    }
    Ok(no_new_privs)
}
