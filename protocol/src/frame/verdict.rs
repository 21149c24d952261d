//! The answer to a question, as its frame has it.

use super::{
    describe::fields,
    field::{Channel, Optional, OptionalPart, Part, Required, Way},
    header::Header,
    pen::Pen,
};
use crate::{error::ProtocolError, outcome::WireError};

fields! {
    /// The answer whether a start would be permitted.
    #[derive(Clone, PartialEq, Debug)]
    pub struct Verdict {
        /// The channel.
        pub ch: u32 as Channel,
        /// If the start would be permitted, a note for people: what would run, as which user, and by which rule. If
        /// it would not be, the reason against it.
        pub answer: Result<Option<String>, WireError> as Answer,
    }
}

/// The way of an answer: `permitted`, with the note if it is true, and with the reason if it is false.
struct Answer;

impl Way<Result<Option<String>, WireError>> for Answer {
    fn read(
        header: &Header<'_>,
        name: &'static str,
    ) -> Result<Result<Option<String>, WireError>, ProtocolError> {
        let permitted: bool = Required::read(header, "permitted")?;
        let note = Optional::read(header, "note")?;
        let failure = OptionalPart::read(header, name)?;
        match (permitted, failure) {
            (true, None) => Ok(Ok(note)),
            (false, Some(failure)) => Ok(Err(failure)),
            (true, Some(_)) | (false, None) => Err(header.invalid("permitted")),
        }
    }

    fn write(
        value: &Result<Option<String>, WireError>,
        name: &'static str,
        pen: &mut Pen<'_>,
    ) -> serde_json::Result<()> {
        Required::write(&value.is_ok(), "permitted", pen)?;
        match value {
            Ok(note) => Optional::write(note, "note", pen),
            Err(failure) => Part::write(failure, name, pen),
        }
    }
}
