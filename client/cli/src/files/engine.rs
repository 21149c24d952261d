//! The thread that transfers with one host.

use std::io;
use std::thread;

use bytes::Bytes;
use rcmd_transfer::{AccountNames, Cancel, Transfer, TransferOptions, current_umask};
use tokio::sync::{mpsc, oneshot};

use super::local::{LocalPlace, Sources};
use super::pipe::{self, PipeReader, PipeWriter};
use super::verdict::EngineEnd;
use super::watcher::Watcher;

/// This end's part of a transfer.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Sends(Sources),
    Receives(LocalPlace),
}

/// An engine that runs.
pub(super) struct Engine {
    pub(super) from_host: mpsc::Sender<Bytes>,
    pub(super) to_host: mpsc::Receiver<Bytes>,
    pub(super) cancel: Cancel,
    /// It fails if the thread is gone without an end.
    pub(super) end: oneshot::Receiver<EngineEnd>,
}

impl Engine {
    /// Starts an engine.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(
        part: Part,
        options: TransferOptions,
        watcher: Watcher,
    ) -> io::Result<Self> {
        let (from_host, reader) = pipe::from_host();
        let (writer, to_host) = pipe::to_host();
        let (ended, end) = oneshot::channel();
        let cancel = Cancel::default();
        let names = match options.metadata.needs_names() {
            true => AccountNames::of_this_host(),
            false => AccountNames::default(),
        };
        let is_exact = !options.recursive && watcher.asked.is_exact();
        let transfer = Transfer::with_options(options).cancelled_by(&cancel);
        let transfer = transfer.account_names(names);
        // The user reads what is written over here; but in a tree, or for a pattern, a host would choose of which files it
        // is told.
        let transfer = if is_exact { transfer.offering_in_place() } else { transfer };
        thread::Builder::new().name("transfer".to_owned()).spawn(move || {
            // Nobody waits for it any more if the user has given up.
            let _ = ended.send(run(part, transfer, reader, writer, watcher));
        })?;
        Ok(Self { from_host, to_host, cancel, end })
    }
}

fn run(
    part: Part,
    transfer: Transfer,
    reader: PipeReader,
    writer: PipeWriter,
    mut watcher: Watcher,
) -> EngineEnd {
    match part {
        Part::Sends(sources) => {
            let found = sources.found;
            let transfer = transfer.send(reader, writer, found, &mut watcher);
            EngineEnd { transfer, output: None }
        }
        Part::Receives(place) => match place.open() {
            Err(failure) => EngineEnd { transfer: Err(failure.into()), output: None },
            Ok(open) => {
                // Each source was asked for as what it leads to. Of the parts of files a host is told only where that
                // was typed.
                let transfer = transfer.umask(current_umask()).refusing_links().telling_chunks();
                let transfer = transfer.limits(place.limits());
                let destination = open.destination.clone();
                let transfer = transfer.receive(reader, writer, destination, &mut watcher);
                let output = match &transfer {
                    Ok(_) => {
                        if open.is_stream() {
                            watcher.make_room();
                        }
                        open.finish().err()
                    }
                    Err(_) => None,
                };
                EngineEnd { transfer, output }
            }
        },
    }
}

#[cfg(test)]
mod tests;
