//! Encodes and decodes frames: the 4-byte length, the JSON header, the payload.

use byteorder::{BigEndian, ByteOrder as _};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::{
    error::ProtocolError,
    frame::{Frame, fast_header, header::Header, pen::Pen},
    limits,
};

/// Bytes of the length before each header.
const PREFIX: usize = 4;
/// Payloads shorter than this are copied out of the read buffer. A few bytes that are kept as a slice of it
/// would keep the whole block, with all that the peer padded it with.
const COPY: usize = 16 * 1024;

impl Frame {
    /// Appends the length and the header to `out`. The caller writes the payload after them.
    ///
    /// # Errors
    /// Fails when the frame is past a limit of the wire; `out` is then as it was.
    pub fn encode_header(&self, out: &mut BytesMut) -> Result<(), ProtocolError> {
        let start = out.len();
        out.put_bytes(0, PREFIX);
        let written = match fast_header::write(self, out) {
            true => Ok(()),
            false => self.write_any(out),
        };
        let length = out.len() - start - PREFIX;
        let payload = self.payload().len();
        let limit = match self {
            Self::Hello(_) => limits::HEADER_BEFORE_HELLO,
            _ => limits::HEADER,
        };
        let checked = match written {
            Err(error) => Err(ProtocolError::Header(error.to_string())),
            Ok(()) if length > limit => Err(ProtocolError::HeaderTooLong { length, limit }),
            Ok(()) if payload > limits::PAYLOAD => Err(ProtocolError::PayloadTooLong {
                length: payload as u64,
                limit: limits::PAYLOAD,
            }),
            Ok(()) => Ok(()),
        };
        match (checked, out.get_mut(start..start + PREFIX), u32::try_from(length)) {
            (Ok(()), Some(prefix), Ok(length)) => BigEndian::write_u32(prefix, length),
            (checked, ..) => {
                out.truncate(start);
                return checked;
            }
        }
        Ok(())
    }

    /// Appends the header of any frame, without the short cut for `data` and `window`.
    ///
    /// # Errors
    /// Fails when a value can't be written as JSON.
    pub(crate) fn write_any(&self, out: &mut BytesMut) -> serde_json::Result<()> {
        let mut pen = Pen::begin(out, self.kind());
        self.write_fields(&mut pen)?;
        pen.end();
        Ok(())
    }

    /// Appends the whole frame to `out`.
    ///
    /// # Errors
    /// Fails when the frame is past a limit of the wire; `out` is then as it was.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), ProtocolError> {
        self.encode_header(out)?;
        out.put_slice(self.payload());
        Ok(())
    }
}

/// A decoder that cuts a stream of bytes into frames.
///
/// ```text
///            4 bytes              header whole            payload whole
///  Length ------------> Header ---------------> Payload ---------------> a frame, Length
/// ```
///
/// Nothing is allocated for an announced length: the buffer grows with the bytes that have come.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    header_limit: usize,
}

#[derive(Debug)]
enum State {
    Length,
    Header { length: usize },
    Payload { frame: Box<Frame>, length: usize },
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::Length, header_limit: limits::HEADER_BEFORE_HELLO }
    }
}

impl Decoder {
    /// Removes the next frame from `buffer` and returns it; `None` if it is not complete.
    ///
    /// # Errors
    /// Returns how the peer broke the protocol. The decoder must not be used after that.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, ProtocolError> {
        self.decode_judged(buffer, |_| Ok(()))
    }

    /// Decodes like [`Decoder::decode`], and passes each frame to `judge` as soon as its header is complete,
    /// with an empty payload. A frame that the peer may not send is thus refused before room is made for its
    /// payload.
    pub(crate) fn decode_judged(
        &mut self,
        buffer: &mut BytesMut,
        mut judge: impl FnMut(&Frame) -> Result<(), ProtocolError>,
    ) -> Result<Option<Frame>, ProtocolError> {
        loop {
            match &mut self.state {
                State::Length => {
                    let Some(prefix) = buffer.get(..PREFIX) else {
                        return Ok(None);
                    };
                    let length = BigEndian::read_u32(prefix) as usize;
                    if length == 0 {
                        return Err(ProtocolError::EmptyHeader);
                    }
                    if length > self.header_limit {
                        return Err(ProtocolError::HeaderTooLong {
                            length,
                            limit: self.header_limit,
                        });
                    }
                    self.state = State::Header { length };
                }
                State::Header { length } => {
                    let end = PREFIX + *length;
                    let Some(header) = buffer.get(PREFIX..end) else {
                        return Ok(None);
                    };
                    let (frame, length) = Self::read(header)?;
                    judge(&frame)?;
                    if let Frame::Hello(_) = frame {
                        self.header_limit = limits::HEADER;
                    }
                    buffer.advance(end);
                    if buffer.len() >= length {
                        self.state = State::Length;
                        return Ok(Some(with_payload(frame, length, buffer)));
                    }
                    self.state = State::Payload { frame: Box::new(frame), length };
                }
                State::Payload { length, .. } if buffer.len() < *length => return Ok(None),
                State::Payload { .. } => {
                    let State::Payload { frame, length } =
                        std::mem::replace(&mut self.state, State::Length)
                    else {
                        return Ok(None);
                    };
                    return Ok(Some(with_payload(*frame, length, buffer)));
                }
            }
        }
    }

    /// Reads the frame that a header describes, and the length of the payload that follows it.
    fn read(header: &[u8]) -> Result<(Frame, usize), ProtocolError> {
        fast_header::read(header).map_or_else(|| Self::read_any(header), Ok)
    }

    /// Reads a header in any form, without the short cut for `data` and `window`.
    pub(crate) fn read_any(header: &[u8]) -> Result<(Frame, usize), ProtocolError> {
        let header = Header::parse(header)?;
        let frame = Frame::read(&header)?;
        let length = payload_length(&header, &frame)?;
        Ok((frame, length))
    }

    /// Returns whether a header has begun and is not complete, given the bytes that are left in the buffer.
    pub fn in_header(&self, buffer: &BytesMut) -> bool {
        match self.state {
            State::Length => !buffer.is_empty(),
            State::Header { .. } => true,
            State::Payload { .. } => false,
        }
    }

    /// Returns the number of bytes of a payload that are still to come, given those that are left in the
    /// buffer; 0 if no payload has begun.
    pub fn missing(&self, buffer: &BytesMut) -> usize {
        match self.state {
            State::Payload { length, .. } => length.saturating_sub(buffer.len()),
            State::Length | State::Header { .. } => 0,
        }
    }

    /// Returns whether the bytes so far end where a frame ends.
    pub fn is_between_frames(&self, buffer: &BytesMut) -> bool {
        matches!(self.state, State::Length) && buffer.is_empty()
    }
}

/// Moves the payload, which is complete, from the buffer into the frame.
fn with_payload(mut frame: Frame, length: usize, buffer: &mut BytesMut) -> Frame {
    if let Some(payload) = frame.payload_mut() {
        *payload = match buffer.get(..length) {
            Some(bytes) if length < COPY => {
                let copy = Bytes::copy_from_slice(bytes);
                buffer.advance(length);
                copy
            }
            _ => buffer.split_to(length).freeze(),
        };
    }
    frame
}

/// Returns the length of the payload that follows a header.
fn payload_length(header: &Header<'_>, frame: &Frame) -> Result<usize, ProtocolError> {
    let length: u64 = header.get("len")?.unwrap_or(0);
    let fits = usize::try_from(length).ok().filter(|&length| length <= limits::PAYLOAD);
    let fits = fits.ok_or(ProtocolError::PayloadTooLong { length, limit: limits::PAYLOAD })?;
    let is_right = match frame {
        Frame::Data(_) => fits > 0,
        frame => fits == 0 || frame.payload_bytes().is_some(),
    };
    if is_right { Ok(fits) } else { Err(header.invalid("len")) }
}
