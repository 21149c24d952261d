//! Threads for blocking work: making processes, ending them, looking at the host's files, the files
//! of locks.
//!
//! They read and write files of `/proc` and of cgroups, copy the server's table of descriptors, and
//! wait for dying processes and for disks. No worker of the runtime does that. The threads live as
//! long as any handle, so that a host which can't start more threads still starts and kills
//! processes. They are a few of our own instead of those of `spawn_blocking`, of which up to 512 are
//! started, and for which the runtime waits at its end: one look that hangs would keep the server
//! from stopping.

use std::{
    collections::VecDeque,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::oneshot;

type Task = Box<dyn FnOnce() + Send>;

/// Threads that take tasks from one queue. They end with the last handle.
pub(crate) struct Workers {
    closer: Arc<Closer>,
}

/// A guard that closes the queue when the last handle is dropped.
struct Closer(Arc<Queue>);

/// The queue of tasks. A channel of the standard library has one receiver, which the threads would
/// have to pass on: two wake-ups for each task instead of one.
struct Queue {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

struct Waiting {
    tasks: VecDeque<Task>,
    is_closed: bool,
}

impl Workers {
    /// Starts `threads` threads, named after `name`.
    ///
    /// # Errors
    /// If the host can't start a thread.
    pub(crate) fn start(name: &str, threads: usize) -> io::Result<Self> {
        let waiting = Mutex::new(Waiting { tasks: VecDeque::new(), is_closed: false });
        let queue = Arc::new(Queue { waiting, came: Condvar::new() });
        let closer = Arc::new(Closer(Arc::clone(&queue)));
        for number in 0..threads {
            let queue = Arc::clone(&queue);
            let name = format!("{name}-{number}");
            thread::Builder::new().name(name).spawn(move || queue.work())?;
        }
        Ok(Self { closer })
    }

    /// Runs a blocking task on one of the threads, without waiting for it.
    pub(crate) fn submit(&self, task: impl FnOnce() + Send + 'static) {
        let queue = &self.closer.0;
        queue.lock().tasks.push_back(Box::new(task));
        queue.came.notify_one();
    }

    /// Runs a blocking task on one of the threads and returns its result, or `None` if it panicked.
    ///
    /// # Cancel safety
    /// The task runs even if the future is dropped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.submit(move || _ = answer.send(task()));
        answered.await.ok()
    }

    /// Runs a blocking task as [`Workers::run`] does, unless the future is dropped before.
    ///
    /// # Cancel safety
    /// If the future is dropped, a task that has not begun does not run; one that has is finished,
    /// and its result is dropped.
    pub(crate) async fn run_if_awaited<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.submit(move || {
            if !answer.is_closed() {
                let _ = answer.send(task());
            }
        });
        answered.await.ok()
    }
}

impl Clone for Workers {
    fn clone(&self) -> Self {
        Self { closer: Arc::clone(&self.closer) }
    }
}

impl Drop for Closer {
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
        while let Some(task) = self.next() {
            // A panic of a task must not end the thread: without threads, nothing could be started
            // or killed any more.
            let _ = catch_unwind(AssertUnwindSafe(task));
        }
    }

    /// Waits for the next task. Returns `None` if the queue is closed and empty.
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

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_task_that_hangs_holds_up_no_other() {
        let threads = Workers::start("test", 2).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let hanging = threads.run_if_awaited(move || held.recv());
        let mut hanging = std::pin::pin!(hanging);
        tokio::select! {
            biased;
            _ = &mut hanging => panic!("it hangs"),
            seen = threads.run_if_awaited(|| 7) => assert_eq!(seen.unwrap(), 7),
        }
        drop(release);
        assert!(hanging.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_task_that_panics_is_a_failure_and_costs_no_thread() {
        let threads = Workers::start("test", 1).unwrap();
        for _ in 0..2 {
            assert_eq!(threads.run_if_awaited(|| -> () { panic!("planted") }).await, None);
        }
        assert_eq!(threads.run_if_awaited(|| 7).await, Some(7));
    }
}
