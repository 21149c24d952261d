//! Inventories in JSON, as a program prints them for `--list`.

use serde_json::{Map, Value as Json};

use super::{
    super::{Value, error::InventoryFault},
    range,
    raw::{Failed, Raw, Vars},
};

/// Reads the text: an object of groups, and `_meta` with the variables of hosts.
pub(super) fn read(text: &str, raw: &mut Raw) -> Result<(), Failed> {
    let all: Map<String, Json> = serde_json::from_str(text).map_err(|error| {
        let why = format!("its output is not a JSON object: {error}");
        (0, InventoryFault::Syntax(why))
    })?;
    for (name, group) in all.iter().filter(|(name, _)| *name != "_meta") {
        read_group(name, group, raw)?;
    }
    let hosts = all.get("_meta").and_then(|meta| meta.get("hostvars"));
    for (name, own) in hosts.and_then(Json::as_object).into_iter().flatten() {
        let host = raw.host(range::without_port(name), 0)?;
        raw.host_vars(host, vars(name, own)?);
    }
    Ok(())
}

fn wrong<T>(why: String) -> Result<T, Failed> {
    Err((0, InventoryFault::Syntax(why)))
}

fn read_group(name: &str, group: &Json, raw: &mut Raw) -> Result<(), Failed> {
    let place = raw.group(name, 0)?;
    let members = match group {
        // A group in the older form: a list of hosts.
        Json::Array(_) => Some(group),
        Json::Object(parts) => {
            let known = ["hosts", "children", "vars"];
            if let Some(key) = parts.keys().find(|key| !known.contains(&key.as_str())) {
                let why =
                    format!("the group `{name}` has `{key}`; it can have hosts, children and vars");
                return wrong(why);
            }
            if let Some(own) = parts.get("vars") {
                raw.group_vars(place, vars(name, own)?);
            }
            for child in texts(name, "children", parts.get("children"))? {
                let child = raw.group(&child, 0)?;
                raw.adopt(place, child);
            }
            parts.get("hosts")
        }
        _ => return wrong(format!("the group `{name}` is neither an object nor a list")),
    };
    for host in texts(name, "hosts", members)? {
        let host = raw.host(range::without_port(&host), 0)?;
        raw.join(place, host);
    }
    Ok(())
}

/// Returns the texts of a list.
fn texts(group: &str, what: &str, list: Option<&Json>) -> Result<Vec<String>, Failed> {
    let list = match list {
        None | Some(Json::Null) => return Ok(Vec::new()),
        Some(Json::Array(list)) => list,
        Some(_) => return wrong(format!("`{what}` of the group `{group}` is not a list")),
    };
    list.iter()
        .map(|one| match one.as_str() {
            Some(text) => Ok(text.to_owned()),
            None => wrong(format!("`{what}` of the group `{group}` has {one}, which is not text")),
        })
        .collect()
}

fn vars(of: &str, own: &Json) -> Result<Vars, Failed> {
    let own = match own {
        Json::Null => return Ok(Vars::new()),
        Json::Object(own) => own,
        _ => return wrong(format!("the variables of `{of}` are not an object")),
    };
    let text = |value: &Json| match value {
        Json::Array(_) | Json::Object(_) => Value::Structure,
        Json::String(text) => Value::Text(text.clone()),
        other => Value::Text(other.to_string()),
    };
    Ok(own.iter().map(|(key, value)| (key.clone(), (text(value), 0))).collect())
}
