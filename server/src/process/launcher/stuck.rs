//! Children that were given up before they executed a program. One that waits in the kernel can't be
//! ended, not even by SIGKILL, until what it waits for comes; it is in the server's memory so long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::read;
use tokio::net::unix::pipe;

use super::{image::Image, places::Place};

/// The images of children that are not known to have left the server's memory.
static STUCK: Mutex<Vec<Stuck>> = Mutex::new(Vec::new());

struct Stuck {
    report: pipe::Receiver,
    _image: Arc<Image>,
    _place: Place,
}

/// Keeps what a child uses that was given up and killed, and its place, until it is gone.
pub(in crate::process) fn keep(image: Arc<Image>, report: pipe::Receiver, place: Place) {
    stuck().push(Stuck { report, _image: image, _place: place });
    collect();
}

/// Frees what is kept of children that are gone by now.
pub(in crate::process) fn collect() {
    let gone: Vec<Stuck> = stuck().extract_if(.., |stuck| stuck.is_gone()).collect();
    drop(gone);
}

fn stuck() -> MutexGuard<'static, Vec<Stuck>> {
    STUCK.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stuck {
    /// Returns whether the report has ended: the kernel closes a process's descriptors after it has left
    /// its memory.
    fn is_gone(&self) -> bool {
        let mut told = [0; 512];
        loop {
            match read(&self.report, &mut told) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }
}
