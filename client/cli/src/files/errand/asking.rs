//! What a host is asked for, and this end's part in it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use rcmd_client::{Client, Command, Stdio, TransferVerb, WireError};

use super::Errands;
use crate::arguments::places::{LocalTarget, last_name};
use crate::files::asked::Asked;
use crate::files::engine::Part;
use crate::files::local::LocalPlace;
use crate::settings::copy::{CopyHost, CopyWork};

impl Errands {
    /// Returns what the host is asked for.
    pub(super) fn command(&self, host: &CopyHost, client: &Client) -> Command {
        let (verb, paths) = match &self.run.work {
            CopyWork::Push { to, landing, .. } => {
                let (is_itself, has_several) = (landing.is_itself, landing.has_several);
                let is_delta = self.run.options.delta;
                let verb = TransferVerb::Receive { is_itself, has_several, is_delta };
                (verb, std::slice::from_ref(to))
            }
            CopyWork::Fetch { paths, is_literal, .. } => {
                (TransferVerb::Send { is_literal: *is_literal }, &paths[..])
            }
        };
        let mut command = client.transfer(verb, paths.iter().map(|path| OsStr::from_bytes(path)));
        command.stdin(Stdio::Piped);
        if let Some(user) = &host.user {
            command.user(user);
        }
        if let Some(credit) = self.pace.credit(self.run.fanout.min(self.run.hosts.len())) {
            command.credit(credit);
        }
        if let Some(limit) = self.run.timeout {
            command.timeout(limit);
        }
        if let Some((name, wait)) = &self.run.lock {
            command.lock(name, *wait);
        }
        command
    }

    /// Returns this end's part, and what may come from the host.
    pub(super) fn part(&self, place: usize) -> (Part, Asked) {
        match &self.run.work {
            CopyWork::Push { .. } => (Part::Sends(self.sources.clone()), Asked::Any),
            CopyWork::Fetch { paths, is_literal, to, landing } => {
                let folder = self.folders.get(place).cloned().filter(|_| self.run.is_set);
                let (is_dry, scratch) = (self.run.options.dry_run, self.scratch.clone());
                let name = paths.first().and_then(|path| last_name(path));
                let place = LocalPlace::new(to.clone(), *landing, folder, name, is_dry, scratch);
                let place = place.limited(self.run.limits);
                (Part::Receives(place), Asked::of(paths, *is_literal))
            }
        }
    }

    /// Returns what the path of an entry of the destination begins with in the paths of the source. A host tells of what
    /// it alone has by its path in the destination.
    pub(super) fn prefix(&self) -> Option<Vec<u8>> {
        match (&self.run.work, &self.sources.found[..]) {
            (CopyWork::Push { landing, .. }, [source]) if landing.is_itself => {
                Some(source.clone().into_parts().name)
            }
            _ => None,
        }
    }

    /// Returns whether the transfer makes a folder of the name that was typed if there is none, and goes into it if there
    /// is one: then the same command does something else the next time.
    pub(super) fn may_make_its_place(&self) -> bool {
        let (landing, to) = match &self.run.work {
            CopyWork::Push { landing, to, .. } => (landing, to),
            // A set's folders are made before.
            CopyWork::Fetch { landing, to: LocalTarget::Path(to), .. } if !self.run.is_set => {
                (landing, to)
            }
            CopyWork::Fetch { .. } => return false,
        };
        let is_in_it = landing.is_itself || landing.has_several || to.ends_with(b"/");
        self.run.options.recursive && !is_in_it
    }

    /// Adds to a failure how a file is written that looks like a port.
    pub(super) fn or_no_port(&self, failure: WireError) -> WireError {
        match &self.run.instead_of_port {
            Some(instead) => {
                let hint = failure.hint.clone().unwrap_or_default();
                failure.hint(format!("{instead} {hint}").trim().to_owned())
            }
            None => failure,
        }
    }
}
