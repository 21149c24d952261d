//! The thread that syncs the log, signs it, begins new files and deletes old ones.

mod health;
mod orders;

use std::{
    fs::File,
    io::{self, BufReader},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use rcmd_protocol::ids::AuditHead;
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

pub use self::health::AuditHealth;
use self::{health::Health, orders::Orders};
use super::{
    chain::LINE_LIMIT,
    files,
    record::{Event, Previous},
    settings::{AuditSettings, SyncMode},
    writer::{TurnedAway, Writer},
};

/// The time for which lines are collected before they are synced together. On a disk that syncs in
/// less than 50 ms, a power cut loses at most 100 ms of the log.
const GATHER: Duration = Duration::from_millis(50);
/// The number of new lines after which they are signed.
const SIGN_LINES: u64 = 1000;
/// The age of the first new line after which they are signed.
const SIGN_AFTER: Duration = Duration::from_secs(10);
/// The first pause before a failed attempt is repeated.
const RETRY: Duration = Duration::from_secs(1);
/// The longest pause: each attempt after a failed sync begins a new file.
const RETRY_MOST: Duration = Duration::from_secs(60);

/// The log as its writing threads and the syncer share it. No other thread may wait for its lock,
/// which is held while a thread waits for the disk.
#[derive(Debug)]
pub(super) struct SharedLog {
    /// The orders, which any thread may add to.
    orders: Orders,
    turned_away: TurnedAway,
    state: Mutex<State>,
    /// The condition that something was written, or the thread must end.
    written: Condvar,
    /// The condition that the thread must end.
    ending: Condvar,
    pub(super) synced: watch::Sender<Synced>,
    pub(super) settings: AuditSettings,
    health: Health,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) writer: Writer,
    dirty: bool,
    closing: bool,
}

/// The records that are on disk.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Synced {
    /// The number of the last record up to which all are on disk.
    pub(super) upto: u64,
    /// The number of the last record that may not be on disk, because a sync has failed; 0 if none
    /// has.
    pub(super) failed: u64,
}

impl SharedLog {
    pub(super) fn new(writer: Writer, settings: AuditSettings) -> Self {
        Self {
            orders: Orders::default(),
            turned_away: TurnedAway::default(),
            state: Mutex::new(State { writer, dirty: true, closing: false }),
            written: Condvar::new(),
            ending: Condvar::new(),
            synced: watch::Sender::default(),
            settings,
            health: Health::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Orders a call of `act` with the writer, after all earlier orders. The receiver returns its
    /// result, or an error once the log is closed.
    pub(super) fn order<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Writer) -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (answer, answered) = oneshot::channel();
        self.orders.add(Box::new(move |writer| _ = answer.send(act(writer))));
        answered
    }

    /// Returns whether so many orders wait that dispensable ones should not be added.
    pub(super) fn is_crowded(&self) -> bool {
        self.orders.are_many()
    }

    /// Carries out all orders so far. Waits for the disk.
    pub(super) fn carry_out(&self) {
        let state = self.lock();
        // Taken under the lock of the log, so that nothing is written before earlier orders.
        let orders = self.orders.take();
        if !orders.is_empty() {
            self.write_in(state, |writer| orders.into_iter().for_each(|order| order(writer)));
        }
    }

    /// Carries out orders until the log is closed.
    pub(super) fn run_writer(&self) {
        while self.orders.wait() {
            // A panic of an order must not end the thread.
            let _ = catch_unwind(AssertUnwindSafe(|| self.carry_out()));
        }
    }

    /// Closes the orders: later ones are dropped.
    pub(super) fn close(&self) {
        self.orders.close();
    }

    /// Counts a refused start.
    pub(super) fn count_turned_away(&self, peer: &str) {
        let mut counted = self.turned_away.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = counted.is_empty();
        match counted.get_mut(peer) {
            Some(count) => *count += 1,
            None => _ = counted.insert(peer.to_owned(), 1),
        }
        drop(counted);
        if is_first {
            // An empty order, which wakes the syncer.
            drop(self.order(|_| ()));
        }
    }

    fn has_counted(&self) -> bool {
        !self.turned_away.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Records how many starts were refused.
    pub(super) fn sum_up(&self, writer: &mut Writer) -> io::Result<()> {
        writer.sum_up(&self.turned_away)
    }

    /// Calls `act` with the writer, and has the result synced. Waits for the disk.
    pub(super) fn write<T>(&self, act: impl FnOnce(&mut Writer) -> T) -> T {
        self.write_in(self.lock(), act)
    }

    fn write_in<T>(
        &self,
        mut state: MutexGuard<'_, State>,
        act: impl FnOnce(&mut Writer) -> T,
    ) -> T {
        let wake = !std::mem::replace(&mut state.dirty, true);
        if wake {
            state.writer.keep_place();
        }
        let done = act(&mut state.writer);
        self.health.note(&state.writer);
        drop(state);
        if wake {
            self.written.notify_one();
        }
        done
    }

    /// Returns whether no more than the reserve of the disk is left.
    pub(super) fn is_scarce(&self) -> bool {
        self.health.is_scarce()
    }

    /// Makes the thread end.
    pub(super) fn end(&self) {
        self.lock().closing = true;
        self.written.notify_all();
        self.ending.notify_all();
    }

    /// Runs until [`SharedLog::end`] is called.
    pub(super) fn run(&self) {
        let (mut signed_at, mut opened) = (Instant::now(), Instant::now());
        let mut stuck = false;
        let mut state = self.lock();
        while !state.closing {
            if !state.dirty {
                let due = SIGN_AFTER.saturating_sub(signed_at.elapsed());
                let wait = match (state.writer.is_behind(), state.writer.unsigned()) {
                    (true, _) => RETRY,
                    (_, 0) if !self.has_counted() => Duration::MAX,
                    _ => due.max(Duration::from_millis(1)),
                };
                state = self.wait(&self.written, state, wait);
            }
            if state.dirty && self.settings.sync == SyncMode::Group {
                state = self.wait(&self.ending, state, GATHER);
            }
            // An error recurs at the next attempt to write, and is reported there.
            let _ = state.writer.catch_up();
            state.writer.keep_place();
            self.show(&mut state.writer);
            if signed_at.elapsed() >= SIGN_AFTER {
                let _ = self.sum_up(&mut state.writer);
            }
            let lines = state.writer.unsigned();
            if lines >= SIGN_LINES || (lines > 0 && signed_at.elapsed() >= SIGN_AFTER) {
                sign(&mut state.writer);
                signed_at = Instant::now();
            } else if lines == 0 && !self.has_counted() {
                signed_at = Instant::now();
            }
            let mut old = None;
            if self.is_due(&state.writer, opened) {
                old = self.rotate(&mut state.writer, &mut stuck);
                opened = Instant::now();
            }
            state.dirty = false;
            self.measure();
            let (file, head) = (state.writer.file(), state.writer.head());
            let lost = state.writer.take_lost();
            if state.writer.is_broken() {
                self.synced.send_modify(|synced| synced.failed = head.seq);
            } else {
                drop(state);
                let done = self.sync(old.as_deref(), lost, &file, head);
                state = self.lock();
                if let Err(error) = done {
                    self.replace(&mut state.writer, &error);
                }
            }
            let mut pause = RETRY;
            while state.writer.is_broken() && !state.closing {
                self.show(&mut state.writer);
                state = self.wait(&self.ending, state, pause);
                pause = (pause * 2).min(RETRY_MOST);
                if !state.closing {
                    self.reopen(&mut state.writer);
                }
            }
        }
    }

    fn wait<'a>(
        &self,
        on: &Condvar,
        state: MutexGuard<'a, State>,
        time: Duration,
    ) -> MutexGuard<'a, State> {
        // At most a day, because some platforms can't add more to a clock.
        let time = time.min(Duration::from_secs(86_400));
        on.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    fn is_due(&self, writer: &Writer, opened: Instant) -> bool {
        writer.size() >= self.settings.rotate_size || opened.elapsed() >= self.settings.rotate_age
    }

    /// Continues in a new file. If that fails, the failure is logged once, and the next round tries
    /// again.
    fn rotate(&self, writer: &mut Writer, stuck: &mut bool) -> Option<Arc<File>> {
        match writer.rotate() {
            Ok(old) => {
                *stuck = false;
                info!(file = files::name(writer.number()), "audit: a new file");
                self.remove_old(writer);
                Some(old)
            }
            Err(error) => {
                if !std::mem::replace(stuck, true) {
                    warn!(%error, "audit: no new file; the old one stays in use");
                }
                None
            }
        }
    }

    /// Syncs the file up to `head`, after the file before it if `old` is given. Records up to the
    /// number `lost`, which were in a lost file, will never be on disk.
    fn sync(
        &self,
        old: Option<&File>,
        lost: Option<u64>,
        file: &File,
        head: AuditHead,
    ) -> io::Result<()> {
        let folder = self.settings.folder.as_path();
        if let Some(lost) = lost {
            self.synced.send_modify(|synced| synced.failed = lost);
            // The folder may be new.
            files::sync_folder(folder.parent().unwrap_or(folder))?;
        }
        if let Some(old) = old {
            old.sync_data()?;
        }
        if old.is_some() || lost.is_some() {
            files::sync_folder(folder)?;
        }
        file.sync_data()?;
        self.synced.send_modify(|synced| synced.upto = head.seq);
        Ok(())
    }

    /// Replaces the file after a failed sync: it is unknown what of it is on disk (fsync(2)), so
    /// nothing more is written to it.
    fn replace(&self, writer: &mut Writer, error: &io::Error) {
        error!(%error, "audit: it can't be synced; nothing is started until a new file can be");
        writer.give_up(format!("the log could not be synced: {error}"));
        let failed = writer.head().seq;
        self.synced.send_modify(|synced| synced.failed = failed);
        self.reopen(writer);
    }

    fn reopen(&self, writer: &mut Writer) {
        // The files that could not be synced may be gone.
        writer.keep_place();
        let begun = if writer.is_broken() { writer.begin_elsewhere() } else { Ok(()) };
        let opened = begun.and_then(|()| {
            let synced = writer.file().sync_all();
            synced.and_then(|()| files::sync_folder(&self.settings.folder))
        });
        match opened {
            Ok(()) => {
                writer.works();
                warn!(file = files::name(writer.number()), "audit: goes on in a new file");
            }
            Err(error) => writer.give_up(format!("the log could not be synced: {error}")),
        }
    }

    /// Deletes files that are older than the configured age, and records that they existed.
    pub(super) fn remove_old(&self, writer: &mut Writer) {
        let Some(keep) = self.settings.keep else { return };
        let current = writer.number();
        let mut listed = files::list(&self.settings.folder).unwrap_or_default();
        listed.retain(|(number, _)| *number < current);
        for pair in listed.windows(2) {
            let [(_, path), (_, next)] = pair else { return };
            let old = files::changed(path).is_ok_and(|changed| {
                SystemTime::now().duration_since(changed).is_ok_and(|age| age >= keep)
            });
            let Some(Previous { file, seq, hash, .. }) = before(next).filter(|_| old) else {
                return;
            };
            let removed = writer.note(&Event::Removed { file, last_seq: seq, last_hash: hash });
            let done = removed.and_then(|_| files::remove(path).map_err(|e| e.to_string()));
            if let Err(error) = done {
                warn!(file = %path.display(), error, "audit: an old file can't be deleted");
                return;
            }
        }
    }
}

fn sign(writer: &mut Writer) {
    let was_failing = writer.is_failing();
    if let Err(error) = writer.sign()
        && !was_failing
    {
        warn!(%error, "audit: no checkpoint");
    }
}

/// Returns what a file records about the file before it.
fn before(path: &Path) -> Option<Previous> {
    let mut line = Vec::new();
    files::next_line(&mut BufReader::new(files::open(path).ok()?), &mut line, LINE_LIMIT).ok()?;
    match serde_json::from_slice(&line) {
        Ok(Event::Open { previous, .. }) => previous,
        _ => None,
    }
}
