//! The thread that reads the receiver's answers. Without it both ends could wait for each other's reading.

use std::{
    io::{self, Read},
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
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
}

impl Answers {
    /// Starts the thread, which first hears the receiver's hello if the sender has chosen these options. It ends with
    /// the receiver's last answer, with the stream, or with these answers.
    pub(super) fn read<R: Read + Send + 'static>(
        mut reader: MessageReader<R>,
        chosen: Option<TransferOptions>,
    ) -> Result<Self, TransferError> {
        let (sender, queue) = sync_channel(limits::ANSWERS);
        let read = move || {
            if chosen.is_some()
                && let Err(error) = hear_hello(&mut reader, Role::Sender, chosen.as_ref())
            {
                // Nobody may wait for it any more.
                let _ = sender.send(Err(error));
                return;
            }
            loop {
                let answer = next(&mut reader);
                let is_last = matches!(answer, Err(_) | Ok(ToSender::Done { .. }));
                if sender.send(answer).is_err() || is_last {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("transfer-answers".to_owned()).spawn(read);
        thread.map_err(|error| Failure::of_io(&error, "start a thread"))?;
        Ok(Self { queue })
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

fn lost() -> TransferError {
    TransferError::Lost(io::ErrorKind::UnexpectedEof.into())
}
