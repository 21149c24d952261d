//! Names of users and groups and their numbers, as this host's own files have them.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    sync::OnceLock,
};

use rustix::fs::OFlags;

/// The bytes of a file of users or groups that are read.
const MOST: u64 = 16 * 1024 * 1024;

/// The names of users and groups on this host. The files are open and read when the first name is wanted, which may be
/// after a process has confined itself.
#[derive(Debug, Default)]
pub struct AccountNames {
    users: Table,
    groups: Table,
}

impl AccountNames {
    /// Opens `/etc/passwd` and `/etc/group`. What cannot be opened has no names, and neither has what only a name
    /// service knows.
    #[must_use]
    pub fn of_this_host() -> Self {
        Self { users: Table::open("/etc/passwd"), groups: Table::open("/etc/group") }
    }

    /// Returns the users.
    pub(crate) fn users(&self) -> &Table {
        &self.users
    }

    /// Returns the groups.
    pub(crate) fn groups(&self) -> &Table {
        &self.groups
    }
}

/// The names of users, or those of groups.
#[derive(Debug, Default)]
pub(crate) struct Table {
    file: Option<File>,
    names: OnceLock<Names>,
}

#[derive(Debug, Default)]
struct Names {
    names: HashMap<u32, Vec<u8>>,
    numbers: HashMap<Vec<u8>, u32>,
}

impl Table {
    fn open(path: &str) -> Self {
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
        Self { file: file.ok(), names: OnceLock::new() }
    }

    /// Returns the name of a number; it is empty if there is none.
    pub(crate) fn name(&self, number: u32) -> &[u8] {
        self.names().names.get(&number).map_or(&[], Vec::as_slice)
    }

    /// Returns the number of a name.
    pub(crate) fn number(&self, name: &[u8]) -> Option<u32> {
        self.names().numbers.get(name).copied()
    }

    fn names(&self) -> &Names {
        self.names.get_or_init(|| self.file.as_ref().map_or_else(Names::default, read))
    }
}

/// Reads names and numbers: the first and the third field of each line. Of two lines of one name or number the first
/// counts, as for the system.
fn read(file: &File) -> Names {
    let mut text = Vec::new();
    if file.take(MOST).read_to_end(&mut text).is_err() {
        return Names::default();
    }
    if u64::try_from(text.len()).is_ok_and(|length| length == MOST) {
        // The last line is cut, and its number may be.
        let end = text.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
        text.truncate(end);
    }
    let mut found = Names::default();
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let (Some(name), Some(number)) = (fields.next(), fields.nth(1)) else {
            continue;
        };
        let number = std::str::from_utf8(number).ok().and_then(|digits| digits.parse().ok());
        // The last number stands for nobody in the system's calls.
        let number = number.filter(|number| *number != u32::MAX);
        // Lines that begin with these stand for what a name service knows.
        let (Some(number), false) =
            (number, matches!(name.first(), None | Some(b'+' | b'-' | b'#')))
        else {
            continue;
        };
        found.names.entry(number).or_insert_with(|| name.to_vec());
        found.numbers.entry(name.to_vec()).or_insert(number);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    #[test]
    fn names_and_numbers_are_those_of_the_first_line_that_has_them() {
        let mut file = tempfile::tempfile().unwrap();
        let text = b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n\n:x:5:\nbad:x:-1:\nshort\n+::7:\napp:x:33:";
        file.write_all(text).unwrap();
        file.rewind().unwrap();
        let table = Table { file: Some(file), names: OnceLock::new() };
        assert_eq!((table.name(0), table.name(33)), (&b"root"[..], &b"app"[..]));
        assert_eq!((table.number(b"toor"), table.number(b"app")), (Some(0), Some(33)));
        assert_eq!((table.name(5), table.name(7), table.number(b"bad")), (&[][..], &[][..], None));
        assert_eq!(Table::default().number(b"root"), None);
    }

    #[test]
    fn this_host_has_a_root() {
        assert_eq!(AccountNames::of_this_host().users().number(b"root"), Some(0));
    }
}
