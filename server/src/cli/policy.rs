//! The subcommands `rcmd-server policy`: checking a policy, explaining a decision, writing the
//! first policy.
#![expect(clippy::disallowed_methods, reason = "programs that serve nobody")]

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr},
    os::unix::ffi::OsStringExt,
    path::Path,
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail};
use rcmd_certs::{
    Layout,
    files::{self, shown},
    text::escaped,
};
use rcmd_protocol::{
    frame::{Lock, Mode},
    outcome::{ErrorKind, WireError},
    request::Request,
};

use crate::policy::{
    self, Denial, DenialKind, Diagnostic, HostFacts, RequestContext, Rules, explain, file,
};
use crate::{
    cli::{CheckOptions, ExplainOptions, PolicyCommand, moment},
    config::ServerSettings,
    job::Rejection,
    process::{Account, Looks},
    request::{
        authorize::{self, ExecContext},
        finder::Finder,
    },
    trust::Principal,
};

/// The exit status for a request that is denied.
const DENIED: u8 = 1;

/// Runs the subcommand and returns the exit status.
///
/// # Errors
/// The fault in the policy or in the arguments.
pub fn run(command: PolicyCommand, out: &mut impl Write) -> Result<u8> {
    match command {
        PolicyCommand::Init { dir } => init(&Layout::for_host(dir.as_deref()), out),
        PolicyCommand::Check(options) => check(&options, out),
        PolicyCommand::Explain(options) => explain(&options, out),
    }
}

fn init(layout: &Layout, out: &mut impl Write) -> Result<u8> {
    let path = layout.policy();
    let new = files::NewFile { path: &path, bytes: policy::INITIAL.as_bytes(), private: false };
    files::write_all(&[new], files::Existing::Keep)?;
    writeln!(out, "{}  the policy: the group admin may do everything", path.display())?;
    writeln!(out, "A running server reads it when it gets SIGHUP.")?;
    Ok(0)
}

fn check(options: &CheckOptions, out: &mut impl Write) -> Result<u8> {
    let layout = Layout::for_host(options.dir.as_deref());
    let settings = ServerSettings::load(&layout, Vec::new())?;
    let own = &settings.data.policy;
    let path = options.file.clone().unwrap_or_else(|| own.clone());
    // The server's own policy is read as the server does; another may be meant for some other host.
    let is_own = path == *own || is_same(&path, own);
    let rules = match is_own {
        true => file::load(&path, &settings.host)?,
        false => file::check(&path, &settings.host)?,
    };
    if rules.is_missing() {
        let path = shown(&path);
        bail!(
            "{path} does not exist, so everything is denied; `rcmd-server policy init` writes one"
        );
    }
    if let Some(why) = file::refused(&path).filter(|_| !is_own) {
        writeln!(out, "{}: warning: a server would refuse this file: {why}", shown(&path))?;
    }
    for Diagnostic { line, column, message, .. } in rules.warnings() {
        writeln!(out, "{}:{line}:{column}: warning: {message}", path.display())?;
    }
    if rules.starts_without_attach() {
        writeln!(
            out,
            "{}: warning: no rule permits \"attach\", so no command survives a broken connection",
            path.display()
        )?;
    }
    writeln!(out, "{}: {} rules, all valid", path.display(), rules.len())?;
    Ok(0)
}

/// Returns whether two paths lead to the same file.
fn is_same(one: &Path, other: &Path) -> bool {
    let [one, other] = [one, other].map(|path| path.canonicalize().ok());
    one.is_some() && one == other
}

fn explain(options: &ExplainOptions, out: &mut impl Write) -> Result<u8> {
    let layout = Layout::for_host(options.dir.as_deref());
    let settings = ServerSettings::load(&layout, Vec::new())?;
    let path = options.policy.clone().unwrap_or_else(|| settings.data.policy.clone());
    let rules = match &options.policy {
        Some(path) => file::check(path, &settings.host)?,
        None => file::load(&path, &settings.host)?,
    };
    let case = Case {
        principal: Principal { user: options.user.clone(), groups: options.group.clone() },
        request: request(options)?,
        account: account(options.account.as_deref())?,
        context: context(options)?,
    };
    case.explain(&rules, &settings, &path, out)
}

fn request(options: &ExplainOptions) -> Result<Request> {
    let bytes = |words: &[std::ffi::OsString]| {
        words.iter().map(|word| word.clone().into_vec()).collect::<Vec<_>>()
    };
    let mode = if options.shell { Mode::Shell } else { Mode::Exec };
    let mut request = Request::builder(mode, bytes(&options.command));
    request.envs(bytes(&options.env));
    if let Some(cwd) = options.cwd.clone() {
        request.cwd(cwd.into_vec());
    }
    if let Some(name) = options.lock.clone() {
        // No rule depends on how long the request would wait for the lock.
        request.lock(Lock { name, wait_ms: 0 });
    }
    request.build().map_err(told)
}

fn told(failure: WireError) -> anyhow::Error {
    anyhow::anyhow!("{}; {}", failure.message, failure.hint.unwrap_or_default())
}

fn context(options: &ExplainOptions) -> Result<RequestContext> {
    let time = match &options.time {
        Some(time) => moment(time)
            .with_context(|| format!("{time:?} is not a time; write it as 2026-01-31T20:00:00Z"))?
            .into(),
        None => SystemTime::now(),
    };
    Ok(RequestContext { source: options.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), time })
}

fn account(name: Option<&str>) -> Result<Account> {
    let mut account = Account::current();
    let Some(name) = name else { return Ok(account) };
    let Some(user) = nix::unistd::User::from_name(name)? else {
        bail!("there is no user {name:?}")
    };
    account.name = user.name.into();
    (account.uid, account.gid) = (user.uid.into(), user.gid.into());
    (account.home, account.shell) = (user.dir, user.shell);
    Ok(account)
}

/// A question to the policy, with all that the answer depends on.
struct Case {
    principal: Principal,
    request: Request,
    account: Account,
    context: RequestContext,
}

impl Case {
    fn judge(
        &self,
        rules: &Rules,
        settings: &ServerSettings,
    ) -> Result<(Vec<String>, HostFacts), Rejection> {
        let slice = rules.slice(&self.principal);
        let looks = Looks::here();
        let judged =
            authorize::dry_run(&slice, &self.request, self.exec(settings, &looks), self.context);
        at_once(judged).map(|(judged, facts)| (judged.rules, facts))
    }

    fn exec<'a>(&'a self, settings: &'a ServerSettings, looks: &'a Looks) -> ExecContext<'a> {
        let (path, finder) = (&settings.path, Finder::Here(looks));
        ExecContext { account: &self.account, path, job: "explain", finder }
    }

    fn explain(
        &self,
        rules: &Rules,
        settings: &ServerSettings,
        path: &Path,
        out: &mut impl Write,
    ) -> Result<u8> {
        let place = |name: &String| place(rules, path, name);
        let denial = match self.judge(rules, settings) {
            Ok((by, facts)) => {
                let program = facts.program.path.to_string_lossy();
                writeln!(out, "permitted: {} as {}", escaped(&program), self.account_name())?;
                return decided(out, &by, place).map(|()| 0);
            }
            Err(Rejection::Failed(failure)) => return Err(told(failure)),
            Err(Rejection::Denied(denial)) => denial,
        };
        writeln!(out, "denied: {}", escaped(&denial.reason))?;
        if self.principal.groups.is_empty() {
            let user = escaped(&self.principal.user);
            writeln!(
                out,
                "no group of {user} was named; --group NAME names one that the certificate has"
            )?;
        }
        decided(out, &denial.rules, place)?;
        self.remedies(&denial, rules, settings, path, out)?;
        Ok(DENIED)
    }

    fn account_name(&self) -> String {
        escaped(&self.account.name.to_string_lossy())
    }

    /// Prints what would permit the request.
    fn remedies(
        &self,
        denial: &Denial,
        rules: &Rules,
        settings: &ServerSettings,
        path: &Path,
        out: &mut impl Write,
    ) -> Result<()> {
        if !matches!(denial.kind, DenialKind::NoRule | DenialKind::NoPolicy) {
            return Ok(writeln!(out, "what to do: {}", escaped(&denial.hint))?);
        }
        writeln!(out, "the request would be permitted")?;
        for (principal, other) in rules.others(&self.principal) {
            let case = Self {
                principal: other,
                request: self.request.clone(),
                account: self.account.clone(),
                ..*self
            };
            if let Ok((by, _)) = case.judge(rules, settings) {
                let by = by.first().map(|name| place(rules, path, name)).unwrap_or_default();
                writeln!(out, "  to {} by {by}", escaped(&principal))?;
            }
        }
        if let Some(request) = policy::plain_words(&self.request) {
            let case = Self {
                principal: self.principal.clone(),
                request,
                account: self.account.clone(),
                ..*self
            };
            if case.judge(rules, settings).is_ok() {
                writeln!(out, "  without the shell, with --exec")?;
            }
        }
        let looks = Looks::here();
        let exec = self.exec(settings, &looks);
        let rule = at_once(authorize::host_facts(&self.principal.user, &self.request, exec))
            .map_err(|rejection| told(rejection.into()))
            .map(|facts| explain::rule_for(&self.principal.user, &self.request, &facts))?;
        if let Some(rule) = rule {
            writeln!(out, "  by this rule, which permits only this:\n")?;
            for line in rule.lines() {
                writeln!(out, "    {line}")?;
            }
        }
        Ok(())
    }
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

fn place(rules: &Rules, path: &Path, name: &str) -> String {
    match rules.line_of(name) {
        Some(line) => format!("the rule \"{}\" ({}:{line})", escaped(name), path.display()),
        None => format!("the rule {}, which every host has", escaped(name)),
    }
}

fn decided(
    out: &mut impl Write,
    names: &[String],
    place: impl Fn(&String) -> String,
) -> Result<()> {
    for name in names {
        writeln!(out, "  by {}", place(name))?;
    }
    Ok(())
}
