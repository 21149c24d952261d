//! Where a start failed.

use std::io;

/// Where a child failed before it executed its program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(in crate::process) enum Stage {
    /// No child came to be.
    Clone = 1,
    /// A session and group of its own.
    Session,
    /// Its three descriptors.
    Descriptors,
    /// Capabilities and no_new_privs.
    Privileges,
    /// setgroups(2).
    Groups,
    /// setresgid(2).
    Group,
    /// setresuid(2).
    User,
    /// It could become root again.
    Regained,
    /// The working folder.
    Folder,
    /// execve(2).
    Exec,
}

impl Stage {
    pub(super) const ALL: [Self; 10] = [
        Self::Clone,
        Self::Session,
        Self::Descriptors,
        Self::Privileges,
        Self::Groups,
        Self::Group,
        Self::User,
        Self::Regained,
        Self::Folder,
        Self::Exec,
    ];
}

/// Why there is no process.
#[derive(Debug)]
pub(in crate::process) struct Failed {
    pub(in crate::process) stage: Stage,
    pub(in crate::process) error: io::Error,
}
