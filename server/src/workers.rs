//! Threads for work that blocks: making processes, ending them, looking at the host's files, the files of
//! locks.
//!
//! They read and write files of `/proc` and of cgroups, copy the server's table of descriptors, and wait
//! for what is killed and for disks. No worker of the runtime does that. The threads never end, so that a host without
//! threads to give still starts and kills. They are a few of our own, and not those of `spawn_blocking`: as
//! many as 512 of these may come to be, and the runtime waits for them at its end, so that one look that
//! hangs would keep the server from stopping.

use std::{
    collections::VecDeque,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::oneshot;

type Task = Box<dyn FnOnce() + Send>;

/// Threads that take work from one queue. They end with the last handle.
pub(crate) struct Workers {
    closer: Arc<Closer>,
}

/// Closes the queue when nobody is left who could give work.
struct Closer(Arc<Queue>);

/// What is to be done. A channel of the standard library has one receiver, which threads would have to
/// hand on: two wake-ups for each task instead of one.
struct Queue {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

struct Waiting {
    tasks: VecDeque<Task>,
    is_closed: bool,
}

impl Workers {
    /// Starts so many threads under a name.
    ///
    /// # Errors
    /// When the host has none to give.
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

    /// Runs something that blocks on one of the threads.
    pub(crate) fn submit(&self, task: impl FnOnce() + Send + 'static) {
        let queue = &self.closer.0;
        queue.lock().tasks.push_back(Box::new(task));
        queue.came.notify_one();
    }

    /// Runs something that blocks on one of the threads, and returns its result; none when it panicked.
    ///
    /// # Cancel safety
    /// It is done all the same.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.submit(move || _ = answer.send(task()));
        answered.await.ok()
    }

    /// Runs something that blocks as [`Workers::run`] does, for as long as the result is awaited.
    ///
    /// # Cancel safety
    /// What has not begun is not done; what has is brought to its end, for nobody.
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
            // A task that goes wrong in a way nobody thought of must not cost the thread: without
            // threads nothing would start or be killed any more.
            let _ = catch_unwind(AssertUnwindSafe(task));
        }
    }

    /// Waits for the next task. Returns none when nobody is left who could give one.
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
