//! Encodes and decodes frames: the 4-byte length, the JSON header, the payload.

use byteorder::{BigEndian, ByteOrder as _};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::{
    digest::{Algorithm, StreamDigest},
    error::ProtocolError,
    frame::{
        Attach, Attached, Data, End, Exit, Frame, Hello, Kind, Lock, MissingField, OutputOffsets,
        ServerHello, Start, StartBody, Started, StreamTotal, Verdict, Window, fast_header,
        header::{Fields, StdinField},
    },
    ids::RequestDigest,
    limits,
    outcome::WireError,
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
            false => serde_json::to_writer((&mut *out).writer(), self),
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
        let mut fields = Fields::parse(header)?;
        let missing = || ProtocolError::Header("there is no \"type\" in it".to_owned());
        let kind = fields.kind.ok_or_else(missing)?;
        let length = payload_length(&fields, kind)?;
        Ok((frame(&mut fields, kind)?, length))
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
    let payload = match &mut frame {
        Frame::Data(data) => Some(&mut data.payload),
        Frame::Start(start) | Frame::Ask(start) => Some(start.body.payload_mut()),
        _ => None,
    };
    if let Some(payload) = payload {
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

fn payload_length(fields: &Fields, kind: Kind) -> Result<usize, ProtocolError> {
    let length = fields.len.unwrap_or(0);
    let fits = usize::try_from(length).ok().filter(|&length| length <= limits::PAYLOAD);
    let length = fits.ok_or(ProtocolError::PayloadTooLong { length, limit: limits::PAYLOAD })?;
    match kind {
        Kind::Data if length == 0 => {
            Err(ProtocolError::Invalid { frame: kind.as_str(), field: "len" })
        }
        Kind::Data | Kind::Start | Kind::Ask => Ok(length),
        _ if length > 0 => Err(ProtocolError::Invalid { frame: kind.as_str(), field: "len" }),
        _ => Ok(0),
    }
}

/// A reader of fields whose errors name the type of the frame and the field.
struct Need(Kind);

impl Need {
    fn need<T>(&self, value: Option<T>, field: &'static str) -> Result<T, ProtocolError> {
        value.ok_or(ProtocolError::Missing { frame: self.0.as_str(), field })
    }

    fn valid<T>(&self, value: Option<T>, field: &'static str) -> Result<T, ProtocolError> {
        value.ok_or(ProtocolError::Invalid { frame: self.0.as_str(), field })
    }

    fn text(&self, value: Option<String>, field: &'static str) -> Result<String, ProtocolError> {
        let text = self.need(value, field)?;
        self.valid((text.len() <= limits::TEXT).then_some(text), field)
    }

    fn optional_text(
        &self,
        value: Option<String>,
        field: &'static str,
    ) -> Result<Option<String>, ProtocolError> {
        value.map(|text| self.text(Some(text), field)).transpose()
    }

    fn parsed<T>(
        &self,
        value: Option<String>,
        field: &'static str,
        parse: fn(&str) -> Option<T>,
    ) -> Result<T, ProtocolError> {
        self.valid(parse(&self.need(value, field)?), field)
    }

    fn stream_digest(
        &self,
        value: Option<String>,
        field: &'static str,
    ) -> Result<Option<StreamDigest>, ProtocolError> {
        value.map(|text| self.parsed(Some(text), field, StreamDigest::parse)).transpose()
    }

    fn channel(&self, fields: &Fields) -> Result<u32, ProtocolError> {
        let ch = self.need(fields.ch, "ch")?;
        self.valid(u32::try_from(ch).ok().filter(|&ch| ch > 0), "ch")
    }

    /// Reads `kind`, `message` and the optional fields beside them; `None` without a `kind`.
    fn failure(&self, fields: &mut Fields) -> Result<Option<WireError>, ProtocolError> {
        let Some(kind) = fields.error else {
            return Ok(None);
        };
        Ok(Some(WireError {
            kind,
            message: self.text(fields.message.take(), "message")?,
            hint: self.optional_text(fields.hint.take(), "hint")?,
            retry_after_ms: fields.retry_after_ms,
        }))
    }
}

/// Reads the frame that a header describes; its payload is still to come.
fn frame(fields: &mut Fields, kind: Kind) -> Result<Frame, ProtocolError> {
    let need = Need(kind);
    Ok(match kind {
        Kind::Hello => Frame::Hello(hello(&need, fields)?),
        Kind::Ping => Frame::Ping { number: need.need(fields.number, "number")? },
        Kind::Pong => Frame::Pong { number: need.need(fields.number, "number")? },
        Kind::Suspend => Frame::Suspend,
        Kind::Resume => Frame::Resume,
        Kind::Compress => Frame::Compress,
        Kind::Error => {
            let failure = need.failure(fields)?;
            Frame::Error(need.need(failure, "kind")?)
        }
        Kind::Start => Frame::Start(start(&need, fields)?),
        Kind::Ask => Frame::Ask(start(&need, fields)?),
        Kind::Verdict => Frame::Verdict(verdict(&need, fields)?),
        Kind::Attach => Frame::Attach(Attach {
            ch: need.channel(fields)?,
            key: need.need(fields.key, "key")?,
            generation: need.need(fields.generation, "generation")?,
            digest: need.parsed(fields.digest.take(), "digest", RequestDigest::from_hex)?,
            received: offsets(&need, fields)?,
        }),
        Kind::Queued => Frame::Queued {
            ch: need.channel(fields)?,
            position: need.need(fields.position, "position")?,
        },
        Kind::Started => Frame::Started(Started {
            ch: need.channel(fields)?,
            job: need.need(fields.job.take(), "job")?,
            digest: need.parsed(fields.digest.take(), "digest", Algorithm::parse)?,
            started_at: need.need(fields.started_at, "started_at")?,
            note: need.optional_text(fields.note.take(), "note")?,
        }),
        Kind::Attached => Frame::Attached(attached(&need, fields)?),
        Kind::Refused => Frame::Refused {
            ch: need.channel(fields)?,
            reason: need.need(fields.reason, "reason")?,
            generation: fields.generation,
        },
        Kind::Data => Frame::Data(Data {
            ch: need.channel(fields)?,
            stream: need.need(fields.stream, "stream")?,
            offset: need.need(fields.offset, "offset")?,
            time: fields.time,
            payload: Bytes::new(),
        }),
        Kind::End => Frame::End(End {
            ch: need.channel(fields)?,
            stream: need.need(fields.stream, "stream")?,
            total: need.need(fields.total, "total")?,
            digest: need.parsed(fields.digest.take(), "digest", StreamDigest::parse)?,
            open: fields.open.unwrap_or_default(),
        }),
        Kind::Window => Frame::Window(Window {
            ch: need.channel(fields)?,
            stream: need.need(fields.stream, "stream")?,
            got: need.need(fields.got, "got")?,
            upto: need.need(fields.upto, "upto")?,
        }),
        Kind::Stop => {
            Frame::Stop { ch: need.channel(fields)?, stream: need.need(fields.stream, "stream")? }
        }
        Kind::Signal => Frame::Signal {
            ch: need.channel(fields)?,
            number: need.need(fields.number, "number")?,
            signal: need.need(fields.signal, "signal")?,
        },
        Kind::Cancel => Frame::Cancel { ch: need.channel(fields)? },
        Kind::Exit => Frame::Exit { exit: exit(&need, fields)?, ch: need.channel(fields)? },
        Kind::Done => Frame::Done { ch: need.channel(fields)? },
    })
}

fn hello(need: &Need, fields: &mut Fields) -> Result<Hello, ProtocolError> {
    let server = match fields.instance {
        None => None,
        Some(instance) => Some(ServerHello {
            instance,
            grace_ms: need.need(fields.grace_ms, "grace_ms")?,
            retain_ms: need.need(fields.retain_ms, "retain_ms")?,
            keepalive_ms: need.need(fields.keepalive_ms, "keepalive_ms")?,
        }),
    };
    let capabilities = need.need(fields.capabilities.take(), "capabilities")?;
    Ok(Hello { agent: need.text(fields.agent.take(), "agent")?, capabilities, server })
}

fn start(need: &Need, fields: &mut Fields) -> Result<Start, ProtocolError> {
    Ok(Start {
        ch: need.channel(fields)?,
        key: need.need(fields.key, "key")?,
        generation: need.need(fields.generation, "generation")?,
        body: start_body(need, fields)?,
    })
}

fn start_body(need: &Need, fields: &mut Fields) -> Result<StartBody, ProtocolError> {
    let stdin = match fields.has_stdin {
        None => false,
        Some(StdinField::Wanted(wanted)) => wanted,
        Some(StdinField::Offset(_)) => need.valid(None, "stdin")?,
    };
    Ok(StartBody {
        digest: need.parsed(fields.digest.take(), "digest", RequestDigest::from_hex)?,
        mode: need.need(fields.mode, "mode")?,
        argc: need.need(fields.argc, "argc")?,
        envc: fields.envc.unwrap_or_default(),
        cwd: fields.cwd.unwrap_or_default(),
        user: fields.user.unwrap_or_default(),
        stdin,
        timeout_ms: fields.timeout_ms.unwrap_or_default(),
        lock: lock(need, fields)?,
        grace_ms: fields.grace_ms,
        digests: fields.digests.take().unwrap_or_default(),
        keep: fields.keep.unwrap_or_default(),
        timestamps: fields.timestamps.unwrap_or_default(),
        credit: fields.credit,
        payload: Bytes::new(),
    })
}

fn verdict(need: &Need, fields: &mut Fields) -> Result<Verdict, ProtocolError> {
    let permitted = need.need(fields.permitted, "permitted")?;
    let failure = need.failure(fields)?;
    need.valid((failure.is_none() == permitted).then_some(()), "permitted")?;
    let note = need.optional_text(fields.note.take(), "note")?;
    Ok(Verdict { ch: need.channel(fields)?, permitted, note, failure })
}

fn lock(need: &Need, fields: &mut Fields) -> Result<Option<Lock>, ProtocolError> {
    let Some(name) = need.optional_text(fields.lock.take(), "lock")? else { return Ok(None) };
    Ok(Some(Lock { name, wait_ms: fields.lock_wait_ms.unwrap_or_default() }))
}

fn attached(need: &Need, fields: &mut Fields) -> Result<Attached, ProtocolError> {
    let stdin = match need.need(fields.has_stdin, "stdin")? {
        StdinField::Offset(offset) => offset,
        StdinField::Wanted(_) => need.valid(None, "stdin")?,
    };
    Ok(Attached {
        ch: need.channel(fields)?,
        job: need.need(fields.job.take(), "job")?,
        digest: need.parsed(fields.digest.take(), "digest", Algorithm::parse)?,
        started_at: fields.started_at,
        stdin,
        stdin_ended: fields.stdin_ended.unwrap_or_default(),
        number: need.need(fields.number, "number")?,
        output: offsets(need, fields)?,
    })
}

fn exit(need: &Need, fields: &mut Fields) -> Result<Exit, ProtocolError> {
    let code = fields.code.map(|code| need.valid(u8::try_from(code).ok(), "code")).transpose()?;
    let outcome = need.need(fields.outcome, "outcome")?;
    let failure = need.failure(fields)?;
    let ended_at = need.need(fields.ended_at, "ended_at")?;
    let exit = Exit::new(outcome, code, fields.signal, failure, ended_at)
        .map_err(|MissingField(field)| ProtocolError::Missing { frame: need.0.as_str(), field })?;
    let stdout = StreamTotal {
        bytes: need.need(fields.stdout_bytes, "stdout_bytes")?,
        digest: need.stream_digest(fields.stdout_digest.take(), "stdout_digest")?,
    };
    let stderr = StreamTotal {
        bytes: need.need(fields.stderr_bytes, "stderr_bytes")?,
        digest: need.stream_digest(fields.stderr_digest.take(), "stderr_digest")?,
    };
    Ok(exit
        .with_output(stdout, stderr)
        .with_open(fields.open.unwrap_or_default())
        .with_times(fields.started_at, fields.duration_ms)
        .with_audit(fields.audit))
}

fn offsets(need: &Need, fields: &Fields) -> Result<OutputOffsets, ProtocolError> {
    Ok(OutputOffsets {
        stdout: need.need(fields.stdout, "stdout")?,
        stderr: need.need(fields.stderr, "stderr")?,
    })
}
