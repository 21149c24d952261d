//! One output stream of a job: from the pipe to the offset log.

use std::io;

use bytes::{BufMut, BytesMut};
use rcmd_protocol::{
    digest::Algorithm,
    frame::{Data, End, Stream, StreamTotal},
    limits::{CHUNK, CREDIT},
    stream::{BufferPool, SendStream},
};

use crate::{
    admission::budget::{Budget, Share},
    clock,
    process::io::ReadEnd,
};

/// Reads of a pipe in a row: a block, where a command writes by pages. One that writes byte by byte as
/// fast as it is read would else hold up its own first byte, and the worker.
const READS: usize = 16;

/// One output stream of a job.
#[derive(Debug)]
pub(super) struct Output {
    stream: Stream,
    pipe: Option<ReadEnd>,
    log: SendStream,
    block: BytesMut,
    blocks: BufferPool,
    share: Share,
    timestamps: bool,
    end_sent: bool,
    open: bool,
    /// Bytes that lay in the pipe when the process had ended and are not read yet.
    owed: Option<u64>,
}

impl Output {
    pub(super) fn new(
        stream: Stream,
        algorithm: Algorithm,
        timestamps: bool,
        share: Share,
    ) -> Self {
        Self {
            stream,
            pipe: None,
            log: SendStream::new(stream, algorithm),
            block: BytesMut::new(),
            blocks: BufferPool::new(CHUNK),
            share,
            timestamps,
            end_sent: false,
            open: false,
            owed: None,
        }
    }

    /// Takes the pipe; closes it at once when the client has stopped the stream before.
    pub(super) fn connect(&mut self, pipe: Option<ReadEnd>) {
        self.pipe = pipe.filter(|_| self.log.finished().is_none());
    }

    /// Bytes that may be read now.
    fn room(&self, budget: &Budget) -> usize {
        // What an ended process left in its pipe is read without credit: it is bounded by the pipe,
        // and a reader that dawdles then holds neither a descriptor nor a turn.
        if let Some(owed) = self.owed.filter(|&owed| owed > 0 && owed <= CREDIT) {
            return usize::try_from(owed).unwrap_or(CHUNK).min(CHUNK);
        }
        // One that is held to its part goes on when its client confirms something.
        let room = self.log.room().min(budget.each().saturating_sub(self.log.retained()));
        usize::try_from(room).unwrap_or(CHUNK).min(CHUNK)
    }

    pub(super) fn wants(&self, budget: &Budget) -> bool {
        self.pipe.is_some() && self.room(budget) > 0
    }

    /// Waits until there is something in the pipe and takes it, up to a block; closes the pipe at its
    /// end.
    ///
    /// # Cancel safety
    /// Nothing is lost: bytes are read only when this returns.
    pub(super) async fn read(&mut self, budget: &Budget) {
        // Other streams may have used the budget up since `wants` was asked: to read nothing would
        // look like the end of the pipe.
        let room = self.room(budget);
        let Some(pipe) = self.pipe.as_ref().filter(|_| room > 0) else { return };
        // An error would be the runtime's own end.
        if pipe.readable().await.is_err() {
            return self.close();
        }
        if self.block.capacity() - self.block.len() < CHUNK / 4 {
            if !budget.has_room() {
                self.blocks.clear();
            }
            self.blocks.renew(&mut self.block);
        }
        let spare = self.block.capacity() - self.block.len();
        let at_end = drain(pipe, &mut (&mut self.block).limit(room.min(spare)));
        if !self.block.is_empty() {
            let time = self.timestamps.then(clock::now_ms);
            let count = self.block.len() as u64;
            self.log.append(self.block.split().freeze(), time);
            self.account();
            self.owed = self.owed.map(|owed| owed.saturating_sub(count));
        }
        if at_end {
            self.close();
        } else {
            self.close_if_over();
        }
    }

    fn account(&mut self) {
        self.share.set(usize::try_from(self.log.retained()).unwrap_or(usize::MAX));
    }

    /// Closes the pipe and ends the stream with what was read.
    pub(super) fn close(&mut self) {
        self.pipe = None;
        self.block = BytesMut::new();
        self.blocks.clear();
        self.log.finish();
    }

    /// Closes the pipe because nobody wants its bytes.
    pub(super) fn stop(&mut self) {
        self.close();
        self.log.abandon();
        self.account();
    }

    /// Closes a pipe that something else still holds, and says so in the end.
    pub(super) fn give_up(&mut self) {
        if self.is_held_open() {
            self.open = !self.is_at_end();
            self.close();
        }
    }

    /// Whether nothing holds the pipe: without credit it is not read, so that its end is not met.
    fn is_at_end(&self) -> bool {
        self.pipe.as_ref().is_none_or(ReadEnd::is_at_end)
    }

    /// Notes what lies in the pipe now that the process has ended: all of it must be delivered.
    pub(super) fn process_ended(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        self.owed = Some(pipe.unread().unwrap_or(0));
        self.close_if_over();
    }

    /// Closes a pipe that an ended process left empty and nothing else holds, also where there is no
    /// credit to meet its end by a read.
    fn close_if_over(&mut self) {
        if self.is_held_open() && self.is_at_end() {
            self.close();
        }
    }

    /// Whether the pipe is still open with nothing in it that was written before the exit.
    pub(super) fn is_held_open(&self) -> bool {
        self.pipe.is_some() && self.owed == Some(0)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.pipe.is_none()
    }

    pub(super) fn was_open(&self) -> bool {
        self.open
    }

    /// Takes a window of the client.
    pub(super) fn window(
        &mut self,
        got: u64,
        upto: u64,
    ) -> Result<(), rcmd_protocol::error::ProtocolError> {
        self.log.window(got, upto)?;
        self.account();
        Ok(())
    }

    /// Goes back to what the client has; gives the offset at which data goes on.
    pub(super) fn resume(
        &mut self,
        received: Option<u64>,
    ) -> Result<u64, rcmd_protocol::error::ProtocolError> {
        let from = self.log.resume(received.unwrap_or_else(|| self.log.first()))?;
        self.end_sent = false;
        self.account();
        Ok(from)
    }

    /// Data that credit lets go.
    pub(super) fn next(&mut self, ch: u32) -> Option<Data> {
        self.log.next(ch)
    }

    /// The end, once, when all data has gone.
    pub(super) fn next_end(&mut self, ch: u32) -> Option<End> {
        let digest = self.log.finished()?;
        if self.end_sent || !self.log.is_drained() {
            return None;
        }
        self.end_sent = true;
        Some(End { ch, stream: self.stream, total: self.log.total(), digest, open: self.open })
    }

    pub(super) fn end_sent(&self) -> bool {
        self.end_sent
    }

    /// Total and digest; ends the stream if that has not happened.
    pub(super) fn totals(&mut self) -> StreamTotal {
        StreamTotal { bytes: self.log.total(), digest: Some(self.log.finish()) }
    }
}

/// Reads what is there, and what came while it was read; says whether that was the end. Commands write
/// a few KiB at a time, faster than a frame for each is made, sent and taken: this makes one of many
/// without a wait.
fn drain(pipe: &ReadEnd, block: &mut impl BufMut) -> bool {
    for _ in 0..READS {
        if !block.has_remaining_mut() {
            break;
        }
        match pipe.try_read_buf(block) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // A pipe has no other errors; the end is what is left to say.
            Err(_) => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::{
        fd::OwnedFd,
        pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
    };
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::unix::pipe;

    use super::*;
    use crate::config::limits::HELD_ALWAYS;

    /// Standard output, with a budget of so many bytes.
    fn output(limit: usize) -> (Arc<Budget>, Output) {
        let budget = Arc::new(Budget::new(limit));
        let share = Share::new(Arc::clone(&budget));
        (budget, Output::new(Stream::Stdout, Algorithm::Blake3, false, share))
    }

    #[tokio::test]
    async fn a_budget_that_others_use_up_before_the_read_does_not_end_the_stream() {
        const LIMIT: usize = 128 << 20;
        let (budget, mut output) = output(LIMIT);
        let (mut writer, reader) = pipe::pipe().unwrap();
        output.connect(Some(ReadEnd::Pipe(reader)));
        while output.log.retained() < HELD_ALWAYS {
            writer.write_all(&[7; 4096]).await.unwrap();
            output.read(&budget).await;
        }
        writer.write_all(b"more").await.unwrap();
        assert!(output.wants(&budget));
        let mut others = Share::new(Arc::clone(&budget));
        others.set(LIMIT);
        output.read(&budget).await;
        assert!(!output.is_closed());
        assert!(!output.wants(&budget));
        drop(others);
        output.read(&budget).await;
        assert_eq!(output.log.total(), HELD_ALWAYS + 4);
    }

    /// A pipe that gives what was written piece by piece (pipe2(2), O_DIRECT), with room for 32.
    fn packets() -> (OwnedFd, pipe::Receiver) {
        let (reader, writer) = pipe_with(PipeFlags::DIRECT | PipeFlags::NONBLOCK).unwrap();
        fcntl_setpipe_size(&writer, 32 * 4096).unwrap();
        (writer, pipe::Receiver::from_owned_fd(reader).unwrap())
    }

    #[tokio::test]
    async fn what_a_command_writes_bit_by_bit_becomes_one_piece_of_so_many() {
        let (budget, mut output) = output(64 << 20);
        let (writer, reader) = packets();
        output.connect(Some(ReadEnd::Pipe(reader)));
        for bit in 0..READS as u8 + 1 {
            rustix::io::write(&writer, &[bit; 10]).unwrap();
        }
        output.read(&budget).await;
        assert_eq!(output.next(1).unwrap().payload.len(), READS * 10);
        output.read(&budget).await;
        assert_eq!(output.next(1).unwrap().payload, [READS as u8; 10].as_slice());
        assert_eq!(output.next(1), None);
    }

    #[tokio::test]
    async fn no_more_is_read_than_may_be_held() {
        let (budget, mut output) = output(0);
        let (mut writer, reader) = pipe::pipe().unwrap();
        output.connect(Some(ReadEnd::Pipe(reader)));
        writer.write_all(&[7; 100]).await.unwrap();
        output.read(&budget).await;
        while output.wants(&budget) {
            writer.write_all(&[7; CHUNK / 2]).await.unwrap();
            output.read(&budget).await;
        }
        assert_eq!(output.log.total(), HELD_ALWAYS);
    }

    #[tokio::test]
    async fn a_stream_that_was_stopped_before_its_command_started_meets_a_closed_pipe() {
        let (_budget, mut output) = output(1 << 20);
        let (mut writer, reader) = pipe::pipe().unwrap();
        output.stop();
        output.connect(Some(ReadEnd::Pipe(reader)));
        assert!(output.is_closed());
        let error = writer.write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn the_end_is_seen_with_the_bytes_before_it() {
        let (budget, mut output) = output(1 << 20);
        let (mut writer, reader) = pipe::pipe().unwrap();
        output.connect(Some(ReadEnd::Pipe(reader)));
        writer.write_all(b"all").await.unwrap();
        drop(writer);
        output.read(&budget).await;
        assert!(output.is_closed());
        assert_eq!(output.next(1).unwrap().payload, "all");
        assert_eq!(output.next_end(1).unwrap().total, 3);
    }

    #[tokio::test]
    async fn what_an_ended_process_left_is_read_at_once_when_no_more_may_be_held() {
        let (budget, mut output) = output(0);
        let (mut writer, reader) = pipe::pipe().unwrap();
        output.connect(Some(ReadEnd::Pipe(reader)));
        while output.wants(&budget) {
            writer.write_all(&[7; 4096]).await.unwrap();
            output.read(&budget).await;
        }
        writer.write_all(b"tail").await.unwrap();
        drop(writer);
        output.process_ended();
        assert!(output.wants(&budget));
        output.read(&budget).await;
        assert!(output.is_closed());
        assert!(!output.was_open());
        assert_eq!(output.log.total(), HELD_ALWAYS + 4);
    }
}
