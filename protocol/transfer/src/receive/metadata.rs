//! Owners, access lists and attributes: what an entry is to have besides content, permission bits and times.

use std::{
    cell::Cell,
    io::Write,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    sync::Arc,
};

use rustix::{
    fs::Gid,
    process::{getegid, getgroups},
    thread::CapabilitySet,
};

use super::{
    Receiver,
    owner::{WantedOwner, owns, set_owner},
    target,
};
use crate::{
    facts::{
        AccountNames, Attributes, FileFacts, Table,
        acl::{self, AclEntry},
        attributes::{self, Acls, Attribute, Holder},
    },
    failure::{Failure, FailureKind, TransferError},
    limits,
    options::{MetadataOptions, TransferOptions},
    report::FileNotes,
};

/// The name of an access list, and its attribute, or nothing where there is to be none.
type WantedList = (&'static [u8], Option<Vec<u8>>);

/// What an entry is to have. Where something is not wanted, it has what it has.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) owner: WantedOwner,
    lists: Option<[WantedList; 2]>,
    others: Option<Vec<Attribute>>,
    _share: Option<Share>,
}

/// A share of the memory for attributes.
#[derive(Debug)]
struct Share {
    held: Rc<Cell<usize>>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.set(self.held.get().saturating_sub(self.bytes));
    }
}

impl Wanted {
    /// Returns whether the access list of a file that is replaced is not kept, and whether its attributes are not.
    pub(super) fn replaces(&self) -> (bool, bool) {
        (self.lists.is_some(), self.others.is_some())
    }

    /// Returns whether nothing is wanted that only an open file tells.
    fn is_plain(&self) -> bool {
        self.lists.is_none() && self.others.is_none()
    }

    /// Returns what of it an open file lacks.
    fn lacking(&self, file: impl AsFd, is_folder: bool) -> Result<FileNotes, Failure> {
        let file = file.as_fd();
        let looked = |error| Failure::of(error, "look at its attributes");
        let mut notes = FileNotes::default();
        for (name, value) in self.lists(is_folder) {
            let there = attributes::get(file, name).map_err(looked)?;
            notes = notes.with_if(there.as_ref() != value.as_ref(), FileNotes::ACL);
        }
        if let Some(others) = &self.others {
            let names = attributes::names(file).map_err(looked)?;
            let mut is_same = names.len() == others.len();
            for (name, other) in names.iter().zip(others) {
                is_same = is_same
                    && *name == other.name
                    && attributes::get(file, name).map_err(looked)?.as_ref() == Some(&other.value);
            }
            notes = notes.with_if(!is_same, FileNotes::XATTRS);
        }
        Ok(notes)
    }

    /// Returns the access lists that there are to be, or are to be none.
    fn lists(&self, is_folder: bool) -> impl Iterator<Item = (&'static [u8], &Option<Vec<u8>>)> {
        let lists = self.lists.iter().flatten().map(|(name, value)| (*name, value));
        lists.filter(move |(name, _)| is_folder || *name != acl::DEFAULT)
    }

    /// Sets the access lists of an open file. They change its permission bits.
    fn set_lists(&self, file: impl AsFd, is_folder: bool) -> Result<(), Failure> {
        let file = file.as_fd();
        for (name, value) in self.lists(is_folder) {
            let set = match value {
                Some(value) => attributes::set(file, name, value),
                None => attributes::remove(file, name),
            };
            set.map_err(|error| Failure::of(error, "set its access list"))?;
        }
        Ok(())
    }

    /// Sets the attributes of an open file, and removes what others it has.
    fn set_others(&self, file: impl AsFd) -> Result<(), Failure> {
        let (file, Some(others)) = (file.as_fd(), &self.others) else {
            return Ok(());
        };
        let set = |error| Failure::of(error, "set its attributes");
        for name in attributes::names(file).map_err(set)? {
            if !others.iter().any(|other| other.name == name) {
                attributes::remove(file, &name).map_err(set)?;
            }
        }
        for Attribute { name, value } in others {
            if attributes::get(file, name).map_err(set)?.as_ref() != Some(value) {
                attributes::set(file, name, value).map_err(set)?;
            }
        }
        Ok(())
    }
}

/// What turns the attributes that are announced into what an entry is to have here.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    names: Arc<AccountNames>,
    /// The owner of everything.
    chown: WantedOwner,
    /// This process may give files to anybody.
    may_chown: bool,
    /// The groups that this process may give its files to.
    groups: Vec<u32>,
    account: u32,
    /// What came for the entry that comes next.
    announced: Option<(Attributes, Share)>,
    held: Rc<Cell<usize>>,
}

impl Metadata {
    /// Finds out what this process may do, and the owner that everything is to have.
    ///
    /// # Errors
    /// `no_such_user`: there is no such user or group here.
    pub(super) fn new(
        names: Arc<AccountNames>,
        options: &MetadataOptions,
    ) -> Result<Self, Failure> {
        let capabilities = rustix::thread::capabilities(None);
        let may_chown =
            capabilities.is_ok_and(|sets| sets.effective.contains(CapabilitySet::CHOWN));
        let groups = getgroups().unwrap_or_default().into_iter().chain([getegid()]);
        let chown = match &options.chown {
            Some(change) => (
                number(names.users(), change.user(), "user")?,
                number(names.groups(), change.group(), "group")?,
            ),
            None => (None, None),
        };
        Ok(Self {
            names,
            chown,
            may_chown,
            groups: groups.map(Gid::as_raw).collect(),
            account: rustix::process::geteuid().as_raw(),
            announced: None,
            held: Rc::default(),
        })
    }

    /// Returns the owner that everything is to have, whatever comes.
    pub(super) fn owner_of_all(&self) -> WantedOwner {
        self.chown
    }

    /// Keeps what came for the next entry.
    ///
    /// # Errors
    /// It was not asked for, comes a second time, or is more than there is memory for.
    pub(super) fn announce(
        &mut self,
        said: Attributes,
        options: &MetadataOptions,
    ) -> Result<(), TransferError> {
        let is_asked = (said.owner.is_none() || options.owner)
            && (said.acls.is_none() || options.acls)
            && (said.others.is_none() || options.xattrs);
        if !is_asked || self.announced.is_some() {
            return Err(TransferError::Protocol("it tells of attributes that nobody asked for"));
        }
        let bytes = said.weight();
        if self.held.get() + bytes > limits::ATTRIBUTES_HELD {
            return Err(TransferError::Protocol("its attributes are more than there is room for"));
        }
        self.held.set(self.held.get() + bytes);
        self.announced = Some((said, Share { held: Rc::clone(&self.held), bytes }));
        Ok(())
    }

    /// Checks that what came before a message of this kind is for an entry that has attributes. The sender may give up.
    pub(super) fn check(&self, kind: u8) -> Result<(), TransferError> {
        if self.announced.is_none() || matches!(kind, 2 | 4 | 5 | 15) {
            return Ok(());
        }
        Err(TransferError::Protocol("attributes come before what has none"))
    }

    /// Returns what the entry that comes now is to have.
    ///
    /// # Errors
    /// `corrupt`: an access list is none.
    pub(super) fn wanted(&mut self) -> Result<Wanted, Failure> {
        let mut wanted = Wanted { owner: self.chown, ..Wanted::default() };
        let Some((said, share)) = self.announced.take() else {
            return Ok(wanted);
        };
        if let Some(owner) = &said.owner {
            let user = here(self.names.users(), &owner.user);
            let group = here(self.names.groups(), &owner.group);
            wanted.owner = (wanted.owner.0.or(Some(user)), wanted.owner.1.or(Some(group)));
        }
        if let Some(Acls { access, default }) = said.acls {
            wanted.lists =
                Some([(acl::ACCESS, self.list(access)?), (acl::DEFAULT, self.list(default)?)]);
        }
        (wanted.others, wanted._share) = (said.others, Some(share));
        Ok(wanted)
    }

    /// Returns the attribute of an access list, with the numbers of this host.
    fn list(&self, mut entries: Vec<AclEntry>) -> Result<Option<Vec<u8>>, Failure> {
        for entry in &mut entries {
            let table = match entry.tag {
                acl::AclTag::User => self.names.users(),
                acl::AclTag::Group => self.names.groups(),
                _ => continue,
            };
            let name = std::mem::take(&mut entry.name);
            entry.number = here(table, &Holder { number: entry.number, name });
        }
        entries.sort_by_key(|entry| (entry.tag, entry.number));
        if !acl::is_valid(&entries) {
            let text = "its access list is none, or names somebody twice here";
            return Err(Failure::new(FailureKind::Corrupt, text));
        }
        Ok((!entries.is_empty()).then(|| acl::value(&entries)))
    }

    /// Checks that this process may give a file to whom it is for. `now` is who has it, if it is not a new one.
    ///
    /// # Errors
    /// `permission`.
    pub(super) fn check_owner(
        &self,
        (user, group): WantedOwner,
        now: Option<(u32, u32)>,
    ) -> Result<(), Failure> {
        let has_user = now.map_or(self.account, |(user, _)| user);
        let is_refused = user.is_some_and(|user| user != has_user);
        let lacks_group = group.is_some_and(|group| {
            now.is_none_or(|(_, has)| has != group) && !self.groups.contains(&group)
        });
        let text = match (self.may_chown, is_refused, lacks_group) {
            (true, _, _) | (_, false, false) => return Ok(()),
            (_, true, _) => "only root can give a file to another owner",
            (..) => "only root can give a file to a group that the account is not in",
        };
        Err(Failure::new(FailureKind::Permission, text))
    }
}

/// Returns the number that a user or a group of the sender has here.
fn here(table: &Table, holder: &Holder) -> u32 {
    let known = Some(&*holder.name).filter(|name| !name.is_empty());
    known.and_then(|name| table.number(name)).unwrap_or(holder.number)
}

/// Returns the number of a user or a group that was typed.
fn number(table: &Table, typed: Option<&str>, what: &str) -> Result<Option<u32>, Failure> {
    let Some(typed) = typed else {
        return Ok(None);
    };
    let number = table.number(typed.as_bytes()).or_else(|| typed.parse().ok());
    match number.filter(|number| *number != u32::MAX) {
        Some(number) => Ok(Some(number)),
        None => {
            let text = format!("there is no {what} {typed:?} where the files are received");
            Err(Failure::new(FailureKind::NoSuchUser, text))
        }
    }
}

/// Returns whether permission bits are set, and not left to the umask and to what is there.
pub(super) fn sets_modes(options: &TransferOptions) -> bool {
    options.preserve || options.metadata.chmod.is_some()
}

impl<W: Write> Receiver<'_, W> {
    /// Returns the permission bits that are meant by those of the source.
    pub(super) fn changed_mode(&self, mode: u32, is_folder: bool) -> u32 {
        match &self.options.metadata.chmod {
            Some(change) => change.apply(mode, is_folder, self.umask),
            None => mode,
        }
    }

    /// Returns what of the wanted a file lacks that is there.
    pub(super) fn lacking(
        &self,
        folder: &OwnedFd,
        name: &[u8],
        found: &FileFacts,
        wanted: &Wanted,
    ) -> Result<FileNotes, Failure> {
        let notes =
            FileNotes::default().with_if(!owns(wanted.owner, found.owner), FileNotes::OWNER);
        if wanted.is_plain() {
            return Ok(notes);
        }
        let file = target::open_entry(folder, name);
        let file = file.map_err(|error| Failure::of(error, "open what is there"))?;
        Ok(notes.with(wanted.lacking(&file, false)?))
    }

    /// Sets the owner of an open file, its access list, permission bits and attributes, in this order: a change of the owner
    /// takes rights off, and an access list changes the bits.
    pub(super) fn equip(
        &self,
        file: impl AsFd,
        wanted: &Wanted,
        mode: Option<u32>,
    ) -> Result<(), Failure> {
        let file = file.as_fd();
        set_owner(file, wanted.owner)?;
        wanted.set_lists(file, false)?;
        if let Some(mode) = mode {
            target::set_mode(file, mode)?;
        }
        wanted.set_others(file)
    }

    /// Sets the access lists and attributes of a folder that entries will come for, unless it has them. Returns whether
    /// it was given something, and the permission bits that it has now.
    pub(super) fn equip_folder(
        &self,
        folder: impl AsFd,
        wanted: &Wanted,
        is_made: bool,
    ) -> Result<Option<u32>, Failure> {
        let folder = folder.as_fd();
        if wanted.is_plain() || wanted.lacking(folder, true)? == FileNotes::default() {
            return Ok(None);
        }
        let facts = FileFacts::of(folder).map_err(|error| Failure::of(error, "look at it"))?;
        if self.options.dry_run {
            return Ok(Some(facts.mode));
        }
        wanted.set_lists(folder, true)?;
        if is_made {
            // It is nobody's business until it is finished.
            target::set_mode(folder, facts.mode)?;
        }
        wanted.set_others(folder)?;
        let facts = FileFacts::of(folder).map_err(|error| Failure::of(error, "look at it"))?;
        Ok(Some(facts.mode))
    }
}
