//! One action evaluated by the rules: the rules that permit it, or a denial.

use std::sync::Arc;

use rcmd_certs::text::printable;
use rcmd_protocol::request::Request;

use super::{
    denial::{Denial, DenialKind, PROGRAM_WRITABLE},
    environment,
    rule::Rule,
    slice::PolicySlice,
    vocabulary::Action,
};
use crate::process::Writable;

/// An action of a principal, to be evaluated by the rules of its slice.
pub(super) struct Query<'a> {
    pub(super) slice: &'a PolicySlice,
    pub(super) action: Action,
    /// The action in words, as they follow "may not" in a denial.
    pub(super) what: String,
}

impl Query<'_> {
    fn denied(&self) -> String {
        format!(
            "{} may not {} on {}",
            self.slice.principal().user,
            self.what,
            self.slice.host().name
        )
    }

    fn denial(&self, kind: DenialKind, rules: Vec<String>, because: &str) -> Denial {
        let hint = match kind {
            DenialKind::NoPolicy => {
                "On the host, `rcmd-server policy init` writes a first policy; \
                              then send the server SIGHUP."
            }
            _ => "`rcmd-server policy explain` on the host says what would permit it.",
        };
        let reason = format!("{}: {because}", self.denied());
        Denial { kind, rules, reason, hint: hint.to_owned() }
    }

    /// Returns the denial for rules that could not be evaluated.
    pub(super) fn broken(&self, error: &str) -> Denial {
        let because = format!("the policy could not be evaluated: {}", printable(error));
        self.denial(DenialKind::Error, Vec::new(), &because)
    }

    /// Denies an action that no rule could permit, whatever the details are.
    pub(super) fn possible(&self) -> Result<(), Denial> {
        if self.slice.is_missing() {
            let because = "it has no policy, so everything is denied";
            return Err(self.denial(DenialKind::NoPolicy, Vec::new(), because));
        }
        if !self.slice.may_permit(self.action) {
            return Err(self.no_rule());
        }
        Ok(())
    }

    /// Returns the denial of a program that others could change.
    pub(super) fn writable(&self, writable: &Writable) -> Denial {
        Denial {
            kind: DenialKind::Writable,
            rules: vec![PROGRAM_WRITABLE.to_owned()],
            reason: format!("{} ({PROGRAM_WRITABLE}): {writable}", self.denied()),
            hint:
                "On the host, let only root write to it and to the folders above it (chown root, \
                   chmod go-w), or permit the program by its digest."
                    .to_owned(),
        }
    }

    fn no_rule(&self) -> Denial {
        self.denial(DenialKind::NoRule, Vec::new(), "no rule permits it")
    }

    /// Evaluates the rules and returns those that permit the action.
    pub(super) fn evaluate(
        &self,
        cedar_context: cedar_policy::Context,
    ) -> Result<Vec<Arc<Rule>>, Denial> {
        let verdict = self.slice.evaluate(self.action, cedar_context);
        if let Some((rule, error)) = verdict.errors.first() {
            return Err(Denial { rules: vec![rule.clone()], ..self.broken(error) });
        }
        match (verdict.permitted, verdict.rules.as_slice()) {
            (true, _) => Ok(verdict.rules),
            (false, []) => Err(self.no_rule()),
            (false, rules) => {
                let names = names(rules);
                let because = format!("the rule {} forbids it", quoted(&names));
                Err(self.denial(DenialKind::Forbidden, names, &because))
            }
        }
    }

    /// Returns those of the rules that name the address to listen on. The others do not permit an
    /// address that other hosts can reach, since their author may not have thought of it.
    pub(super) fn with_address(&self, permits: Vec<Arc<Rule>>) -> Result<Vec<Arc<Rule>>, Denial> {
        let (enough, short): (Vec<_>, Vec<_>) =
            permits.into_iter().partition(|rule| rule.names_address);
        if !enough.is_empty() {
            return Ok(enough);
        }
        let names = names(&short);
        let because =
            format!("the rule {} names no address, so it permits loopback only", quoted(&names));
        let mut denial = self.denial(DenialKind::NoRule, names, &because);
        denial.hint = "Listen on 127.0.0.1 or ::1, or name the address in the rule: \
                       context.address == ip(\"...\")."
            .to_owned();
        Err(denial)
    }

    /// Returns those of the rules that look at the lock of a transfer. The others permit no transfer
    /// that takes one: it may hold the lock for as long as its client likes, and who wrote of files
    /// may not have thought of what others wait for.
    pub(super) fn with_lock(
        &self,
        permits: Vec<Arc<Rule>>,
        lock: &str,
    ) -> Result<Vec<Arc<Rule>>, Denial> {
        let (enough, short): (Vec<_>, Vec<_>) =
            permits.into_iter().partition(|rule| rule.names_lock);
        if !enough.is_empty() {
            return Ok(enough);
        }
        let names = names(&short);
        let rules = quoted(&names);
        let because = format!("the rule {rules} names no lock, so it permits no transfer with one");
        let mut denial = self.denial(DenialKind::NoRule, names, &because);
        denial.hint = format!(
            "Leave out --lock, or name the lock in the rule: context has lock && context.lock == \
             {lock:?}."
        );
        Err(denial)
    }

    /// Returns those of the rules that also permit the settings of the request's environment.
    pub(super) fn with_settings(
        &self,
        permits: Vec<Arc<Rule>>,
        request: &Request,
    ) -> Result<Vec<Arc<Rule>>, Denial> {
        let first_of =
            |rule: &Rule| request.env().iter().find(|setting| !rule.env.permits(setting));
        let (enough, short): (Vec<_>, Vec<_>) =
            permits.into_iter().partition(|rule| first_of(rule).is_none());
        let Some(setting) = short.first().and_then(|rule| first_of(rule)) else {
            return Ok(enough);
        };
        if !enough.is_empty() {
            return Ok(enough);
        }
        let name = printable(&String::from_utf8_lossy(environment::split(setting).0));
        let (names, who) = match short.as_slice() {
            [one] => (vec![one.name().to_owned()], format!("the rule \"{}\" does not", one.name())),
            some => (names(some), "no rule".to_owned()),
        };
        let permits = if who.ends_with("not") { "permit" } else { "permits" };
        let because =
            format!("{who} {permits} to set {name} in the environment, or not to this value");
        let mut denial = self.denial(DenialKind::Environment, names, &because);
        denial.hint = format!(
            "Leave it out, or list {name} in @env of the rule; a star there permits only harmless \
             names."
        );
        Err(denial)
    }
}

pub(super) fn names(rules: &[Arc<Rule>]) -> Vec<String> {
    rules.iter().map(|rule| rule.name().to_owned()).collect()
}

/// Joins names for a message, each in quotes.
pub(super) fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("\"{}\"", printable(name))).collect();
    names.join(", ")
}
