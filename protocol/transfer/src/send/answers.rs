//! The thread that reads the receiver's answers. Without it both ends could wait for each other's reading.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, TryRecvError, sync_channel},
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

/// The answers that have come.
pub(super) struct Answers {
    queue: Receiver<Result<Answer, TransferError>>,
    /// How many digests have come and are held.
    digests: Arc<AtomicU64>,
}

impl Answers {
    /// Starts the thread, which first hears the receiver's hello if the sender has chosen these options. It ends with
    /// the receiver's last answer, with the stream, or with these answers.
    pub(super) fn read<R: Read + Send + 'static>(
        mut reader: MessageReader<R>,
        chosen: Option<TransferOptions>,
    ) -> Result<Self, TransferError> {
        let (sender, queue) = sync_channel(limits::ANSWERS);
        let digests = Arc::new(AtomicU64::new(0));
        let held = Arc::clone(&digests);
        let read = move || {
            if chosen.is_some()
                && let Err(error) = hear_hello(&mut reader, Role::Sender, chosen.as_ref())
            {
                // Nobody may wait for it any more.
                let _ = sender.send(Err(error));
                return;
            }
            loop {
                let answer = next(&mut reader).and_then(|answer| counted(answer, &held));
                let is_last = matches!(answer, Err(_) | Ok(ToSender::Done { .. }));
                if sender.send(answer).is_err() || is_last {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("transfer-answers".to_owned()).spawn(read);
        thread.map_err(|error| Failure::of_io(&error, "start a thread"))?;
        Ok(Self { queue, digests })
    }

    /// Counts digests as no longer held.
    pub(super) fn release(&self, digests: u64) {
        self.digests.fetch_sub(digests, Ordering::Relaxed);
    }

    /// Waits for the next answer.
    pub(super) fn next(&mut self) -> Result<Answer, TransferError> {
        self.queue.recv().unwrap_or_else(|_| Err(lost()))
    }

    /// Returns the next answer if it has come.
    pub(super) fn try_next(&mut self) -> Result<Option<Answer>, TransferError> {
        match self.queue.try_recv() {
            Ok(answer) => answer.map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(lost()),
        }
    }
}

fn next<R: Read>(reader: &mut MessageReader<R>) -> Result<Answer, TransferError> {
    let (kind, fields) = reader.next()?.ok_or_else(lost)?;
    Ok(ToSender::decode(kind, fields)?)
}

/// Counts the digests of an answer, of which no more come than the receiver may have told of.
fn counted(answer: Answer, held: &AtomicU64) -> Result<Answer, TransferError> {
    let digests = match &answer {
        ToSender::Resume { digests, .. } => digests.len(),
        ToSender::Known { chunks, .. } => chunks.len(),
        _ => 0,
    };
    let digests = u64::try_from(digests).unwrap_or(u64::MAX);
    if held.fetch_add(digests, Ordering::Relaxed).saturating_add(digests) > limits::DIGESTS {
        return Err(TransferError::Protocol("it tells of more parts than may wait"));
    }
    Ok(answer)
}

fn lost() -> TransferError {
    TransferError::Lost(io::ErrorKind::UnexpectedEof.into())
}
