//! The subcommands `rcmd-server policy`: checking a policy, explaining a decision, writing the
//! first policy.
//!
//! | module | holds |
//! | --- | --- |
//! | `explain`, `asked` | the options of `explain`, and the question that they ask |
//! | `answer` | which rule decides, and what would permit the request |
//! | `vocabulary` | writing the vocabulary of a new policy into `server.toml` |

mod answer;
mod asked;
mod explain;
mod vocabulary;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use rcmd_certs::{
    Layout,
    files::{self, shown},
};

pub use self::explain::ExplainOptions;
use crate::{
    config::ServerSettings,
    policy::{self, Diagnostic, Rules, Vocabulary, file, widening::Widened},
};

/// The subcommands of `rcmd-server policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check a policy; errors name line and column
    Check(CheckOptions),
    /// Show which rule decides a request, and what would permit it
    Explain(Box<ExplainOptions>),
    /// Write a policy that permits the group `admin` everything
    Init {
        /// Server's folder [default: $RCMD_DIR, /etc/rcmd]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

impl PolicyCommand {
    /// Returns the place of the option `--dir`.
    pub(super) fn dir(&mut self) -> &mut Option<PathBuf> {
        match self {
            Self::Check(options) => &mut options.dir,
            Self::Explain(options) => &mut options.dir,
            Self::Init { dir } => dir,
        }
    }
}

/// The options of `rcmd-server policy check`.
#[derive(Debug, Args)]
pub struct CheckOptions {
    /// Server's folder [default: $RCMD_DIR, /etc/rcmd]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Policy to check [default: policy.cedar in that folder]
    file: Option<PathBuf>,
}

/// Runs the subcommand. Returns the exit status: 1 if `explain` finds the request denied, else 0.
///
/// # Errors
/// If the settings, the policy or the arguments are invalid, if the policy to check does not exist, or if a
/// file or `out` can't be read or written.
pub fn run(command: PolicyCommand, out: &mut impl Write) -> Result<u8> {
    match command {
        PolicyCommand::Init { dir } => init(&Layout::for_host(dir.as_deref()), out),
        PolicyCommand::Check(options) => check(&options, out),
        PolicyCommand::Explain(options) => explain::run(&options, out),
    }
}

fn init(layout: &Layout, out: &mut impl Write) -> Result<u8> {
    let path = layout.policy();
    // If the settings can't be read, nothing is written.
    let settings = ServerSettings::load(layout, Vec::new())?;
    let new = files::NewFile { path: &path, bytes: policy::INITIAL.as_bytes(), private: false };
    // The policy comes first. If there is one already, the vocabulary must not widen it.
    files::write_all(&[new], files::Existing::Keep)?;
    writeln!(out, "{}  the policy: the group admin may do everything", shown(&path))?;
    if settings.vocabulary == Vocabulary::One {
        vocabulary::settle(layout, out)?;
    }
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
        true => file::load(&path, &settings.host, settings.vocabulary)?,
        false => file::check(&path, &settings.host, settings.vocabulary)?,
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
    if rules.vocabulary() == Vocabulary::One {
        widened(&rules, &path, out)?;
    }
    writeln!(out, "{}: {} rules, all valid", path.display(), rules.len())?;
    Ok(0)
}

/// Prints the rules that vocabulary 2 would widen.
fn widened(rules: &Rules, path: &Path, out: &mut impl Write) -> Result<()> {
    for Widened { name, line, actions } in rules.widened() {
        let actions: Vec<_> = actions.into_iter().map(policy::Action::as_str).collect();
        writeln!(
            out,
            "{}:{line}: note: the rule \"{}\" names no action, so it covers run, shell and attach; \
             vocabulary 2 would add {}",
            path.display(),
            rcmd_certs::text::escaped(&name),
            actions.join(", ")
        )?;
    }
    Ok(())
}

/// Returns whether two paths lead to the same file.
#[expect(clippy::disallowed_methods, reason = "programs that serve nobody")]
fn is_same(one: &Path, other: &Path) -> bool {
    let [one, other] = [one, other].map(|path| path.canonicalize().ok());
    one.is_some() && one == other
}
