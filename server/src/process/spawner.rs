//! The threads that start processes.
//!
//! vfork(2), and whatever is built on it, blocks its caller until the child has executed its program:
//! microseconds mostly, milliseconds when many start at once or the file lies far away. No worker of
//! the runtime waits for that. The threads never end, so that a host without threads to give still
//! starts and kills.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use tokio::sync::oneshot;

use super::raw::Stack;

/// Enough that one slow file system does not stop all starts.
const THREADS: usize = 4;

type Task = Box<dyn FnOnce(&mut Stack) + Send>;

/// Gives work to the threads, which end with the last of these.
#[derive(Clone, Debug)]
pub(super) struct Spawner {
    tasks: Sender<Task>,
}

impl Spawner {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the host has none to give.
    pub(super) fn start() -> io::Result<Self> {
        let (tasks, mailbox) = channel();
        let mailbox = Arc::new(Mutex::new(mailbox));
        for number in 0..THREADS {
            let mailbox = Arc::clone(&mailbox);
            let name = format!("spawner-{number}");
            thread::Builder::new().name(name).spawn(move || work(&mailbox))?;
        }
        Ok(Self { tasks })
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
        self.tasks.send(Box::new(task)).ok()?;
        answered.await.ok()
    }
}

fn work(mailbox: &Mutex<Receiver<Task>>) {
    let mut stack = Stack::new();
    loop {
        // Whoever waits holds the lock, and the others wait for it.
        let next = mailbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            // A start that goes wrong in a way nobody thought of must not cost the thread: without
            // threads nothing would start any more.
            Ok(task) => _ = catch_unwind(AssertUnwindSafe(|| task(&mut stack))),
            Err(_) => return,
        }
    }
}
