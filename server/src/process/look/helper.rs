//! A helper's own process: it becomes an account, then looks at what the server orders, one order
//! at a time.
//!
//! It is a process so that it can be killed: a thread that waits for a silent file server, or for a
//! user's file system, waits for ever. It executes the program anew, and so has nothing of the
//! server's memory.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::net::UnixStream,
    process::ExitCode,
};

use nix::unistd::{setgroups, setresgid, setresuid};
use rustix::{
    fd::{AsFd as _, OwnedFd},
    io::Errno,
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::set_no_new_privs,
};

use super::{
    find::{Unfound, find},
    message,
    order::{Answer, Failure, Order},
    roots::finding::find_roots,
    seal,
    walk::Reach,
};
use crate::process::{
    account::Account,
    ids::{Gid, Uid},
    plan::Credentials,
};

/// The first argument that makes the server's program a helper; the account to become follows.
pub(super) const ARGUMENT: &str = "_look";

/// Returns the argument for the account: `UID:GID:GROUP,GROUP`, or empty for the server's own.
pub(super) fn as_argument(credentials: Option<&Credentials>) -> String {
    let Some(Credentials { uid, gid, groups }) = credentials else { return String::new() };
    let groups: Vec<_> = groups.iter().map(Gid::to_string).collect();
    format!("{uid}:{gid}:{}", groups.join(","))
}

fn parse(argument: &str) -> Option<Credentials> {
    let mut fields = argument.split(':');
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let groups = fields.next()?.split(',').filter(|group| !group.is_empty());
    let groups = groups.map(|group| group.parse().ok()).collect::<Option<_>>()?;
    fields.next().is_none().then_some(Credentials { uid, gid, groups })
}

/// Runs as a helper, if the program was started as one: the socket is its standard input. Returns
/// `None` otherwise. To be called before anything else is done.
pub fn serve(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if arguments.next()? != ARGUMENT {
        return None;
    }
    let whom = arguments.next().unwrap_or_default();
    Some(match live(&whom) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads its messages; the server sees its end.
        Err(_) => ExitCode::FAILURE,
    })
}

fn live(whom: &OsStr) -> io::Result<()> {
    let whom = whom.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    if !whom.is_empty() {
        become_account(&parse(whom).ok_or(io::ErrorKind::InvalidInput)?)?;
    }
    // Other processes of the account must not be able to make this one answer what they like.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_no_new_privs(true)?;
    let mut stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    while let Some(order) = message::read(&mut stream)? {
        let (answer, passed) = carry_out(&order);
        message::write(&mut stream, &answer, &passed)?;
    }
    Ok(())
}

/// Sets groups, group and user, in this order; with the user, all capabilities are given up.
fn become_account(Credentials { uid, gid, groups }: &Credentials) -> io::Result<()> {
    let groups: Vec<nix::unistd::Gid> = groups.iter().copied().map(Into::into).collect();
    let (user, gid) = ((*uid).into(), (*gid).into());
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(user, user, user)?;
    let root = Uid::ROOT.into();
    if !uid.is_root() && setresuid(root, root, root).is_ok() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(())
}

pub(super) fn carry_out(order: &Order) -> (Answer, Vec<OwnedFd>) {
    let done = match order {
        Order::Account(name) => Ok((Answer::Account(Account::find(name)), Vec::new())),
        Order::Find(order) => find(order, Reach::Anywhere)
            .map(|found| (Answer::Found(found.facts), vec![found.folder])),
        Order::Roots(order) => Ok(match find_roots(order) {
            Ok((roots, folders)) => (Answer::Roots(roots), folders),
            Err(failure) => (Answer::NoRoots(failure), Vec::new()),
        }),
        Order::Copy(path) => seal::copy(path, Reach::Anywhere)
            .map(|(copy, key)| (Answer::Copied(key), vec![copy.into()])),
    };
    done.unwrap_or_else(|unfound| {
        let failure = match unfound {
            Unfound::Failed(failure) => failure,
            // Nothing is out of the reach of a helper.
            Unfound::OutOfReach => Failure::folder("/".into(), Errno::PERM),
        };
        (Answer::Failed(failure), Vec::new())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_to_become_survives_the_way() {
        for groups in [vec![], vec![7], vec![7, 9, u32::MAX]] {
            let groups = groups.into_iter().map(Gid::from_raw).collect();
            let credentials = Credentials { uid: Uid::from_raw(1), gid: Gid::from_raw(2), groups };
            assert_eq!(parse(&as_argument(Some(&credentials))), Some(credentials));
        }
        for wrong in ["", "1", "1:2", "1:2:x", "1:2:3:4", "-1:2:3", "a:b:c"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn another_start_of_the_program_is_no_helper_s() {
        assert!(serve(std::iter::empty()).is_none());
        assert!(serve(["--dir", ""].map(OsString::from).into_iter()).is_none());
    }
}
