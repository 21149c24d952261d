//! A connection as a job sees it.

use std::sync::Arc;

use rcmd_protocol::{
    error::ProtocolError,
    frame::{Frame, OutputOffsets, Refusal},
    io::Sender,
};
use tokio::sync::SetOnce;

/// A connection that wants a job. Dropped before the job has looked at it, as when the job ends at
/// that moment, it answers that the job is gone: a client must not wait for ever.
#[derive(Debug)]
pub(crate) struct Attachment {
    sink: Option<Sink>,
    received: Option<OutputOffsets>,
}

impl Attachment {
    /// With where its frames go, and the bytes of stdout and stderr that the client has; none for a
    /// start, which has received nothing and takes what is left.
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
    /// The channel's number there.
    pub ch: u32,
    /// Which of the client's connections it is.
    pub generation: u64,
    /// Ends the connection when the client broke the protocol on this channel.
    pub broken: Arc<SetOnce<ProtocolError>>,
}

impl Sink {
    /// Ends the connection: its client broke the protocol.
    pub(super) fn fault(&self, fault: &ProtocolError) {
        self.link.send(Frame::Error(fault.failure()));
        // The first fault is the one that ends it.
        let _ = self.broken.set(fault.clone());
    }
}
