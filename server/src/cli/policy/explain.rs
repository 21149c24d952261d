//! `rcmd-server policy explain`: its options, and the question that they ask.

use std::{
    ffi::OsString,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::ffi::OsStringExt as _,
    path::PathBuf,
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use rcmd_certs::{Layout, text::escaped};
use rcmd_protocol::{
    frame::{Lock, Mode},
    request::Request,
};

use super::{
    answer::{Case, Explanation, Question, terminal, told},
    asked::{Asked, AskedOptions, DetailOptions},
};
use crate::{
    cli::moment,
    config::ServerSettings,
    policy::{RequestContext, file},
    process::Account,
    trust::{Principal, Way},
};

/// The usage; clap's own would list each option that asks something.
const USAGE: &str = "rcmd-server policy explain [OPTIONS] --as <NAME> [-- <COMMAND>...]";

/// The examples of the long help.
const EXAMPLES: &str = "\
Exit status: 0 if the request is permitted, 1 if it is denied.

Examples:
  rcmd-server policy explain --as alice --group ops -- systemctl restart db
  rcmd-server policy explain --as kim --group support -l app --read /var/log/app/today
  rcmd-server policy explain --as dev1 --forward db1:5432 --address 10.0.0.7";

/// The options of `rcmd-server policy explain`. The short help has those that are used most.
#[derive(Debug, Args)]
#[command(override_usage = USAGE, after_long_help = EXAMPLES)]
#[command(after_help = "Exit status: 0 if the request is permitted, 1 if it is denied.\n\n\
    Example:\n  rcmd-server policy explain --as alice --group ops -- systemctl restart db")]
pub struct ExplainOptions {
    /// Server's folder [default: $RCMD_DIR, /etc/rcmd]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Policy to ask [default: policy.cedar in that folder]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// User who makes the request
    #[arg(long = "as", value_name = "NAME")]
    user: String,
    /// Group in the user's certificate; repeatable
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// Account to run as [default: yours]
    #[arg(long = "user", short = 'l', value_name = "USER")]
    account: Option<String>,
    #[command(flatten)]
    command: CommandOptions,
    #[command(flatten)]
    asked: AskedOptions,
    #[command(flatten)]
    details: DetailOptions,
    /// Source address of the request [default: 127.0.0.1, or :: with --way unix]
    #[arg(long, value_name = "ADDRESS", hide_short_help = true)]
    from: Option<IpAddr>,
    /// Way of the connection: tcp, unix, handed or relay
    #[arg(long, value_name = "WAY", value_parser = way, default_value = "tcp", hide_short_help = true)]
    way: Way,
    /// Time, as 2026-01-31T20:00:00Z [default: now]
    #[arg(long, value_name = "TIME", hide_short_help = true)]
    time: Option<String>,
}

/// The options of questions about a command.
#[derive(Debug, Args)]
struct CommandOptions {
    /// COMMAND is one line for the shell
    #[arg(long)]
    shell: bool,
    /// Folder to run in [default: the account's home]
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    cwd: Option<OsString>,
    /// Variable to set for the command; repeatable
    #[arg(long, value_name = "NAME=VALUE", hide_short_help = true)]
    env: Vec<OsString>,
    /// Lock to hold meanwhile, for COMMAND, --read and --write
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    lock: Option<String>,
}

impl CommandOptions {
    /// Returns one of the options that were given and are of commands alone, if any was.
    fn given(&self, asked: &Asked) -> Option<&'static str> {
        let is_of_files = matches!(asked, Asked::Access(access, _) if access.file().is_some());
        let options = [
            ("--shell", self.shell),
            ("--cwd", self.cwd.is_some()),
            ("--env", !self.env.is_empty()),
            ("--lock", self.lock.is_some() && !is_of_files),
        ];
        options.into_iter().find(|(_, given)| *given).map(|(option, _)| option)
    }

    /// Returns the name of the lock, if one was given.
    ///
    /// # Errors
    /// It can't be the name of a lock.
    fn lock(&self) -> Result<Option<String>> {
        let Some(name) = self.lock.clone() else { return Ok(None) };
        let lock = Lock { name: name.clone(), wait_ms: 0 };
        Request::exec(["x"]).lock(lock).build().map_err(told)?;
        Ok(Some(name))
    }

    fn request(&self, words: Vec<OsString>) -> Result<Request> {
        let bytes = |words: Vec<OsString>| words.into_iter().map(OsString::into_vec);
        let mode = if self.shell { Mode::Shell } else { Mode::Exec };
        let mut request = Request::builder(mode, bytes(words));
        request.envs(bytes(self.env.clone()));
        if let Some(cwd) = self.cwd.clone() {
            request.cwd(cwd.into_vec());
        }
        if let Some(name) = self.lock.clone() {
            // No rule depends on how long the request would wait for the lock.
            request.lock(Lock { name, wait_ms: 0 });
        }
        request.build().map_err(told)
    }
}

/// Reads the name of a way.
fn way(typed: &str) -> Result<Way, String> {
    let mut ways = Way::ALL.into_iter();
    ways.find(|way| way.as_str() == typed)
        .ok_or_else(|| "write tcp, unix, handed or relay".to_owned())
}

/// Explains a decision and returns the exit status.
///
/// # Errors
/// The fault in the policy or in the arguments.
pub(super) fn run(options: &ExplainOptions, out: &mut impl Write) -> Result<u8> {
    let layout = Layout::for_host(options.dir.as_deref());
    let settings = ServerSettings::load(&layout, Vec::new())?;
    let path = options.policy.clone().unwrap_or_else(|| settings.data.policy.clone());
    let rules = match &options.policy {
        Some(path) => file::check(path, &settings.host, settings.vocabulary)?,
        None => file::load(&path, &settings.host, settings.vocabulary)?,
    };
    let principal = Principal { user: options.user.clone(), groups: options.group.clone() };
    let (context, account) = (context(options)?, account(options.account.as_deref())?);
    let asked = options.asked.read(&options.details, options.command.lock()?, &account)?;
    let is_of_a_command = matches!(asked, Asked::Command(_));
    let of_a_command = options.command.given(&asked).filter(|_| !is_of_a_command);
    if let Some(option) = of_a_command {
        bail!("{option} needs a COMMAND");
    }
    let question = match asked {
        Asked::Command(words) => Question::Command(options.command.request(words)?),
        Asked::Terminal => Question::Access(terminal(&principal.user, &account, &settings)?),
        Asked::Access(access, unseen) => {
            if let Some(unseen) = unseen {
                writeln!(out, "{}", escaped(&unseen))?;
            }
            Question::Access(access)
        }
    };
    let case = Case { principal, question, account, context };
    Explanation { rules: &rules, settings: &settings, path: &path }.print(&case, out)
}

fn context(options: &ExplainOptions) -> Result<RequestContext> {
    let time = match &options.time {
        Some(time) => moment(time)
            .with_context(|| format!("{time:?} is not a time; write it as 2026-01-31T20:00:00Z"))?
            .into(),
        None => SystemTime::now(),
    };
    let way = options.way;
    let source = options.from.unwrap_or(match way {
        Way::Unix => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Way::Tcp | Way::Handed | Way::Relay => IpAddr::V4(Ipv4Addr::LOCALHOST),
    });
    Ok(RequestContext { source, way, time })
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
