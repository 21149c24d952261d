//! The mark by which a process is known as one of a job's: `RCMD_JOB` in its environment.
//!
//! The environment is in the memory of the process, which may have mapped a file there from a file
//! system that does not answer: then a read never returns (proc_pid_environ(5)). Therefore marks
//! are read on a thread that can be spared. If it does not return in time, it is left waiting, its
//! process is not read again meanwhile, and another thread takes its place.

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

/// The maximum time of a read, which takes microseconds.
const PATIENCE: Duration = Duration::from_secs(1);
/// The maximum number of threads that wait for ever at once. At that number, marks are no longer
/// read, and trees are known only by parents, groups and sessions.
const SPARE: usize = 8;

type Mark = Result<Option<Vec<u8>>, InBetween>;
type Task = Box<dyn FnOnce() -> Mark + Send>;

static READER: Mutex<Reader> = Mutex::new(Reader { orders: None, lost: Vec::new() });

/// Starts the thread that reads, unless there is one, because the host may be unable to start one
/// when a tree must be killed.
///
/// # Errors
/// If the host can't start a thread.
pub(super) fn prepare() -> io::Result<()> {
    let mut reader = READER.lock().unwrap_or_else(PoisonError::into_inner);
    if reader.orders.is_none() {
        reader.orders = Some(start()?);
    }
    Ok(())
}

/// Returns the mark of a process; `None` also if its environment may not be read.
pub(super) fn of(pid: Pid) -> Mark {
    let mut reader = READER.lock().unwrap_or_else(PoisonError::into_inner);
    reader.read(pid, PATIENCE, Box::new(move || proc_fs::variable(pid, JOB)))
}

/// The thread that reads now, and those that have not returned.
struct Reader {
    orders: Option<Orders>,
    lost: Vec<(Pid, Arc<()>)>,
}

struct Orders {
    tasks: Sender<(Task, Sender<Mark>)>,
    /// A token that the thread also holds as long as it lives.
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
        // A late answer has no receiver, and is the last one.
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
