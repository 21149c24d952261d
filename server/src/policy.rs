//! Who may do what: the only place that makes a permit.
//!
//! | module | holds |
//! | --- | --- |
//! | `rules` | `policy.cedar` read and validated, each rule with its name and place |
//! | [`question`] | what is asked, as facts for the rules |
//! | [`slice`](mod@slice) | the rules that can apply to one identity, and their evaluation |
//! | `environment` | which variables a rule lets a request set |
//! | [`file`](mod@file) | where the policy lies, and how it is replaced |
//! | [`explain`] | which rule decided, and what would permit it |
//!
//! The rules are Cedar's, with the vocabulary of `schema.cedarschema`. Nothing is permitted that no
//! rule permits, a forbid wins over every permit, and a rule that can't be evaluated denies.

mod environment;

pub mod explain;
pub mod file;
pub mod question;
mod rules;
pub mod slice;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::SystemTime};

use rcmd_certs::text::printable;
use rcmd_protocol::{
    frame::Mode,
    outcome::{ErrorKind, Failure},
    request::Request,
};

use self::{environment::is_dangerous, rules::Rule};
pub use self::{
    question::{HostFacts, RequestContext},
    rules::{Diagnostic, Rules},
    slice::{Action, Host, PolicySlice},
};
use crate::{
    process::{Plan, Sealed, Writable},
    trust::Peer,
};

/// The policy of a new host, which permits the group `admin` everything: what `policy init` writes, and
/// `rcmd-certs quickstart` too.
pub const INITIAL: &str = include_str!("../../certs/authority/src/policy.cedar");

/// The rule that nobody writes: what was judged must be what runs.
pub const PROGRAM_WRITABLE: &str = "program_writable";

/// The digest of no program.
const NO_DIGEST: &str = "sha256:";

/// Proof that this peer may run exactly this. [`decide`] alone makes one, and nothing starts
/// without it.
#[derive(Debug)]
pub struct Permit {
    peer: Arc<Peer>,
    plan: Plan,
    rules: Vec<String>,
}

impl Permit {
    /// Who asked.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// What may run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The rules that permit it, by name.
    pub fn rules(&self) -> &[String] {
        &self.rules
    }
}

/// A request that was permitted, to be judged again when the rules are others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthorizedRequest {
    /// What was asked.
    pub request: Request,
    /// What was found for it.
    pub facts: HostFacts,
}

impl AuthorizedRequest {
    /// Judges it by these rules, as of now.
    ///
    /// # Errors
    /// The denial.
    pub fn recheck(&self, rules: &Rules, peer: &Peer, time: SystemTime) -> Result<(), Denial> {
        let context = RequestContext { source: peer.address().ip(), time };
        authorize(&rules.slice(peer.principal()), &self.request, &self.facts, context).map(drop)
    }
}

/// Why something may not be done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Denial {
    /// What kind of reason it is.
    pub kind: DenialKind,
    /// The rules that decided, by name: forbids, rules that could not be evaluated, permits that do
    /// not reach far enough, or [`PROGRAM_WRITABLE`].
    pub rules: Vec<String>,
    /// For the client and the log.
    pub reason: String,
    /// What to do about it.
    pub hint: String,
}

/// What kind of reason a denial has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DenialKind {
    /// The host has no policy.
    NoPolicy,
    /// No rule permits it.
    NoRule,
    /// A rule forbids it.
    Forbidden,
    /// A rule could not be evaluated.
    Error,
    /// A variable that no permitting rule lets it set.
    Environment,
    /// Others could change the program.
    Writable,
}

impl DenialKind {
    /// Its name, for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoPolicy => "no_policy",
            Self::NoRule => "no_rule",
            Self::Forbidden => "forbidden",
            Self::Error => "error",
            Self::Environment => "environment",
            Self::Writable => PROGRAM_WRITABLE,
        }
    }
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Self {
        Self::new(ErrorKind::Denied, denial.reason).hint(denial.hint)
    }
}

/// Judges one request on what was found for it. Pure: whatever it depends on is an argument.
///
/// # Errors
/// The denial, for the client and the log.
pub fn decide(
    slice: &PolicySlice,
    peer: &Arc<Peer>,
    request: &Request,
    plan: Plan,
    facts: &HostFacts,
    time: SystemTime,
) -> Result<Permit, Denial> {
    let context = RequestContext { source: peer.address().ip(), time };
    let Authorization { rules, sealed, no_new_privs } = authorize(slice, request, facts, context)?;
    let plan = Plan { no_new_privs: plan.no_new_privs || no_new_privs, ..plan };
    let plan = match (sealed, &facts.program.sealed) {
        (true, Some(sealed)) => {
            Plan { program: sealed.path(), sealed: Some(sealed.clone()), ..plan }
        }
        _ => plan,
    };
    Ok(Permit { peer: Arc::clone(peer), plan, rules })
}

/// What permits a request, and how far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorization {
    /// The rules that permit it, by name.
    pub rules: Vec<String>,
    /// Whether the sealed copy is to be run: others could change the file, and a rule names its
    /// digest.
    pub sealed: bool,
    /// Whether one of the rules asks that it run with no_new_privs.
    pub no_new_privs: bool,
}

impl Authorization {
    fn by(rules: &[Arc<Rule>], sealed: bool) -> Self {
        let no_new_privs = rules.iter().any(|rule| rule.no_new_privs);
        Self { rules: names(rules), sealed, no_new_privs }
    }
}

/// As [`decide`], without a plan to permit.
///
/// # Errors
/// As there.
pub fn authorize(
    slice: &PolicySlice,
    request: &Request,
    facts: &HostFacts,
    context: RequestContext,
) -> Result<Authorization, Denial> {
    let action = question::action(request);
    let query = Query { slice, action, what: shown(request, facts) };
    query.possible()?;
    let permits = |digest: Option<&str>| {
        let cedar_context = question::of_request(request, facts, digest, context, &slice.recent)
            .map_err(|why| query.broken(&why))?;
        query.with_settings(query.evaluate(cedar_context)?, request)
    };
    let sealed = facts.program.sealed.as_ref();
    let enough = permits(sealed.map(Sealed::digest))?;
    let Some(writable) = &facts.program.writable else {
        return Ok(Authorization::by(&enough, false));
    };
    // A rule names the digest if it does not permit a program of another.
    let others = permits(Some(NO_DIGEST)).unwrap_or_default();
    let is_other = |rule: &Arc<Rule>| others.iter().any(|other| Arc::ptr_eq(rule, other));
    let by_digest: Vec<_> = enough.into_iter().filter(|rule| !is_other(rule)).collect();
    if by_digest.is_empty() || sealed.is_none() {
        return Err(query.writable(writable));
    }
    Ok(Authorization::by(&by_digest, true))
}

/// Judges whether a peer may take up a command that `owner` has started.
///
/// # Errors
/// The denial.
pub fn authorize_attach(
    slice: &PolicySlice,
    owner: &str,
    context: RequestContext,
) -> Result<Vec<String>, Denial> {
    let what = format!("take up a command of {owner}");
    let query = Query { slice, action: Action::Attach, what };
    query.possible()?;
    let cedar_context =
        question::of_job(owner, context, &slice.recent).map_err(|why| query.broken(&why))?;
    Ok(names(&query.evaluate(cedar_context)?))
}

/// Denies what no rule could permit, whatever is found on the host: then nothing is looked up there,
/// and the answer tells nothing about it.
///
/// # Errors
/// The denial.
pub fn authorize_early(slice: &PolicySlice, request: &Request) -> Result<(), Denial> {
    let action = question::action(request);
    let what = match request.mode {
        Mode::Shell => "run a shell line".to_owned(),
        Mode::Exec => format!("run {}", shown_word(request.args.first())),
    };
    let query = Query { slice, action, what };
    query.possible()?;
    // PATH would decide which program is found, before any rule was asked.
    query.with_settings(slice.permits(action).map(Arc::clone).collect(), request).map(drop)
}

/// Something that somebody wants to do.
struct Query<'a> {
    slice: &'a PolicySlice,
    action: Action,
    /// After "may not".
    what: String,
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
                "On the host, `rcmd-server policy init` writes a policy to begin with; \
                              then send the server a SIGHUP."
            }
            _ => "`rcmd-server policy explain` on the host says what would permit it.",
        };
        let reason = format!("{}: {because}", self.denied());
        Denial { kind, rules, reason, hint: hint.to_owned() }
    }

    fn broken(&self, error: &str) -> Denial {
        let because = format!("the policy could not be evaluated: {}", printable(error));
        self.denial(DenialKind::Error, Vec::new(), &because)
    }

    fn possible(&self) -> Result<(), Denial> {
        if self.slice.is_missing() {
            let because = "it has no policy, so that everything is denied";
            return Err(self.denial(DenialKind::NoPolicy, Vec::new(), because));
        }
        if !self.slice.may_permit(self.action) {
            return Err(self.no_rule());
        }
        Ok(())
    }

    fn writable(&self, writable: &Writable) -> Denial {
        Denial {
            kind: DenialKind::Writable,
            rules: vec![PROGRAM_WRITABLE.to_owned()],
            reason: format!("{} ({PROGRAM_WRITABLE}): {writable}", self.denied()),
            hint:
                "On the host, let root alone write to it and to the folders above it (chown root, \
                   chmod go-w), or permit the program by its digest."
                    .to_owned(),
        }
    }

    fn no_rule(&self) -> Denial {
        self.denial(DenialKind::NoRule, Vec::new(), "no rule permits it")
    }

    /// The rules that permit it.
    fn evaluate(&self, cedar_context: cedar_policy::Context) -> Result<Vec<Arc<Rule>>, Denial> {
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

    /// Those of the rules that also permit what the request sets in the environment.
    fn with_settings(
        &self,
        permits: Vec<Arc<Rule>>,
        request: &Request,
    ) -> Result<Vec<Arc<Rule>>, Denial> {
        let first_of = |rule: &Rule| request.env.iter().find(|setting| !rule.env.permits(setting));
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
        let how = match is_dangerous(name.as_bytes()) {
            true => "and must name it in full, as it can change what runs",
            false => "or not to this value",
        };
        let permits = if who.ends_with("not") { "permit" } else { "permits" };
        let because = format!("{who} {permits} to set {name} in the environment, {how}");
        let mut denial = self.denial(DenialKind::Environment, names, &because);
        denial.hint = format!("Leave it out, or have {name} named in the rule's @env.");
        Err(denial)
    }
}

fn names(rules: &[Arc<Rule>]) -> Vec<String> {
    rules.iter().map(|rule| rule.name().to_owned()).collect()
}

fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("\"{}\"", printable(name))).collect();
    names.join(", ")
}

fn shown_word(word: Option<&Vec<u8>>) -> String {
    printable(&String::from_utf8_lossy(word.map(Vec::as_slice).unwrap_or_default()))
}

fn shown(request: &Request, facts: &HostFacts) -> String {
    let account = printable(&facts.account.to_string_lossy());
    match request.mode {
        Mode::Shell => format!("run a shell line as {account}"),
        Mode::Exec => {
            let program = printable(&facts.program.path.to_string_lossy());
            format!("run {program} as {account}")
        }
    }
}

/// What a request that is permitted would run, in words; cut to what a frame holds.
pub fn permission(judged: &Authorization, facts: &HostFacts) -> String {
    let shown = |text: &std::ffi::OsStr| printable(&text.to_string_lossy());
    let (program, account) = (shown(facts.program.path.as_os_str()), shown(&facts.account));
    let cwd = shown(facts.cwd.as_os_str());
    let rules = quoted(judged.rules.get(..4).unwrap_or(&judged.rules));
    format!("permitted: {program} as {account} in {cwd}, by the rule {rules}")
}

/// The words of a shell line, if it says the same to `--exec`: then that may be permitted where the
/// shell is not.
pub fn plain_words(request: &Request) -> Option<Request> {
    let line = request.args.first().filter(|_| request.mode == Mode::Shell)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@%:,= \t".contains(byte);
    if !line.iter().all(plain) {
        return None;
    }
    let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let args: Vec<_> = words.map(<[u8]>::to_vec).collect();
    // An assignment before a command is the shell's.
    let first = args.first().filter(|first| !first.contains(&b'='))?;
    (!first.is_empty()).then(|| Request { mode: Mode::Exec, args: args.clone(), ..request.clone() })
}

/// What is said when `--exec` would do.
pub fn try_exec(denial: Denial) -> Denial {
    let hint = "The same is permitted without the shell: try it with --exec.".to_owned();
    Denial { hint, ..denial }
}
