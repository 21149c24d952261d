//! What the receiver says after its hello.

use crate::{
    content::chunks::{Chunk, is_average},
    failure::Failure,
    fields::{Body, Fields, Malformed},
    limits,
    report::{Counts, FileAction, FileKind, FileNotes, Withheld},
};

/// What the receiver says. It has no borrowed parts, since another thread reads it than uses it.
#[derive(Debug, PartialEq)]
pub(crate) enum ToSender {
    /// The whole content of a file is wanted.
    Need {
        index: u64,
    },
    /// A part of a file is here: its length, and the digest of each `step` bytes of it.
    Resume {
        index: u64,
        length: u64,
        step: u64,
        digests: Vec<[u8; 32]>,
    },
    /// A part of the file that is to be replaced: where it begins, and its chunks.
    Known {
        index: u64,
        average: u32,
        offset: u64,
        chunks: Vec<Chunk>,
    },
    /// What became of an entry.
    Outcome {
        index: u64,
        action: FileAction,
        notes: FileNotes,
        failure: Option<Failure>,
    },
    /// What became of something that has no number any more, or never had one.
    Event {
        path: Vec<u8>,
        kind: FileKind,
        action: FileAction,
        failure: Option<Failure>,
    },
    /// The sender is to send no more entries.
    Stop,
    Done {
        counts: Counts,
        digest: [u8; 32],
        withheld: Option<Withheld>,
    },
    /// The receiver gives up.
    Abort(Failure),
}

/// The numbers of kinds on the wire, of which the first is 1.
const KINDS: [FileKind; 5] =
    [FileKind::File, FileKind::Folder, FileKind::Link, FileKind::HardLink, FileKind::Other];

/// Writes one of a list, by its place in it, counted from 1.
fn put_one<T: PartialEq>(body: &mut Body, all: &[T], one: &T) {
    let place = all.iter().position(|other| other == one).map_or(0, |place| place + 1);
    body.u8(u8::try_from(place).unwrap_or_default());
}

/// Reads one of a list.
fn get_one<T: Copy>(fields: &mut Fields<'_>, all: &[T]) -> Result<T, Malformed> {
    one_of(fields.u8()?, all)
}

/// Returns the one of a list that has this number, the first of which is 1.
fn one_of<T: Copy>(number: u8, all: &[T]) -> Result<T, Malformed> {
    let place = usize::from(number).checked_sub(1);
    place.and_then(|place| all.get(place)).copied().ok_or(Malformed("a number names nothing here"))
}

fn put_failure(body: &mut Body, failure: Option<&Failure>) {
    body.flag(failure.is_some());
    if let Some(failure) = failure {
        body.failure(failure);
    }
}

fn get_failure(fields: &mut Fields<'_>, action: FileAction) -> Result<Option<Failure>, Malformed> {
    let failure = if fields.flag()? { Some(fields.failure()?) } else { None };
    match (action, &failure) {
        (FileAction::Failed, None) => Err(Malformed("a failure has no reason")),
        _ => Ok(failure),
    }
}

impl ToSender {
    pub(crate) fn encode(&self, body: &mut Body) {
        match self {
            Self::Need { index } => {
                body.begin(32);
                body.u64(*index);
            }
            Self::Resume { index, length, step, digests } => {
                body.begin(33);
                body.u64(*index);
                body.u64(*length);
                body.u64(*step);
                digests.iter().for_each(|digest| body.raw(digest));
            }
            Self::Known { index, average, offset, chunks } => {
                body.begin(48);
                body.u64(*index);
                body.u32(*average);
                body.u64(*offset);
                for (length, digest) in chunks {
                    body.u32(*length);
                    body.raw(digest);
                }
            }
            Self::Outcome { index, action, notes, failure } => {
                body.begin(34);
                body.u64(*index);
                put_one(body, &FileAction::ALL, action);
                body.u16(notes.bits());
                put_failure(body, failure.as_ref());
            }
            Self::Event { path, kind, action, failure } => {
                body.begin(35);
                put_one(body, &KINDS, kind);
                put_one(body, &FileAction::ALL, action);
                put_failure(body, failure.as_ref());
                body.bytes32(path);
            }
            Self::Stop => body.begin(36),
            Self::Done { counts, digest, withheld } => {
                body.begin(37);
                let mut counts = *counts;
                counts.numbers().into_iter().for_each(|number| body.u64(*number));
                body.raw(digest);
                match withheld {
                    Some(reason) => put_one(body, &Withheld::ALL, reason),
                    None => body.u8(0),
                }
            }
            Self::Abort(failure) => {
                body.begin(38);
                body.failure(failure);
            }
        }
    }

    pub(crate) fn decode(kind: u8, fields: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(fields);
        let message = match kind {
            32 => Self::Need { index: fields.u64()? },
            33 => {
                let (index, length, step) = (fields.u64()?, fields.u64()?, fields.u64()?);
                let (digests, rest) = fields.rest().as_chunks::<32>();
                let expected = if step == 0 { 0 } else { length.div_ceil(step) };
                let count = u64::try_from(digests.len()).unwrap_or(u64::MAX);
                if !rest.is_empty() || count != expected || count == 0 || count > limits::RANGES {
                    return Err(Malformed("the digests of a part do not fit its length"));
                }
                Self::Resume { index, length, step, digests: digests.to_vec() }
            }
            34 => {
                let (index, action) = (fields.u64()?, get_one(&mut fields, &FileAction::ALL)?);
                let notes = FileNotes::from_bits(fields.u16()?);
                let notes = notes.ok_or(Malformed("a note has unknown bits"))?;
                Self::Outcome { index, action, notes, failure: get_failure(&mut fields, action)? }
            }
            35 => {
                let kind = get_one(&mut fields, &KINDS)?;
                let action = get_one(&mut fields, &FileAction::ALL)?;
                let failure = get_failure(&mut fields, action)?;
                let path = fields.bytes32(limits::MESSAGE)?.to_vec();
                Self::Event { path, kind, action, failure }
            }
            36 => Self::Stop,
            37 => {
                let mut counts = Counts::default();
                for number in counts.numbers() {
                    *number = fields.u64()?;
                }
                let digest = fields.digest()?;
                let withheld = match fields.u8()? {
                    0 => None,
                    number => Some(one_of(number, &Withheld::ALL)?),
                };
                Self::Done { counts, digest, withheld }
            }
            38 => Self::Abort(fields.failure()?),
            48 => {
                let (index, average, offset) = (fields.u64()?, fields.u32()?, fields.u64()?);
                let (pairs, rest) = fields.rest().as_chunks::<20>();
                let is_well = rest.is_empty() && is_average(average);
                if !is_well || pairs.is_empty() || pairs.len() > limits::CHUNKS_IN_MESSAGE {
                    return Err(Malformed("the chunks of a file are no chunks"));
                }
                let chunks = pairs.iter().map(|pair| {
                    let mut pair = Fields::new(pair);
                    Ok((pair.u32()?, pair.chunk_digest()?))
                });
                let chunks = chunks.collect::<Result<_, Malformed>>()?;
                Self::Known { index, average, offset, chunks }
            }
            _ => return Err(Malformed("the receiver said what no receiver says")),
        };
        fields.end()?;
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_why_nothing_was_deleted_is_read_and_no_other() {
        let done = |why: u8| ToSender::decode(37, &[&[0; 72 + 32][..], &[why]].concat());
        let mut known = vec![None];
        known.extend(Withheld::ALL.map(Some));
        for (number, why) in (0..).zip(&known) {
            let said = done(number).unwrap();
            assert!(
                matches!(&said, ToSender::Done { withheld, .. } if withheld == why),
                "{said:?}"
            );
        }
        for number in [4, 5, 255] {
            assert_eq!(done(number), Err(Malformed("a number names nothing here")), "{number}");
        }
    }

    #[test]
    fn an_action_and_a_note_that_are_not_known_are_no_message() {
        let outcome = |action: u8, notes: u16| {
            ToSender::decode(34, &[&[0; 8][..], &[action], &notes.to_be_bytes(), &[0]].concat())
        };
        for (action, notes, is_known) in [
            (1, 0, true),
            (7, 0x7f, true),
            (0, 0, false),
            (9, 0, false),
            (1, 0x80, false),
            (1, 0x8001, false),
        ] {
            assert_eq!(outcome(action, notes).is_ok(), is_known, "{action} {notes:x}");
        }
    }
}
