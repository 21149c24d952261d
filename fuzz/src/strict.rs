//! A second reader of headers: it reads JSON into a tree that keeps duplicates, and checks the tree.

use std::fmt;

use rcmd_protocol::limits;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

enum Tree {
    Object(Vec<(String, Tree)>),
    List(Vec<Tree>),
    Text(String),
    Other,
}

/// Panics unless `header` is one object with a type and without duplicates, NUL or too many levels.
pub(crate) fn check(header: &[u8]) {
    let tree: Tree = serde_json::from_slice(header).unwrap();
    let Tree::Object(fields) = &tree else { panic!("no object") };
    let named = |(key, value): &(String, Tree)| key == "type" && matches!(value, Tree::Text(_));
    assert!(fields.iter().any(named), "no type");
    walk(&tree, 1);
}

fn walk(tree: &Tree, depth: usize) {
    match tree {
        Tree::Object(fields) => {
            assert!(depth <= limits::DEPTH, "too deep");
            let mut keys: Vec<_> = fields.iter().map(|(key, _)| key).collect();
            assert!(keys.iter().all(|key| !key.contains('\0')), "a NUL in a key");
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), fields.len(), "a key stands twice");
            fields.iter().for_each(|(_, value)| walk(value, depth + 1));
        }
        Tree::List(values) => {
            assert!(depth <= limits::DEPTH, "too deep");
            values.iter().for_each(|value| walk(value, depth + 1));
        }
        Tree::Text(text) => assert!(!text.contains('\0'), "a NUL in a string"),
        Tree::Other => {}
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
                Ok(Tree::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
                Ok(Tree::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
                Ok(Tree::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
                Ok(Tree::Other)
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Other)
            }

            fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
                Ok(Tree::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(Tree::List(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Tree::Object(fields))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}
