//! `policy.cedar`, read: parsed, validated strictly, each rule with a name and a place.

use std::{
    collections::HashMap,
    fmt,
    str::FromStr as _,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};

use super::{
    environment::Allowed,
    slice::{Action, Host, PolicySlice, permits},
};
use crate::trust::Principal;

/// Identities whose slices are kept; one more, and all are made anew as they are needed.
const SLICES: usize = 256;

/// The vocabulary.
const SCHEMA: &str = include_str!("schema.cedarschema");

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| match Schema::from_str(SCHEMA) {
    Ok(schema) => Validator::new(schema),
    // The text is part of the program, and every test reads it.
    Err(error) => unreachable!("the schema of rules: {error}"),
});

/// The vocabulary that rules are written in.
pub(super) fn schema() -> &'static Schema {
    VALIDATOR.schema()
}

/// The rules of a host, as they are at one moment.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Arc<Rule>>,
    host: Host,
    warnings: Vec<Diagnostic>,
    is_missing: bool,
    slices: Mutex<HashMap<Principal, Arc<PolicySlice>>>,
}

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// What Cedar evaluates; its id is the rule's name.
    pub(super) policy: Policy,
    /// The settings of the environment that it permits, if it is a permit.
    pub(super) env: Allowed,
    /// Whether what it permits runs with no_new_privs: `@no_new_privs("true")`.
    pub(super) no_new_privs: bool,
    /// Whether it speaks of the program's digest.
    pub(super) names_digest: bool,
    /// Its first line in the file, from 1.
    pub(super) line: usize,
}

impl Rule {
    /// Its name: `@id("...")`, else where it stands.
    pub(super) fn name(&self) -> &str {
        self.policy.id().as_ref()
    }
}

/// What is wrong with a policy, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// What is wrong there, on one line.
    pub message: String,
    /// What to do, if something better than the message is known.
    pub help: Option<String>,
    /// The line itself.
    pub source: String,
}

/// `line:column: message`, then the line, a caret below it and what to do.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, message, help, source } = self;
        writeln!(f, "{line}:{column}: {message}")?;
        writeln!(f, "  | {}", source.replace('\t', " "))?;
        write!(f, "  | {:>column$}", "^")?;
        match help {
            Some(help) => write!(f, "\n  = {help}"),
            None => Ok(()),
        }
    }
}

impl Rules {
    /// Reads a policy for this host.
    ///
    /// # Errors
    /// All that is wrong with it, in the order of the text.
    pub fn parse(text: &str, host: Host) -> Result<Self, Vec<Diagnostic>> {
        let set = PolicySet::from_str(text)
            .map_err(|errors| sorted(errors.iter().map(|error| diagnostic(text, error))))?;
        if let Some(template) = set.templates().next() {
            let at = text.find(&template.to_cedar()).unwrap_or(0);
            let message = "a template permits nothing: name the principal and the resource".into();
            return Err(vec![Diagnostic::at(text, at, message, None)]);
        }
        let found = VALIDATOR.validate(&set, ValidationMode::Strict);
        if !found.validation_passed() {
            return Err(sorted(found.validation_errors().map(|error| diagnostic(text, error))));
        }
        let warnings = found.validation_warnings().map(|warning| diagnostic(text, warning));
        let warnings = sorted(warnings);
        let rules = named(text, &set)?;
        Ok(Self { rules, host, warnings, is_missing: false, slices: Mutex::default() })
    }

    /// The rules of a host that has no policy: none, so that all is denied.
    pub fn missing(host: Host) -> Self {
        Self {
            rules: Vec::new(),
            host,
            warnings: Vec::new(),
            is_missing: true,
            slices: Mutex::default(),
        }
    }

    /// Whether the host has no policy at all.
    pub fn is_missing(&self) -> bool {
        self.is_missing
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What is no error and yet hardly meant: a rule that never applies, letters that look alike.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The host that they are for.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Whether something may be started and nothing may be taken up again, which is hardly meant.
    pub fn starts_without_attach(&self) -> bool {
        let any = |action| self.rules.iter().any(|rule| permits(&rule.policy, action));
        (any(Action::Run) || any(Action::Shell)) && !any(Action::Attach)
    }

    pub(super) fn all(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// The rules that can apply to this identity. Made when it is first asked for, which is when the
    /// peer connects, and kept until the policy is read again.
    pub fn slice(&self, principal: &Principal) -> Arc<PolicySlice> {
        let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slice) = slices.get(principal) {
            return Arc::clone(slice);
        }
        if slices.len() >= SLICES {
            slices.clear();
        }
        let slice = Arc::new(PolicySlice::new(&self.rules, &self.host, principal, self.is_missing));
        slices.insert(principal.clone(), Arc::clone(&slice));
        slice
    }
}

/// The rules in the order of the text, each under its own name.
fn named(text: &str, set: &PolicySet) -> Result<Vec<Arc<Rule>>, Vec<Diagnostic>> {
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
        let line = position(text, at).0;
        let name = match policy.annotation("id") {
            Some(id) if id.is_empty() || id.chars().any(char::is_control) => {
                refuse("an @id is a name of at least one letter, without control bytes".into());
                continue;
            }
            Some(id) => id.to_owned(),
            None => format!("line {line}"),
        };
        if rules.iter().any(|rule| rule.name() == name) {
            refuse(format!("the @id {name:?} stands here for the second time"));
        }
        let env = match Allowed::parse(policy.annotation("env").unwrap_or_default()) {
            Ok(env) => env,
            Err(message) => {
                refuse(message);
                continue;
            }
        };
        let no_new_privs = match annotated(policy) {
            Ok(no_new_privs) => no_new_privs,
            Err((annotation, message)) => {
                let at = at + source.find(&format!("@{annotation}")).unwrap_or(0);
                diagnostics.push(Diagnostic::at(text, at, message, None));
                continue;
            }
        };
        let names_digest = source.contains("digest");
        let policy = policy.new_id(PolicyId::new(name));
        rules.push(Arc::new(Rule { policy, env, no_new_privs, names_digest, line }));
    }
    if diagnostics.is_empty() { Ok(rules) } else { Err(diagnostics) }
}

/// Looks at a rule's annotations, to which Cedar gives no meaning, and says whether one asks for
/// no_new_privs. One that is misspelt would ask for nothing, silently.
///
/// # Errors
/// The annotation that is wrong, and why.
fn annotated(policy: &Policy) -> Result<bool, (&str, String)> {
    let mut no_new_privs = false;
    for (name, value) in policy.annotations() {
        let wrong = match (name, value) {
            ("id" | "env", _) => continue,
            ("no_new_privs", _) if policy.effect() == Effect::Forbid => {
                "a forbid runs nothing: @no_new_privs is for a permit".to_owned()
            }
            ("no_new_privs", "true" | "false") => {
                no_new_privs = value == "true";
                continue;
            }
            ("no_new_privs", _) => {
                format!("@no_new_privs is \"true\" or \"false\", not {value:?}")
            }
            _ => format!("there is no @{name}: a rule has @id, @env and @no_new_privs"),
        };
        return Err((name, wrong));
    }
    Ok(no_new_privs)
}

fn sorted(diagnostics: impl Iterator<Item = Diagnostic>) -> Vec<Diagnostic> {
    let mut diagnostics: Vec<_> = diagnostics.collect();
    diagnostics.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
    diagnostics
}

fn diagnostic(text: &str, error: &dyn miette::Diagnostic) -> Diagnostic {
    let label = error.labels().and_then(|mut labels| labels.next());
    let at = label.as_ref().map_or(0, miette::LabeledSpan::offset);
    let detail = label.as_ref().and_then(miette::LabeledSpan::label);
    let message = match detail {
        Some(detail) => format!("{error}: {detail}"),
        None => error.to_string(),
    };
    let help = error.help().map(|help| one_line(&help.to_string()));
    Diagnostic::at(text, at, one_line(&message), help)
}

/// Cedar's messages hold what stands in the file, and may be of several lines.
fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    rcmd_certs::text::escaped(&words.join(" "))
}

impl Diagnostic {
    fn at(text: &str, at: usize, message: String, help: Option<String>) -> Self {
        let (line, column) = position(text, at);
        let source = text.lines().nth(line - 1).unwrap_or_default().to_owned();
        Self { line, column, message, help, source }
    }
}

/// Line and column of a byte, both from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
