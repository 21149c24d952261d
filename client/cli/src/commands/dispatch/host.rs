//! One host of a run: its connection, and the lines that wait for it.

use std::collections::VecDeque;

use rcmd_client::WireError;
use rcmd_client::hosts::HostTarget;

use super::backlog::Backlog;

/// A host, with what waits for it.
#[derive(Debug)]
pub(super) struct Host<C> {
    pub(super) target: HostTarget,
    /// The number of lines without hosts of their own that this host has taken; `None` if the host is not in the
    /// set of the command line.
    wide_taken: Option<u64>,
    /// The positions of the lines that name it, with its place among their hosts.
    pub(super) named: VecDeque<(u64, usize)>,
    pub(super) link: Link<C>,
    /// Commands that run on it.
    pub(super) running: usize,
    /// True if its connection was lost under a command: no other is begun on it.
    pub(super) doubted: bool,
    /// True while it waits for something.
    pub(super) queued: bool,
    /// True while it stands among those that had nothing left to do.
    pub(super) resting: bool,
}

/// The state of the connection to a host.
#[derive(Debug)]
pub(super) enum Link<C> {
    Away,
    Connecting,
    Here(C),
    Failed(WireError),
    Leaving,
}

impl<C> Host<C> {
    /// Returns a host for which nothing waits. One of the set takes all lines for that.
    pub(super) fn new(target: HostTarget, of_set: bool) -> Self {
        Self {
            target,
            wide_taken: of_set.then_some(0),
            named: VecDeque::new(),
            link: Link::Away,
            running: 0,
            doubted: false,
            queued: false,
            resting: false,
        }
    }

    /// Returns whether a line waits for it.
    pub(super) fn has_more(&self, backlog: &Backlog) -> bool {
        !self.named.is_empty() || self.wide_taken.is_some_and(|taken| taken < backlog.wide_end())
    }

    /// Takes the first line that waits, and returns its position and the host's place among its hosts.
    pub(super) fn take(&mut self, backlog: &Backlog) -> Option<(u64, usize)> {
        let wide = self.wide_taken.and_then(|taken| backlog.wide_at(taken));
        let named = self.named.front().map(|(position, _)| *position);
        match wide {
            Some(wide) if named.is_none_or(|named| wide < named) => {
                self.wide_taken = self.wide_taken.map(|taken| taken + 1);
                Some((wide, self.target.index))
            }
            _ => self.named.pop_front(),
        }
    }

    /// Takes its connection away, if it is there.
    pub(super) fn leave(&mut self) -> Option<C> {
        match std::mem::replace(&mut self.link, Link::Leaving) {
            Link::Here(connection) => Some(connection),
            other => {
                self.link = other;
                None
            }
        }
    }
}
