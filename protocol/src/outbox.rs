//! Frames that wait for the socket: first control frames, then the channels in turn.

use std::collections::{HashMap, VecDeque};

use crate::{
    error::ProtocolError,
    frame::{Frame, Kind},
    limits::CONTROL_QUEUE,
};

/// The frames that wait for the socket.
///
/// `data`, `end`, `exit` and `done` keep their order within a channel, and channels take turns, one frame
/// each. All other frames are control frames: they go first, in the order in which they came. Data is
/// bounded by the credit of its stream; control frames, and the channels that wait, by [`CONTROL_QUEUE`].
#[derive(Debug, Default)]
pub struct Outbox {
    control: VecDeque<Frame>,
    channels: HashMap<u32, VecDeque<Frame>>,
    turns: VecDeque<u32>,
}

impl Outbox {
    /// Adds a frame.
    ///
    /// # Errors
    /// [`ProtocolError::Flood`] when more frames or channels wait than an honest peer leaves unread.
    pub fn push(&mut self, frame: Frame) -> Result<(), ProtocolError> {
        // An error is the last frame: it takes the place of all that wait.
        if let Frame::Error(_) = frame {
            *self = Self { control: VecDeque::from([frame]), ..Self::default() };
            return Ok(());
        }
        if let (Kind::Data | Kind::End | Kind::Exit | Kind::Done, Some(ch)) =
            (frame.kind(), frame.channel())
        {
            if self.channels.len() >= CONTROL_QUEUE && !self.channels.contains_key(&ch) {
                return Err(ProtocolError::Flood);
            }
            let queue = self.channels.entry(ch).or_default();
            if queue.is_empty() {
                self.turns.push_back(ch);
            }
            queue.push_back(frame);
            return Ok(());
        }
        // One pong, to the last ping, answers them all.
        if let (Frame::Pong { .. }, Some(waiting @ Frame::Pong { .. })) =
            (&frame, self.control.back_mut())
        {
            *waiting = frame;
            return Ok(());
        }
        if self.control.len() >= CONTROL_QUEUE {
            return Err(ProtocolError::Flood);
        }
        self.control.push_back(frame);
        Ok(())
    }

    /// Removes and returns the frame whose turn it is.
    pub fn pop(&mut self) -> Option<Frame> {
        if let Some(frame) = self.control.pop_front() {
            return Some(frame);
        }
        let ch = self.turns.pop_front()?;
        let queue = self.channels.get_mut(&ch)?;
        let frame = queue.pop_front();
        if queue.is_empty() {
            self.channels.remove(&ch);
        } else {
            self.turns.push_back(ch);
        }
        frame
    }

    /// Drops the frames that wait for a channel whose job another connection has taken over.
    pub fn forget(&mut self, ch: u32) {
        if self.channels.remove(&ch).is_some() {
            self.turns.retain(|&turn| turn != ch);
        }
    }

    /// Returns whether no frame waits.
    pub fn is_empty(&self) -> bool {
        self.control.is_empty() && self.turns.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::frame::{Data, Stream};

    fn data(ch: u32, offset: u64) -> Frame {
        let payload = Bytes::from_static(b"x");
        Frame::Data(Data { ch, stream: Stream::Stdout, offset, time: None, payload })
    }

    #[test]
    fn channels_take_turns_and_control_goes_first() {
        let mut outbox = Outbox::default();
        for offset in 0..3 {
            outbox.push(data(1, offset)).unwrap();
        }
        outbox.push(data(2, 0)).unwrap();
        outbox.push(Frame::Cancel { ch: 2 }).unwrap();
        let order: Vec<_> = std::iter::from_fn(|| outbox.pop()).collect();
        assert_eq!(
            order,
            [Frame::Cancel { ch: 2 }, data(1, 0), data(2, 0), data(1, 1), data(1, 2)]
        );
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_forgotten_channel_leaves_nothing_behind() {
        let mut outbox = Outbox::default();
        outbox.push(data(1, 0)).unwrap();
        outbox.push(data(2, 0)).unwrap();
        outbox.forget(1);
        assert_eq!(outbox.pop(), Some(data(2, 0)));
        assert_eq!(outbox.pop(), None);
    }

    #[test]
    fn an_error_takes_the_place_of_all_that_waits() {
        let mut outbox = Outbox::default();
        outbox.push(data(1, 0)).unwrap();
        outbox.push(Frame::Cancel { ch: 1 }).unwrap();
        let error = Frame::Error(ProtocolError::EmptyHeader.failure());
        outbox.push(error.clone()).unwrap();
        assert_eq!(outbox.pop(), Some(error));
        assert_eq!(outbox.pop(), None);
    }

    #[test]
    fn pings_are_answered_once_and_other_floods_are_a_fault() {
        let mut outbox = Outbox::default();
        for number in 0..100_000 {
            outbox.push(Frame::Pong { number }).unwrap();
        }
        assert_eq!(outbox.pop(), Some(Frame::Pong { number: 99_999 }));
        assert!(outbox.is_empty());
        let flood = (0..100_000).find_map(|_| outbox.push(Frame::Cancel { ch: 1 }).err());
        assert_eq!(flood, Some(ProtocolError::Flood));
        let flood = (1..100_000).find_map(|ch| outbox.push(Frame::Done { ch }).err());
        assert_eq!(flood, Some(ProtocolError::Flood));
    }
}
