//! One output stream of a process: from the pipe, block by block, to its end.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use rcmd_certs::clock;
use rcmd_protocol::{
    limits::{CHUNK, CREDIT},
    stream::BufferPool,
};

use crate::process::io::ReadEnd;

/// The number of reads of a pipe in a row, which fills a block if the command writes pages. Without
/// a limit, a command that writes byte by byte, as fast as it is read, would delay its own first
/// byte and the worker.
const READS: usize = 16;

/// One output stream of a process.
#[derive(Debug)]
pub(super) struct OutputReader {
    pipe: Option<ReadEnd>,
    block: BytesMut,
    blocks: BufferPool,
    timestamps: bool,
    /// True if a process still held the pipe when it was given up.
    was_open: bool,
    /// The bytes that were in the pipe when the process ended and are not read yet.
    owed: Option<u64>,
    end_told: bool,
}

impl OutputReader {
    pub(super) fn new(pipe: Option<ReadEnd>, timestamps: bool) -> Self {
        Self {
            pipe,
            block: BytesMut::new(),
            blocks: BufferPool::new(CHUNK),
            timestamps,
            was_open: false,
            owed: None,
            end_told: false,
        }
    }

    /// Returns how many bytes may be read now, if `room` more bytes may be kept.
    fn may_read(&self, room: usize) -> usize {
        // The bytes that an ended process left in its pipe are read without credit. They are
        // bounded by the pipe, and a slow reader then holds neither a descriptor nor a turn.
        match self.owed.filter(|&owed| owed > 0 && owed <= CREDIT) {
            Some(owed) => usize::try_from(owed).unwrap_or(CHUNK).min(CHUNK),
            None => room.min(CHUNK),
        }
    }

    pub(super) fn wants(&self, room: usize) -> bool {
        self.pipe.is_some() && self.may_read(room) > 0
    }

    /// Waits until the pipe has bytes, and takes up to a block of them, with the time. Closes the
    /// pipe at its end. The block may be empty.
    ///
    /// # Cancel safety
    /// Cancel safe: bytes are read only when this returns.
    pub(super) async fn read(&mut self, room: usize, keeps_blocks: bool) -> (Bytes, Option<u64>) {
        let room = self.may_read(room);
        // A read of no bytes would look like the end of the pipe.
        let Some(pipe) = self.pipe.as_ref().filter(|_| room > 0) else {
            return (Bytes::new(), None);
        };
        // An error means that the runtime is shutting down.
        if pipe.readable().await.is_err() {
            self.close();
            return (Bytes::new(), None);
        }
        if self.block.capacity() - self.block.len() < CHUNK / 4 {
            if !keeps_blocks {
                self.blocks.clear();
            }
            self.blocks.renew(&mut self.block);
        }
        let spare = self.block.capacity() - self.block.len();
        let at_end = drain(pipe, &mut (&mut self.block).limit(room.min(spare)));
        let bytes = self.block.split().freeze();
        self.owed = self.owed.map(|owed| owed.saturating_sub(bytes.len() as u64));
        if at_end {
            self.close();
        } else {
            self.close_if_over();
        }
        let time = (self.timestamps && !bytes.is_empty()).then(clock::now_ms);
        (bytes, time)
    }

    /// Closes the pipe; the bytes in it are lost.
    pub(super) fn close(&mut self) {
        self.pipe = None;
        self.block = BytesMut::new();
        self.blocks.clear();
    }

    /// Closes a pipe that a process still holds open, and notes that it was open.
    pub(super) fn give_up(&mut self) {
        if self.is_held_open() {
            self.was_open = !self.is_at_end();
            self.close();
        }
    }

    /// Returns whether no process holds the pipe open. Without credit the pipe is not read, so that
    /// a read would not find its end.
    fn is_at_end(&self) -> bool {
        self.pipe.as_ref().is_none_or(ReadEnd::is_at_end)
    }

    /// Notes how many bytes are in the pipe when the process has ended: all of them must be
    /// delivered.
    pub(super) fn process_ended(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        self.owed = Some(pipe.unread().unwrap_or(0));
        self.close_if_over();
    }

    /// Closes a pipe that an ended process left empty and nothing else holds, even if there is no
    /// credit to find its end by a read.
    fn close_if_over(&mut self) {
        if self.is_held_open() && self.is_at_end() {
            self.close();
        }
    }

    /// Returns whether the pipe is still open although all bytes written before the exit were read.
    pub(super) fn is_held_open(&self) -> bool {
        self.pipe.is_some() && self.owed == Some(0)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.pipe.is_none()
    }

    /// Returns, once the stream has ended, whether a process still held it open; only the first
    /// call does.
    pub(super) fn end_to_tell(&mut self) -> Option<bool> {
        if self.end_told || !self.is_closed() {
            return None;
        }
        self.end_told = true;
        Some(self.was_open)
    }
}

/// Reads the bytes in the pipe, and those that arrive meanwhile. Returns whether the pipe is at its
/// end. Commands write a few KiB at a time, faster than a frame for each can be made, sent and
/// read; this makes one frame of many writes without waiting.
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
            // A pipe has no other errors, so this counts as its end.
            Err(_) => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use rustix::{
        fd::OwnedFd,
        pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
    };
    use tokio::{io::AsyncWriteExt as _, net::unix::pipe};

    use super::*;

    fn reader() -> (pipe::Sender, OutputReader) {
        let (writer, reader) = pipe::pipe().unwrap();
        (writer, OutputReader::new(Some(ReadEnd::Pipe(reader)), false))
    }

    /// Makes a pipe that returns each write separately (pipe2(2), O_DIRECT), with room for 32.
    fn packets() -> (OwnedFd, OutputReader) {
        let (reader, writer) = pipe_with(PipeFlags::DIRECT | PipeFlags::NONBLOCK).unwrap();
        fcntl_setpipe_size(&writer, 32 * 4096).unwrap();
        let reader = pipe::Receiver::from_owned_fd(reader).unwrap();
        (writer, OutputReader::new(Some(ReadEnd::Pipe(reader)), false))
    }

    #[tokio::test]
    async fn what_a_command_writes_bit_by_bit_becomes_one_piece_of_so_many() {
        let (writer, mut output) = packets();
        for bit in 0..READS as u8 + 1 {
            rustix::io::write(&writer, &[bit; 10]).unwrap();
        }
        assert_eq!(output.read(CHUNK, true).await.0.len(), READS * 10);
        assert_eq!(output.read(CHUNK, true).await.0, [READS as u8; 10].as_slice());
    }

    #[tokio::test]
    async fn a_read_without_room_is_no_end() {
        let (mut writer, mut output) = reader();
        writer.write_all(b"more").await.unwrap();
        assert!(!output.wants(0));
        assert!(output.read(0, true).await.0.is_empty());
        assert!(!output.is_closed());
        assert_eq!(output.read(2, true).await.0, "mo");
    }

    #[tokio::test]
    async fn the_end_is_seen_with_the_bytes_before_it_and_told_once() {
        let (mut writer, mut output) = reader();
        writer.write_all(b"all").await.unwrap();
        drop(writer);
        assert_eq!(output.end_to_tell(), None);
        assert_eq!(output.read(CHUNK, true).await.0, "all");
        assert!(output.is_closed());
        assert_eq!((output.end_to_tell(), output.end_to_tell()), (Some(false), None));
    }

    #[tokio::test]
    async fn what_an_ended_process_left_is_read_without_room_to_its_end_at_once() {
        let (mut writer, mut output) = reader();
        writer.write_all(b"tail").await.unwrap();
        drop(writer);
        assert!(!output.wants(0));
        output.process_ended();
        assert!(output.wants(0));
        assert_eq!(output.read(0, true).await.0, "tail");
        assert_eq!(output.end_to_tell(), Some(false));
    }

    #[tokio::test]
    async fn a_pipe_that_something_holds_is_given_up_as_open() {
        let (writer, mut output) = reader();
        output.process_ended();
        assert!(output.is_held_open());
        output.give_up();
        assert_eq!(output.end_to_tell(), Some(true));
        drop(writer);
    }
}
