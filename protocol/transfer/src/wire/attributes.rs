//! What the sender says of the next entry besides content, permission bits and times.

use crate::{
    facts::{
        acl::{AclEntry, AclTag},
        attributes::{Acls, Attribute, Attributes, Holder, Owner, is_of_users},
    },
    fields::{Body, Fields, Malformed},
    limits,
};

/// Writes attributes.
pub(super) fn encode(attributes: &Attributes, body: &mut Body) {
    body.flag(attributes.owner.is_some());
    if let Some(Owner { user, group }) = &attributes.owner {
        for holder in [user, group] {
            body.u32(holder.number);
            body.bytes16(&holder.name);
        }
    }
    body.flag(attributes.acls.is_some());
    if let Some(Acls { access, default }) = &attributes.acls {
        for list in [access, default] {
            body.u16(u16::try_from(list.len()).unwrap_or(u16::MAX));
            for entry in list {
                body.u8(u8::try_from(entry.tag.number()).unwrap_or_default());
                body.u8(entry.permissions);
                body.u32(entry.number);
                body.bytes16(&entry.name);
            }
        }
    }
    body.flag(attributes.others.is_some());
    if let Some(others) = &attributes.others {
        body.u16(u16::try_from(others.len()).unwrap_or(u16::MAX));
        for Attribute { name, value } in others {
            body.bytes16(name);
            body.bytes32(value);
        }
    }
}

/// Reads attributes.
pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Attributes, Malformed> {
    let mut attributes = Attributes::default();
    if fields.flag()? {
        attributes.owner = Some(Owner { user: holder(fields)?, group: holder(fields)? });
    }
    if fields.flag()? {
        attributes.acls = Some(Acls { access: acl(fields)?, default: acl(fields)? });
    }
    if fields.flag()? {
        attributes.others = Some(others(fields)?);
    }
    if attributes.weight() > limits::ATTRIBUTES {
        return Err(Malformed("the attributes of a file are too many"));
    }
    Ok(attributes)
}

fn holder(fields: &mut Fields<'_>) -> Result<Holder, Malformed> {
    let number = fields.u32()?;
    let name = fields.bytes16(limits::ACCOUNT_NAME)?.to_vec();
    // The last number stands for nobody in the system's calls.
    if number == u32::MAX {
        Err(Malformed("an owner is nobody"))
    } else {
        Ok(Holder { number, name })
    }
}

fn acl(fields: &mut Fields<'_>) -> Result<Vec<AclEntry>, Malformed> {
    let count = usize::from(fields.u16()?);
    if count > limits::ACL_ENTRIES {
        return Err(Malformed("an access list is too long"));
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        let tag = AclTag::of(fields.u8()?.into());
        let tag = tag.ok_or(Malformed("an entry of an access list is about nobody"))?;
        let (permissions, number) = (fields.u8()?, fields.u32()?);
        let name = fields.bytes16(limits::ACCOUNT_NAME)?.to_vec();
        entries.push(AclEntry { tag, permissions, number, name });
    }
    Ok(entries)
}

fn others(fields: &mut Fields<'_>) -> Result<Vec<Attribute>, Malformed> {
    let count = usize::from(fields.u16()?);
    if count > limits::ATTRIBUTE_COUNT {
        return Err(Malformed("the attributes of a file are too many"));
    }
    let mut found: Vec<Attribute> = Vec::new();
    for _ in 0..count {
        let name = fields.bytes16(limits::FILE_NAME)?.to_vec();
        let value = fields.bytes32(limits::ATTRIBUTES)?.to_vec();
        if !is_of_users(&name) {
            return Err(Malformed("an attribute is none that a user may set"));
        }
        if found.last().is_some_and(|last| last.name >= name) {
            return Err(Malformed("attributes are not in the order of their names"));
        }
        found.push(Attribute { name, value });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(attributes: &Attributes) -> Result<Attributes, Malformed> {
        let mut body = Body::default();
        body.begin(0);
        encode(attributes, &mut body);
        let mut fields = Fields::new(&body.as_bytes()[1..]);
        let read = decode(&mut fields)?;
        fields.end()?;
        Ok(read)
    }

    fn with(names: &[&[u8]], size: usize) -> Attributes {
        let one = |name: &&[u8]| Attribute { name: name.to_vec(), value: vec![7; size] };
        Attributes { others: Some(names.iter().map(one).collect()), ..Attributes::default() }
    }

    #[test]
    fn attributes_survive_the_wire() {
        let holder = |number, name: &[u8]| Holder { number, name: name.to_vec() };
        let entry =
            AclEntry { tag: AclTag::User, permissions: 5, number: 33, name: b"www-data".to_vec() };
        let all = Attributes {
            owner: Some(Owner { user: holder(0, b"root"), group: holder(100_000, b"") }),
            acls: Some(Acls { access: vec![entry], default: Vec::new() }),
            ..with(&[b"user.a", b"user.b"], 65_536 / 2)
        };
        for attributes in [all, Attributes::default(), with(&[], 0)] {
            assert_eq!(decoded(&attributes).unwrap(), attributes);
        }
    }

    #[test]
    fn what_no_sender_may_say_is_refused() {
        let many: Vec<_> = (0..=limits::ATTRIBUTE_COUNT).map(|n| format!("user.{n:05}")).collect();
        let many: Vec<_> = many.iter().map(|name| name.as_bytes()).collect();
        for wrong in [
            with(&[b"security.capability"], 20),
            with(&[b"trusted.overlay.opaque"], 1),
            with(&[b"system.posix_acl_access"], 4),
            with(&[b"user."], 1),
            with(&[b"user.a\0b"], 1),
            with(&[b"user.a", b"user.a"], 1),
            with(&[b"user.b", b"user.a"], 1),
            with(&[b"user.a"], limits::ATTRIBUTES),
            with(&many, 0),
        ] {
            assert!(decoded(&wrong).is_err());
        }
        let nobody = Holder { number: u32::MAX, name: Vec::new() };
        let owner = Some(Owner { user: nobody, group: Holder::default() });
        assert!(decoded(&Attributes { owner, ..Attributes::default() }).is_err());
    }
}
