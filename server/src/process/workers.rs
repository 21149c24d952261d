//! Threads for work that blocks: starting processes, ending them.
//!
//! vfork(2), and whatever is built on it, blocks its caller until the child has executed its program:
//! microseconds mostly, milliseconds when many start at once or the file lies far away. No worker of
//! the runtime waits for that. The threads never end, so that a host without threads to give still
//! starts and kills.

use std::{
    collections::VecDeque,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::oneshot;

type Task<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Threads that take work from one queue, each with an `S` of its own. They end with the last handle.
pub(super) struct Workers<S> {
    closer: Arc<Closer<S>>,
}

/// Closes the queue when nobody is left who could give work.
struct Closer<S>(Arc<Queue<S>>);

/// What is to be done. A channel of the standard library has one receiver, which threads would have to
/// hand on: two wake-ups for each task instead of one.
struct Queue<S> {
    waiting: Mutex<Waiting<S>>,
    came: Condvar,
}

struct Waiting<S> {
    tasks: VecDeque<Task<S>>,
    is_closed: bool,
}

impl<S: 'static> Workers<S> {
    /// Starts so many threads under a name; `own` makes what each of them has.
    ///
    /// # Errors
    /// When the host has none to give.
    pub(super) fn start(name: &str, threads: usize, own: fn() -> S) -> io::Result<Self> {
        let waiting = Mutex::new(Waiting { tasks: VecDeque::new(), is_closed: false });
        let queue = Arc::new(Queue { waiting, came: Condvar::new() });
        let closer = Arc::new(Closer(Arc::clone(&queue)));
        for number in 0..threads {
            let queue = Arc::clone(&queue);
            let name = format!("{name}-{number}");
            thread::Builder::new().name(name).spawn(move || queue.work(own()))?;
        }
        Ok(Self { closer })
    }

    /// Has one of the threads do something that blocks.
    pub(super) fn submit(&self, task: impl FnOnce(&mut S) + Send + 'static) {
        let queue = &self.closer.0;
        queue.lock().tasks.push_back(Box::new(task));
        queue.came.notify_one();
    }

    /// Has one of the threads do something that blocks, and returns what came of it. None when it
    /// panicked.
    ///
    /// # Cancel safety
    /// It is done all the same.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.submit(move |own| _ = answer.send(task(own)));
        answered.await.ok()
    }
}

impl<S> Clone for Workers<S> {
    fn clone(&self) -> Self {
        Self { closer: Arc::clone(&self.closer) }
    }
}

impl<S> Drop for Closer<S> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.came.notify_all();
    }
}

impl<S> Queue<S> {
    fn lock(&self) -> MutexGuard<'_, Waiting<S>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, mut own: S) {
        while let Some(task) = self.next() {
            // A task that goes wrong in a way nobody thought of must not cost the thread: without
            // threads nothing would start or be killed any more.
            let _ = catch_unwind(AssertUnwindSafe(|| task(&mut own)));
        }
    }

    /// Waits for the next task. Returns none when nobody is left who could give one.
    fn next(&self) -> Option<Task<S>> {
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

impl<S> fmt::Debug for Workers<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").finish_non_exhaustive()
    }
}
