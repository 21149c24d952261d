//! The orders that wait to be written, in the order in which they were made.
//!
//! An order may be made on a worker of the runtime, which does not write: a disk that hangs would
//! hold up all other tasks of the worker. Writing is left to threads that may wait.

use std::{
    collections::VecDeque,
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use super::super::writer::Writer;

/// The number of waiting orders from which on requests that do not run are no longer recorded one
/// by one. A disk that keeps up never has as many waiting.
const ORDERS: usize = 16_384;

/// An order to write something.
pub(super) type Order = Box<dyn FnOnce(&mut Writer) + Send>;

/// The waiting orders.
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

    /// Adds an order, or drops it if the orders are closed.
    pub(super) fn add(&self, order: Order) {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return;
        }
        waiting.orders.push_back(order);
        // A thread that takes any takes all, so only the first must wake one.
        let is_first = waiting.orders.len() == 1;
        drop(waiting);
        if is_first {
            self.came.notify_one();
        }
    }

    /// Returns whether so many orders wait that dispensable ones should not be added.
    pub(super) fn are_many(&self) -> bool {
        self.lock().orders.len() >= ORDERS
    }

    /// Returns the number of waiting orders.
    pub(super) fn len(&self) -> usize {
        self.lock().orders.len()
    }

    /// Removes and returns all waiting orders.
    pub(super) fn take(&self) -> VecDeque<Order> {
        mem::take(&mut self.lock().orders)
    }

    /// Waits until there is an order. Returns false if the orders are closed and none is left.
    pub(super) fn wait(&self) -> bool {
        let waiting = self.lock();
        let idle = |waiting: &mut Waiting| waiting.orders.is_empty() && !waiting.is_closed;
        let waiting = self.came.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
        !waiting.orders.is_empty()
    }

    /// Closes the orders: later ones are dropped.
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
