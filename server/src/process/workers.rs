//! The threads that start processes.
//!
//! vfork(2), and whatever is built on it, blocks its caller until the child has executed its program:
//! microseconds mostly, milliseconds when many start at once or the file lies far away. No worker of
//! the runtime waits for that. The threads never end, so that a host without threads to give still
//! starts and kills.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::oneshot;

use super::launcher::Stack;

/// Enough that one slow file system does not stop all starts.
const THREADS: usize = 4;

type Task = Box<dyn FnOnce(&mut Stack) + Send>;

/// Gives work to the threads, which end when the last of these is gone.
#[derive(Clone, Debug)]
pub(super) struct Workers {
    office: Arc<Office>,
}

/// Held by whoever gives work.
#[derive(Debug)]
struct Office(Arc<Queue>);

/// What is to be done. A channel of the standard library has one receiver, which threads would have to
/// hand on: two wake-ups for each task instead of one.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

#[derive(Default)]
struct Waiting {
    tasks: VecDeque<Task>,
    is_closed: bool,
}

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the host has none to give.
    pub(super) fn start() -> io::Result<Self> {
        let queue = Arc::<Queue>::default();
        let office = Arc::new(Office(Arc::clone(&queue)));
        for number in 0..THREADS {
            let queue = Arc::clone(&queue);
            let name = format!("spawner-{number}");
            thread::Builder::new().name(name).spawn(move || queue.work())?;
        }
        Ok(Self { office })
    }

    /// Has one of the threads do something that blocks. None when it failed to.
    ///
    /// # Cancel safety
    /// It is done all the same.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Stack) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let task = move |stack: &mut Stack| _ = answer.send(task(stack));
        let queue = &self.office.0;
        queue.lock().tasks.push_back(Box::new(task));
        queue.came.notify_one();
        answered.await.ok()
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.came.notify_all();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut stack = Stack::new();
        while let Some(task) = self.next() {
            // A start that goes wrong in a way nobody thought of must not cost the thread: without
            // threads nothing would start any more.
            let _ = catch_unwind(AssertUnwindSafe(|| task(&mut stack)));
        }
    }

    /// The next task; none when nobody is left who could give one.
    fn next(&self) -> Option<Task> {
        let mut waiting = self.lock();
        loop {
            match waiting.tasks.pop_front() {
                None if !waiting.is_closed => {
                    waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                }
                task => return task,
            }
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}
