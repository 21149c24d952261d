//! The policy: who may do what. This is the only module that makes a permit.
//!
//! | module | holds |
//! | --- | --- |
//! | [`file`](mod@file) | reading the policy from its file |
//! | `rules`, `parse`, `rule`, `diagnostic` | `policy.cedar` parsed and validated, each rule with its name and line |
//! | `environment` | the variables that a rule lets a request set |
//! | `digests` | the digests of programs that a rule compares with |
//! | `words` | the text of a rule as words |
//! | [`slice`](mod@slice), `query` | the rules that can apply to one identity, and their evaluation |
//! | [`question`] | the facts of a request to run something, as Cedar's context |
//! | [`access`] | what a peer may ask for other than to run something, with its facts |
//! | [`found`] | what a request was found to ask for: a command, or files |
//! | `vocabulary` | the schema, entity types and actions that rules are written in |
//! | [`widening`] | the rules that vocabulary 2 would widen |
//! | `denial` | the reasons of a denial |
//! | [`explain`] | which rule decided, and what would permit the request |
//!
//! The rules are written in Cedar, with the vocabulary of `schema.cedarschema`. A request that no
//! rule permits is denied, a forbid overrides every permit, and a rule that can't be evaluated
//! denies.

pub mod access;
mod denial;
mod depth;
mod diagnostic;
mod digests;
mod environment;
pub mod explain;
pub mod file;
pub mod found;
mod parse;
mod query;
pub mod question;
mod rule;
mod rules;
pub mod slice;
#[cfg(test)]
mod tests;
mod vocabulary;
pub mod widening;
mod words;

use std::{sync::Arc, time::SystemTime};

use rcmd_certs::text::printable;
use rcmd_protocol::{frame::Mode, request::Request};

pub use self::{
    access::Access,
    denial::{Denial, DenialKind, PROGRAM_WRITABLE},
    diagnostic::Diagnostic,
    found::RequestFacts,
    question::{HostFacts, RequestContext},
    rules::Rules,
    slice::PolicySlice,
    vocabulary::{Action, Host, Vocabulary},
};
use self::{
    access::FileFacts,
    digests::Digests,
    query::{Query, names, quoted},
    rule::Rule,
};
use crate::{
    process::{Digest, Plan},
    trust::Peer,
};

/// The policy of a new host, which permits everything to the group `admin`. `rcmd-server policy
/// init` and `rcmd-certs quickstart` write it.
pub const INITIAL: &str = include_str!("../../certs/authority/src/policy.cedar");

/// A digest that no program has.
const NO_DIGEST: &str = "sha256:";
/// The number of digests that are tried before a program is read. Each takes an evaluation, which
/// costs less than reading a program of some MiB.
const TRIED: usize = 32;

/// A proof that this peer may run exactly this plan. [`decide`] alone makes one, and nothing starts
/// without one.
#[derive(Debug)]
pub struct Permit {
    peer: Arc<Peer>,
    plan: Plan,
    rules: Vec<String>,
}

impl Permit {
    /// Returns the peer that asked.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Returns the plan that may run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns the names of the rules that permit it.
    pub fn rules(&self) -> &[String] {
        &self.rules
    }
}

/// A request that was permitted, to be checked again when the rules change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthorizedRequest {
    /// The request.
    pub request: Arc<Request>,
    /// The facts of this host by which it was judged.
    pub facts: RequestFacts,
}

impl AuthorizedRequest {
    /// Checks the request against these rules at this time.
    ///
    /// # Errors
    /// The denial, if the rules no longer permit the request.
    pub fn recheck(&self, rules: &Rules, peer: &Peer, time: SystemTime) -> Result<(), Denial> {
        let (slice, context) = (rules.slice(peer.principal()), RequestContext::of(peer, time));
        authorize_request(&slice, &self.request, &self.facts, context).map(drop)
    }
}

/// Decides on one request and makes a permit for its plan. Does no I/O: all that the decision
/// depends on is an argument.
///
/// # Errors
/// The denial, for the client and the log.
pub fn decide(
    slice: &PolicySlice,
    peer: &Arc<Peer>,
    request: &Request,
    plan: Plan,
    facts: &RequestFacts,
    time: SystemTime,
) -> Result<Permit, Denial> {
    let context = RequestContext::of(peer, time);
    let Authorization { rules, sealed, no_new_privs } =
        authorize_request(slice, request, facts, context)?;
    let plan = Plan { no_new_privs: plan.no_new_privs || no_new_privs, ..plan };
    let digest = facts.command().and_then(|facts| facts.program.digest.as_ref());
    let copy = digest.and_then(|digest| digest.copy.as_ref());
    let plan = match (sealed, copy) {
        (false, _) => plan,
        (true, Some(copy)) => Plan { program: copy.path(), sealed: Some(copy.clone()), ..plan },
        (true, None) => {
            let why = "the program was not copied";
            let what = facts.command().map_or_else(|| facts.shown(), |facts| shown(request, facts));
            return Err(Query { slice, action: question::action(request), what }.broken(why));
        }
    };
    Ok(Permit { peer: Arc::clone(peer), plan, rules })
}

/// The rules that permit a request, and how the request must be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorization {
    /// The names of the rules that permit it.
    pub rules: Vec<String>,
    /// True if the sealed copy must be run: others could change the file, and a rule names its
    /// digest.
    pub sealed: bool,
    /// True if one of the rules requires that the request runs with no_new_privs.
    pub no_new_privs: bool,
}

impl Authorization {
    fn by(rules: &[Arc<Rule>], sealed: bool) -> Self {
        let no_new_privs = rules.iter().any(|rule| rule.no_new_privs);
        Self { rules: names(rules), sealed, no_new_privs }
    }
}

/// Evaluates one request as [`decide`] does, but without a plan, and makes no permit. Of a transfer,
/// each place that it begins with must be permitted.
///
/// # Errors
/// The denial, for the client and the log.
pub fn authorize_request(
    slice: &PolicySlice,
    request: &Request,
    facts: &RequestFacts,
    context: RequestContext,
) -> Result<Authorization, Denial> {
    let files = match facts {
        RequestFacts::Command(facts) => return authorize(slice, request, facts, context),
        RequestFacts::Files(files) => files,
    };
    if files.is_empty() {
        let (action, what) = (question::action(request), facts.shown());
        return Err(Query { slice, action, what }.broken("it names no file"));
    }
    // The process that transfers executes nothing.
    let mut all = Authorization { rules: Vec::new(), sealed: false, no_new_privs: true };
    for access in files {
        let Authorization { rules, .. } = authorize_access(slice, access, context)?;
        let new = rules.into_iter().filter(|rule| !all.rules.contains(rule)).collect::<Vec<_>>();
        all.rules.extend(new);
    }
    Ok(all)
}

/// Evaluates one request to run a command.
///
/// # Errors
/// The denial, for the client and the log.
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
    let digest = facts.program.digest.as_ref();
    let enough = permits(digest.map(|digest| &*digest.text))?;
    let Some(writable) = &facts.program.writable else {
        return Ok(Authorization::by(&enough, false));
    };
    // A rule that does not permit the same program with another digest names the digest.
    let others = permits(Some(NO_DIGEST)).unwrap_or_default();
    let is_other = |rule: &Arc<Rule>| others.iter().any(|other| Arc::ptr_eq(rule, other));
    let by_digest: Vec<_> = enough.into_iter().filter(|rule| !is_other(rule)).collect();
    if by_digest.is_empty() || digest.is_none() {
        return Err(query.writable(writable));
    }
    Ok(Authorization::by(&by_digest, true))
}

/// Returns whether the decision of [`decide`] depends on the program's digest, as far as can be
/// known without it. `facts` are those without a digest.
pub fn needs_digest(
    slice: &PolicySlice,
    request: &Request,
    facts: &HostFacts,
    context: RequestContext,
) -> bool {
    let listed = match slice.digests(question::action(request)) {
        Digests::Unnamed => return false,
        Digests::Listed(listed) if listed.len() <= TRIED => listed,
        Digests::Listed(_) | Digests::Any => return true,
    };
    let mut facts = facts.clone();
    let mut judged = |digest: Option<&str>| {
        facts.program.digest = digest.map(|text| Digest { text: text.into(), copy: None });
        authorize(slice, request, &facts, context).ok()
    };
    let without = judged(None);
    let mut tried = listed.iter().map(String::as_str).chain([NO_DIGEST]);
    tried.any(|digest| judged(Some(digest)) != without)
}

/// Evaluates what a peer asks for other than to run a command: reading and writing files among
/// others. `slice` has the peer's identity, `access` the action with the account, its user ID, the
/// path, the size and the lock, and `context` the peer's address, its way and the time. Does no I/O.
///
/// # Errors
/// The denial, for the client and the log.
pub fn authorize_access(
    slice: &PolicySlice,
    access: &Access,
    context: RequestContext,
) -> Result<Authorization, Denial> {
    let query = Query { slice, action: access.action(), what: access.to_string() };
    query.possible()?;
    let cedar_context = access.context(context, &slice.recent).map_err(|why| query.broken(&why))?;
    let permits = query.evaluate(cedar_context)?;
    let permits = match access {
        Access::Listen(facts) if facts.endpoint.is_open() => query.with_address(permits)?,
        Access::Read(FileFacts { lock: Some(lock), .. })
        | Access::Write(FileFacts { lock: Some(lock), .. }) => query.with_lock(permits, lock)?,
        Access::Terminal(HostFacts { program, .. }) => match &program.writable {
            Some(writable) => return Err(query.writable(writable)),
            None => permits,
        },
        _ => permits,
    };
    Ok(Authorization::by(&permits, false))
}

/// Denies an action that no rule could permit, whatever is found on the host: as
/// [`authorize_early`], for what [`authorize_access`] judges.
///
/// # Errors
/// The denial.
pub fn authorize_access_early(slice: &PolicySlice, action: Action) -> Result<(), Denial> {
    let what = match action {
        Action::Terminal => "have a terminal".to_owned(),
        Action::Attach => "take up a command".to_owned(),
        Action::Relay => "relay connections".to_owned(),
        other => format!("{} anything", other.as_str()),
    };
    Query { slice, action, what }.possible()
}

/// Denies a request that no rule could permit, whatever is found on the host. Nothing is looked up
/// there before, so that the answer reveals nothing about the host.
///
/// # Errors
/// The denial.
pub fn authorize_early(slice: &PolicySlice, request: &Request) -> Result<(), Denial> {
    let action = question::action(request);
    let what = match request.mode() {
        Mode::Shell => "run a shell line".to_owned(),
        Mode::Exec => format!("run {}", shown_word(request.args().first())),
        Mode::Transfer => format!("{} files", action.as_str()),
    };
    let query = Query { slice, action, what };
    query.possible()?;
    // The settings are checked first: PATH would decide which program is found before any rule was
    // asked.
    query.with_settings(slice.permits(action).map(Arc::clone).collect(), request).map(drop)
}

fn shown_word(word: Option<&Vec<u8>>) -> String {
    printable(&String::from_utf8_lossy(word.map(Vec::as_slice).unwrap_or_default()))
}

fn shown(request: &Request, facts: &HostFacts) -> String {
    let account = printable(&facts.account.to_string_lossy());
    match request.mode() {
        Mode::Shell => format!("run a shell line as {account}"),
        Mode::Exec => {
            let program = printable(&facts.program.path.to_string_lossy());
            format!("run {program} as {account}")
        }
        Mode::Transfer => {
            format!("{} files as {account}", question::action(request).as_str())
        }
    }
}

/// Describes what a permitted request would do, in a text short enough for a frame.
pub fn permission(judged: &Authorization, facts: &RequestFacts) -> String {
    let rules = quoted(judged.rules.get(..4).unwrap_or(&judged.rules));
    format!("permitted: {}, by the rule {rules}", facts.shown())
}

/// Returns a shell line as a request for `--exec`, if it means the same there. Such a request may
/// be permitted where the shell is not.
pub fn plain_words(request: &Request) -> Option<Request> {
    let line = request.args().first().filter(|_| request.mode() == Mode::Shell)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@%:,= \t".contains(byte);
    if !line.iter().all(plain) {
        return None;
    }
    let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let args: Vec<_> = words.map(<[u8]>::to_vec).collect();
    // The shell would take a first word with `=` for an assignment.
    let first = args.first().filter(|first| !first.contains(&b'='))?;
    if first.is_empty() {
        return None;
    }
    request.to_builder().command(Mode::Exec, args).build().ok()
}

/// Adds the advice to use `--exec` to a denial.
pub fn try_exec(denial: Denial) -> Denial {
    let hint = "The same is permitted without the shell: try it with --exec.".to_owned();
    Denial { hint, ..denial }
}
