//! What is told of an entry besides content, permission bits and times, if it was asked for.

use std::{
    io::Write,
    os::fd::{AsFd, OwnedFd},
};

use rustix::fs::{Mode, OFlags};

use super::{Met, Sender};
use crate::{
    facts::{
        Attributes, FileFacts, Table,
        acl::{self, AclEntry, AclTag},
        attributes::{self, Acls, Attribute, Holder, Owner},
    },
    failure::{Failure, FailureKind},
    limits,
    report::FileKind,
};

impl<W: Write> Sender<'_, W> {
    /// Returns what is told of an entry, or nothing if nothing was asked for.
    ///
    /// # Errors
    /// It cannot be read, or there is too much of it.
    pub(super) fn attributes_of(
        &mut self,
        met: &Met,
        kind: FileKind,
    ) -> Result<Option<Attributes>, Failure> {
        let asked = &self.options.metadata;
        if !asked.asks_sender() {
            return Ok(None);
        }
        let (acls, others) = (asked.acls, asked.xattrs);
        let owner = met.facts.filter(|_| asked.owner).map(|facts| self.owner(facts.owner));
        let mut told = Attributes { owner, ..Attributes::default() };
        if !(acls || others) || !matches!(kind, FileKind::File | FileKind::Folder) {
            return Ok(Some(told).filter(|told| told.owner.is_some()));
        }
        let file = match kind {
            FileKind::Folder => self.open_current()?,
            _ => self.open_file(met)?,
        };
        if acls {
            let access = self.acl(&file, acl::ACCESS)?;
            let default = match kind {
                FileKind::Folder => self.acl(&file, acl::DEFAULT)?,
                _ => Vec::new(),
            };
            told.acls = Some(Acls { access, default });
        }
        if others {
            told.others = Some(others_of(&file)?);
        }
        if told.weight() > limits::ATTRIBUTES {
            return Err(too_much());
        }
        Ok(Some(told))
    }

    fn owner(&self, (user, group): (u32, u32)) -> Owner {
        let holder = |table: &Table, number| Holder { number, name: name_of(table, number) };
        Owner {
            user: holder(self.accounts.users(), user),
            group: holder(self.accounts.groups(), group),
        }
    }

    /// Reads an access list, with the names that this host knows.
    fn acl(&self, file: impl AsFd, which: &[u8]) -> Result<Vec<AclEntry>, Failure> {
        let Some(value) = attributes::get(file, which).map_err(unread)? else {
            return Ok(Vec::new());
        };
        let Some(mut entries) = acl::parse(&value) else {
            let text = format!(
                "its access list has more than {} entries, or is none",
                limits::ACL_ENTRIES
            );
            return Err(Failure::new(FailureKind::TooBig, text));
        };
        for entry in &mut entries {
            match entry.tag {
                AclTag::User => entry.name = name_of(self.accounts.users(), entry.number),
                AclTag::Group => entry.name = name_of(self.accounts.groups(), entry.number),
                _ => entry.number = 0,
            }
        }
        Ok(entries)
    }

    /// Returns the descriptor of the folder that the walk has just entered.
    fn open_current(&mut self) -> Result<OwnedFd, Failure> {
        let folder = self.walk.current().ok_or_else(|| {
            Failure::new(FailureKind::Io, "the folder was left before it was looked at")
        })?;
        let open = self.folders.open(folder)?;
        open.try_clone().map_err(|error| Failure::of_io(&error, "look at the folder"))
    }

    /// Opens a file that was met. Whatever stands there now, opening it does not wait.
    fn open_file(&mut self, met: &Met) -> Result<OwnedFd, Failure> {
        let folder = self.folders.open(&met.folder)?;
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, &*met.entry, flags, Mode::empty());
        let file = file.map_err(|error| Failure::of(error, "open it"))?;
        let facts = FileFacts::of(&file).map_err(|error| Failure::of(error, "look at it"))?;
        if met.facts.is_none_or(|met| met.id != facts.id) {
            return Err(Failure::new(FailureKind::Changed, "something else took its place"));
        }
        if met.is_source {
            // Nothing of it is told that may not be read, at the size that it has by now.
            self.tally.may_read(&met.path(), file.as_fd(), facts.size)?;
        }
        Ok(file)
    }
}

/// Returns the name of a user or a group; it is empty if there is none that the other end takes.
fn name_of(table: &Table, number: u32) -> Vec<u8> {
    let name = table.name(number);
    if name.len() <= limits::ACCOUNT_NAME { name.to_vec() } else { Vec::new() }
}

/// Reads the attributes of users.
fn others_of(file: impl AsFd) -> Result<Vec<Attribute>, Failure> {
    let file = file.as_fd();
    let names = attributes::names(file).map_err(unread)?;
    if names.len() > limits::ATTRIBUTE_COUNT {
        return Err(too_much());
    }
    let (mut others, mut bytes) = (Vec::new(), 0);
    for name in names {
        // One that was taken off meanwhile is not there.
        if let Some(value) = attributes::get(file, &name).map_err(unread)? {
            bytes += name.len() + value.len();
            others.push(Attribute { name, value });
        }
        if bytes > limits::ATTRIBUTES {
            return Err(too_much());
        }
    }
    Ok(others)
}

fn unread(error: rustix::io::Errno) -> Failure {
    Failure::of(error, "read its attributes")
}

fn too_much() -> Failure {
    let (count, bytes) = (limits::ATTRIBUTE_COUNT, limits::ATTRIBUTES);
    let text = format!("it has more than {count} attributes, or more than {bytes} bytes of them");
    Failure::new(FailureKind::TooBig, text)
}
