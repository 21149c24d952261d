//! Who is connected: so many connections in all, so many of each identity.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rcmd_protocol::outcome::{ErrorKind, Failure};

/// Time after which one who found no seat may come again.
const COME_AGAIN_MS: u64 = 1000;

/// The seats of a server.
#[derive(Debug)]
pub struct Seats {
    limit: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of: HashMap<String, usize>,
}

/// A connection's seat; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    user: String,
}

impl Seats {
    /// So many in all.
    pub fn new(limit: usize) -> Self {
        Self { limit, taken: Mutex::default() }
    }

    fn taken<T>(&self, act: impl FnOnce(&mut Taken) -> T) -> T {
        act(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A seat for one more connection of this identity, which may have so many.
    ///
    /// # Errors
    /// `busy` when it has as many, or all seats are taken.
    pub fn take(self: &Arc<Self>, user: &str, limit: usize) -> Result<Seat, Failure> {
        self.taken(|taken| {
            let of_user = taken.of.get(user).copied().unwrap_or_default();
            if of_user >= limit {
                return Err(full(&format!("this identity has {limit} connections already")));
            }
            if taken.all >= self.limit {
                return Err(full(&format!("the host has {} connections already", self.limit)));
            }
            taken.all += 1;
            taken.of.insert(user.to_owned(), of_user + 1);
            Ok(Seat { seats: Arc::clone(self), user: user.to_owned() })
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken(|taken| {
            taken.all -= 1;
            if let Some(count) = taken.of.get_mut(&self.user) {
                *count -= 1;
                if *count == 0 {
                    taken.of.remove(&self.user);
                }
            }
        });
    }
}

fn full(message: &str) -> Failure {
    Failure::new(ErrorKind::Busy, message)
        .hint("Close some, or raise `connections` in server.toml and the server's LimitNOFILE.")
        .retry_after_ms(COME_AGAIN_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_identity_s_seats_and_all_of_them_are_counted_and_given_back() {
        let seats = Arc::new(Seats::new(3));
        let mut taken = vec![seats.take("a", 2).unwrap(), seats.take("a", 2).unwrap()];
        let failure = seats.take("a", 2).unwrap_err();
        assert!(failure.message.contains("this identity has 2"), "{failure}");
        taken.push(seats.take("b", 2).unwrap());
        let failure = seats.take("b", 2).unwrap_err();
        assert!(failure.message.contains("the host has 3"), "{failure}");
        taken.clear();
        assert!(seats.taken(|taken| taken.all == 0 && taken.of.is_empty()));
        assert!(seats.take("b", 1).is_ok());
    }
}
