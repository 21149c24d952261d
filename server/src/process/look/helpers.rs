//! The server's helpers: processes that look as an account, started when they are needed, killed
//! when they take too long, and ended when they are no longer needed.

use std::{
    collections::HashMap,
    io, mem,
    os::unix::{net::UnixStream as StdStream, process::CommandExt as _},
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::{
    net::UnixStream,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout_at},
};

use super::{
    error::LookError,
    helper, message,
    order::{Answer, Order},
};
use crate::{
    process::{
        children::{self, Registration, Started},
        plan::Credentials,
    },
    workers::Workers,
};

/// The maximum number of looks of one account at once, so that one that waits for a file server
/// does not take all helpers.
const OF_ACCOUNT: usize = 8;
/// The maximum number of helpers of all accounts together, including killed ones that have not
/// ended.
const ALL: usize = 32;
/// The time for which a helper is kept for the next look.
const IDLE: Duration = Duration::from_secs(3);
/// The time between two looks for helpers that are no longer needed.
const TIDY: Duration = Duration::from_millis(500);
/// The path by which a child executes the server's own program, also after an upgrade.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// The account that a helper looks as; `None` for the server's own.
type Whom = Option<Credentials>;

/// A helper that waits for an order.
struct Helper {
    /// The registration; dropping it kills the process, which is reaped with the orphans.
    _registration: Registration,
    pidfd: OwnedFd,
    stream: UnixStream,
}

/// The helpers of one account.
struct Crew {
    places: Arc<Semaphore>,
    idle: Vec<(Helper, Instant)>,
    /// The helpers that were killed, each with its place, until they end: one that waits for a file
    /// system in the kernel does not end before that answers.
    killed: Vec<(OwnedFd, OwnedSemaphorePermit)>,
}

impl Default for Crew {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(OF_ACCOUNT));
        Self { places, idle: Vec::new(), killed: Vec::new() }
    }
}

#[derive(Default)]
struct State {
    crews: HashMap<Whom, Crew>,
    /// The number of helpers that live or may live.
    count: usize,
}

/// The service that starts helpers and sends them orders.
pub(super) struct Helpers {
    state: Mutex<State>,
    /// The notification that there is something to tidy up.
    used: Notify,
}

/// A helper that looks; dropping this kills it unless it was given back.
struct Working<'a> {
    helpers: &'a Helpers,
    whom: &'a Whom,
    held: Option<(Helper, OwnedSemaphorePermit)>,
}

impl Helpers {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), used: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends an order to a helper of this account, and waits for the answer until `until`.
    /// `starter` starts a helper if there is none.
    ///
    /// # Errors
    /// If no helper is available, or it has not answered in time and was killed.
    ///
    /// # Cancel safety
    /// If the future is dropped, the helper is killed.
    pub(super) async fn ask(
        &self,
        whom: &Whom,
        order: &Order,
        until: Instant,
        starter: &Workers,
    ) -> Result<(Answer, Vec<OwnedFd>), LookError> {
        timeout_at(until.into(), async {
            let mut working = self.take(whom, starter).await?;
            if let Ok(answer) = working.carry_out(order).await {
                working.give_back();
                return Ok(answer);
            }
            // The helper was killed from outside, perhaps by the account itself. The order is
            // repeated once, with a new helper.
            drop(working);
            self.end_idle(whom);
            let mut working = self.take(whom, starter).await?;
            let answer = working.carry_out(order).await.map_err(LookError::Failed)?;
            working.give_back();
            Ok(answer)
        })
        .await
        .unwrap_or(Err(LookError::Slow))
    }

    async fn take<'a>(
        &'a self,
        whom: &'a Whom,
        starter: &Workers,
    ) -> Result<Working<'a>, LookError> {
        let places = Arc::clone(&self.state().crews.entry(whom.clone()).or_default().places);
        let place = places.acquire_owned().await.map_err(io::Error::other);
        let place = place.map_err(LookError::Failed)?;
        let idle = {
            let mut state = self.state();
            let idle = state.crews.get_mut(whom).and_then(|crew| crew.idle.pop());
            if idle.is_none() {
                state.make_room()?;
                state.count += 1;
            }
            idle
        };
        let helper = match idle {
            Some((helper, _)) => helper,
            None => {
                // The count is taken back unless the helper starts, also if this future is dropped.
                let counted = Counted(self);
                let argument = helper::as_argument(whom.as_ref());
                let started = starter.run_if_awaited(move || start(&argument)).await;
                let started = started.unwrap_or_else(|| Err(io::ErrorKind::Other.into()));
                let helper = started.and_then(Helper::new).map_err(LookError::Failed)?;
                mem::forget(counted);
                helper
            }
        };
        Ok(Working { helpers: self, whom, held: Some((helper, place)) })
    }

    /// Ends the helpers of an account that wait for an order.
    fn end_idle(&self, whom: &Whom) {
        let mut state = self.state();
        let idle = state.crews.get_mut(whom).map(|crew| mem::take(&mut crew.idle));
        state.count -= idle.map_or(0, |idle| idle.len());
    }

    /// Ends helpers that have not been needed for a while, and forgets those that have ended,
    /// whenever there are any. Never returns.
    pub(super) async fn tend(&self) {
        loop {
            self.used.notified().await;
            while self.tidy() {
                sleep(TIDY).await;
            }
        }
    }

    /// Tidies up once. Returns whether anything is left to tidy up.
    fn tidy(&self) -> bool {
        let mut state = self.state();
        let State { crews, count } = &mut *state;
        for crew in crews.values_mut() {
            let before = crew.idle.len() + crew.killed.len();
            crew.idle.retain(|(_, since)| since.elapsed() < IDLE);
            crew.killed.retain(|(pidfd, _)| !has_ended(pidfd));
            *count -= before - crew.idle.len() - crew.killed.len();
        }
        crews.retain(|_, crew| {
            crew.places.available_permits() < OF_ACCOUNT || !crew.idle.is_empty()
        });
        !crews.is_empty()
    }
}

/// A count of a helper, taken back when this is dropped because the helper did not start.
struct Counted<'a>(&'a Helpers);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.state().count -= 1;
    }
}

impl State {
    /// Ends the helper that has been idle for longest, if the maximum number is reached.
    fn make_room(&mut self) -> Result<(), LookError> {
        if self.count < ALL {
            return Ok(());
        }
        let oldest = self.crews.values_mut().filter(|crew| !crew.idle.is_empty());
        let oldest = oldest.min_by_key(|crew| crew.idle.first().map(|(_, since)| *since));
        let crew = oldest.ok_or(LookError::Crowded)?;
        crew.idle.remove(0);
        self.count -= 1;
        Ok(())
    }
}

impl Working<'_> {
    async fn carry_out(&mut self, order: &Order) -> io::Result<(Answer, Vec<OwnedFd>)> {
        let Some((helper, _)) = &mut self.held else { return Err(io::ErrorKind::NotFound.into()) };
        message::send(&mut helper.stream, order).await?;
        message::receive(&helper.stream).await
    }

    fn give_back(mut self) {
        if let Some((helper, place)) = self.held.take() {
            let mut state = self.helpers.state();
            let crew = state.crews.entry(self.whom.clone()).or_default();
            crew.idle.push((helper, Instant::now()));
            drop(state);
            drop(place);
            self.helpers.used.notify_one();
        }
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        if let Some((Helper { _registration: killed, pidfd, stream }, place)) = self.held.take() {
            drop((killed, stream));
            let mut state = self.helpers.state();
            let crew = state.crews.entry(self.whom.clone()).or_default();
            crew.killed.push((pidfd, place));
            drop(state);
            self.helpers.used.notify_one();
        }
    }
}

impl Helper {
    fn new((registration, pidfd, stream): (Registration, OwnedFd, StdStream)) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { _registration: registration, pidfd, stream: UnixStream::from_std(stream)? })
    }
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&now)).is_ok_and(|ended| ended > 0)
}

/// Starts a helper, which executes the server's own program and becomes the account by itself.
fn start(whom: &str) -> io::Result<(Registration, OwnedFd, StdStream)> {
    let (ours, theirs) = StdStream::pair()?;
    let mut command = Command::new(OWN_PROGRAM);
    command
        .arg0("rcmd-server")
        .args([helper::ARGUMENT, whom])
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let (registration, ()) = children::start_and_wait(|| {
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
        Ok::<_, io::Error>((Started { pid, child: None }, ()))
    })?;
    let pidfd = pidfd_open(registration.leader().pid(), PidfdFlags::empty())?;
    Ok((registration, pidfd, ours))
}

impl std::fmt::Debug for Helpers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Helpers").finish_non_exhaustive()
    }
}
