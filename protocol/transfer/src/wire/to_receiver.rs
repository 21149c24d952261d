//! What the sender says after its hello.

use super::{attributes, stream};
use crate::{
    facts::{Attributes, Time},
    failure::Failure,
    fields::{Body, Fields, Malformed},
    limits,
};

/// What the sender says.
#[derive(Debug, PartialEq)]
pub(crate) enum ToReceiver<'a> {
    /// The entries that follow are in this folder, up to its `Leave`.
    Folder {
        mode: u32,
        time: Time,
        name: &'a [u8],
    },
    Leave,
    File {
        mode: u32,
        time: Time,
        size: u64,
        has_more_names: bool,
        digest: Option<[u8; 32]>,
        name: &'a [u8],
    },
    Link {
        time: Time,
        target: &'a [u8],
        name: &'a [u8],
    },
    /// One more name of a file that was sent, and whether it is the last.
    HardLink {
        to: u64,
        is_last: bool,
        name: &'a [u8],
    },
    /// An entry that cannot be sent. It has no number.
    Miss {
        failure: Failure,
        name: &'a [u8],
    },
    /// The content of a file begins, with what it is now that it is open.
    Begin {
        index: u64,
        offset: u64,
        size: u64,
        stored: u64,
        mode: u32,
        time: Time,
    },
    /// What the entry that comes next has besides.
    Attributes(Attributes),
    Data(&'a [u8]),
    Hole(u64),
    /// Content in its smaller form, and how many bytes it has.
    Packed {
        length: u32,
        packed: &'a [u8],
    },
    /// Content that the file has which is replaced.
    Copy {
        offset: u64,
        length: u64,
    },
    End {
        digest: [u8; 32],
        grew: bool,
    },
    /// The content of a file does not come, or is wrong as far as it came. It may begin again.
    Abandon {
        index: u64,
        again: bool,
        failure: Failure,
    },
    Finish {
        entries: u64,
        digest: [u8; 32],
        stopped: bool,
    },
    /// The sender gives up.
    Abort(Failure),
}

impl<'a> ToReceiver<'a> {
    pub(crate) fn encode(&self, body: &mut Body) {
        match self {
            Self::Folder { mode, time, name } => {
                body.begin(2);
                body.u32(*mode);
                body.time(*time);
                body.bytes16(name);
            }
            Self::Leave => body.begin(3),
            Self::File { mode, time, size, has_more_names, digest, name } => {
                body.begin(4);
                body.u32(*mode);
                body.time(*time);
                body.u64(*size);
                body.flag(*has_more_names);
                body.flag(digest.is_some());
                body.raw(digest.as_ref().map_or(&[][..], |digest| &digest[..]));
                body.bytes16(name);
            }
            Self::Link { time, target, name } => {
                body.begin(5);
                body.time(*time);
                body.bytes16(target);
                body.bytes16(name);
            }
            Self::HardLink { to, is_last, name } => {
                body.begin(6);
                body.u64(*to);
                body.flag(*is_last);
                body.bytes16(name);
            }
            Self::Miss { failure, name } => {
                body.begin(7);
                body.failure(failure);
                body.bytes16(name);
            }
            Self::Begin { index, offset, size, stored, mode, time } => {
                body.begin(8);
                body.u64(*index);
                body.u64(*offset);
                body.u64(*size);
                body.u64(*stored);
                body.u32(*mode);
                body.time(*time);
            }
            Self::Attributes(said) => {
                body.begin(9);
                attributes::encode(said, body);
            }
            Self::Data(content) => {
                body.begin(stream::DATA);
                body.raw(content);
            }
            Self::Hole(length) => {
                body.begin(11);
                body.u64(*length);
            }
            Self::Packed { length, packed } => {
                body.begin(24);
                body.u32(*length);
                body.raw(packed);
            }
            Self::Copy { offset, length } => {
                body.begin(25);
                body.u64(*offset);
                body.u64(*length);
            }
            Self::End { digest, grew } => {
                body.begin(12);
                body.raw(digest);
                body.flag(*grew);
            }
            Self::Abandon { index, again, failure } => {
                body.begin(13);
                body.u64(*index);
                body.flag(*again);
                body.failure(failure);
            }
            Self::Finish { entries, digest, stopped } => {
                body.begin(14);
                body.u64(*entries);
                body.raw(digest);
                body.flag(*stopped);
            }
            Self::Abort(failure) => {
                body.begin(15);
                body.failure(failure);
            }
        }
    }

    pub(crate) fn decode(kind: u8, fields: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(fields);
        let message = match kind {
            2 => {
                let (mode, time) = (fields.mode()?, fields.time()?);
                Self::Folder { mode, time, name: fields.bytes16(limits::NAME)? }
            }
            3 => Self::Leave,
            4 => {
                let (mode, time, size) = (fields.mode()?, fields.time()?, fields.u64()?);
                let has_more_names = fields.flag()?;
                let digest = if fields.flag()? { Some(fields.digest()?) } else { None };
                let name = fields.bytes16(limits::NAME)?;
                Self::File { mode, time, size, has_more_names, digest, name }
            }
            5 => {
                let (time, target) = (fields.time()?, fields.bytes16(limits::NAME)?);
                Self::Link { time, target, name: fields.bytes16(limits::NAME)? }
            }
            6 => {
                let (to, is_last) = (fields.u64()?, fields.flag()?);
                Self::HardLink { to, is_last, name: fields.bytes16(limits::NAME)? }
            }
            7 => {
                let failure = fields.failure()?;
                Self::Miss { failure, name: fields.bytes16(limits::NAME)? }
            }
            8 => Self::Begin {
                index: fields.u64()?,
                offset: fields.u64()?,
                size: fields.u64()?,
                stored: fields.u64()?,
                mode: fields.mode()?,
                time: fields.time()?,
            },
            9 => Self::Attributes(attributes::decode(&mut fields)?),
            stream::DATA => Self::Data(fields.rest()),
            11 => Self::Hole(fields.u64()?),
            12 => Self::End { digest: fields.digest()?, grew: fields.flag()? },
            13 => Self::Abandon {
                index: fields.u64()?,
                again: fields.flag()?,
                failure: fields.failure()?,
            },
            14 => Self::Finish {
                entries: fields.u64()?,
                digest: fields.digest()?,
                stopped: fields.flag()?,
            },
            15 => Self::Abort(fields.failure()?),
            24 => {
                let (length, packed) = (fields.u32()?, fields.rest());
                let room = usize::try_from(length).unwrap_or(usize::MAX);
                if room > limits::DATA || packed.len() >= room {
                    return Err(Malformed("packed content is too large"));
                }
                Self::Packed { length, packed }
            }
            25 => {
                let (offset, length) = (fields.u64()?, fields.u64()?);
                if length == 0 || length > limits::COPY || offset.checked_add(length).is_none() {
                    return Err(Malformed("a range that is copied has no such length"));
                }
                Self::Copy { offset, length }
            }
            _ => return Err(Malformed("the sender said what no sender says")),
        };
        fields.end()?;
        Ok(message)
    }
}
