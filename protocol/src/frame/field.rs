//! The ways in which the fields of a frame stand in its header: each is read and written in one place.

use bytes::Bytes;

use crate::{
    error::ProtocolError,
    frame::{header::Header, json::TextList, pen::Pen, scalar::Scalar},
};

/// A way in which a field of type `T` stands in a header.
pub(crate) trait Way<T> {
    /// Reads the field.
    ///
    /// # Errors
    /// Fails when it is missing and may not be, or has a form or a value that is not allowed.
    fn read(header: &Header<'_>, name: &'static str) -> Result<T, ProtocolError>;

    /// Appends the field, if it is to be written.
    ///
    /// # Errors
    /// Fails when the value can't be written as JSON.
    fn write(value: &T, name: &'static str, pen: &mut Pen<'_>) -> serde_json::Result<()>;

    /// Returns the channel that the frame belongs to, if it stands in this field.
    fn channel(_: &T) -> Option<u32> {
        None
    }

    /// Returns the payload, if this is the field for it.
    fn payload(_: &T) -> Option<&Bytes> {
        None
    }

    /// Returns the payload to be changed, if this is the field for it.
    fn payload_mut(_: &mut T) -> Option<&mut Bytes> {
        None
    }
}

/// A struct whose fields are fields of a header. The macro `fields!` implements it.
pub(crate) trait Fields: Sized {
    /// The names of the fields. If the struct is an optional part of a frame, it is there if and only if the
    /// first of them is.
    const NAMES: &'static [&'static str];

    /// Reads the fields, see [`Way::read`].
    fn read(header: &Header<'_>) -> Result<Self, ProtocolError>;

    /// Appends the fields, see [`Way::write`].
    fn write(&self, pen: &mut Pen<'_>) -> serde_json::Result<()>;

    /// Returns the channel among the fields.
    fn channel(&self) -> Option<u32>;

    /// Returns the payload among the fields.
    fn payload(&self) -> Option<&Bytes>;

    /// Returns the payload among the fields, to be changed.
    fn payload_mut(&mut self) -> Option<&mut Bytes>;
}

/// The way of the channel: a number from 1 on.
pub(crate) struct Channel;

impl Way<u32> for Channel {
    fn read(header: &Header<'_>, name: &'static str) -> Result<u32, ProtocolError> {
        let number: u64 = Required::read(header, name)?;
        let ch = u32::try_from(number).ok().filter(|&ch| ch > 0);
        ch.ok_or_else(|| header.invalid(name))
    }

    fn write(value: &u32, name: &'static str, pen: &mut Pen<'_>) -> serde_json::Result<()> {
        pen.number(name, u64::from(*value));
        Ok(())
    }

    fn channel(value: &u32) -> Option<u32> {
        Some(*value)
    }
}

/// The way of a field that is always there.
pub(crate) struct Required;

impl<T: Scalar> Way<T> for Required {
    fn read(header: &Header<'_>, name: &'static str) -> Result<T, ProtocolError> {
        header.get(name)?.ok_or_else(|| header.missing(name))
    }

    fn write(value: &T, name: &'static str, pen: &mut Pen<'_>) -> serde_json::Result<()> {
        pen.field(name, value)
    }
}

/// The way of a field that may be missing. It is never `null`.
pub(crate) struct Optional;

impl<T: Scalar> Way<Option<T>> for Optional {
    fn read(header: &Header<'_>, name: &'static str) -> Result<Option<T>, ProtocolError> {
        header.get(name)
    }

    fn write(value: &Option<T>, name: &'static str, pen: &mut Pen<'_>) -> serde_json::Result<()> {
        value.as_ref().map_or(Ok(()), |value| pen.field(name, value))
    }
}

/// The way of a field that is missing when it has its default: false, or 0.
pub(crate) struct OrDefault;

impl<T: Scalar + Default + PartialEq> Way<T> for OrDefault {
    fn read(header: &Header<'_>, name: &'static str) -> Result<T, ProtocolError> {
        Ok(header.get(name)?.unwrap_or_default())
    }

    fn write(value: &T, name: &'static str, pen: &mut Pen<'_>) -> serde_json::Result<()> {
        if *value == T::default() { Ok(()) } else { pen.field(name, value) }
    }
}

/// The way of a list of at most `LIMIT` texts that is always there.
pub(crate) struct List<const LIMIT: usize>;

impl<const LIMIT: usize> Way<Vec<String>> for List<LIMIT> {
    fn read(header: &Header<'_>, name: &'static str) -> Result<Vec<String>, ProtocolError> {
        let list: Option<TextList<LIMIT>> = header.form(name)?;
        list.map(|TextList(texts)| texts).ok_or_else(|| header.missing(name))
    }

    fn write(value: &Vec<String>, name: &'static str, pen: &mut Pen<'_>) -> serde_json::Result<()> {
        pen.field(name, value)
    }
}

/// The way of a list of at most `LIMIT` texts that is missing when it is empty.
pub(crate) struct ListOrEmpty<const LIMIT: usize>;

impl<const LIMIT: usize> Way<Vec<String>> for ListOrEmpty<LIMIT> {
    fn read(header: &Header<'_>, name: &'static str) -> Result<Vec<String>, ProtocolError> {
        let list: Option<TextList<LIMIT>> = header.form(name)?;
        Ok(list.map(|TextList(texts)| texts).unwrap_or_default())
    }

    fn write(value: &Vec<String>, name: &'static str, pen: &mut Pen<'_>) -> serde_json::Result<()> {
        if value.is_empty() { Ok(()) } else { pen.field(name, value) }
    }
}

/// The way of the payload, of which the header has the length. The bytes come after the header.
pub(crate) struct Payload;

impl Way<Bytes> for Payload {
    fn read(_: &Header<'_>, _: &'static str) -> Result<Bytes, ProtocolError> {
        Ok(Bytes::new())
    }

    fn write(value: &Bytes, _: &'static str, pen: &mut Pen<'_>) -> serde_json::Result<()> {
        pen.number("len", value.len() as u64);
        Ok(())
    }

    fn payload(value: &Bytes) -> Option<&Bytes> {
        Some(value)
    }

    fn payload_mut(value: &mut Bytes) -> Option<&mut Bytes> {
        Some(value)
    }
}

/// The way of a struct whose fields stand among those of the frame.
pub(crate) struct Part;

impl<T: Fields> Way<T> for Part {
    fn read(header: &Header<'_>, _: &'static str) -> Result<T, ProtocolError> {
        T::read(header)
    }

    fn write(value: &T, _: &'static str, pen: &mut Pen<'_>) -> serde_json::Result<()> {
        value.write(pen)
    }

    fn channel(value: &T) -> Option<u32> {
        value.channel()
    }

    fn payload(value: &T) -> Option<&Bytes> {
        value.payload()
    }

    fn payload_mut(value: &mut T) -> Option<&mut Bytes> {
        value.payload_mut()
    }
}

/// The way of such a struct that may be missing. It has neither channel nor payload.
pub(crate) struct OptionalPart;

impl<T: Fields> Way<Option<T>> for OptionalPart {
    fn read(header: &Header<'_>, _: &'static str) -> Result<Option<T>, ProtocolError> {
        match T::NAMES.first() {
            Some(first) if header.has(first) => T::read(header).map(Some),
            _ => Ok(None),
        }
    }

    fn write(value: &Option<T>, _: &'static str, pen: &mut Pen<'_>) -> serde_json::Result<()> {
        value.as_ref().map_or(Ok(()), |value| value.write(pen))
    }
}

impl<T: Fields> Fields for Box<T> {
    const NAMES: &'static [&'static str] = T::NAMES;

    fn read(header: &Header<'_>) -> Result<Self, ProtocolError> {
        T::read(header).map(Self::new)
    }

    fn write(&self, pen: &mut Pen<'_>) -> serde_json::Result<()> {
        T::write(self, pen)
    }

    fn channel(&self) -> Option<u32> {
        T::channel(self)
    }

    fn payload(&self) -> Option<&Bytes> {
        T::payload(self)
    }

    fn payload_mut(&mut self) -> Option<&mut Bytes> {
        T::payload_mut(self)
    }
}
