//! The limits on the peers that may be connected at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rcmd_certs::{fingerprint::Fingerprint, listen::Strangers};
use rustix::process::{Resource, getrlimit};

/// The most peers that have not proved to be members.
const STRANGERS: usize = 512;

/// The most members that wait for lists.
const MEMBERS: usize = 16_384;

/// The most connections on which one member waits for lists.
const PER_MEMBER: usize = 4;

/// The descriptors that are kept free: store, journal, sockets that listen, operators' commands.
const RESERVE: usize = 64;

/// The slots that are taken, and their limits.
#[derive(Debug)]
pub(super) struct Slots {
    taken: Mutex<Taken>,
    strangers: Arc<Strangers>,
    members: usize,
}

#[derive(Debug, Default)]
struct Taken {
    members: HashMap<Fingerprint, usize>,
    total: usize,
}

impl Slots {
    /// Returns as many slots as the descriptors of this process allow.
    pub(super) fn new() -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let room = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(RESERVE).max(2);
        let strangers = STRANGERS.min(room / 2);
        Self {
            taken: Mutex::default(),
            strangers: Arc::new(Strangers::new(strangers)),
            members: MEMBERS.min(room - strangers),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the places of peers that have not proved to be members.
    pub(super) fn strangers(&self) -> &Arc<Strangers> {
        &self.strangers
    }

    /// Takes a slot for a member; `None` when all are taken, or when this member has its share.
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

/// A member's slot, which is returned when dropped.
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
        Arc::new(Slots { members: 6, ..Slots::new() })
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
