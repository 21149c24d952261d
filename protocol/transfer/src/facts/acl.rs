//! Access lists, as POSIX.1e draft 17 has them and Linux keeps them: in an attribute of version 2.

use crate::limits;

/// The attribute of the list that a file or a folder has itself.
pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";

/// The attribute of the list that what is made in a folder gets.
pub(crate) const DEFAULT: &[u8] = b"system.posix_acl_default";

/// What an attribute begins with.
const VERSION: [u8; 4] = [2, 0, 0, 0];

/// The number of an entry that is about nobody by name.
const NOBODY: u32 = u32::MAX;

/// Whom an entry is about, in the order in which a list has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AclTag {
    Owner,
    User,
    OwningGroup,
    Group,
    Mask,
    Others,
}

impl AclTag {
    const ALL: [(Self, u16); 6] = [
        (Self::Owner, 1),
        (Self::User, 2),
        (Self::OwningGroup, 4),
        (Self::Group, 8),
        (Self::Mask, 16),
        (Self::Others, 32),
    ];

    /// Returns the tag of this number.
    pub(crate) fn of(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, one)| *one == number).map(|(tag, _)| tag)
    }

    /// Returns the number, which is the same in attributes and on the wire.
    pub(crate) fn number(self) -> u16 {
        Self::ALL.into_iter().find(|(tag, _)| *tag == self).map_or(0, |(_, number)| number)
    }

    /// Returns whether an entry of this kind names a user or a group.
    pub(crate) fn is_named(self) -> bool {
        matches!(self, Self::User | Self::Group)
    }
}

/// An entry of an access list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AclEntry {
    pub(crate) tag: AclTag,
    /// Read 4, write 2, execute 1.
    pub(crate) permissions: u8,
    /// The user or group, if the tag names one.
    pub(crate) number: u32,
    /// The name of the user or group at the sender; it is empty if it has none.
    pub(crate) name: Vec<u8>,
}

/// Reads the attribute of a list. Its entries have no names yet.
pub(crate) fn parse(value: &[u8]) -> Option<Vec<AclEntry>> {
    let (entries, rest) = value.strip_prefix(&VERSION)?.as_chunks::<8>();
    if !rest.is_empty() {
        return None;
    }
    let entry = |[a, b, c, d, e, f, g, h]: &[u8; 8]| {
        let permissions = u8::try_from(u16::from_le_bytes([*c, *d])).ok()?;
        let tag = AclTag::of(u16::from_le_bytes([*a, *b]))?;
        let number = u32::from_le_bytes([*e, *f, *g, *h]);
        Some(AclEntry { tag, permissions, number, name: Vec::new() })
    };
    let entries: Vec<_> = entries.iter().map(entry).collect::<Option<_>>()?;
    is_valid(&entries).then_some(entries)
}

/// Returns the attribute of a list.
pub(crate) fn value(entries: &[AclEntry]) -> Vec<u8> {
    let mut value = VERSION.to_vec();
    for entry in entries {
        let number = if entry.tag.is_named() { entry.number } else { NOBODY };
        value.extend_from_slice(&entry.tag.number().to_le_bytes());
        value.extend_from_slice(&u16::from(entry.permissions).to_le_bytes());
        value.extend_from_slice(&number.to_le_bytes());
    }
    value
}

/// Returns whether entries make a list: those of owner, owning group and others once each, a mask at most once and
/// surely where somebody is named, in the order of tags, nobody twice, and no unknown permissions. No entries are no
/// list, and valid.
pub(crate) fn is_valid(entries: &[AclEntry]) -> bool {
    if entries.is_empty() {
        return true;
    }
    let count = |tag| entries.iter().filter(|entry| entry.tag == tag).count();
    let needs_mask = entries.iter().any(|entry| entry.tag.is_named());
    let is_in_order = entries.windows(2).all(|pair| match pair {
        [one, other] if one.tag == other.tag && one.tag.is_named() => one.number < other.number,
        [one, other] => one.tag < other.tag,
        _ => false,
    });
    entries.len() <= limits::ACL_ENTRIES
        && is_in_order
        && entries.iter().all(|entry| entry.permissions <= 7)
        && [AclTag::Owner, AclTag::OwningGroup, AclTag::Others]
            .into_iter()
            .all(|tag| count(tag) == 1)
        && (!needs_mask || count(AclTag::Mask) == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tag: AclTag, permissions: u8, number: u32) -> AclEntry {
        AclEntry { tag, permissions, number, name: Vec::new() }
    }

    fn list() -> Vec<AclEntry> {
        vec![
            entry(AclTag::Owner, 6, NOBODY),
            entry(AclTag::User, 4, 33),
            entry(AclTag::User, 7, 1_000),
            entry(AclTag::OwningGroup, 4, NOBODY),
            entry(AclTag::Mask, 7, NOBODY),
            entry(AclTag::Others, 0, NOBODY),
        ]
    }

    #[test]
    fn a_list_survives_the_attribute() {
        assert_eq!(parse(&value(&list())), Some(list()));
        assert_eq!(parse(&VERSION), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let without = |at: usize| {
            let mut list = list();
            list.remove(at);
            list
        };
        for at in [0, 3, 4, 5] {
            assert!(!is_valid(&without(at)), "{at}");
        }
        let mut twice = list();
        twice.insert(2, entry(AclTag::User, 4, 33));
        let mut swapped = list();
        swapped.swap(0, 1);
        let mut more = list();
        more[1].permissions = 8;
        for wrong in [twice, swapped, more] {
            assert!(!is_valid(&wrong), "{wrong:?}");
            assert_eq!(parse(&value(&wrong)), None);
        }
        for value in
            [&b""[..], &[1, 0, 0, 0], &[2, 0, 0, 0, 1], &[2, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]]
        {
            assert_eq!(parse(value), None, "{value:?}");
        }
    }
}
