//! Parsing text into a tree, without recursion.

use std::{collections::HashMap, rc::Rc};

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::{
    super::{super::error::InventoryFault, raw::Failed},
    plain,
};

/// The maximum depth of nested mappings and lists.
const DEEPEST: usize = 64;

/// A value and its line. Clones share the content.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) content: Content,
    /// The line, from 1.
    pub(super) line: usize,
}

#[derive(Clone)]
pub(super) enum Content {
    Scalar {
        /// The text without quotes.
        text: String,
        /// True if the scalar is text in YAML 1.1, which Ansible reads, and not a number, a date or a truth value.
        is_text: bool,
    },
    List(Rc<Vec<Node>>),
    Map(Rc<Vec<(Node, Node)>>),
}

impl Node {
    /// Returns the value that stands for a missing one.
    pub(super) fn nothing(line: usize) -> Self {
        Self { content: Content::Scalar { text: String::new(), is_text: false }, line }
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(&self.content, Content::Scalar { text, is_text: false }
            if ["", "~", "null", "Null", "NULL"].contains(&text.as_str()))
    }
}

/// A list or a mapping that is not complete yet.
struct Open {
    is_map: bool,
    line: usize,
    anchor: usize,
    children: Vec<Node>,
}

/// Reads the only document of a text; `None` if it is empty.
pub(super) fn parse(text: &str) -> Result<Option<Node>, Failed> {
    let (mut open, mut anchors): (Vec<Open>, HashMap<usize, Node>) = Default::default();
    let (mut root, mut documents) = (None, 0);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            (error.marker().line(), InventoryFault::Syntax(error.info().to_owned()))
        })?;
        let line = span.start.line();
        let wrong = |why: &str| Err((line, InventoryFault::Syntax(why.to_owned())));
        let (node, anchor) = match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => continue,
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return wrong("there is a second document");
                }
                continue;
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                if open.len() >= DEEPEST {
                    return wrong("lists and mappings are nested too deep");
                }
                let is_map = matches!(event, Event::MappingStart(..));
                open.push(Open { is_map, line, anchor, children: Vec::new() });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { is_map, line, anchor, children }) = open.pop() else { continue };
                let content = match is_map {
                    false => Content::List(Rc::new(children)),
                    true => Content::Map(Rc::new(merged(children)?)),
                };
                (Node { content, line }, anchor)
            }
            Event::Alias(id) => match anchors.get(&id) {
                Some(node) => (node.clone(), 0),
                None => return wrong("an alias contains itself"),
            },
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let is_text = !plain || plain::is_text(&text);
                (
                    Node { content: Content::Scalar { text: text.into_owned(), is_text }, line },
                    anchor,
                )
            }
        };
        if anchor > 0 {
            anchors.insert(anchor, node.clone());
        }
        match open.last_mut() {
            Some(outer) => outer.children.push(node),
            None => root = Some(node),
        }
    }
    Ok(root)
}

/// Returns the entries of a mapping, keys and values in turn; entries that `<<` merges follow its own.
fn merged(children: Vec<Node>) -> Result<Vec<(Node, Node)>, Failed> {
    let (mut own, mut brought): (Vec<(Node, Node)>, Vec<Node>) = Default::default();
    let mut children = children.into_iter();
    while let (Some(key), Some(value)) = (children.next(), children.next()) {
        let is_merge =
            matches!(&key.content, Content::Scalar { text, is_text: false } if text == "<<");
        match &value.content {
            _ if !is_merge => own.push((key, value)),
            Content::List(all) => brought.extend(all.iter().cloned()),
            _ => brought.push(value),
        }
    }
    for node in brought {
        let Content::Map(entries) = &node.content else {
            let why = "`<<` takes only mappings".to_owned();
            return Err((node.line, InventoryFault::Syntax(why)));
        };
        let text = |key: &Node| match &key.content {
            Content::Scalar { text, .. } => Some(text.clone()),
            _ => None,
        };
        if own.len() + entries.len() > MOST_ENTRIES {
            return Err((node.line, InventoryFault::TooMany));
        }
        let known: std::collections::HashSet<_> = own.iter().map(|(key, _)| text(key)).collect();
        let new = entries.iter().filter(|(key, _)| !known.contains(&text(key)));
        own.extend(new.cloned());
    }
    Ok(own)
}

/// The maximum number of entries of a mapping, including those that `<<` merges.
const MOST_ENTRIES: usize = 10_000;
