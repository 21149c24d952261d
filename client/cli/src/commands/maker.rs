//! Makes the command of a line for one of its hosts.

use std::borrow::Cow;
use std::collections::HashSet;

use rcmd_client::fleet::FleetRules;
use rcmd_client::hosts::HostTarget;
use rcmd_client::{Client, Command, ErrorKind, WireError};

use crate::arguments::words::CommandSpec;
use crate::fleet::templates::{Filled, Templates};
use crate::session;
use crate::settings::CommandOptions;
use crate::text::{self, Tone};

/// Names of templates that the account has; further ones are not listed.
const NAMED: usize = 100;

/// Makes commands, and knows which templates they used.
pub(super) struct Maker<'a> {
    options: &'a CommandOptions,
    templates: bool,
    /// Bytes that each stream of a command may be ahead, where many hosts share the memory.
    credit: Option<u64>,
    used: Vec<String>,
    /// The kinds of lines that were checked: which hosts a line names, whether it goes to a shell, and which
    /// templates stand in it itself, where a shell takes less than the options do.
    checked: HashSet<(Option<String>, bool, Vec<String>)>,
}

impl<'a> Maker<'a> {
    /// Returns what makes commands for one host, whose name is in no line.
    pub(super) fn of_one(options: &'a CommandOptions) -> Self {
        Self { options, templates: false, credit: None, used: Vec::new(), checked: HashSet::new() }
    }

    /// Returns what makes commands of which so many run at once; with `templates`, `{host}` and the like
    /// are replaced.
    pub(super) fn of_many(
        options: &'a CommandOptions,
        templates: bool,
        fanout: usize,
        compressed: bool,
    ) -> Self {
        let rules = FleetRules { fanout, ..FleetRules::default() };
        Self { templates, credit: Some(rules.credit(compressed)), ..Self::of_one(options) }
    }

    /// Returns the templates that were used.
    pub(super) fn used(&self) -> &[String] {
        &self.used
    }

    /// Checks that a line can be made for its hosts, before anything runs; those for which it can't are
    /// named on standard error. `named` is how the line names its hosts, if it does.
    ///
    /// # Errors
    /// Kind `usage`: it can't be made for some.
    pub(super) fn check(
        &mut self,
        words: &CommandSpec,
        named: Option<&str>,
        targets: impl FnOnce() -> Cow<'a, [HostTarget]>,
    ) -> Result<(), WireError> {
        let Some(read) = self.read(words) else { return Ok(()) };
        // What a host lacks, it lacks in each line.
        let is_line = matches!(words, CommandSpec::Shell(_));
        if !self.checked.insert((named.map(str::to_owned), is_line, read.used_in_command())) {
            return Ok(());
        }
        read.check(&targets()).map_err(|unfilled| {
            for line in &unfilled.lines {
                text::say(&text::line(Tone::Error, line));
            }
            match named {
                None => unfilled.failure,
                // No option leaves out hosts of a line.
                Some(_) => unfilled.failure.hint(
                    "Nothing ran on any host. Correct these hosts in hosts.toml or the inventory, leave them out by \
                     `!` in the line's `hosts`, or leave all braces as they are with --no-templates.",
                ),
            }
        })
    }

    /// Makes the command of a line for a host that has this place among those of the line.
    ///
    /// # Errors
    /// Kind `usage`: the host lacks a label or a variable, or has one that can't stand there.
    pub(super) fn make(
        &mut self,
        host: &HostTarget,
        index: usize,
        words: &CommandSpec,
        client: &Client,
    ) -> Result<Command, WireError> {
        let filled = self.fill(host, index, words)?;
        let user = host.user().filter(|_| self.options.user.is_none());
        let mut options = Cow::Borrowed(self.options);
        if let Some(user) = user {
            options.to_mut().user = Some(user.into());
        }
        let mut words = Cow::Borrowed(words);
        if let Some(Filled { command, env, cwd }) = filled {
            words = Cow::Owned(command);
            let options = options.to_mut();
            (options.env, options.cwd) = (env, cwd);
        }
        let mut command = session::command(&options, false, &words, client);
        if let Some(credit) = self.credit {
            command.credit(credit);
        }
        Ok(command)
    }

    /// Puts a host's values into a line that has places for any.
    fn fill(
        &mut self,
        host: &HostTarget,
        index: usize,
        words: &CommandSpec,
    ) -> Result<Option<Filled>, WireError> {
        let Some(read) = self.read(words) else { return Ok(None) };
        let mut host = Cow::Borrowed(host);
        if host.index != index {
            host.to_mut().index = index;
        }
        let filled = read.fill(&host).map_err(|failure| {
            let message = failure.message;
            WireError::new(ErrorKind::Usage, message).hint(
                "Correct the host in hosts.toml or the inventory, or leave all braces as they are with \
                 --no-templates.",
            )
        })?;
        for template in read.used() {
            if self.used.len() < NAMED && !self.used.contains(&template) {
                self.used.push(template);
            }
        }
        Ok(Some(filled))
    }

    /// Finds the places of a line and of its options; none if there are none.
    fn read(&self, words: &CommandSpec) -> Option<Templates> {
        let CommandOptions { env, cwd, .. } = self.options;
        let read = |words| Templates::read(words, env, cwd.as_deref(), true);
        self.templates.then(|| read(words)).filter(Templates::has_places)
    }
}
