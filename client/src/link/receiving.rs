//! One output stream on its way from the server, checked against its end.

use rcmd_protocol::{
    digest::{Algorithm, StreamDigest},
    error::{Corrupt, ProtocolError},
    frame::{Data, End, Stream, Window},
    stream::{EndError, RecvStream},
};

use super::feed::Feed;

/// One output stream.
#[derive(Debug)]
pub(super) struct Receiving {
    stream: Stream,
    /// The number of bytes by which the server may be ahead of the reader.
    credit: u64,
    flow: Flow,
    /// True if a process still held the pipe open at the end.
    pub(super) open: bool,
    truncated: bool,
}

/// The progress of the stream.
#[derive(Debug)]
enum Flow {
    /// The command has not started, so that the digest algorithm is not known.
    Waiting(Feed),
    /// Bytes come, and go to the reader.
    Open(RecvStream, Feed),
    /// The reader has gone before the end: what comes is no longer looked at, nor compared.
    Stopped {
        /// Bytes received until then, counted from offset 0.
        received: u64,
        has_ended: bool,
    },
    /// All came, and was compared with the end.
    Ended(RecvStream, (u64, StreamDigest)),
    /// The stream was given up before its end, with so many bytes received.
    Closed(u64),
}

impl Receiving {
    pub(super) fn new(stream: Stream, feed: Feed, credit: u64) -> Self {
        Self { stream, credit, flow: Flow::Waiting(feed), open: false, truncated: false }
    }

    /// Goes on at the server's `offset`, which is behind what came if bytes were lost in between.
    pub(super) fn resume(&mut self, algorithm: Algorithm, offset: u64) {
        let incoming = match &self.flow {
            Flow::Open(incoming, _) if offset <= incoming.received() => return,
            Flow::Waiting(_) if offset == 0 => RecvStream::new(self.stream, algorithm),
            Flow::Waiting(_) | Flow::Open(..) => {
                self.truncated = true;
                RecvStream::starting_at(self.stream, algorithm, offset)
            }
            Flow::Stopped { .. } | Flow::Ended(..) | Flow::Closed(_) => return,
        };
        if let Flow::Waiting(feed) | Flow::Open(_, feed) = self.leave() {
            self.flow = Flow::Open(incoming.with_credit(self.credit), feed);
        }
    }

    /// Leaves the present state, to which another one follows; until then it counts as closed.
    fn leave(&mut self) -> Flow {
        let closed = Flow::Closed(self.received());
        std::mem::replace(&mut self.flow, closed)
    }

    /// Returns whether its reader has not taken away all that came.
    pub(super) fn is_unread(&self) -> bool {
        matches!(&self.flow, Flow::Open(_, feed) if feed.pieces() > 0)
    }

    /// Returns the bytes received, counted from offset 0.
    pub(super) fn received(&self) -> u64 {
        match &self.flow {
            Flow::Waiting(_) => 0,
            Flow::Open(incoming, _) | Flow::Ended(incoming, _) => incoming.received(),
            Flow::Stopped { received, .. } | Flow::Closed(received) => *received,
        }
    }

    /// Takes a piece.
    pub(super) fn data(&mut self, data: Data) -> Result<(), ProtocolError> {
        match &mut self.flow {
            Flow::Waiting(_) => Err(unexpected("data")),
            Flow::Open(incoming, feed) => {
                let bytes = incoming.data(data.offset, data.payload)?;
                if !bytes.is_empty() {
                    let offset = incoming.received() - bytes.len() as u64;
                    feed.push(offset, data.time, bytes);
                }
                Ok(())
            }
            // What came before may come once more; anything past the end is a fault.
            Flow::Ended(incoming, _) => incoming.data(data.offset, data.payload).map(drop),
            Flow::Stopped { .. } | Flow::Closed(_) => Ok(()),
        }
    }

    /// Takes the end.
    pub(super) fn end(&mut self, end: &End) -> Result<(), EndError> {
        match &mut self.flow {
            Flow::Waiting(_) => return Err(unexpected("end").into()),
            Flow::Open(incoming, _) | Flow::Ended(incoming, _) => {
                incoming.end(end.total, end.digest)?;
            }
            // A reader that left before the start is one whose stream was never opened.
            Flow::Stopped { has_ended, .. } => *has_ended = true,
            Flow::Closed(_) => {}
        }
        self.open |= end.open;
        if let Flow::Open(..) = self.flow
            && let Flow::Open(incoming, _) = self.leave()
        {
            self.flow = Flow::Ended(incoming, (end.total, end.digest));
        }
        Ok(())
    }

    /// Compares what the exit says with the end that was verified.
    pub(super) fn check_exit(
        &self,
        total: u64,
        digest: Option<StreamDigest>,
    ) -> Result<(), EndError> {
        let ended = match &self.flow {
            Flow::Stopped { has_ended: true, .. } => return Ok(()),
            Flow::Ended(_, ended) => ended,
            Flow::Waiting(_) | Flow::Open(..) | Flow::Stopped { .. } | Flow::Closed(_) => {
                let why = "its streams have not ended";
                return Err(ProtocolError::Unexpected { frame: "exit", why }.into());
            }
        };
        if digest.is_some_and(|digest| *ended == (total, digest)) {
            return Ok(());
        }
        let digest = digest.map_or_else(|| "no digest".to_owned(), |digest| digest.to_string());
        let what = format!(
            "its end says {} bytes and {}, the exit {total} bytes and {digest}",
            ended.0, ended.1
        );
        Err(Corrupt { stream: self.stream, what }.into())
    }

    /// Returns whether of `total` bytes some were not received.
    pub(super) fn lacks(&self, total: u64) -> bool {
        self.truncated || self.received() < total
    }

    /// Notes that the reader has taken bytes away.
    pub(super) fn consumed(&mut self) {
        if let Flow::Open(incoming, feed) = &mut self.flow {
            incoming.consume(feed.consumed());
        }
    }

    /// Notes that the reader has gone. Returns whether the server has to know.
    pub(super) fn stop(&mut self) -> bool {
        if let Flow::Waiting(_) | Flow::Open(..) = self.flow {
            self.flow = Flow::Stopped { received: self.received(), has_ended: false };
        }
        matches!(self.flow, Flow::Stopped { .. })
    }

    /// Returns whether the server has to be told, once more, that nobody reads it.
    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.flow, Flow::Stopped { has_ended: false, .. })
    }

    /// Ends it for the reader, whole or not.
    pub(super) fn close(&mut self) {
        if let Flow::Waiting(_) | Flow::Open(..) = self.flow {
            drop(self.leave());
        }
    }

    /// Returns a window, if enough has changed since the last.
    pub(super) fn window_due(&mut self, ch: u32) -> Option<Window> {
        match &mut self.flow {
            Flow::Open(incoming, _) => incoming.window_due(ch),
            _ => None,
        }
    }

    /// Returns a window, for a connection on which none was sent yet.
    pub(super) fn window(&mut self, ch: u32) -> Option<Window> {
        self.consumed();
        match &mut self.flow {
            Flow::Open(incoming, _) => Some(incoming.window(ch)),
            _ => None,
        }
    }
}

fn unexpected(frame: &'static str) -> ProtocolError {
    ProtocolError::Unexpected { frame, why: "its command has not started" }
}
