//! One output stream of a job on its way to the client: the retained bytes, their credit and the
//! end.

use std::sync::Arc;

use bytes::Bytes;
use rcmd_protocol::{
    error::ProtocolError,
    frame::{Data, End, Stream, StreamTotal},
    limits::CHUNK,
    stream::SendStream,
};

use crate::{
    admission::budget::{IdentityBudget, Share},
    job::spec::StartOptions,
};

/// One output stream of a job.
#[derive(Debug)]
pub(super) struct OutputLog {
    stream: Stream,
    log: SendStream,
    share: Share,
    is_open: bool,
    end_sent: bool,
}

impl OutputLog {
    pub(super) fn new(stream: Stream, options: StartOptions, budget: &Arc<IdentityBudget>) -> Self {
        let share = Share::new(Arc::clone(budget));
        let log = SendStream::with_credit(stream, options.algorithm, options.credit);
        Self { stream, log, share, is_open: false, end_sent: false }
    }

    /// Returns how many bytes may be appended now, up to a chunk. A stream that has reached its
    /// part of the budget continues when its client confirms some bytes.
    pub(super) fn room(&self, budget: &IdentityBudget) -> usize {
        let room = self.log.room().min(budget.each().saturating_sub(self.log.retained()));
        usize::try_from(room).unwrap_or(CHUNK).min(CHUNK)
    }

    /// Adds bytes that the command wrote, and the time of the read.
    pub(super) fn append(&mut self, bytes: Bytes, time: Option<u64>) {
        self.log.append(bytes, time);
        self.account();
    }

    /// Ends the stream after the bytes added so far. `is_open` is true if a process still held it
    /// open.
    pub(super) fn finish(&mut self, is_open: bool) {
        self.is_open |= is_open;
        self.log.finish();
    }

    /// Ends the stream and drops what was not sent, because nobody reads it.
    pub(super) fn abandon(&mut self) {
        self.log.finish();
        self.log.abandon();
        self.account();
    }

    fn account(&mut self) {
        self.share.set(usize::try_from(self.log.retained()).unwrap_or(usize::MAX));
    }

    /// Takes a window from the client.
    pub(super) fn window(&mut self, got: u64, upto: u64) -> Result<(), ProtocolError> {
        self.log.window(got, upto)?;
        self.account();
        Ok(())
    }

    /// Goes back to the offset that the client has, or to the first retained byte. Returns the
    /// offset at which data continues.
    pub(super) fn resume(&mut self, received: Option<u64>) -> Result<u64, ProtocolError> {
        let from = self.log.resume(received.unwrap_or_else(|| self.log.first()))?;
        self.end_sent = false;
        self.account();
        Ok(from)
    }

    /// Returns the next data that the credit permits.
    pub(super) fn next(&mut self, ch: u32) -> Option<Data> {
        self.log.next(ch)
    }

    /// Returns the end once, when all data has been sent.
    pub(super) fn next_end(&mut self, ch: u32) -> Option<End> {
        let digest = self.log.finished()?;
        if self.end_sent || !self.log.is_drained() {
            return None;
        }
        self.end_sent = true;
        Some(End { ch, stream: self.stream, total: self.log.total(), digest, open: self.is_open })
    }

    pub(super) fn end_sent(&self) -> bool {
        self.end_sent
    }

    pub(super) fn was_open(&self) -> bool {
        self.is_open
    }

    /// Returns the total and the digest. Ends the stream if it has not ended.
    pub(super) fn total(&mut self) -> StreamTotal {
        StreamTotal { bytes: self.log.total(), digest: Some(self.log.finish()) }
    }
}

#[cfg(test)]
mod tests {
    use rcmd_protocol::{digest::Algorithm, limits::CREDIT};

    use super::*;
    use crate::{admission::budget::Budget, config::limits::HELD_ALWAYS};

    const OPTIONS: StartOptions = StartOptions {
        algorithm: Algorithm::Blake3,
        timeout_ms: 0,
        grace_ms: None,
        timestamps: false,
        stdin: false,
        credit: CREDIT,
    };

    fn output(limit: usize) -> (Arc<IdentityBudget>, OutputLog) {
        let budget = Arc::new(Budget::new(limit)).of("a");
        let log = OutputLog::new(Stream::Stdout, OPTIONS, &budget);
        (budget, log)
    }

    fn fill(output: &mut OutputLog, budget: &IdentityBudget) -> u64 {
        while output.room(budget) > 0 {
            output.append(vec![7; output.room(budget)].into(), None);
        }
        output.log.total()
    }

    #[test]
    fn no_more_is_taken_than_may_be_held() {
        let (budget, mut output) = output(0);
        assert_eq!(fill(&mut output, &budget), HELD_ALWAYS);
    }

    #[test]
    fn what_others_use_up_is_no_room_until_they_give_it_back() {
        const LIMIT: usize = 128 << 20;
        let (budget, mut output) = output(LIMIT);
        output.append(vec![7; HELD_ALWAYS as usize].into(), None);
        let mut others = Share::new(Arc::clone(&budget));
        others.set(LIMIT);
        assert_eq!(output.room(&budget), 0);
        drop(others);
        assert!(output.room(&budget) > 0);
    }

    #[test]
    fn the_end_goes_once_and_after_all_data() {
        let (_budget, mut output) = output(1 << 20);
        output.append("all".into(), None);
        output.finish(false);
        assert_eq!(output.next_end(1), None);
        assert_eq!(output.next(1).unwrap().payload, "all");
        assert_eq!(output.next_end(1).unwrap().total, 3);
        assert_eq!(output.next_end(1), None);
        assert_eq!(output.resume(Some(1)), Ok(1));
        assert_eq!(output.next(1).unwrap().payload, "ll");
        assert_eq!(output.next_end(1).unwrap().total, 3);
    }
}
