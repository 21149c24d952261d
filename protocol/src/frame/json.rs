//! Strict JSON over `serde_json`: no duplicate key, no NUL, no depth past the limit, at any level.

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor, value},
};

use crate::limits::{CAPABILITIES, DEPTH, INTEGER};

/// The most strings of a list that are kept: one more than any field may have, so that its reader sees
/// that there are too many.
const KEPT: usize = CAPABILITIES + 1;
/// The most bytes of a key that is named in a fault.
const NAMED: usize = 32;

/// The fields of an object by their keys.
pub(crate) type Object<'de> = BTreeMap<Cow<'de, str>, Value<'de>>;

/// A value of a field, as far as a frame has such values. It borrows from the header where it can.
pub(crate) enum Value<'de> {
    /// A boolean.
    Bool(bool),
    /// An integer from 0 on, of any size.
    Integer(u64),
    /// A string without NUL.
    Text(Cow<'de, str>),
    /// A list of nothing but strings.
    List(Vec<Cow<'de, str>>),
    /// JSON that no field of a frame has for its value.
    Other,
}

impl Value<'_> {
    /// Returns the value as a `T`; `None` if it is not one.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Option<T> {
        type Fault = value::Error;
        match self {
            Self::Bool(value) => T::deserialize(value::BoolDeserializer::<Fault>::new(*value)),
            Self::Integer(value) => T::deserialize(value::U64Deserializer::<Fault>::new(*value)),
            Self::Text(text) => T::deserialize(value::StrDeserializer::<Fault>::new(text)),
            Self::List(texts) => {
                let texts = texts.iter().map(|text| &**text);
                T::deserialize(value::SeqDeserializer::<_, Fault>::new(texts))
            }
            Self::Other => return None,
        }
        .ok()
    }
}

/// Returns `text`, or an error if it holds a NUL, which would end it early for the next program that reads it.
fn without_nul<E: Error, T: AsRef<str>>(text: T) -> Result<T, E> {
    if text.as_ref().contains('\0') { Err(E::custom("a string holds a NUL")) } else { Ok(text) }
}

/// A string without NUL.
pub(crate) struct Text(pub(crate) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        without_nul(String::deserialize(deserializer)?).map(Self)
    }
}

/// An integer that every JSON reader holds exactly (RFC 8259, 6).
pub(crate) struct Integer(pub(crate) u64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        if number > INTEGER {
            return Err(D::Error::custom("an integer is past 2^53 - 1"));
        }
        Ok(Self(number))
    }
}

/// A list of at most `LIMIT` strings.
pub(crate) struct TextList<const LIMIT: usize>(pub(crate) Vec<String>);

impl<'de, const LIMIT: usize> Deserialize<'de> for TextList<LIMIT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const { assert!(LIMIT < KEPT, "a longer list would be cut and then taken for whole") };
        struct List<const LIMIT: usize>;
        impl<'de, const LIMIT: usize> Visitor<'de> for List<LIMIT> {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {LIMIT} strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(Text(text)) = seq.next_element()? {
                    if list.len() == LIMIT {
                        return Err(A::Error::custom("a list is too long"));
                    }
                    list.push(text);
                }
                Ok(list)
            }
        }
        deserializer.deserialize_seq(List::<LIMIT>).map(Self)
    }
}

/// A reader of a value, as strict with one that nobody knows as with any other.
struct Strict {
    /// Levels of JSON around the value.
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(&self) -> Result<usize, E> {
        if self.depth >= DEPTH {
            return Err(E::custom("JSON is nested too deep"));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(value))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        without_nul(text).map(|text| Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
        without_nul(text).map(|text| Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        let depth = self.deeper::<A::Error>()?;
        let (mut texts, mut is_texts) = (Vec::new(), true);
        while let Some(value) = seq.next_element_seed(Self { depth })? {
            match value {
                Value::Text(text) if texts.len() < KEPT => texts.push(text),
                Value::Text(_) => {}
                _ => is_texts = false,
            }
        }
        Ok(if is_texts { Value::List(texts) } else { Value::Other })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value<'de>, A::Error> {
        let depth = self.deeper::<A::Error>()?;
        object(map, depth).map(|_| Value::Other)
    }
}

/// Reads the fields of an object, whose values have `depth` levels of JSON around them.
fn object<'de, A: MapAccess<'de>>(mut map: A, depth: usize) -> Result<Object<'de>, A::Error> {
    let mut fields = Object::new();
    while let Some(KeyName(key)) = map.next_key()? {
        match fields.entry(without_nul::<A::Error, _>(key)?) {
            Entry::Vacant(free) => _ = free.insert(map.next_value_seed(Strict { depth })?),
            Entry::Occupied(taken) => return Err(twice(taken.key())),
        }
    }
    Ok(fields)
}

/// Returns the fault of a key that stands twice. Only a key that looks like one of a frame is named.
fn twice<E: Error>(key: &str) -> E {
    let is_plain = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_plain && key.len() <= NAMED {
        E::custom(format_args!("a key stands twice: {key}"))
    } else {
        E::custom("a key stands twice")
    }
}

/// A key, borrowed from the header unless it has escapes.
pub(crate) struct KeyName<'de>(pub(crate) Cow<'de, str>);

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

/// Reads one object with nothing but white space around it, and all that it holds, strictly.
pub(crate) fn strict_object(bytes: &[u8]) -> Result<Object<'_>, serde_json::Error> {
    struct Whole;
    impl<'de> DeserializeSeed<'de> for Whole {
        type Value = Object<'de>;

        fn deserialize<D: Deserializer<'de>>(
            self,
            deserializer: D,
        ) -> Result<Object<'de>, D::Error> {
            deserializer.deserialize_map(self)
        }
    }
    impl<'de> Visitor<'de> for Whole {
        type Value = Object<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<'de>, A::Error> {
            object(map, 1)
        }
    }
    whole(bytes, Whole)
}

/// Reads one value, after which nothing but white space may follow.
pub(crate) fn whole<'de, S>(bytes: &'de [u8], seed: S) -> Result<S::Value, serde_json::Error>
where
    S: DeserializeSeed<'de>,
{
    // Checked once for the whole text, instead of once for each string.
    let text = std::str::from_utf8(bytes).map_err(serde_json::Error::custom)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}
