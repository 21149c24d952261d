//! Where a file failed: here or on the host, at which place, and as whom.

use rcmd_client::{ErrorKind, WireError};
use rcmd_transfer::{EventOrigin, FailureKind};

use super::shown::ShownFile;
use super::words;
use crate::arguments::places::LocalTarget;
use crate::settings::copy::{CopyRun, CopyWork};
use crate::text::escaped;

/// Both sides of a transfer, as messages name them.
#[derive(Clone, Debug)]
pub(super) struct ShownSides {
    /// True if files go to the hosts.
    pub(super) is_push: bool,
    /// The destination as it was typed, without the host; empty if it is standard output.
    to: String,
    /// The user that was named for each host.
    users: Vec<Option<String>>,
}

impl ShownSides {
    pub(super) fn of(run: &CopyRun) -> Self {
        let (is_push, to) = match &run.work {
            CopyWork::Push { to, .. } => (true, words::path(to)),
            CopyWork::Fetch { to: LocalTarget::Path(to), .. } => (false, words::path(to)),
            CopyWork::Fetch { to: LocalTarget::Standard, .. } => (false, String::new()),
        };
        let user = |user: &std::ffi::OsString| escaped(&user.to_string_lossy());
        let users = run.hosts.iter().map(|host| host.user.as_ref().map(user)).collect();
        Self { is_push, to, users }
    }

    /// Returns what stands before the path of a file that failed: the host, if it failed there or in a set, and the
    /// destination, if it failed in that.
    pub(super) fn of_failure(
        &self,
        host: Option<usize>,
        name: Option<&str>,
        is_set: bool,
        file: &ShownFile,
    ) -> String {
        let is_at_destination = is_at_destination(file);
        let is_there = is_at_destination == self.is_push && host.is_some();
        let place = if is_at_destination && is_of_a_place(file) { &*self.to } else { "" };
        let name = name.filter(|_| is_there || is_set).unwrap_or_default();
        match (name.is_empty(), place.is_empty()) {
            (true, true) => String::new(),
            (true, false) => format!("{place}: "),
            (false, true) => format!("{name}: "),
            // A destination here is that of all hosts.
            (false, false) if is_there => format!("{name}:{place}: "),
            (false, false) => format!("{name}: {place}: "),
        }
    }

    /// Returns as whom a file failed on a host for want of permission, for the end of the message.
    pub(super) fn user_of_failure(&self, host: Option<usize>, file: &ShownFile) -> String {
        let is_permission =
            file.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::Permission);
        if !is_permission || is_at_destination(file) != self.is_push {
            return String::new();
        }
        host.map_or_else(String::new, |host| self.as_user(host))
    }

    /// Returns as whom a transfer failed on a host as a whole for want of permission.
    pub(super) fn user(&self, host: usize, failure: &WireError) -> String {
        match failure.kind {
            ErrorKind::Permission => self.as_user(host),
            _ => String::new(),
        }
    }

    fn as_user(&self, host: usize) -> String {
        let user = self.users.get(host).and_then(Option::as_ref);
        user.map_or_else(String::new, |user| format!(", as {user}"))
    }
}

/// Returns whether a file failed at the destination, and not when it was to be sent.
fn is_at_destination(file: &ShownFile) -> bool {
    file.origin != EventOrigin::Source
}

/// Returns whether a failure is that of a place, and not of what was sent.
fn is_of_a_place(file: &ShownFile) -> bool {
    let kind = file.failure.as_ref().map(|failure| failure.kind);
    matches!(
        kind,
        Some(
            FailureKind::Permission
                | FailureKind::Exists
                | FailureKind::NoSpace
                | FailureKind::NoSuchFile
                | FailureKind::Io
        )
    )
}

#[cfg(test)]
mod tests {
    use rcmd_transfer::{Failure, FileAction, FileKind, FileNotes};

    use super::*;

    fn failed(origin: EventOrigin, failure: FailureKind) -> ShownFile {
        ShownFile {
            path: b"f".to_vec(),
            // What could not be looked at, at either side.
            kind: FileKind::Other,
            origin,
            action: FileAction::Failed,
            bytes: 0,
            digest: None,
            notes: FileNotes::default(),
            failure: Some(Failure::new(failure, "no")),
        }
    }

    fn sides(is_push: bool) -> ShownSides {
        ShownSides { is_push, to: "/srv".to_owned(), users: vec![Some("app".to_owned())] }
    }

    #[test]
    fn a_failure_names_the_side_on_which_it_came_to_pass_and_the_user_there() {
        let (there, here) = (
            failed(EventOrigin::Announced, FailureKind::Permission),
            failed(EventOrigin::Source, FailureKind::Permission),
        );
        let said = |is_push: bool, is_set: bool, file: &ShownFile| {
            let sides = sides(is_push);
            let place = sides.of_failure(Some(0), Some("web1"), is_set, file);
            (place, sides.user_of_failure(Some(0), file))
        };
        let pair = |place: &str, user: &str| (place.to_owned(), user.to_owned());
        assert_eq!(said(true, false, &there), pair("web1:/srv: ", ", as app"));
        assert_eq!(said(true, false, &here), pair("", ""));
        assert_eq!(said(false, false, &there), pair("/srv: ", ""));
        assert_eq!(said(false, false, &here), pair("web1: ", ", as app"));
        assert_eq!(said(true, true, &here), pair("web1: ", ""));
        assert_eq!(said(false, true, &there), pair("web1: /srv: ", ""));
        let changed = failed(EventOrigin::Announced, FailureKind::Changed);
        assert_eq!(said(true, false, &changed), pair("web1: ", ""));
        let mounted = failed(EventOrigin::Destination, FailureKind::Exists);
        assert_eq!(said(true, false, &mounted), pair("web1:/srv: ", ""));
        assert_eq!(said(false, false, &mounted), pair("/srv: ", ""));
    }
}
