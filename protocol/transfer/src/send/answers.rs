//! The thread that reads the receiver's answers. Without it both ends could wait for each other's reading.

use std::{
    io::{self, Read},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, TryRecvError, channel},
    },
    thread,
};

use crate::{
    failure::{Failure, TransferError},
    limits,
    options::TransferOptions,
    transfer::hear_hello,
    wire::{MessageReader, Role, ToSender},
};

pub(super) type Answer = ToSender;

/// An answer, and the bytes that it takes while it waits.
type Waiting = (Result<Answer, TransferError>, usize);

/// The answers that have come.
pub(super) struct Answers {
    queue: Receiver<Waiting>,
    room: Arc<Room>,
    /// How many digests of chunks have come and are held.
    digests: Arc<AtomicU64>,
}

/// The room for answers that wait.
#[derive(Default)]
struct Room {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The bytes that wait.
    held: usize,
    /// The sender does nothing but take answers, so that the receiver may be kept waiting.
    only_takes: bool,
    /// Nobody takes answers any more.
    is_over: bool,
}

impl Room {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for an answer. Waits for it once the sender only takes answers; before, both ends would wait for each
    /// other. Returns false if there is none.
    fn take(&self, bytes: usize) -> bool {
        let mut state = self.state();
        while state.held.saturating_add(bytes) > limits::ANSWERS && state.held > 0 {
            if !state.only_takes || state.is_over {
                return false;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.held = state.held.saturating_add(bytes);
        true
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

impl Answers {
    /// Starts the thread, which first hears the receiver's hello if the sender has chosen these options. It ends with
    /// the receiver's last answer, with the stream, or with these answers.
    pub(super) fn read<R: Read + Send + 'static>(
        mut reader: MessageReader<R>,
        chosen: Option<TransferOptions>,
    ) -> Result<Self, TransferError> {
        let (sender, queue) = channel();
        let room = Arc::<Room>::default();
        let taken = Arc::clone(&room);
        let digests = Arc::new(AtomicU64::new(0));
        let held = Arc::clone(&digests);
        let read = move || {
            if chosen.is_some()
                && let Err(error) = hear_hello(&mut reader, Role::Sender, chosen.as_ref())
            {
                // Nobody may wait for it any more.
                let _ = sender.send((Err(error), 0));
                return;
            }
            loop {
                let (answer, bytes) = next(&mut reader);
                // The digests of chunks are counted by themselves, for as long as they are held.
                let is_known = matches!(answer, Ok(ToSender::Known { .. }));
                let bytes = if is_known { size_of::<Waiting>() } else { bytes };
                let answer = match taken.take(bytes) {
                    true => answer.and_then(|answer| counted(answer, &held)),
                    false => Err(TransferError::Protocol("it answers more than there is room for")),
                };
                let is_last = matches!(answer, Err(_) | Ok(ToSender::Done { .. }));
                if sender.send((answer, bytes)).is_err() || is_last {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("transfer-answers".to_owned()).spawn(read);
        thread.map_err(|error| Failure::of_io(&error, "start a thread"))?;
        Ok(Self { queue, room, digests })
    }

    /// Announces that this end does nothing from now on but take answers.
    pub(super) fn only_take(&self) {
        self.room.change(|state| state.only_takes = true);
    }

    /// Counts digests of chunks as no longer held.
    pub(super) fn release(&self, digests: u64) {
        self.digests.fetch_sub(digests, Ordering::Relaxed);
    }

    /// Waits for the next answer.
    pub(super) fn next(&mut self) -> Result<Answer, TransferError> {
        let waiting = self.queue.recv().map_err(|_| lost())?;
        self.free(waiting)
    }

    /// Returns the next answer if it has come.
    pub(super) fn try_next(&mut self) -> Result<Option<Answer>, TransferError> {
        match self.queue.try_recv() {
            Ok(waiting) => self.free(waiting).map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(lost()),
        }
    }

    /// Frees the room of an answer.
    fn free(&self, (answer, bytes): Waiting) -> Result<Answer, TransferError> {
        self.room.change(|state| state.held = state.held.saturating_sub(bytes));
        answer
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.room.change(|state| state.is_over = true);
    }
}

/// Reads the next answer, and returns it with the bytes that it takes.
fn next<R: Read>(reader: &mut MessageReader<R>) -> (Result<Answer, TransferError>, usize) {
    match reader.next() {
        Ok(Some((kind, fields))) => {
            let bytes = fields.len().saturating_add(size_of::<Waiting>());
            (ToSender::decode(kind, fields).map_err(TransferError::from), bytes)
        }
        Ok(None) => (Err(lost()), 0),
        Err(error) => (Err(error), 0),
    }
}

/// Counts the digests of chunks in an answer, of which no more come than the receiver may have told of.
fn counted(answer: Answer, held: &AtomicU64) -> Result<Answer, TransferError> {
    let ToSender::Known { chunks, .. } = &answer else {
        return Ok(answer);
    };
    let digests = u64::try_from(chunks.len()).unwrap_or(u64::MAX);
    if held.fetch_add(digests, Ordering::Relaxed).saturating_add(digests) > limits::DIGESTS {
        return Err(TransferError::Protocol("it tells of more chunks than may wait"));
    }
    Ok(answer)
}

fn lost() -> TransferError {
    TransferError::Lost(io::ErrorKind::UnexpectedEof.into())
}
