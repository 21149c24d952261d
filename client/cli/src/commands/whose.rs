//! The hosts of a line: those of the command line, or those that it names.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use rcmd_client::hosts::{HostTarget, MAX_HOSTS, MAX_WORK};
use rcmd_client::{ErrorKind, WireError};

use super::dispatch::{Dispatch, HostId};
use super::lines::LineHosts;
use crate::arguments::sets::SetOptions;
use crate::settings::commands::CommandsOverHosts;
use crate::settings::sets;

/// The hosts of a line.
pub(super) enum Hosts {
    /// The hosts of the command line.
    Set,
    /// The hosts that it names, each with its place among them.
    Named(Arc<[(HostId, usize)]>),
}

/// Finds the hosts of lines.
pub(super) struct Whose<'a> {
    run: &'a CommandsOverHosts,
    /// Sets by their text: the same ones are named again and again.
    known: HashMap<String, Arc<[(HostId, usize)]>>,
    /// Hosts and bytes of all of these together.
    kept: usize,
    /// Notices about sets.
    pub(super) notices: Vec<String>,
}

impl<'a> Whose<'a> {
    /// Returns what finds them.
    pub(super) fn new(run: &'a CommandsOverHosts) -> Self {
        Self { run, known: HashMap::new(), kept: 0, notices: Vec::new() }
    }

    /// Returns whether the command line names hosts.
    pub(super) fn has_set(&self) -> bool {
        !self.run.hosts.is_empty()
    }

    /// Returns the hosts of a line, which are known to the run from now on.
    ///
    /// # Errors
    /// A usage failure when it names none that can be read, or what it names is no set.
    pub(super) fn hosts<C>(
        &mut self,
        named: &LineHosts,
        dispatch: &mut Dispatch<C>,
    ) -> Result<Hosts, WireError> {
        let usage =
            |message: &str, hint: &str| Err(WireError::new(ErrorKind::Usage, message).hint(hint));
        let text = match named {
            LineHosts::Named(text) => text,
            LineHosts::Set if self.has_set() => return Ok(Hosts::Set),
            LineHosts::Set => {
                return usage(
                    "the line names no hosts, and neither does the command line",
                    "Name hosts, as in `rcmd-client run --commands FILE HOSTS`, or in each line: \
                     {\"hosts\": \"web[1-3]\", \"argv\": [\"ls\"]}.",
                );
            }
            LineHosts::Unreadable => {
                return usage(
                    "the hosts that the line names can't be read",
                    "Write the hosts as text: {\"hosts\": \"web[1-3]\", \"argv\": [\"ls\"]}.",
                );
            }
        };
        if let Some(option) = self.run.narrowed {
            let message =
                format!("the line names its own hosts, so {option} cannot be applied to the line");
            return usage(&message, &not_among_hosts(option));
        }
        if let Some(known) = self.known.get(text) {
            return Ok(Hosts::Named(Arc::clone(known)));
        }
        let set = SetOptions::default();
        let (targets, notices) = sets::targets(Some(text), &set, &self.run.inventory)?;
        self.notices.extend(notices);
        let ids = targets.iter().map(|target| {
            let too_many = || {
                let message = format!("there are more than {MAX_HOSTS} hosts in one run");
                WireError::new(ErrorKind::Usage, message).hint(
                    "Nothing ran on the hosts of this line; split the file over several runs.",
                )
            };
            Ok((dispatch.host_of(target).ok_or_else(too_many)?, target.index))
        });
        let hosts: Arc<[_]> = ids.collect::<Result<_, WireError>>()?;
        if self.kept + hosts.len() + text.len() > MAX_WORK {
            self.known.clear();
            self.kept = 0;
        }
        self.kept += hosts.len() + text.len();
        self.known.insert(text.clone(), Arc::clone(&hosts));
        Ok(Hosts::Named(hosts))
    }

    /// Returns where these hosts are reached, each with its place.
    pub(super) fn targets<C>(
        &self,
        hosts: &Hosts,
        dispatch: &Dispatch<C>,
    ) -> Cow<'a, [HostTarget]> {
        match hosts {
            Hosts::Set => Cow::Borrowed(&self.run.hosts),
            Hosts::Named(hosts) => Cow::Owned(
                hosts
                    .iter()
                    .filter_map(|(id, index)| {
                        let mut target = dispatch.target(*id)?.clone();
                        target.index = *index;
                        Some(target)
                    })
                    .collect(),
            ),
        }
    }
}

/// Returns what to do instead of an option that chooses among HOSTS, where lines name their own.
fn not_among_hosts(option: &str) -> String {
    match option {
        "--exclude" => {
            "Leave --exclude out, and write `!` and the hosts to be left out into the line's `hosts`, as \
            in \"web[1-9]!web3\"."
                .to_owned()
        }
        _ => format!(
            "Leave {option} out; `rcmd-client hosts {option} ... EXPR --fold` prints the hosts to write into \
             the line's `hosts`."
        ),
    }
}

impl Hosts {
    /// Returns how many there are; `set` is how many the command line has.
    pub(super) fn count(&self, set: usize) -> u64 {
        match self {
            Self::Set => set as u64,
            Self::Named(hosts) => hosts.len() as u64,
        }
    }
}
