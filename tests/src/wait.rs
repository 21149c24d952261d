//! Waiting for something to become true. Deadlines are generous, since a loaded machine is no fault:
//! a test asserts that a thing happens, not how fast.

use std::io;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::random::Random;

/// The time for which a test waits for what should happen soon.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Polls until `holds` is true.
///
/// # Panics
///
/// After [`DEADLINE`], naming `what`.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    eventually_some(what, || holds().then_some(()));
}

/// Polls until `find` finds something, and returns it.
///
/// # Panics
///
/// After [`DEADLINE`], naming `what`.
#[track_caller]
pub fn eventually_some<T>(what: &str, find: impl FnMut() -> Option<T>) -> T {
    poll_for(DEADLINE, find).unwrap_or_else(|| panic!("not within {DEADLINE:?}: {what}"))
}

/// Polls until `find` finds something, or `None` once `limit` has passed. Asks at least once.
pub fn poll_for<T>(limit: Duration, mut find: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(found) = find() {
            return Some(found);
        }
        if began.elapsed() >= limit {
            return None;
        }
        nap(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Waits for a random time below `longest`, where a random moment itself is what is tested.
pub(crate) fn random_moment(random: &mut Random, longest: Duration) {
    let longest = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
    nap(Duration::from_micros(random.below(longest)));
}

/// Waits until `every` has passed since `last`, for who does something at a pace.
pub(crate) fn keep_pace(last: Instant, every: Duration) {
    nap(every.saturating_sub(last.elapsed()));
}

#[expect(clippy::disallowed_methods, reason = "the one pause, between two looks at a condition")]
fn nap(pause: Duration) {
    std::thread::sleep(pause);
}

/// Waits for a child to end, or `None` once `limit` has passed. The child is reaped when it ended.
///
/// # Errors
///
/// When the kernel gives no pidfd for it or it can't be waited for.
pub fn exit_within(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    let pid = Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout =
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(None),
            Ok(_) => return child.wait().map(Some),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
