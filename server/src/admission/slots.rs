//! Limits on the number of connections, of the host and of each identity, and the group of readers
//! of an identity's connections.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rcmd_protocol::{
    io::ReaderGroup,
    outcome::{ErrorKind, WireError},
};

/// The time in milliseconds after which a peer that found no slot may try again.
const RETRY_AFTER_MS: u64 = 1000;

/// The connection slots of a server.
#[derive(Debug)]
pub(crate) struct ConnectionSlots {
    limit: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of: HashMap<String, OfUser>,
}

#[derive(Debug, Default)]
struct OfUser {
    count: usize,
    readers: ReaderGroup,
}

/// The slot of one connection; released when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    user: String,
    readers: ReaderGroup,
}

impl ConnectionSlots {
    /// Makes `limit` slots.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, taken: Mutex::default() }
    }

    fn taken<T>(&self, act: impl FnOnce(&mut Taken) -> T) -> T {
        act(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the number of connections.
    pub(crate) fn count(&self) -> usize {
        self.taken(|taken| taken.all)
    }

    /// Returns the number of connections of each user that has any, in the order of their names.
    pub(crate) fn users(&self) -> Vec<(String, usize)> {
        let users = |taken: &mut Taken| -> Vec<_> {
            taken.of.iter().map(|(user, of_user)| (user.clone(), of_user.count)).collect()
        };
        let mut users = self.taken(users);
        users.sort_unstable();
        users
    }

    /// Takes a slot for one more connection of this identity, which may have `limit`.
    ///
    /// # Errors
    /// `busy`, if the identity has as many already, or all slots are taken.
    pub(crate) fn take(
        self: &Arc<Self>,
        user: &str,
        limit: usize,
    ) -> Result<ConnectionSlot, WireError> {
        self.taken(|taken| {
            let of_user = taken.of.get(user).map_or(0, |of_user| of_user.count);
            if of_user >= limit {
                return Err(full(&format!("this identity has {limit} connections already")));
            }
            if taken.all >= self.limit {
                return Err(full(&format!("the host has {} connections already", self.limit)));
            }
            taken.all += 1;
            let of_user = taken.of.entry(user.to_owned()).or_default();
            of_user.count += 1;
            let readers = of_user.readers.clone();
            Ok(ConnectionSlot { slots: Arc::clone(self), user: user.to_owned(), readers })
        })
    }
}

impl ConnectionSlot {
    /// Returns the group of the readers of all connections of the identity.
    pub(crate) fn readers(&self) -> ReaderGroup {
        self.readers.clone()
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.slots.taken(|taken| {
            taken.all -= 1;
            if let Some(of_user) = taken.of.get_mut(&self.user) {
                of_user.count -= 1;
                if of_user.count == 0 {
                    taken.of.remove(&self.user);
                }
            }
        });
    }
}

fn full(message: &str) -> WireError {
    WireError::new(ErrorKind::Busy, message)
        .hint("Close some, or raise `connections` in server.toml and the server's LimitNOFILE.")
        .retry_after_ms(RETRY_AFTER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_an_identity_and_of_the_host_are_counted_and_released() {
        let slots = Arc::new(ConnectionSlots::new(3));
        let mut taken = vec![slots.take("a", 2).unwrap(), slots.take("a", 2).unwrap()];
        let failure = slots.take("a", 2).unwrap_err();
        assert!(failure.message.contains("this identity has 2"), "{failure}");
        taken.push(slots.take("b", 2).unwrap());
        let failure = slots.take("b", 2).unwrap_err();
        assert!(failure.message.contains("the host has 3"), "{failure}");
        assert_eq!(slots.count(), 3);
        assert_eq!(slots.users(), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        taken.clear();
        assert!(slots.taken(|taken| taken.all == 0 && taken.of.is_empty()));
        assert!(slots.take("b", 1).is_ok());
    }
}
