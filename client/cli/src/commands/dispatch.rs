//! The turns of hosts and lines: which host is connected to, and which line begins where. A state machine without
//! clock and network, for one host as for many.
//!
//! ```text
//!          its turn            connected            nothing is left, and others wait
//!   Away ----------> Connecting ---------> Here ------------------------------------> Leaving --+
//!    ^                   |                                                                      |
//!    |                   +--> Failed: what waits for it ends as not started --+                 |
//!    +------------------------------------------------------------------------+-----------------+
//! ```
//!
//! At most so many hosts as commands may run over all are on their way from Connecting to Leaving.
//! Lines are begun in their order on each host, and hosts take turns.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rcmd_client::WireError;
use rcmd_client::hosts::{HostTarget, MAX_HOSTS};

mod backlog;
mod host;
#[cfg(test)]
mod tests;

pub(super) use backlog::Entry;

use backlog::Backlog;
use host::{Host, Link};

/// The bytes of memory of lines that not all of their hosts have taken, past which no further line is read.
const MOST: usize = 64 * 1024 * 1024;

/// Names a host by its place among all that became known.
pub(super) type HostId = usize;

/// A step to be taken next.
#[derive(Debug)]
pub(super) enum Move<C> {
    /// Connect to a host.
    Connect(HostId),
    /// Close the connection to a host.
    Leave(HostId, C),
    /// Begin a line on a host.
    Begin(HostLine),
    /// End a line on a host without having begun it.
    Fail(HostLine, WireError),
}

/// A line on one of its hosts.
#[derive(Clone, Debug)]
pub(super) struct HostLine {
    pub(super) host: HostId,
    /// The host's place among those of the line, from 0.
    pub(super) index: usize,
    pub(super) entry: Arc<Entry>,
}

/// All hosts of a run, what waits for them, and what runs.
#[derive(Debug)]
pub(super) struct Dispatch<C> {
    /// Commands at once on one host, and over all.
    parallel: usize,
    fanout: usize,
    hosts: Vec<Host<C>>,
    by_name: HashMap<Arc<str>, HostId>,
    /// The number of hosts of the set, which are the first ones.
    wide: usize,
    backlog: Backlog,
    /// Lines on hosts that have not taken them.
    waiting: u64,
    running: usize,
    /// Hosts from Connecting to Leaving, and those that are Leaving.
    places: usize,
    leaving: usize,
    /// Hosts by what they wait for. One stands in at most one of these.
    to_connect: VecDeque<HostId>,
    to_begin: VecDeque<HostId>,
    to_fail: VecDeque<HostId>,
    to_leave: VecDeque<HostId>,
    /// Hosts that had nothing left to do; some may have by now.
    resting: VecDeque<HostId>,
    /// True if no further line comes.
    complete: bool,
    /// The reason for which nothing begins any more.
    stopped: Option<WireError>,
}

impl<C> Dispatch<C> {
    /// Returns the state before the first line, for the hosts of a set.
    pub(super) fn new(parallel: usize, fanout: usize, set: &[HostTarget]) -> Self {
        let mut dispatch = Self {
            parallel: parallel.max(1),
            fanout: fanout.max(1),
            hosts: Vec::new(),
            by_name: HashMap::new(),
            wide: set.len(),
            backlog: Backlog::default(),
            waiting: 0,
            running: 0,
            places: 0,
            leaving: 0,
            to_connect: VecDeque::new(),
            to_begin: VecDeque::new(),
            to_fail: VecDeque::new(),
            to_leave: VecDeque::new(),
            resting: VecDeque::new(),
            complete: false,
            stopped: None,
        };
        for target in set {
            dispatch.add(target.clone(), true);
        }
        dispatch
    }

    fn add(&mut self, target: HostTarget, of_set: bool) -> HostId {
        let id = self.hosts.len();
        self.by_name.insert(Arc::clone(&target.name), id);
        self.hosts.push(Host::new(target, of_set));
        id
    }

    /// Returns the host of this name, which is known from now on; none past the most hosts of a run.
    pub(super) fn host_of(&mut self, target: &HostTarget) -> Option<HostId> {
        match self.by_name.get(&target.name) {
            Some(id) => Some(*id),
            None if self.hosts.len() >= MAX_HOSTS => None,
            None => Some(self.add(target.clone(), false)),
        }
    }

    /// Returns where a host is reached, and what is known of it.
    pub(super) fn target(&self, host: HostId) -> Option<&HostTarget> {
        self.hosts.get(host).map(|host| &host.target)
    }

    /// Returns the connection of a host.
    pub(super) fn connection(&self, host: HostId) -> Option<&C> {
        match &self.hosts.get(host)?.link {
            Link::Here(connection) => Some(connection),
            _ => None,
        }
    }

    /// Returns the hosts on which commands run, and how many.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = (&HostTarget, usize)> {
        let running = self.hosts.iter().filter(|host| host.running > 0);
        running.map(|host| (&host.target, host.running))
    }

    /// Returns all connections.
    pub(super) fn connections(&self) -> impl Iterator<Item = &C> {
        self.hosts.iter().filter_map(|host| match &host.link {
            Link::Here(connection) => Some(connection),
            _ => None,
        })
    }

    /// Takes all connections away, at the end.
    pub(super) fn into_connections(self) -> impl Iterator<Item = C> {
        self.hosts.into_iter().filter_map(|host| match host.link {
            Link::Here(connection) => Some(connection),
            _ => None,
        })
    }

    /// Adds a line for all hosts of the set.
    pub(super) fn push(&mut self, entry: Entry) {
        if self.wide == 0 {
            return;
        }
        self.backlog.push(entry, self.wide, true);
        self.waiting += self.wide as u64;
        (0..self.wide).for_each(|id| self.queue(id));
    }

    /// Adds a line for these hosts, each with its place among them.
    pub(super) fn push_named(&mut self, entry: Entry, hosts: &[(HostId, usize)]) {
        if hosts.is_empty() {
            return;
        }
        let position = self.backlog.push(entry, hosts.len(), false);
        for &(id, index) in hosts {
            if let Some(host) = self.hosts.get_mut(id) {
                host.named.push_back((position, index));
                self.waiting += 1;
                self.queue(id);
            }
        }
    }

    /// Returns whether a further line may be read: what was read can't begin, although there is room.
    pub(super) fn wants_lines(&self) -> bool {
        let room = self.running < self.fanout && self.backlog.weight() < MOST;
        room && !self.complete && self.stopped.is_none()
    }

    /// Returns how many lines on hosts have not been taken.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Returns how many commands run.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Notes that no further line comes.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    /// Begins nothing more: what waits fails for this reason.
    pub(super) fn stop(&mut self, why: WireError) {
        self.complete = true;
        self.stopped = Some(why);
        let begin = self.to_connect.drain(..).chain(self.to_begin.drain(..));
        for id in begin.chain(self.to_fail.drain(..)) {
            if let Some(host) = self.hosts.get_mut(id) {
                host.queued = false;
            }
        }
        (0..self.hosts.len()).for_each(|id| self.queue(id));
    }

    /// Returns what is to be done next, if anything can be.
    pub(super) fn next(&mut self) -> Option<Move<C>> {
        while self.running < self.fanout
            && let Some(id) = self.to_begin.pop_front()
        {
            if let Some(turn) = self.begin(id) {
                return Some(Move::Begin(turn));
            }
        }
        if let Some(id) = self.to_fail.pop_front()
            && let Some(why) = self.why(id)
            && let Some(turn) = self.take(id)
        {
            self.queue(id);
            return Some(Move::Fail(turn, why));
        }
        if let Some(id) = self.to_leave.pop_front()
            && let Some(host) = self.hosts.get_mut(id)
        {
            host.queued = false;
            if let Some(connection) = host.leave() {
                self.leaving += 1;
                return Some(Move::Leave(id, connection));
            }
        }
        if self.places < self.fanout
            && let Some(id) = self.to_connect.pop_front()
            && let Some(host) = self.hosts.get_mut(id)
        {
            (host.link, host.queued) = (Link::Connecting, false);
            self.places += 1;
            return Some(Move::Connect(id));
        }
        // Who has nothing left to do stays as long as nobody needs its place.
        while (self.complete || self.to_connect.len() > self.leaving)
            && let Some(id) = self.resting.pop_front()
        {
            if let Some(host) = self.hosts.get_mut(id) {
                host.resting = false;
                let rests = host.running == 0 && !host.has_more(&self.backlog);
                if rests && let Some(connection) = host.leave() {
                    self.leaving += 1;
                    return Some(Move::Leave(id, connection));
                }
            }
        }
        None
    }

    /// Notes that a host is connected to already.
    pub(super) fn is_here(&mut self, id: HostId, connection: C) {
        self.places += 1;
        self.connected(id, Ok(connection));
    }

    /// Takes the end of connecting to a host.
    pub(super) fn connected(&mut self, id: HostId, connection: Result<C, WireError>) {
        let Some(host) = self.hosts.get_mut(id) else { return };
        host.doubted = false;
        host.link = match connection {
            Ok(connection) => Link::Here(connection),
            Err(failure) => {
                self.places -= 1;
                Link::Failed(failure)
            }
        };
        self.queue(id);
    }

    /// Notes that a host is not connected any more.
    pub(super) fn left(&mut self, id: HostId) {
        if let Some(host) = self.hosts.get_mut(id) {
            host.link = Link::Away;
            self.places -= 1;
            self.leaving -= 1;
            self.queue(id);
        }
    }

    /// Takes the end of a command. After one that was `lost` its host is connected to anew before
    /// anything else is begun there.
    pub(super) fn ended(&mut self, id: HostId, lost: bool) {
        let Some(host) = self.hosts.get_mut(id) else { return };
        host.running -= 1;
        host.doubted |= lost;
        self.running -= 1;
        self.queue(id);
    }

    fn begin(&mut self, id: HostId) -> Option<HostLine> {
        let host = self.hosts.get_mut(id)?;
        host.queued = false;
        // Its connection may have been lost since it was put there.
        let turn = if host.doubted { None } else { self.take(id) };
        if turn.is_some() {
            self.running += 1;
            self.hosts.get_mut(id)?.running += 1;
        }
        self.queue(id);
        turn
    }

    fn take(&mut self, id: HostId) -> Option<HostLine> {
        let host = self.hosts.get_mut(id)?;
        host.queued = false;
        let (position, index) = host.take(&self.backlog)?;
        self.waiting -= 1;
        let entry = self.backlog.take(position)?;
        Some(HostLine { host: id, index, entry })
    }

    /// Returns why what waits for a host fails.
    fn why(&self, id: HostId) -> Option<WireError> {
        if self.stopped.is_some() {
            return self.stopped.clone();
        }
        match &self.hosts.get(id)?.link {
            Link::Failed(failure) => Some(failure.clone()),
            _ => None,
        }
    }

    /// Puts a host where it waits for what comes next.
    fn queue(&mut self, id: HostId) {
        let Some(host) = self.hosts.get_mut(id).filter(|host| !host.queued) else { return };
        let more = host.has_more(&self.backlog);
        let stopped = self.stopped.is_some();
        let queue = match &host.link {
            _ if stopped && more => &mut self.to_fail,
            Link::Away if more => &mut self.to_connect,
            Link::Here(_) if host.doubted => match host.running {
                0 => &mut self.to_leave,
                _ => return,
            },
            Link::Here(_) if more && host.running < self.parallel => &mut self.to_begin,
            Link::Here(_) if !more && host.running == 0 => {
                if !std::mem::replace(&mut host.resting, true) {
                    self.resting.push_back(id);
                }
                return;
            }
            Link::Failed(_) if more => &mut self.to_fail,
            // A line that comes later is another try.
            Link::Failed(_) => {
                host.link = Link::Away;
                return;
            }
            _ => return,
        };
        host.queued = true;
        queue.push_back(id);
    }
}
