//! A header as it is read: one strict pass over all of it, then each field as its frame has it.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};

use crate::{
    error::ProtocolError,
    frame::{
        Kind,
        json::{KeyName, Object, strict_object, whole},
        scalar::Scalar,
    },
};

/// A header whose JSON is as it must be, and whose type is known.
///
/// The type may stand anywhere in a header, so that all fields are held until it is read. Those that the
/// frame of this type does not have are ignored.
pub(crate) struct Header<'de> {
    bytes: &'de [u8],
    fields: Object<'de>,
    kind: Kind,
}

impl<'de> Header<'de> {
    /// Reads a whole header.
    ///
    /// # Errors
    /// Fails when it is not one strict object, and when that names no type of frame.
    pub(crate) fn parse(bytes: &'de [u8]) -> Result<Self, ProtocolError> {
        let fields =
            strict_object(bytes).map_err(|error| ProtocolError::Header(error.to_string()))?;
        let missing = || ProtocolError::Header("there is no \"type\" in it".to_owned());
        let kind = typed(bytes, &fields, "type")?.and_then(Kind::of).ok_or_else(missing)?;
        Ok(Self { bytes, fields, kind })
    }

    /// Returns the type of the frame.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns whether the header has this field.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// Returns the value of a field, if the header has it.
    ///
    /// # Errors
    /// Fails when the field has another form in JSON, or a value that is not allowed.
    pub(crate) fn get<T: Scalar>(&self, name: &'static str) -> Result<Option<T>, ProtocolError> {
        match self.form(name)? {
            None => Ok(None),
            Some(form) => T::of(form).map(Some).ok_or_else(|| self.invalid(name)),
        }
    }

    /// Returns the form in JSON of a field, if the header has it.
    ///
    /// # Errors
    /// Fails when the field has another form.
    pub(crate) fn form<T: DeserializeOwned>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, ProtocolError> {
        typed(self.bytes, &self.fields, name)
    }

    /// Returns the error of a header without a field that its type needs.
    pub(crate) fn missing(&self, field: &'static str) -> ProtocolError {
        ProtocolError::Missing { frame: self.kind.as_str(), field }
    }

    /// Returns the error of a field with a value that its type does not allow.
    pub(crate) fn invalid(&self, field: &'static str) -> ProtocolError {
        ProtocolError::Invalid { frame: self.kind.as_str(), field }
    }
}

fn typed<T: DeserializeOwned>(
    bytes: &[u8],
    fields: &Object<'_>,
    name: &'static str,
) -> Result<Option<T>, ProtocolError> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    match value.read() {
        Some(value) => Ok(Some(value)),
        None => Err(ProtocolError::Header(fault::<T>(bytes, name))),
    }
}

/// Returns what is wrong with a field that is no `T`, and where: the header is read again, since values do
/// not know their places.
fn fault<T: DeserializeOwned>(bytes: &[u8], name: &'static str) -> String {
    match whole(bytes, Field { name, value: PhantomData::<T> }) {
        Err(error) => error.to_string(),
        Ok(()) => format!("{name} has another form"),
    }
}

/// A reader of one field as a `T`, past all others.
struct Field<T> {
    name: &'static str,
    value: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Field<T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Field<T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(KeyName(key)) = map.next_key()? {
            if key == self.name {
                map.next_value::<T>()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::json::{Integer, TextList},
        limits,
    };

    /// Reads a header, of which only the JSON and the type matter.
    fn parse(header: &[u8]) -> Result<Header<'_>, ProtocolError> {
        Header::parse(header)
    }

    fn fault(header: &str) -> String {
        match parse(header.as_bytes()) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{header} was read"),
        }
    }

    #[test]
    fn unknown_fields_are_ignored_whatever_they_hold() {
        let header = parse(br#"{"type":"ping","x":{"a":[1,-2,3.5,null,true,"t"]},"number":7}"#);
        let header = header.unwrap();
        assert_eq!(header.kind(), Kind::Ping);
        assert_eq!(header.get::<u64>("number"), Ok(Some(7)));
    }

    #[test]
    fn a_key_twice_is_refused_at_every_level() {
        assert!(fault(r#"{"type":"ping","number":1,"number":1}"#).contains("twice: number"));
        assert!(fault(r#"{"type":"ping","x":1,"x":2}"#).contains("twice"));
        assert!(fault(r#"{"x":{"y":1,"y":2}}"#).contains("twice"));
        assert!(fault(r#"{"x":[{"y":1,"\u0079":2}]}"#).contains("twice"));
        assert!(fault(r#"{"type":"ping","\u0074ype":"pong"}"#).contains("twice"));
    }

    #[test]
    fn a_key_twice_is_named_only_if_it_could_be_a_frame_s() {
        for key in ["\\u001b[2j", "A", "\u{e9}", &"k".repeat(33)] {
            let fault = fault(&format!(r#"{{"{key}":1,"{key}":1}}"#));
            assert!(fault.contains("a key stands twice at line 1"), "{fault}");
        }
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
            let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
            format!(r#"{{"type":"ping","x":{open}{close}}}"#)
        };
        assert!(parse(nested(16).as_bytes()).is_ok());
        assert!(fault(&nested(17)).contains("deep"));
        assert!(fault(&nested(30_000)).contains("deep"));
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for header in ["", "[]", "1", "{", "{}{}", "{} x", "null", "{\"type\":1}", "\u{feff}{}"] {
            assert!(parse(header.as_bytes()).is_err(), "{header:?}");
        }
        assert!(parse(b"{\"type\":\"ping\",\"x\":\"\xff\"}").is_err());
        assert!(parse(b"{\"type\":\"ping\"} \n").is_ok());
        assert!(fault("{} \n").contains("there is no \"type\" in it"));
    }

    #[test]
    fn integers_are_whole_and_exact() {
        let integer = |number: &str| {
            let header = format!(r#"{{"type":"cancel","ch":{number}}}"#);
            let form = parse(header.as_bytes()).unwrap().form("ch");
            form.map(|form| form.map(|Integer(number)| number))
        };
        assert_eq!(integer("9007199254740991"), Ok(Some(limits::INTEGER)));
        for number in ["9007199254740992", "-1", "1.0", "1e3", "\"1\"", "true", "null", "[1]", "{}"]
        {
            assert!(matches!(integer(number), Err(ProtocolError::Header(_))), "{number}");
        }
    }

    #[test]
    fn a_list_past_its_limit_is_refused() {
        const LIMIT: usize = limits::CAPABILITIES;
        let list = |n: usize| {
            let texts = vec!["\"x\""; n].join(",");
            let header = format!(r#"{{"type":"hello","capabilities":[{texts}]}}"#);
            let form = parse(header.as_bytes()).unwrap().form("capabilities");
            form.map(|list| list.map(|TextList::<LIMIT>(texts)| texts.len()))
        };
        assert_eq!(list(LIMIT), Ok(Some(LIMIT)));
        for length in [LIMIT + 1, LIMIT + 2, 10_000] {
            assert!(list(length).unwrap_err().to_string().contains("too long"));
        }
    }

    #[test]
    fn a_fault_says_where_it_is() {
        let header = parse(br#"{"type":"ping","x":[],"number":"7"}"#).unwrap();
        let fault = header.get::<u64>("number").unwrap_err().to_string();
        let expected = "invalid type: string \"7\", expected u64 at line 1 column 34";
        assert_eq!(fault, format!("a header is not valid: {expected}"));
    }
}
