//! A header as it is read: all fields that any frame has, each optional.
//!
//! One flat reader serves all types of frame, since `serde`'s own enums would buffer the object and miss
//! duplicate keys.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, Visitor},
};

use crate::{
    error::ProtocolError,
    frame::{
        Kind, Mode, Refusal, Stream,
        json::{Integer, Skip, Text, TextList, whole, without_nul},
    },
    ids::{AuditHead, Instance, JobId, Key},
    limits,
    outcome::{ErrorKind, Outcome},
    signal::Signal,
};

/// A value that a header has as a short string.
struct Word<T>(T);

trait FromWord: Sized {
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
        struct Reader<T>(std::marker::PhantomData<T>);
        impl<T: FromWord> Visitor<'_> for Reader<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::WHAT)
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<T, E> {
                T::from_word(word).ok_or_else(|| E::custom(format_args!("this is not {}", T::WHAT)))
            }
        }
        deserializer.deserialize_str(Reader(std::marker::PhantomData)).map(Word)
    }
}

impl<T> From<Word<T>> for Option<T> {
    fn from(word: Word<T>) -> Self {
        Some(word.0)
    }
}

impl From<Integer> for Option<u64> {
    fn from(number: Integer) -> Self {
        Some(number.0)
    }
}

impl From<Text> for Option<String> {
    fn from(text: Text) -> Self {
        Some(text.0)
    }
}

impl<const LIMIT: usize> From<TextList<LIMIT>> for Option<Vec<String>> {
    fn from(list: TextList<LIMIT>) -> Self {
        Some(list.0)
    }
}

macro_rules! fields {
    ($($name:ident $text:literal: $type:ty as $reader:ty;)*) => {
        /// The fields of a header.
        #[derive(Default, Debug)]
        pub(crate) struct Fields {
            $(pub(crate) $name: Option<$type>,)*
        }

        impl Fields {
            /// Reads the value of the field `key`. Returns false if no frame has such a field.
            fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
                match key {
                    $($text => {
                        if self.$name.is_some() {
                            return Err(A::Error::custom(concat!("a key stands twice: ", $text)));
                        }
                        self.$name = map.next_value::<$reader>()?.into();
                        Ok(true)
                    })*
                    _ => Ok(false),
                }
            }
        }
    };
}

// `digest` is an algorithm in some frames, a request's or a stream's digest in others: it is read as
// text here and parsed where the type of the frame is known.
fields! {
    kind "type": Kind as Word<Kind>;
    ch "ch": u64 as Integer;
    len "len": u64 as Integer;
    stream "stream": Stream as Word<Stream>;
    offset "offset": u64 as Integer;
    time "time": u64 as Integer;
    got "got": u64 as Integer;
    upto "upto": u64 as Integer;
    total "total": u64 as Integer;
    digest "digest": String as Text;
    open "open": bool as bool;
    number "number": u64 as Integer;
    signal "signal": Signal as Word<Signal>;
    agent "agent": String as Text;
    capabilities "capabilities": Vec<String> as TextList<{ limits::CAPABILITIES }>;
    instance "instance": Instance as Word<Instance>;
    grace_ms "grace_ms": u64 as Integer;
    retain_ms "retain_ms": u64 as Integer;
    keepalive_ms "keepalive_ms": u64 as Integer;
    error "kind": ErrorKind as Word<ErrorKind>;
    message "message": String as Text;
    hint "hint": String as Text;
    note "note": String as Text;
    key "key": Key as Word<Key>;
    generation "generation": u64 as Integer;
    mode "mode": Mode as Word<Mode>;
    argc "argc": u64 as Integer;
    envc "envc": u64 as Integer;
    cwd "cwd": bool as bool;
    user "user": bool as bool;
    has_stdin "stdin": StdinField as StdinField;
    timeout_ms "timeout_ms": u64 as Integer;
    lock "lock": String as Text;
    lock_wait_ms "lock_wait_ms": u64 as Integer;
    digests "digests": Vec<String> as TextList<{ limits::DIGESTS }>;
    keep "keep": bool as bool;
    timestamps "timestamps": bool as bool;
    credit "credit": u64 as Integer;
    stdout "stdout": u64 as Integer;
    stderr "stderr": u64 as Integer;
    position "position": u64 as Integer;
    job "job": JobId as Word<JobId>;
    started_at "started_at": u64 as Integer;
    stdin_ended "stdin_ended": bool as bool;
    reason "reason": Refusal as Word<Refusal>;
    permitted "permitted": bool as bool;
    outcome "outcome": Outcome as Word<Outcome>;
    code "code": u64 as Integer;
    retry_after_ms "retry_after_ms": u64 as Integer;
    stdout_bytes "stdout_bytes": u64 as Integer;
    stderr_bytes "stderr_bytes": u64 as Integer;
    stdout_digest "stdout_digest": String as Text;
    stderr_digest "stderr_digest": String as Text;
    ended_at "ended_at": u64 as Integer;
    duration_ms "duration_ms": u64 as Integer;
    audit "audit": AuditHead as Word<AuditHead>;
}

/// The field `stdin`: a boolean in `start`, an offset in `attached`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StdinField {
    Wanted(bool),
    Offset(u64),
}

impl<'de> Deserialize<'de> for StdinField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = StdinField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or an offset")
            }

            fn visit_bool<E: Error>(self, wanted: bool) -> Result<StdinField, E> {
                Ok(StdinField::Wanted(wanted))
            }

            fn visit_u64<E: Error>(self, offset: u64) -> Result<StdinField, E> {
                if offset > limits::INTEGER {
                    return Err(E::custom("an integer is past 2^53 - 1"));
                }
                Ok(StdinField::Offset(offset))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A reader that fills the fields in place: they are large, and moving them would cost more than reading.
struct HeaderSeed<'a>(&'a mut Fields);

impl<'de> DeserializeSeed<'de> for HeaderSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // Made for the first unknown key: most headers have none.
        let mut unknown: Option<HashSet<String>> = None;
        while let Some(KeyName(key)) = map.next_key()? {
            if self.0.take(&key, &mut map)? {
                continue;
            }
            without_nul::<A::Error>(&key)?;
            if !unknown.get_or_insert_default().insert(key.into_owned()) {
                return Err(A::Error::custom("a key stands twice"));
            }
            map.next_value_seed(Skip { depth: 1 })?;
        }
        Ok(())
    }
}

/// A key, borrowed from the header unless it has escapes.
struct KeyName<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for KeyName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(key))
            }

            fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(key.to_owned()))
            }
        }
        deserializer.deserialize_str(Reader).map(KeyName)
    }
}

impl Fields {
    /// Reads a whole header.
    pub(crate) fn parse(header: &[u8]) -> Result<Self, ProtocolError> {
        let mut fields = Self::default();
        whole(header, HeaderSeed(&mut fields))
            .map_err(|error| ProtocolError::Header(error.to_string()))?;
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(header: &str) -> String {
        Fields::parse(header.as_bytes()).expect_err(header).to_string()
    }

    #[test]
    fn unknown_fields_are_ignored_whatever_they_hold() {
        let header = r#"{"type":"ping","x":{"a":[1,-2,3.5,null,true,"t"]},"number":7}"#;
        let fields = Fields::parse(header.as_bytes()).unwrap();
        assert_eq!(fields.kind, Some(Kind::Ping));
        assert_eq!(fields.number, Some(7));
    }

    #[test]
    fn a_key_twice_is_refused_at_every_level() {
        assert!(fault(r#"{"type":"ping","number":1,"number":1}"#).contains("twice"));
        assert!(fault(r#"{"type":"ping","x":1,"x":2}"#).contains("twice"));
        assert!(fault(r#"{"x":{"y":1,"y":2}}"#).contains("twice"));
        assert!(fault(r#"{"x":[{"y":1,"\u0079":2}]}"#).contains("twice"));
        assert!(fault(r#"{"type":"ping","\u0074ype":"pong"}"#).contains("twice"));
    }

    #[test]
    fn a_nul_is_refused_in_keys_and_values() {
        assert!(fault(r#"{"x":"a\u0000b"}"#).contains("NUL"));
        assert!(fault(r#"{"a\u0000b":1}"#).contains("NUL"));
        assert!(fault(r#"{"x":{"a\u0000b":1}}"#).contains("NUL"));
        assert!(fault(r#"{"agent":"a\u0000b"}"#).contains("NUL"));
    }

    #[test]
    fn sixteen_levels_are_read_and_seventeen_are_not() {
        let nested = |levels: usize| {
            format!(r#"{{"x":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1))
        };
        assert!(Fields::parse(nested(16).as_bytes()).is_ok());
        assert!(fault(&nested(17)).contains("deep"));
        assert!(fault(&nested(30_000)).contains("deep"));
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for header in ["", "[]", "1", "{", "{}{}", "{} x", "null", "{\"type\":1}", "\u{feff}{}"] {
            assert!(Fields::parse(header.as_bytes()).is_err(), "{header:?}");
        }
        assert!(Fields::parse(b"{\"x\":\"\xff\"}").is_err());
        assert!(Fields::parse(b"{} \n").is_ok());
    }

    #[test]
    fn integers_are_whole_and_exact() {
        assert_eq!(Fields::parse(br#"{"ch":9007199254740991}"#).unwrap().ch, Some(limits::INTEGER));
        for number in ["9007199254740992", "-1", "1.0", "1e3", "\"1\"", "true"] {
            fault(&format!(r#"{{"ch":{number}}}"#));
        }
    }

    #[test]
    fn a_list_past_its_limit_is_refused() {
        let list = |n: usize| format!(r#"{{"digests":[{}]}}"#, vec!["\"x\""; n].join(","));
        assert!(Fields::parse(list(limits::DIGESTS).as_bytes()).is_ok());
        assert!(fault(&list(limits::DIGESTS + 1)).contains("too long"));
    }
}
