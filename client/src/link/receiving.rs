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
    /// How far the server may be ahead of the reader.
    credit: u64,
    /// There once the digest algorithm is known.
    incoming: Option<RecvStream>,
    /// To the reader; dropped at the end.
    feed: Option<Feed>,
    /// Whether the reader has gone: what comes is no longer looked at, nor compared.
    stopped: bool,
    ended: Option<(u64, StreamDigest)>,
    /// Whether something still held the pipe at the end.
    pub(super) open: bool,
    truncated: bool,
}

impl Receiving {
    pub(super) fn new(stream: Stream, feed: Feed, credit: u64) -> Self {
        Self {
            stream,
            credit,
            incoming: None,
            feed: Some(feed),
            stopped: false,
            ended: None,
            open: false,
            truncated: false,
        }
    }

    /// Goes on at the server's `offset`, which is behind what came if bytes were lost in between.
    pub(super) fn resume(&mut self, algorithm: Algorithm, offset: u64) {
        if self.stopped || self.ended.is_some() {
            return;
        }
        match &self.incoming {
            Some(incoming) if offset <= incoming.received() => {}
            None if offset == 0 => {
                let incoming = RecvStream::new(self.stream, algorithm);
                self.incoming = Some(incoming.with_credit(self.credit));
            }
            _ => {
                self.truncated = true;
                let incoming = RecvStream::starting_at(self.stream, algorithm, offset);
                self.incoming = Some(incoming.with_credit(self.credit));
            }
        }
    }

    /// Returns whether its reader has not taken away all that came.
    pub(super) fn is_unread(&self) -> bool {
        self.feed.as_ref().is_some_and(|feed| feed.pieces() > 0)
    }

    /// Returns the bytes received, counted from offset 0.
    pub(super) fn received(&self) -> u64 {
        self.incoming.as_ref().map_or(0, RecvStream::received)
    }

    /// Takes a piece; `timed` says whether its time was asked for.
    pub(super) fn data(&mut self, data: Data, timed: bool) -> Result<(), ProtocolError> {
        if self.stopped {
            return Ok(());
        }
        let incoming = self.incoming.as_mut().ok_or(unexpected("data"))?;
        let bytes = incoming.data(data.offset, data.payload)?;
        if let Some(feed) = self.feed.as_ref().filter(|_| !bytes.is_empty()) {
            let offset = incoming.received() - bytes.len() as u64;
            feed.push(offset, data.time.filter(|_| timed), bytes);
        }
        Ok(())
    }

    /// Takes the end.
    pub(super) fn end(&mut self, end: &End) -> Result<(), EndError> {
        // A reader that left before the start is one whose stream was never opened.
        if !self.stopped {
            let incoming = self.incoming.as_mut().ok_or(unexpected("end"))?;
            incoming.end(end.total, end.digest)?;
        }
        self.ended = Some((end.total, end.digest));
        self.open |= end.open;
        self.feed = None;
        Ok(())
    }

    /// Compares what the exit says with the end that was verified.
    pub(super) fn check_exit(
        &self,
        total: u64,
        digest: Option<StreamDigest>,
    ) -> Result<(), EndError> {
        let Some(ended) = self.ended else {
            let why = "its streams have not ended";
            return Err(ProtocolError::Unexpected { frame: "exit", why }.into());
        };
        if self.stopped || (digest.is_some_and(|digest| ended == (total, digest))) {
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
        if let (Some(incoming), Some(feed)) = (&mut self.incoming, &self.feed) {
            incoming.consume(feed.consumed());
        }
    }

    /// Notes that the reader has gone. Returns whether the server has to know.
    pub(super) fn stop(&mut self) -> bool {
        if self.ended.is_none() {
            self.stopped = true;
        }
        self.feed = None;
        self.stopped
    }

    /// Returns whether the server has to be told, once more, that nobody reads it.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped && self.ended.is_none()
    }

    /// Ends it for the reader, whole or not.
    pub(super) fn close(&mut self) {
        self.feed = None;
    }

    /// Returns a window, if enough has changed since the last; with `again`, in any case.
    pub(super) fn window(&mut self, ch: u32, again: bool) -> Option<Window> {
        if self.stopped || self.ended.is_some() {
            return None;
        }
        if again {
            self.consumed();
        }
        let incoming = self.incoming.as_mut()?;
        if again { Some(incoming.window(ch)) } else { incoming.window_due(ch) }
    }
}

fn unexpected(frame: &'static str) -> ProtocolError {
    ProtocolError::Unexpected { frame, why: "its command has not started" }
}
