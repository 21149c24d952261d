//! A connection as a job sees it.

use std::sync::Arc;

use rcmd_protocol::{
    error::ProtocolError,
    frame::{Frame, OutputOffsets, Refusal},
    io::Sender,
};
use tokio::sync::SetOnce;

/// A connection that wants a job. If it is dropped before the job has taken it, as when the job
/// ends at that moment, it answers that the job is gone, because a client must not wait for ever.
#[derive(Debug)]
pub(crate) struct Attachment {
    sink: Option<Sink>,
    received: Option<OutputOffsets>,
}

impl Attachment {
    /// Makes an attachment with the channel for its frames, and the bytes of stdout and stderr that
    /// the client has: `None` for a start, which has received nothing and takes what is left.
    pub(crate) fn new(sink: Sink, received: Option<OutputOffsets>) -> Self {
        Self { sink: Some(sink), received }
    }

    pub(super) fn take(mut self) -> Option<(Sink, Option<OutputOffsets>)> {
        Some((self.sink.take()?, self.received))
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if let Some(Sink { link, ch, .. }) = self.sink.take() {
            link.send(Frame::Refused { ch, reason: Refusal::Gone, generation: None });
        }
    }
}

/// A channel of a connection, as a job sees it.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    /// The connection's sender.
    pub link: Sender,
    /// The channel's number on the connection.
    pub ch: u32,
    /// The generation of the attachment, which is higher for a newer connection.
    pub generation: u64,
    /// The error that ends the connection when the client broke the protocol on this channel.
    pub broken: Arc<SetOnce<ProtocolError>>,
}

impl Sink {
    /// Ends the connection, because its client broke the protocol.
    pub(super) fn fault(&self, fault: &ProtocolError) {
        self.link.send(Frame::Error(fault.failure()));
        // The first fault ends the connection; later ones are dropped.
        let _ = self.broken.set(fault.clone());
    }
}
