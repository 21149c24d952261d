//! The values that a field of a header can have, and their forms in JSON.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error, Visitor},
};

use crate::{
    digest::{Algorithm, StreamDigest},
    frame::{
        Kind, Mode, Refusal, Stream,
        json::{Integer, Text},
    },
    ids::{AuditHead, Instance, JobId, Key, RequestDigest},
    limits,
    outcome::{ErrorKind, Outcome},
    signal::Signal,
};

/// A value that stands in one field of a header. It is written by [`Serialize`].
pub(crate) trait Scalar: Serialize + Sized {
    /// The form in which JSON has the value.
    type Form: DeserializeOwned;

    /// Returns the value of this form; `None` if there is no such value.
    fn of(form: Self::Form) -> Option<Self>;
}

impl Scalar for bool {
    type Form = Self;

    fn of(form: Self) -> Option<Self> {
        Some(form)
    }
}

impl Scalar for u64 {
    type Form = Integer;

    fn of(Integer(number): Integer) -> Option<Self> {
        Some(number)
    }
}

impl Scalar for u8 {
    type Form = Integer;

    fn of(Integer(number): Integer) -> Option<Self> {
        Self::try_from(number).ok()
    }
}

impl Scalar for String {
    type Form = Text;

    fn of(Text(text): Text) -> Option<Self> {
        (text.len() <= limits::TEXT).then_some(text)
    }
}

impl<T: Scalar> Scalar for Box<T> {
    type Form = T::Form;

    fn of(form: T::Form) -> Option<Self> {
        T::of(form).map(Self::new)
    }
}

/// Values that JSON has as text, and whose text is judged once it is known to be one.
macro_rules! texts {
    ($($type:ty: $parse:expr;)*) => {
        $(impl Scalar for $type {
            type Form = Text;

            fn of(Text(text): Text) -> Option<Self> {
                $parse(&text)
            }
        })*
    };
}

texts! {
    Algorithm: Algorithm::parse;
    StreamDigest: StreamDigest::parse;
    RequestDigest: RequestDigest::from_hex;
}

/// A value that a header has as a short string of its own kind.
pub(crate) struct Word<T>(T);

/// A type whose values are short strings in a header.
trait FromWord: Sized {
    /// The description of a value in a fault.
    const WHAT: &'static str;
    fn from_word(word: &str) -> Option<Self>;
}

macro_rules! words {
    ($($type:ty: $what:literal, $parse:expr;)*) => {
        $(impl FromWord for $type {
            const WHAT: &'static str = $what;

            fn from_word(word: &str) -> Option<Self> {
                $parse(word)
            }
        }

        impl Scalar for $type {
            type Form = Word<Self>;

            fn of(Word(value): Word<Self>) -> Option<Self> {
                Some(value)
            }
        })*
    };
}

words! {
    Kind: "a type of frame", Kind::parse;
    Stream: "a stream", Stream::parse;
    Mode: "a mode", Mode::parse;
    Refusal: "a reason", Refusal::parse;
    Outcome: "an outcome", Outcome::parse;
    ErrorKind: "a kind of error", ErrorKind::parse;
    Signal: "a signal", Signal::parse;
    Key: "a key of 32 digits", Key::from_hex;
    Instance: "an instance of 32 digits", Instance::from_hex;
    JobId: "a job", JobId::parse;
    AuditHead: "a head of an audit", AuditHead::parse;
}

impl<'de, T: FromWord> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<T: FromWord> Visitor<'_> for Reader<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::WHAT)
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<T, E> {
                T::from_word(word).ok_or_else(|| E::custom(format_args!("this is not {}", T::WHAT)))
            }
        }
        deserializer.deserialize_str(Reader(PhantomData)).map(Word)
    }
}
