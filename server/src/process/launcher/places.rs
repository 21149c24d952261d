//! Places for starts that have not executed their program yet, a fixed number for each identity. So
//! an identity whose programs are on a file system that does not answer fills neither the host with
//! children that can't be ended, nor its memory with their images.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// The maximum number of an identity's starts that have not executed their program. A start takes a
/// millisecond, so more than these begin together only where they would wait for the processors
/// anyway.
pub(in crate::process) const PLACES: usize = 16;

/// The maximum time for a start to find a place, and then for its child to execute its program.
pub(in crate::process) const PATIENCE: Duration = Duration::from_secs(10);

type Identities = Mutex<HashMap<String, Arc<Semaphore>>>;

/// The places of all identities.
#[derive(Clone, Debug, Default)]
pub(in crate::process) struct Places {
    identities: Arc<Identities>,
}

/// A place of one identity, held until this is dropped.
#[derive(Debug)]
pub(in crate::process) struct Place {
    identities: Arc<Identities>,
    identity: String,
    permit: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// Waits for a place, in turn. Returns `None` if there is none in time.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the turn.
    pub(in crate::process) async fn take(
        &self,
        identity: &str,
        patience: Duration,
    ) -> Option<Place> {
        // Made first, so that its drop removes the identity's entry if it is unused, however this
        // ends.
        let identities = Arc::clone(&self.identities);
        let mut place = Place { identities, identity: identity.to_owned(), permit: None };
        let places = {
            let mut all = lock(&self.identities);
            let places = all.entry(identity.to_owned());
            Arc::clone(places.or_insert_with(|| Arc::new(Semaphore::new(PLACES))))
        };
        place.permit = Some(timeout(patience, places.acquire_owned()).await.ok()?.ok()?);
        Some(place)
    }
}

#[cfg(test)]
impl Places {
    /// Returns whether no start of an identity has a place or waits for one.
    pub(in crate::process) fn are_free(&self, identity: &str) -> bool {
        !lock(&self.identities).contains_key(identity)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = lock(&self.identities);
        self.permit = None;
        // No start has one, and one that waits would hold the semaphore too.
        if all.get(&self.identity).is_some_and(|places| Arc::strong_count(places) == 1) {
            all.remove(&self.identity);
        }
    }
}

fn lock(identities: &Identities) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Semaphore>>> {
    identities.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_identity_has_its_places_and_nothing_is_kept_of_one_that_has_none() {
        let places = Places::default();
        let patience = Duration::from_secs(10);
        let mut held = Vec::new();
        for _ in 0..PLACES {
            held.push(places.take("a", patience).await.unwrap());
        }
        assert!(places.take("a", patience).await.is_none());
        let other = places.take("b", patience).await.unwrap();
        let (next, ()) = tokio::join!(places.take("a", patience), async { drop(held.pop()) });
        assert!(next.is_some());
        drop((held, other, next));
        assert!(places.are_free("a") && places.are_free("b"));
    }
}
