//! Threads that look at the host's file system for the server, where nothing makes them wait for long.
//!
//! No worker of the runtime looks, and no connection's reader waits for it. The threads are a few of our
//! own, and not those of `spawn_blocking`: as many as 512 of these may come to be, each of which may copy
//! a large program, and the runtime waits for them at its end, so that one look that hangs would keep the
//! server from stopping.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::oneshot;

type Look = Box<dyn FnOnce() + Send>;

/// Has threads look at the file system; they end with the last of these.
#[derive(Clone, Debug)]
pub(super) struct FileThreads {
    handle: Arc<Handle>,
}

/// Ends the threads when it is dropped.
#[derive(Debug)]
struct Handle(Arc<Queue>);

#[derive(Default)]
struct Queue {
    looks: Mutex<Looks>,
    came: Condvar,
}

#[derive(Default)]
struct Looks {
    waiting: VecDeque<Look>,
    is_closed: bool,
}

impl FileThreads {
    /// Starts so many threads under a name.
    ///
    /// # Errors
    /// When the host has none to give.
    pub(super) fn start(name: &str, threads: usize) -> io::Result<Self> {
        let queue = Arc::<Queue>::default();
        let handle = Arc::new(Handle(Arc::clone(&queue)));
        for number in 0..threads {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name(format!("{name}-{number}")).spawn(move || queue.work())?;
        }
        Ok(Self { handle })
    }

    /// Has one of the threads look. Returns none when the look has failed in a way that nobody thought of.
    ///
    /// # Cancel safety
    /// A look that has not begun is not made; one that has is brought to its end, for nobody.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let look = move || {
            if !answer.is_closed() {
                let _ = answer.send(look());
            }
        };
        let queue = &self.handle.0;
        queue.lock().waiting.push_back(Box::new(look));
        queue.came.notify_one();
        answered.await.ok()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.came.notify_all();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(look) = self.next() {
            // A panic must not cost the thread: without threads nothing would start any more.
            let _ = catch_unwind(AssertUnwindSafe(look));
        }
    }

    /// Returns the next look; none when nobody is left who could ask for one.
    fn next(&self) -> Option<Look> {
        let mut looks = self.lock();
        loop {
            match looks.waiting.pop_front() {
                None if !looks.is_closed => {
                    looks = self.came.wait(looks).unwrap_or_else(PoisonError::into_inner);
                }
                look => return look,
            }
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn one_look_that_hangs_holds_up_no_other() {
        let threads = FileThreads::start("test", 2).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let hanging = threads.run(move || held.recv());
        let mut hanging = std::pin::pin!(hanging);
        tokio::select! {
            biased;
            _ = &mut hanging => panic!("it hangs"),
            seen = threads.run(|| 7) => assert_eq!(seen.unwrap(), 7),
        }
        drop(release);
        assert!(hanging.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_look_that_panics_is_a_failure_and_costs_no_thread() {
        let threads = FileThreads::start("test", 1).unwrap();
        for _ in 0..2 {
            assert_eq!(threads.run(|| -> () { panic!("planted") }).await, None);
        }
        assert_eq!(threads.run(|| 7).await, Some(7));
    }
}
