//! What a file has besides content, permission bits and times: its owner, its access lists, and attributes of users.

use std::os::fd::{AsFd, AsRawFd as _};

use rustix::{fs::XattrFlags, io::Errno};

use super::acl::AclEntry;

/// The bytes of all names of attributes, and of the value of one, that a file system allows.
const MOST: usize = 64 * 1024;

/// The bytes that most lists of names and most values have room in.
const USUAL: usize = 1_024;

/// What the names of attributes of users begin with.
const USER: &[u8] = b"user.";

/// A user or a group, by number and by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) number: u32,
    /// It is empty if the sender knows none.
    pub(crate) name: Vec<u8>,
}

/// Who owns a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) user: Holder,
    pub(crate) group: Holder,
}

/// The access lists of a file or a folder. Without entries there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acls {
    pub(crate) access: Vec<AclEntry>,
    /// What is made in the folder gets this one.
    pub(crate) default: Vec<AclEntry>,
}

/// An attribute of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// What was asked for of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) owner: Option<Owner>,
    pub(crate) acls: Option<Acls>,
    pub(crate) others: Option<Vec<Attribute>>,
}

impl Attributes {
    /// Returns the bytes that these take. Both ends count them alike.
    pub(crate) fn weight(&self) -> usize {
        let lists = self.acls.iter().flat_map(|acls| acls.access.iter().chain(&acls.default));
        let others = self.others.iter().flatten();
        lists.map(|entry| 16 + entry.name.len()).sum::<usize>()
            + others.map(|one| 32 + one.name.len() + one.value.len()).sum::<usize>()
    }
}

/// Returns whether this is the name of an attribute that users may set. Those of `security` and `trusted` say what a
/// program may do or who has judged it, and those of `system` belong to the file system.
pub(crate) fn is_of_users(name: &[u8]) -> bool {
    name.len() > USER.len()
        && name.len() <= usize::from(u8::MAX)
        && name.starts_with(USER)
        && !name.contains(&0)
}

/// Returns the names of the attributes of users that an open file has, in their order.
pub(crate) fn names(file: impl AsFd) -> Result<Vec<Vec<u8>>, Errno> {
    let file = file.as_fd();
    let all = read(|room| match rustix::fs::flistxattr(file, &mut *room) {
        Err(Errno::BADF) => rustix::fs::listxattr(proc_path(file), room),
        done => done,
    });
    let all = match all {
        // It has none, or cannot even be asked.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        all => all?,
    };
    let all = all.split(|byte| *byte == 0).filter(|name| is_of_users(name));
    let mut names: Vec<_> = all.map(<[u8]>::to_vec).collect();
    names.sort_unstable();
    Ok(names)
}

/// Returns the value of an attribute of an open file, or nothing if it does not have it.
pub(crate) fn get(file: impl AsFd, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let file = file.as_fd();
    let value = read(|room| match rustix::fs::fgetxattr(file, name, &mut *room) {
        Err(Errno::BADF) => rustix::fs::getxattr(proc_path(file), name, room),
        done => done,
    });
    match value {
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
        value => value.map(Some),
    }
}

/// Sets an attribute of an open file, also of one that was opened by `O_PATH`.
pub(crate) fn set(file: impl AsFd, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    let (file, flags) = (file.as_fd(), XattrFlags::empty());
    match rustix::fs::fsetxattr(file, name, value, flags) {
        Err(Errno::BADF) => rustix::fs::setxattr(proc_path(file), name, value, flags),
        done => done,
    }
}

/// Takes an attribute off an open file, if it has it.
pub(crate) fn remove(file: impl AsFd, name: &[u8]) -> Result<(), Errno> {
    let file = file.as_fd();
    let removed = match rustix::fs::fremovexattr(file, name) {
        Err(Errno::BADF) => rustix::fs::removexattr(proc_path(file), name),
        done => done,
    };
    match removed {
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        done => done,
    }
}

/// Returns the path that leads to an open file, whatever it was opened for.
pub(crate) fn proc_path(file: impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}

/// Reads what a call puts into the room that it gets, which has to be large enough.
fn read(mut call: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut usual = [0; USUAL];
    match call(&mut usual) {
        Ok(length) => Ok(usual.get(..length).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {
            let mut room = vec![0; MOST];
            let length = call(&mut room)?;
            room.truncate(length);
            Ok(room)
        }
        Err(error) => Err(error),
    }
}
