//! `hosts.toml`: hosts with their addresses, and groups.

use std::{
    net::{IpAddr, Ipv6Addr},
    ops::Range,
    path::{Path, PathBuf},
};

use rcmd_certs::{
    files::{self, FileError},
    paths::HOST_DIR,
    text::place,
};
use rustls::pki_types::ServerName;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    HostEntry, Inventory, Members, Source, Value,
    error::{InventoryError, InventoryFault},
    name,
};
use crate::target::UNIX;

/// The largest file, in bytes: enough for some hundred thousand hosts.
const MAX_FILE: u64 = 16 << 20;

/// The name of the file in its folder.
pub const HOSTS_TOML: &str = "hosts.toml";

/// The name of this source in `@SOURCE:GROUP`.
pub const HOSTS_SOURCE: &str = "hosts";

impl Inventory {
    /// Reads `hosts.toml` in `dir`, and then that in `/etc/rcmd`, which adds hosts and groups of other names. Also
    /// returns the files that this user has no permission to read, which are ignored.
    ///
    /// # Errors
    /// A file is invalid, or another user than root and this one could change it.
    pub fn read(dir: &Path) -> Result<(Self, Vec<PathBuf>), InventoryError> {
        let mut folders = vec![dir];
        folders.extend(Some(Path::new(HOST_DIR)).filter(|host_dir| *host_dir != dir));
        let (mut inventory, mut passed_over) = (Self::default(), Vec::new());
        for path in folders.into_iter().map(|folder| folder.join(HOSTS_TOML)) {
            match files::read_public_up_to(&path, MAX_FILE) {
                Ok(bytes) => inventory.add(parse(&bytes, &path)?),
                Err(error) if error.is_missing() => {}
                Err(FileError::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::PermissionDenied =>
                {
                    passed_over.push(path);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok((inventory, passed_over))
    }
}

/// Reads the text of a `hosts.toml`.
///
/// # Errors
/// The fault, with line and column.
pub fn parse(bytes: &[u8], file: &Path) -> Result<Source, InventoryError> {
    let wrong = |at: usize, fault| {
        let (line, column) = place(bytes, at);
        InventoryError::Wrong { file: file.to_owned(), line, column, fault }
    };
    let text = str::from_utf8(bytes).map_err(|error| {
        wrong(error.valid_up_to(), InventoryFault::Syntax("this is not UTF-8".to_owned()))
    })?;
    let table = DeTable::parse(text).map_err(|error| {
        let reason = error.message().lines().collect::<Vec<_>>().join(", ");
        let at = error.span().map_or(0, |span| span.start);
        wrong(at, InventoryFault::Syntax(reason))
    })?;
    let mut reader = Reader { text, source: Source::new(HOSTS_SOURCE, file) };
    reader.file(table.get_ref()).map_err(|(span, fault)| wrong(span.start, fault))?;
    Ok(reader.source)
}

/// A fault and its place.
type Failed = (Range<usize>, InventoryFault);

struct Reader<'a> {
    text: &'a str,
    source: Source,
}

impl Reader<'_> {
    fn file(&mut self, table: &DeTable<'_>) -> Result<(), Failed> {
        for (key, value) in in_order(table) {
            match key.get_ref().as_ref() {
                "hosts" => {
                    for (name, entry) in in_order(table_of(key, value)?) {
                        self.host(name, entry)?;
                    }
                }
                "groups" => {
                    for (name, members) in in_order(table_of(key, value)?) {
                        check(name, "group", name::wrong_group(name.get_ref()))?;
                        let members = text_of(name, members, "an expression in quotes")?;
                        let members = Members::Expression(members.to_owned());
                        self.source.set_group(name.get_ref(), members);
                    }
                }
                _ => return Err(unknown(key, "[hosts.NAME] and [groups]")),
            }
        }
        Ok(())
    }

    fn host(&mut self, name: &Key<'_>, value: &Spanned<DeValue<'_>>) -> Result<(), Failed> {
        check(name, "host", name::wrong_host(name.get_ref()))?;
        let mut entry = HostEntry { name: name.get_ref().as_ref().into(), ..HostEntry::default() };
        for (key, value) in in_order(table_of(name, value)?) {
            let kind = |wanted| kind_of(key, value, wanted);
            match key.get_ref().as_ref() {
                "address" => {
                    let address = text_of(key, value, "a name or an address, in quotes")?;
                    let (read, wanted) = match address.starts_with(UNIX) {
                        true => (
                            as_socket(address),
                            "unix: and the absolute path of a socket, of at most 107 bytes",
                        ),
                        false => (as_address(address), "a name or an address without a port"),
                    };
                    entry.address = Some(read.ok_or_else(|| kind(wanted))?);
                }
                "port" => {
                    let port = value.get_ref().as_integer().filter(|port| port.radix() == 10);
                    let port = port.and_then(|port| port.as_str().parse().ok());
                    let port = port.filter(|port| *port > 0);
                    entry.port = Some(port.ok_or_else(|| kind("a number from 1 to 65535"))?);
                }
                "certificate" => {
                    let wanted = "a name or an address, as certificates have them, in quotes";
                    let certificate = text_of(key, value, wanted)?;
                    ServerName::try_from(certificate).map_err(|_| kind(wanted))?;
                    entry.certificate = Some(certificate.to_owned());
                }
                "user" => {
                    let user = text_of(key, value, "the name of a user, in quotes")?;
                    let user = Some(user.to_owned()).filter(|user| !user.is_empty());
                    entry.user = Some(user.ok_or_else(|| kind("the name of a user, in quotes"))?);
                }
                "labels" => {
                    for (label, value) in in_order(table_of(key, value)?) {
                        let Value::Text(text) = self.value(value) else {
                            return Err(kind_of(label, value, "text in quotes"));
                        };
                        entry.labels.insert(label.get_ref().clone().into_owned(), text);
                    }
                }
                "vars" => {
                    for (name, value) in in_order(table_of(key, value)?) {
                        let text = self.value(value);
                        entry.vars.insert(name.get_ref().clone().into_owned(), text);
                    }
                }
                "via" => return Err((key.span(), InventoryFault::Later("via"))),
                _ => return Err(unknown(key, "address, port, certificate, user, labels and vars")),
            }
        }
        *self.source.host_mut(name.get_ref()) = entry;
        Ok(())
    }

    /// Returns the text of a value in the file, without quotes.
    fn value(&self, value: &Spanned<DeValue<'_>>) -> Value {
        match value.get_ref() {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Array(_) | DeValue::Table(_) => Value::Structure,
            _ => Value::Text(self.text.get(value.span()).unwrap_or_default().to_owned()),
        }
    }
}

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;

/// Returns the entries of a table, in the order of the file.
fn in_order<'a, 'i>(
    table: &'a DeTable<'i>,
) -> impl Iterator<Item = (&'a Key<'i>, &'a Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries.into_iter()
}

fn table_of<'a, 'i>(
    key: &Key<'_>,
    value: &'a Spanned<DeValue<'i>>,
) -> Result<&'a DeTable<'i>, Failed> {
    value.get_ref().as_table().ok_or_else(|| kind_of(key, value, "a table"))
}

fn text_of<'a>(
    key: &Key<'_>,
    value: &'a Spanned<DeValue<'_>>,
    wanted: &'static str,
) -> Result<&'a str, Failed> {
    value.get_ref().as_str().ok_or_else(|| kind_of(key, value, wanted))
}

fn kind_of(key: &Key<'_>, value: &Spanned<DeValue<'_>>, wanted: &'static str) -> Failed {
    (value.span(), InventoryFault::Kind { key: key.get_ref().clone().into_owned(), wanted })
}

fn unknown(key: &Key<'_>, known: &'static str) -> Failed {
    (key.span(), InventoryFault::Unknown { key: key.get_ref().clone().into_owned(), known })
}

fn check(name: &Key<'_>, kind: &'static str, wrong: Option<String>) -> Result<(), Failed> {
    match wrong {
        None => Ok(()),
        Some(why) => {
            let name_text = name.get_ref().clone().into_owned();
            Err((name.span(), InventoryFault::Name { kind, name: name_text, why }))
        }
    }
}

/// Returns the address of a Unix socket, `unix:PATH`, if the text is one (unix(7)). The name of a host never contains a
/// control character, and neither does this.
pub(super) fn as_socket(text: &str) -> Option<String> {
    let path = text.strip_prefix(UNIX)?;
    let is_path = path.starts_with('/') && !path.ends_with('/');
    (is_path && path.len() <= 107 && !path.contains(char::is_control)).then(|| text.to_owned())
}

/// Returns a name, or an address without brackets, if the text is valid and has no port.
pub(super) fn as_address(text: &str) -> Option<String> {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Some(inside) = inside {
        return inside.parse::<Ipv6Addr>().is_ok().then(|| inside.to_owned());
    }
    let is_address = text.parse::<IpAddr>().is_ok();
    let is_name = !text.contains([':', '/', '+']) && name::wrong_host(text).is_none();
    (is_address || is_name).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
