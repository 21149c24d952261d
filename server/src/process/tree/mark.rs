//! The mark of a process, by which it is known as one of a job's: `RCMD_JOB` in its environment.
//!
//! The environment lies in the memory of the process, which may have mapped a file there whose file system
//! does not answer: then a read of it never returns (proc_pid_environ(5)). So a thread reads that can be
//! spared. One that does not come back in time is left to its process, which is not read again meanwhile,
//! and another takes its place.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use rustix::process::Pid;

use crate::process::{
    environment::JOB,
    proc_fs::{self, InBetween},
};

/// Time for a read, which takes microseconds.
const PATIENCE: Duration = Duration::from_secs(1);
/// Threads that may wait for ever at once. With so many no mark is read any more: trees are then known by
/// parents, groups and sessions alone.
const SPARE: usize = 8;

type Mark = Result<Option<Vec<u8>>, InBetween>;
type Task = Box<dyn FnOnce() -> Mark + Send>;

static READER: Mutex<Reader> = Mutex::new(Reader { orders: None, lost: Vec::new() });

/// Starts the thread that reads, unless there is one: when a tree must be killed the host may have none to
/// give.
///
/// # Errors
/// When the host has no thread to give.
pub(super) fn prepare() -> io::Result<()> {
    let mut reader = READER.lock().unwrap_or_else(PoisonError::into_inner);
    if reader.orders.is_none() {
        reader.orders = Some(start()?);
    }
    Ok(())
}

/// Returns the mark of a process; none also for one whose environment may not be read.
pub(super) fn of(pid: Pid) -> Mark {
    let mut reader = READER.lock().unwrap_or_else(PoisonError::into_inner);
    reader.read(pid, PATIENCE, Box::new(move || proc_fs::variable(pid, JOB)))
}

/// Whoever reads now, and those that did not come back.
struct Reader {
    orders: Option<Orders>,
    lost: Vec<(Pid, Arc<()>)>,
}

struct Orders {
    tasks: Sender<(Task, Sender<Mark>)>,
    /// Held by the thread too, as long as it lives.
    alive: Arc<()>,
}

impl Reader {
    fn read(&mut self, pid: Pid, patience: Duration, task: Task) -> Mark {
        self.lost.retain(|(_, alive)| Arc::strong_count(alive) > 1);
        if self.lost.len() >= SPARE || self.lost.iter().any(|(lost, _)| *lost == pid) {
            return Err(InBetween);
        }
        let orders = match self.orders.take() {
            Some(orders) => orders,
            None => start().map_err(|_| InBetween)?,
        };
        let (answer, answered) = channel();
        if orders.tasks.send((task, answer)).is_err() {
            return Err(InBetween);
        }
        match answered.recv_timeout(patience) {
            Ok(mark) => {
                self.orders = Some(orders);
                mark
            }
            Err(RecvTimeoutError::Timeout) => {
                self.lost.push((pid, orders.alive));
                Err(InBetween)
            }
            Err(RecvTimeoutError::Disconnected) => Err(InBetween),
        }
    }
}

fn start() -> io::Result<Orders> {
    let (tasks, mailbox) = channel();
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    let work = move || {
        work(&mailbox);
        drop(held);
    };
    thread::Builder::new().name("marks".to_owned()).spawn(work)?;
    Ok(Orders { tasks, alive })
}

fn work(mailbox: &Receiver<(Task, Sender<Mark>)>) {
    while let Ok((task, answer)) = mailbox.recv() {
        // Nobody waits for what came too late, and nothing comes after it.
        let _ = answer.send(task());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_does_not_return_is_left_alone_and_others_go_on() {
        let mut reader = Reader { orders: None, lost: Vec::new() };
        let long = Duration::from_secs(30);
        let pid = |raw| Pid::from_raw(raw).unwrap();
        let found = || -> Task { Box::new(|| Ok(Some(b"job".to_vec()))) };
        let mut stuck = Vec::new();
        for raw in 1..=SPARE as i32 {
            let (go_on, gate) = channel::<()>();
            let task = Box::new(move || {
                let _ = gate.recv();
                Ok(None)
            });
            assert_eq!(reader.read(pid(raw), Duration::from_millis(1), task), Err(InBetween));
            stuck.push(go_on);
            if raw < SPARE as i32 {
                assert_eq!(reader.read(pid(100), long, found()), Ok(Some(b"job".to_vec())));
                assert_eq!(reader.read(pid(raw), long, found()), Err(InBetween), "not again");
            }
        }
        assert_eq!(reader.read(pid(100), long, found()), Err(InBetween), "no thread is left");
        drop(stuck);
        while !reader.lost.iter().all(|(_, alive)| Arc::strong_count(alive) == 1) {
            thread::yield_now();
        }
        assert_eq!(reader.read(pid(1), long, found()), Ok(Some(b"job".to_vec())));
    }
}
