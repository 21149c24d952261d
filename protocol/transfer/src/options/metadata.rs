//! What files are to have besides content, permission bits and times.

use std::str::FromStr;

use super::{
    UNKNOWN,
    mode_change::{self, ModeChange},
};
use crate::{
    fields::{Body, Fields, Malformed},
    limits,
};

/// What files are to have besides content, permission bits and times. Without any of these a new file belongs to the
/// account that receives, and a file that is replaced keeps what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataOptions {
    /// Owner and group are those of the source, by name where both ends know it, else by number.
    pub owner: bool,
    /// Attributes of users are those of the source, and no others.
    pub xattrs: bool,
    /// Access lists are those of the source, and no others.
    pub acls: bool,
    /// Owner or group that everything gets, whoever has it at the source.
    pub chown: Option<OwnerChange>,
    /// What is made of the source's permission bits. The result is set, also without `preserve` and on files that were
    /// there.
    pub chmod: Option<ModeChange>,
}

/// An owner, a group, or both, by name or number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerChange {
    user: Option<String>,
    group: Option<String>,
}

/// A text that names neither owner nor group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no owner")]
pub struct OwnerError(String);

impl OwnerChange {
    /// Returns the owner's name or number.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns the group's name or number.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    fn new(user: &str, group: &str) -> Option<Self> {
        let is_name = |text: &str| {
            text.len() <= limits::ACCOUNT_NAME && !text.contains([':', '/', '\n', '\0'])
        };
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let change = Self { user: given(user), group: given(group) };
        let is_one = change.user.is_some() || change.group.is_some();
        (is_one && is_name(user) && is_name(group)).then_some(change)
    }
}

impl FromStr for OwnerChange {
    type Err = OwnerError;

    /// Reads `USER`, `USER:GROUP` or `:GROUP`.
    fn from_str(text: &str) -> Result<Self, OwnerError> {
        let read = match text.split_once(':') {
            None => Self::new(text, ""),
            // chmod's `USER:` means the user's own group, which the other end would have to look up.
            Some((_, "")) => None,
            Some((user, group)) => Self::new(user, group),
        };
        read.ok_or_else(|| OwnerError(text.chars().take(limits::ACCOUNT_NAME).collect()))
    }
}

impl MetadataOptions {
    /// Returns whether users and groups are known by name.
    #[must_use]
    pub fn needs_names(&self) -> bool {
        self.owner || self.acls || self.chown.is_some()
    }

    /// Returns whether the sender tells what its files have besides.
    pub(crate) fn asks_sender(&self) -> bool {
        self.owner || self.xattrs || self.acls
    }

    /// Returns the switches on the wire, from the lowest bit.
    pub(super) fn bits(&self) -> u32 {
        let switches =
            [self.owner, self.xattrs, self.acls, self.chown.is_some(), self.chmod.is_some()];
        let bits = switches.into_iter().enumerate().map(|(place, is_on)| u32::from(is_on) << place);
        bits.fold(0, |bits, bit| bits | bit)
    }

    /// Writes what the switches say that follows.
    pub(super) fn encode(&self, body: &mut Body) {
        if let Some(chown) = &self.chown {
            body.bytes16(chown.user().unwrap_or_default().as_bytes());
            body.bytes16(chown.group().unwrap_or_default().as_bytes());
        }
        if let Some(chmod) = &self.chmod {
            body.bytes16(chmod.as_str().as_bytes());
        }
    }

    /// Reads what follows these switches.
    pub(super) fn decode(bits: u32, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let has = |place: u32| bits >> place & 1 == 1;
        if bits >> 5 != 0 {
            return Err(UNKNOWN);
        }
        let mut options = Self { owner: has(0), xattrs: has(1), acls: has(2), ..Self::default() };
        if has(3) {
            let user = text(fields, limits::ACCOUNT_NAME)?;
            let change = OwnerChange::new(user, text(fields, limits::ACCOUNT_NAME)?);
            options.chown = Some(change.ok_or(Malformed("an owner cannot be used"))?);
        }
        if has(4) {
            let change = text(fields, mode_change::LONGEST)?.parse();
            options.chmod = Some(change.map_err(|_| Malformed("a mode cannot be used"))?);
        }
        Ok(options)
    }
}

fn text<'a>(fields: &mut Fields<'a>, most: usize) -> Result<&'a str, Malformed> {
    let bytes = fields.bytes16(most)?;
    std::str::from_utf8(bytes).map_err(|_| Malformed("an option is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_read_as_chown_reads_it() {
        let read = |text: &str| text.parse::<OwnerChange>();
        let parts = |text: &str| {
            let change = read(text).unwrap();
            (change.user().map(str::to_owned), change.group().map(str::to_owned))
        };
        let (app, web) = (Some("app".to_owned()), Some("web".to_owned()));
        assert_eq!(parts("app"), (app.clone(), None));
        assert_eq!(parts("app:web"), (app, web.clone()));
        assert_eq!(parts(":web"), (None, web));
        assert_eq!(parts("1000:33"), (Some("1000".to_owned()), Some("33".to_owned())));
        let long = "x".repeat(256);
        for text in ["", ":", "app:", "a:b:c", "a/b", &long] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn options_survive_the_wire() {
        for options in [
            MetadataOptions::default(),
            MetadataOptions { owner: true, acls: true, ..MetadataOptions::default() },
            MetadataOptions {
                xattrs: true,
                chown: Some(":33".parse().unwrap()),
                chmod: Some("u+x,go=".parse().unwrap()),
                ..MetadataOptions::default()
            },
        ] {
            let mut body = Body::default();
            body.begin(0);
            options.encode(&mut body);
            let mut fields = Fields::new(&body.as_bytes()[1..]);
            assert_eq!(MetadataOptions::decode(options.bits(), &mut fields).unwrap(), options);
            fields.end().unwrap();
        }
        let decoded = |bits, fields: &[u8]| MetadataOptions::decode(bits, &mut Fields::new(fields));
        assert!(decoded(1 << 5, &[]).is_err());
        assert!(decoded(8, &[0, 0, 0, 0]).is_err());
        assert!(decoded(16, &[0, 1, b'9']).is_err());
    }
}
