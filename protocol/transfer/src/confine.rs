//! Confinement of a process that only transfers: it gains no privileges, and the kernel lets it touch nothing but the
//! folders that it was given.

use std::{io, os::fd::BorrowedFd};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
};

/// What a confined process may do beneath a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It reads files and folders.
    Reads,
    /// It also writes, makes, renames and removes them.
    Writes,
}

/// How far a process is confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confinement {
    /// It gains no privileges, and that is all: the kernel has no Landlock, or does not use it.
    NoNewPrivileges,
    /// Some of what Landlock can forbid is forbidden: the kernel knows less of it than this program.
    Partial,
    /// All of it is forbidden.
    Full,
}

/// Confines this thread, and the threads and processes that it starts from now on, for good. Files that are open stay
/// as they are. Call it before a byte is read, and before any other thread starts.
///
/// # Errors
/// The process cannot give up the gaining of privileges, or Landlock fails although the kernel has it.
pub fn confine(roots: &[(BorrowedFd<'_>, Reach)]) -> io::Result<Confinement> {
    rustix::thread::set_no_new_privs(true)?;
    restrict(roots).map_err(io::Error::other)
}

fn restrict(roots: &[(BorrowedFd<'_>, Reach)]) -> Result<Confinement, RulesetError> {
    // Everything that these know is forbidden unless a rule permits it.
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::from_all(ABI::V5))?
        .create()?;
    for (root, reach) in roots {
        ruleset = ruleset.add_rule(PathBeneath::new(*root, access(*reach)))?;
    }
    let status = ruleset.restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Confinement::Full,
        RulesetStatus::PartiallyEnforced => Confinement::Partial,
        RulesetStatus::NotEnforced => Confinement::NoNewPrivileges,
    })
}

fn access(reach: Reach) -> BitFlags<AccessFs> {
    let reads = AccessFs::ReadFile | AccessFs::ReadDir;
    match reach {
        Reach::Reads => reads,
        Reach::Writes => {
            reads
                | AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::MakeReg
                | AccessFs::MakeDir
                | AccessFs::MakeSym
                | AccessFs::RemoveFile
                | AccessFs::RemoveDir
                | AccessFs::Refer
        }
    }
}
