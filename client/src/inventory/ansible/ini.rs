//! Inventories in INI: `[web]`, `[web:children]`, `[web:vars]`, one host on each line.

use super::{
    super::{Value, error::InventoryFault},
    range,
    raw::{Failed, Raw, Vars},
};

/// The kind of the lines of a section.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Hosts,
    Children,
    Vars,
}

/// Reads the text.
pub(super) fn read(text: &str, raw: &mut Raw) -> Result<(), Failed> {
    let (mut group, mut kind) = ("ungrouped".to_owned(), Kind::Hosts);
    let mut declared = std::collections::HashSet::from(["all".to_owned(), "ungrouped".to_owned()]);
    // Groups that need a section of their own, with the line that names them.
    let mut named: Vec<(String, usize)> = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        let wrong = |why: String| (number, InventoryFault::Syntax(why));
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(section) {
            let (name, state) = section.split_once(':').unwrap_or((section, "hosts"));
            kind = match state {
                "hosts" => Kind::Hosts,
                "children" => Kind::Children,
                "vars" => Kind::Vars,
                _ => {
                    return Err(wrong(format!(
                        "a section is [{name}], [{name}:children] or [{name}:vars]"
                    )));
                }
            };
            group = name.to_owned();
            raw.group(&group, number)?;
            match kind {
                Kind::Vars => named.push((group.clone(), number)),
                _ => drop(declared.insert(group.clone())),
            }
            continue;
        }
        let place = raw.group(&group, number)?;
        match kind {
            Kind::Hosts => host(line, number, place, raw)?,
            Kind::Children => {
                let name = line.split('#').next().unwrap_or_default().trim();
                let child = raw.group(name, number)?;
                raw.adopt(place, child);
                named.push((name.to_owned(), number));
            }
            Kind::Vars => {
                let (key, text) = line.split_once('=').ok_or_else(|| no_setting(number, line))?;
                let vars = [(key.trim().to_owned(), (value(text.trim()), number))];
                raw.group_vars(place, Vars::from(vars));
            }
        }
    }
    match named.into_iter().find(|(name, _)| !declared.contains(name)) {
        None => Ok(()),
        Some((name, line)) => {
            Err((line, InventoryFault::Syntax(format!("the group `{name}` has no section"))))
        }
    }
}

/// Returns the text in the brackets of a section, after which there may be a comment.
fn section(rest: &str) -> Option<&str> {
    let (inside, behind) = rest.split_once(']')?;
    let behind = behind.trim_start();
    let is_name = !inside.is_empty() && !inside.contains(char::is_whitespace);
    // A host may be an IPv6 address in brackets.
    let is_address = inside.parse::<std::net::Ipv6Addr>().is_ok();
    (is_name && !is_address && (behind.is_empty() || behind.starts_with('#'))).then_some(inside)
}

fn no_setting(line: usize, text: &str) -> Failed {
    (line, InventoryFault::Syntax(format!("`{text}` is not NAME=VALUE")))
}

/// Reads the line of a host or a range of hosts, with variables after it.
fn host(line: &str, number: usize, group: usize, raw: &mut Raw) -> Result<(), Failed> {
    let words = words(line)
        .ok_or_else(|| (number, InventoryFault::Syntax("a quote is not closed".to_owned())))?;
    let Some((pattern, settings)) = words.split_first() else { return Ok(()) };
    let mut vars = Vars::new();
    for setting in settings {
        let (key, text) = setting.split_once('=').ok_or_else(|| no_setting(number, setting))?;
        vars.insert(key.to_owned(), (value(text), number));
    }
    for name in range::names(pattern).map_err(|fault| (number, fault))? {
        let host = raw.host(&name, number)?;
        raw.join(group, host);
        raw.host_vars(host, vars.clone());
    }
    Ok(())
}

/// Returns the value of a variable: the text without its quotes, unless it is a list or a mapping.
fn value(text: &str) -> Value {
    let structure = |open, close| text.starts_with(open) && text.ends_with(close);
    if structure('[', ']') || structure('{', '}') && !text.starts_with("{{") {
        return Value::Structure;
    }
    let quoted = ['"', '\''].into_iter().find_map(|quote| {
        let inside = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inside.contains([quote, '\\'])).then_some(inside)
    });
    Value::Text(quoted.unwrap_or(text).to_owned())
}

/// Splits a line into words as a shell does, with quotes, backslashes and a comment; `None` if a quote is not
/// closed.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut begun) = (Vec::new(), String::new(), false);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '#' => break,
            _ if character.is_whitespace() => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            '\\' => word.push(characters.next()?),
            '\'' => loop {
                match characters.next()? {
                    '\'' => break,
                    inside => word.push(inside),
                }
            },
            '"' => loop {
                match characters.next()? {
                    '"' => break,
                    '\\' => match characters.next()? {
                        escaped @ ('"' | '\\') => word.push(escaped),
                        other => word.extend(['\\', other]),
                    },
                    inside => word.push(inside),
                }
            },
            _ => word.push(character),
        }
        begun = true;
    }
    if begun {
        words.push(word);
    }
    Some(words)
}
