//! What waits to be written down, in the order in which it was asked for.
//!
//! Who asks for it may be a worker of the runtime, and does not write: a disk that stands still would hold up
//! all that the worker has to do. Writing is left to threads that may wait.

use std::{
    collections::VecDeque,
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use super::writer::Writer;

/// Maximum number of orders that wait, past which what does not run is not written down one by one: a disk
/// that keeps up never has as many.
const ORDERS: usize = 16_384;

/// Something to be written down.
pub(super) type Order = Box<dyn FnOnce(&mut Writer) + Send>;

/// Orders that wait.
#[derive(Default)]
pub(super) struct Orders {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

#[derive(Default)]
struct Waiting {
    orders: VecDeque<Order>,
    is_closed: bool,
}

impl Orders {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an order; drops it once they are closed.
    pub(super) fn add(&self, order: Order) {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return;
        }
        waiting.orders.push_back(order);
        // Whoever takes some takes all.
        let is_first = waiting.orders.len() == 1;
        drop(waiting);
        if is_first {
            self.came.notify_one();
        }
    }

    /// Returns whether no more orders should be added that can be done without.
    pub(super) fn are_many(&self) -> bool {
        self.lock().orders.len() >= ORDERS
    }

    /// Takes all that wait.
    pub(super) fn take(&self) -> VecDeque<Order> {
        mem::take(&mut self.lock().orders)
    }

    /// Waits until there is one. Returns false when they are closed and none is left.
    pub(super) fn wait(&self) -> bool {
        let waiting = self.lock();
        let idle = |waiting: &mut Waiting| waiting.orders.is_empty() && !waiting.is_closed;
        let waiting = self.came.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
        !waiting.orders.is_empty()
    }

    /// Takes no further order.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.came.notify_all();
    }
}

impl std::fmt::Debug for Orders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Orders").finish_non_exhaustive()
    }
}
