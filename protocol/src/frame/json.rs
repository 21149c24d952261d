//! Strict JSON over `serde_json`: no duplicate key, no NUL, no depth past the limit, at any level.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

use crate::limits::DEPTH;

/// Returns `text`, or an error if it holds a NUL, which would end it early for the next program that reads it.
pub(crate) fn without_nul<E: Error>(text: &str) -> Result<&str, E> {
    if text.contains('\0') { Err(E::custom("a string holds a NUL")) } else { Ok(text) }
}

/// A string without NUL.
pub(crate) struct Text(pub(crate) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        without_nul(&text)?;
        Ok(Self(text))
    }
}

/// An integer that every JSON reader holds exactly (RFC 8259, 6).
pub(crate) struct Integer(pub(crate) u64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        if number > crate::limits::INTEGER {
            return Err(D::Error::custom("an integer is past 2^53 - 1"));
        }
        Ok(Self(number))
    }
}

/// A list of at most `LIMIT` strings.
pub(crate) struct TextList<const LIMIT: usize>(pub(crate) Vec<String>);

impl<'de, const LIMIT: usize> Deserialize<'de> for TextList<LIMIT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
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

/// A reader that skips the value of an unknown field, and is as strict as for a known one.
pub(crate) struct Skip {
    /// Levels of JSON around the value.
    pub(crate) depth: usize,
}

impl<'de> DeserializeSeed<'de> for Skip {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Skip {
    fn deeper<E: Error>(&self) -> Result<Self, E> {
        if self.depth >= DEPTH {
            return Err(E::custom("JSON is nested too deep"));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> Visitor<'de> for Skip {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        without_nul(text).map(drop)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper::<A::Error>()?.depth;
        while seq.next_element_seed(Self { depth: inner })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper::<A::Error>()?.depth;
        let mut keys = HashSet::new();
        while let Some(Text(key)) = map.next_key()? {
            if !keys.insert(key) {
                return Err(A::Error::custom("a key stands twice"));
            }
            map.next_value_seed(Self { depth: inner })?;
        }
        Ok(())
    }
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
