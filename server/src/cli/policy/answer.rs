//! The answer of `policy explain`: which rule decides, and what would permit the request.

use std::{io::Write, path::Path};

use anyhow::Result;
use rcmd_certs::text::escaped;
use rcmd_protocol::{
    outcome::{ErrorKind, WireError},
    request::Request,
};

use crate::{
    config::ServerSettings,
    job::Rejection,
    policy::{self, Access, Denial, DenialKind, RequestContext, Rules, Vocabulary, explain},
    process::{Account, Looks},
    request::{
        authorize,
        finder::{ExecContext, Finder},
    },
    trust::Principal,
};

/// The exit status for a request that is denied.
const DENIED: u8 = 1;

/// A question to the policy, with all that the answer depends on.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) principal: Principal,
    pub(super) question: Question,
    pub(super) account: Account,
    pub(super) context: RequestContext,
}

/// A request of a peer, to be judged.
#[derive(Clone)]
pub(super) enum Question {
    /// A command to run.
    Command(Request),
    /// An action other than running a command.
    Access(Access),
}

/// The description of what is permitted, and the names of the rules that permit it.
type Permitted = (String, Vec<String>);

/// The policy by which cases are explained.
pub(super) struct Explanation<'a> {
    pub(super) rules: &'a Rules,
    pub(super) settings: &'a ServerSettings,
    /// The policy's file.
    pub(super) path: &'a Path,
}

impl Explanation<'_> {
    /// Prints the decision of a case, and what would permit it. Returns the exit status.
    ///
    /// # Errors
    /// If the request can't be judged because what it names does not exist.
    pub(super) fn print(&self, case: &Case, out: &mut impl Write) -> Result<u8> {
        let denial = match self.judge(case, self.rules) {
            Ok((what, by)) => {
                writeln!(out, "permitted: {}", escaped(&what))?;
                return self.decided(&by, out).map(|()| 0);
            }
            Err(Rejection::Failed(failure)) => return Err(told(failure)),
            Err(Rejection::Denied(denial)) => denial,
        };
        writeln!(out, "denied: {}", escaped(&denial.reason))?;
        if case.principal.groups.is_empty() {
            let user = escaped(&case.principal.user);
            writeln!(
                out,
                "no group of {user} was named; --group NAME names one that the certificate has"
            )?;
        }
        self.decided(&denial.rules, out)?;
        self.remedies(case, &denial, out)?;
        Ok(DENIED)
    }

    fn judge(&self, case: &Case, rules: &Rules) -> Result<Permitted, Rejection> {
        let slice = rules.slice(&case.principal);
        match &case.question {
            Question::Command(request) => {
                let looks = Looks::here();
                let exec = exec(&case.account, self.settings, &looks);
                let judged = authorize::dry_run(&slice, request, exec, case.context);
                let (judged, facts) = at_once(judged)?;
                let program = facts.command().map(|facts| facts.program.path.to_string_lossy());
                let account = case.account.name.to_string_lossy();
                let what = format!("{} as {account}", program.unwrap_or_default());
                Ok((what, judged.rules))
            }
            Question::Access(access) => {
                let judged = policy::authorize_access(&slice, access, case.context)?;
                Ok((access.to_string(), judged.rules))
            }
        }
    }

    /// Prints what would permit the request.
    fn remedies(&self, case: &Case, denial: &Denial, out: &mut impl Write) -> Result<()> {
        if !matches!(denial.kind, DenialKind::NoRule | DenialKind::NoPolicy) {
            return Ok(writeln!(out, "what to do: {}", escaped(&denial.hint))?);
        }
        writeln!(out, "the request would be permitted")?;
        for (principal, other) in self.rules.others(&case.principal) {
            let case = Case { principal: other, ..case.clone() };
            if let Ok((_, by)) = self.judge(&case, self.rules) {
                let by = by.first().map(|name| self.place(name)).unwrap_or_default();
                writeln!(out, "  to {} by {by}", escaped(&principal))?;
            }
        }
        if self.rules.vocabulary() == Vocabulary::One
            && let Ok((_, by)) = self.judge(case, &self.rules.under(Vocabulary::Two))
        {
            let by = by.first().map(|name| self.place(name)).unwrap_or_default();
            writeln!(out, "  with policy.vocabulary = 2 in server.toml, by {by}")?;
        }
        if let Question::Command(request) = &case.question
            && let Some(words) = policy::plain_words(request)
        {
            let case = Case { question: Question::Command(words), ..case.clone() };
            if self.judge(&case, self.rules).is_ok() {
                writeln!(out, "  without the shell, with --exec")?;
            }
        }
        if let Some(rule) = self.rule_for(case)? {
            writeln!(out, "  by this rule, which permits only this:\n")?;
            for line in rule.lines() {
                writeln!(out, "    {line}")?;
            }
        }
        Ok(())
    }

    /// Returns a rule that would permit the case.
    fn rule_for(&self, case: &Case) -> Result<Option<String>> {
        let user = &case.principal.user;
        match &case.question {
            Question::Access(access) => Ok(explain::rule_for_access(user, access)),
            Question::Command(request) => {
                let looks = Looks::here();
                let exec = exec(&case.account, self.settings, &looks);
                let facts = at_once(authorize::host_facts(user, request, exec));
                let facts = facts.map_err(|rejection| told(rejection.into()))?;
                Ok(explain::rule_for(user, request, &facts))
            }
        }
    }

    fn place(&self, name: &str) -> String {
        match self.rules.line_of(name) {
            Some(line) => {
                format!("the rule \"{}\" ({}:{line})", escaped(name), self.path.display())
            }
            None => format!("the rule {}, which every host has", escaped(name)),
        }
    }

    fn decided(&self, names: &[String], out: &mut impl Write) -> Result<()> {
        for name in names {
            writeln!(out, "  by {}", self.place(name))?;
        }
        Ok(())
    }
}

/// Returns the question of this user for the login shell of an account.
///
/// # Errors
/// If the account has no shell, or the shell does not exist.
pub(super) fn terminal(user: &str, account: &Account, settings: &ServerSettings) -> Result<Access> {
    let looks = Looks::here();
    // The shell is found as for any line.
    let line = Request::shell("exit").build().map_err(told)?;
    let facts = at_once(authorize::host_facts(user, &line, exec(account, settings, &looks)));
    facts.map(Access::Terminal).map_err(|rejection| told(rejection.into()))
}

fn exec<'a>(
    account: &'a Account,
    settings: &'a ServerSettings,
    looks: &'a Looks,
) -> ExecContext<'a> {
    let (path, finder) = (&settings.path, Finder::Here(looks));
    ExecContext { account, path, job: "explain", finder, own: None }
}

/// Returns the failure of a request as an error of the program.
pub(super) fn told(failure: WireError) -> anyhow::Error {
    anyhow::anyhow!("{}; {}", failure.message, failure.hint.unwrap_or_default())
}

/// Returns the result of looks that are made in the calling thread, so that the future waits for
/// nothing else.
fn at_once<T>(looked: impl Future<Output = Result<T, Rejection>>) -> Result<T, Rejection> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| {
        Rejection::Failed(WireError::new(ErrorKind::Resources, error.to_string()))
    })?;
    runtime.block_on(looked)
}
