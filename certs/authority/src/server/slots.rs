//! The limits on who may be connected at once.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rcmd_certs::fingerprint::Fingerprint;
use rustix::process::{Resource, getrlimit};
use tokio_util::sync::CancellationToken;

/// Peers that have not proved to be members, at most. At the limit the oldest goes: an honest one
/// needs milliseconds, so that whoever stays for long is not one.
const STRANGERS: usize = 512;

/// Members that wait for lists, at most.
const MEMBERS: usize = 16_384;

/// Connections on which one member waits for lists, at most.
const PER_MEMBER: usize = 4;

/// Descriptors kept back: store, journal, sockets that listen, operators' commands.
const RESERVE: usize = 64;

/// Who is here.
#[derive(Debug)]
pub(super) struct Slots {
    taken: Mutex<Taken>,
    numbers: AtomicU64,
    strangers: usize,
    members: usize,
}

#[derive(Debug, Default)]
struct Taken {
    /// Oldest first.
    strangers: VecDeque<(u64, CancellationToken)>,
    members: HashMap<Fingerprint, usize>,
    total: usize,
}

impl Slots {
    /// As many as the descriptors of this process bear.
    pub(super) fn new() -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let room = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(RESERVE).max(2);
        let strangers = STRANGERS.min(room / 2);
        Self {
            taken: Mutex::default(),
            numbers: AtomicU64::new(0),
            strangers,
            members: MEMBERS.min(room - strangers),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot for a peer that has not proved to be a member; it has to leave when the token is
    /// cancelled.
    pub(super) fn enter(self: &Arc<Self>) -> (StrangerSlot, CancellationToken) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let token = CancellationToken::new();
        let mut taken = self.lock();
        while taken.strangers.len() >= self.strangers {
            if let Some((_, oldest)) = taken.strangers.pop_front() {
                oldest.cancel();
            }
        }
        taken.strangers.push_back((number, token.clone()));
        (StrangerSlot { slots: Arc::clone(self), number }, token)
    }

    /// Sends away the oldest stranger, to free its descriptor.
    pub(super) fn shed(&self) {
        if let Some((_, oldest)) = self.lock().strangers.pop_front() {
            oldest.cancel();
        }
    }

    /// Takes a slot for a member; `None` when all are taken, or this member has its share.
    pub(super) fn slot(self: &Arc<Self>, member: Fingerprint) -> Option<MemberSlot> {
        let mut taken = self.lock();
        if taken.total >= self.members {
            return None;
        }
        let own = taken.members.entry(member).or_default();
        if *own >= PER_MEMBER {
            return None;
        }
        *own += 1;
        taken.total += 1;
        Some(MemberSlot { slots: Arc::clone(self), member })
    }
}

/// Given back when dropped.
#[derive(Debug)]
pub(super) struct StrangerSlot {
    slots: Arc<Slots>,
    number: u64,
}

impl Drop for StrangerSlot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        if let Ok(at) = taken.strangers.binary_search_by_key(&self.number, |(number, _)| *number) {
            taken.strangers.remove(at);
        }
    }
}

/// Given back when dropped.
#[derive(Debug)]
pub(super) struct MemberSlot {
    slots: Arc<Slots>,
    member: Fingerprint,
}

impl Drop for MemberSlot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.total = taken.total.saturating_sub(1);
        if let Some(own) = taken.members.get_mut(&self.member) {
            *own -= 1;
            if *own == 0 {
                taken.members.remove(&self.member);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots() -> Arc<Slots> {
        Arc::new(Slots { strangers: 2, members: 6, ..Slots::new() })
    }

    #[test]
    fn at_the_limit_the_oldest_stranger_goes() {
        let slots = slots();
        let (first, first_told) = slots.enter();
        let (_second, second_told) = slots.enter();
        let (third, third_told) = slots.enter();
        assert!(first_told.is_cancelled() && !second_told.is_cancelled());
        drop(first);
        drop(third);
        let (_fourth, _) = slots.enter();
        assert!(!second_told.is_cancelled() && !third_told.is_cancelled());
    }

    #[test]
    fn a_member_takes_few_slots_and_gives_them_back() {
        let slots = slots();
        let [one, two] = [b"one", b"two"].map(|key| Fingerprint::of_key(key));
        let held: Vec<_> = (0..PER_MEMBER).map(|_| slots.slot(one).unwrap()).collect();
        assert!(slots.slot(one).is_none());
        let other: Vec<_> = (0..2).map(|_| slots.slot(two).unwrap()).collect();
        assert!(slots.slot(two).is_none(), "no slot is left for anybody");
        drop((held, other));
        assert!(slots.slot(one).is_some());
        assert!(slots.lock().members.is_empty());
    }
}
