//! Inventories in YAML: groups as mappings with `hosts`, `children` and `vars`.

use super::{
    super::{Value, error::InventoryFault},
    range,
    raw::{Failed, Raw, Vars},
};

mod node;
mod plain;

use node::{Content, Node};

/// The maximum number of nodes that are read; an alias counts as all nodes that it stands for.
const MAX_NODES: usize = 2_000_000;

/// Reads the text.
pub(super) fn read(text: &str, raw: &mut Raw) -> Result<(), Failed> {
    let Some(root) = node::parse(text)? else { return Ok(()) };
    let mut reader = Reader { raw, looked_at: 0 };
    for (name, group) in reader.entries(&root, "the inventory")? {
        reader.group(&name, &group)?;
    }
    Ok(())
}

fn wrong<T>(line: usize, why: String) -> Result<T, Failed> {
    Err((line, InventoryFault::Syntax(why)))
}

/// A key, which is text, and its line.
struct Key {
    text: String,
    line: usize,
}

struct Reader<'a> {
    raw: &'a mut Raw,
    looked_at: usize,
}

impl Reader<'_> {
    fn group(&mut self, name: &Key, node: &Node) -> Result<usize, Failed> {
        let place = self.raw.group(&name.text, name.line)?;
        for (key, part) in self.entries(node, &format!("the group `{}`", name.text))? {
            match key.text.as_str() {
                "hosts" => {
                    for (pattern, own) in self.names(&part, "hosts")? {
                        let vars = self.vars(&own)?;
                        let names =
                            range::names(&pattern.text).map_err(|fault| (pattern.line, fault))?;
                        for name in names {
                            let host = self.raw.host(&name, pattern.line)?;
                            self.raw.join(place, host);
                            self.raw.host_vars(host, vars.clone());
                        }
                    }
                }
                "children" => {
                    for (child, node) in self.names(&part, "children")? {
                        let child = self.group(&child, &node)?;
                        self.raw.adopt(place, child);
                    }
                }
                "vars" => {
                    let vars = self.vars(&part)?;
                    self.raw.group_vars(place, vars);
                }
                _ => {
                    let known = "hosts, children and vars";
                    return Err((key.line, InventoryFault::Unknown { key: key.text, known }));
                }
            }
        }
        Ok(place)
    }

    /// Returns the entries of a mapping, or a single name.
    fn names(&mut self, node: &Node, what: &str) -> Result<Vec<(Key, Node)>, Failed> {
        match &node.content {
            Content::Scalar { text, .. } if !node.is_nothing() => {
                let key = Key { text: text.clone(), line: node.line };
                Ok(vec![(key, Node::nothing(node.line))])
            }
            Content::List(_) => {
                wrong(node.line, format!("`{what}` is a list: write each name with a `:` after it"))
            }
            _ => self.entries(node, what),
        }
    }

    /// Returns the entries of a mapping, in order; none if the value is missing.
    fn entries(&mut self, node: &Node, what: &str) -> Result<Vec<(Key, Node)>, Failed> {
        if node.is_nothing() {
            return Ok(Vec::new());
        }
        let Content::Map(entries) = &node.content else {
            return wrong(node.line, format!("{what} is not a mapping"));
        };
        self.looked_at += entries.len() + 1;
        if self.looked_at > MAX_NODES {
            return Err((node.line, InventoryFault::TooMany));
        }
        let mut found: Vec<(Key, Node)> = Vec::with_capacity(entries.len());
        let mut seen = std::collections::HashSet::new();
        for (key, value) in entries.iter() {
            let Content::Scalar { text, is_text } = &key.content else {
                return wrong(key.line, format!("a name in {what} is not text"));
            };
            if !is_text {
                let why =
                    format!("`{text}` is not text in YAML, and so not a name: put it in quotes");
                return wrong(key.line, why);
            }
            if !seen.insert(text) {
                return wrong(key.line, format!("{what} has `{text}` twice"));
            }
            found.push((Key { text: text.clone(), line: key.line }, value.clone()));
        }
        Ok(found)
    }

    fn vars(&mut self, node: &Node) -> Result<Vars, Failed> {
        let entries = self.entries(node, "the variables")?;
        let vars = entries.into_iter().map(|(key, value)| {
            let text = match value.content {
                Content::Scalar { text, .. } => Value::Text(text),
                _ => Value::Structure,
            };
            (key.text, (text, value.line))
        });
        Ok(vars.collect())
    }
}
