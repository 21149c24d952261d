//! Children that were given up before they executed a program. One that waits in the kernel can't
//! be ended, not even by SIGKILL, until its wait is over, and stays in the server's memory until
//! then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::read;
use tokio::net::unix::pipe;

use super::{image::Image, places::Place};

/// The images of children that may still be in the server's memory.
static STUCK: Mutex<Vec<Stuck>> = Mutex::new(Vec::new());

struct Stuck {
    report: pipe::Receiver,
    _image: Arc<Image>,
    _place: Place,
}

/// Keeps the image and the place of a child that was given up and killed, until the child is gone.
pub(in crate::process) fn keep(image: Arc<Image>, report: pipe::Receiver, place: Place) {
    stuck().push(Stuck { report, _image: image, _place: place });
    collect();
}

/// Frees what is kept for children that are gone.
pub(in crate::process) fn collect() {
    let gone: Vec<Stuck> = stuck().extract_if(.., |stuck| stuck.is_gone()).collect();
    drop(gone);
}

fn stuck() -> MutexGuard<'static, Vec<Stuck>> {
    STUCK.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stuck {
    /// Returns whether the report has ended: the kernel closes a process's descriptors after the
    /// process has left its memory.
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
