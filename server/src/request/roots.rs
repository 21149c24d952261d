//! From a transfer to a plan: finds what it begins with, and has the server's own program carry it
//! out.

use std::{any::Any, ffi::OsString, os::fd::OwnedFd, path::PathBuf, sync::Arc};

use rcmd_protocol::{
    frame::Lock,
    outcome::{ErrorKind, WireError},
    request::{TransferRequest, TransferVerb},
};

use super::finder::ExecContext;
use crate::{
    job::Rejection,
    policy::{Access, access::FileFacts},
    process::{
        Account, Folder, Handed, OwnProgram, Plan, SpawnError,
        environment::JOB,
        look::roots::{FindRoots, FoundRoots, Root, WantedRoots},
    },
    transfer::{ARGUMENT, order::TransferOrder},
};

/// Finds what a transfer begins with. Returns the plan of the process that carries it out, and what
/// must be permitted, under the lock that the request takes.
///
/// # Errors
/// If there is no such place, or none of the paths leads anywhere.
pub(super) async fn look(
    user: &str,
    stdin: bool,
    lock: Option<&Lock>,
    transfer: TransferRequest<'_>,
    exec: ExecContext<'_>,
) -> Result<(Plan, Vec<Access>), Rejection> {
    let ExecContext { account, job, finder, own, .. } = exec;
    let own = own.ok_or(SpawnError::NoProgram)?;
    let wanted = match transfer.verb {
        TransferVerb::Receive { is_itself, has_several, .. } => {
            WantedRoots::Place { is_itself, has_several }
        }
        TransferVerb::Send { is_literal } => WantedRoots::Sources { is_literal },
        TransferVerb::List { .. } => WantedRoots::Sources { is_literal: true },
    };
    let order = FindRoots { home: account.home.clone(), wanted, paths: transfer.paths.to_vec() };
    let (found, room) = finder.roots(user, account, order).await?;
    let accesses = accesses(transfer.verb, account, lock, &found);
    let FoundRoots { folders, roots } = found;
    let folders = counted(folders.into_iter().map(|(folder, _)| folder), room.as_ref());
    let order = order_for(transfer.verb, roots, folders.len())?;
    let handed = Handed { folders, order };
    Ok((plan(own, account, job, stdin, handed), accesses))
}

/// Returns folders for a plan. The room for them is free again when the last of them is closed.
fn counted(
    folders: impl Iterator<Item = OwnedFd>,
    room: Option<&Arc<dyn Any + Send + Sync>>,
) -> Vec<Folder> {
    folders.map(|folder| Folder::counted(folder, room.cloned())).collect()
}

/// Returns what is judged: each root, by the path without links that its descriptor has.
fn accesses(
    verb: TransferVerb,
    account: &Account,
    lock: Option<&Lock>,
    found: &FoundRoots,
) -> Vec<Access> {
    let roots = found.roots.iter().filter_map(|root| Some((found.path(root)?, root.size())));
    let facts = roots.map(|(path, size)| FileFacts {
        path,
        account: account.name.clone(),
        uid: account.uid,
        size,
        lock: lock.map(|lock| lock.name.clone()),
    });
    match verb {
        // What there is of the files is told to the client.
        TransferVerb::Receive { is_delta: true, .. } => {
            facts.flat_map(|facts| [Access::Write(facts.clone()), Access::Read(facts)]).collect()
        }
        TransferVerb::Receive { is_delta: false, .. } => facts.map(Access::Write).collect(),
        TransferVerb::Send { .. } | TransferVerb::List { .. } => facts.map(Access::Read).collect(),
    }
}

fn order_for(verb: TransferVerb, roots: Vec<Root>, folders: usize) -> Result<Arc<[u8]>, WireError> {
    let order = match verb {
        TransferVerb::List { is_long } => TransferOrder::List { roots, folders, is_long },
        TransferVerb::Receive { is_delta, .. } => {
            TransferOrder::Receive { roots, folders, is_delta }
        }
        TransferVerb::Send { .. } => TransferOrder::Send { roots, folders },
    };
    order.encode().map_err(|error| {
        let message = format!("the transfer can't be described to its process: {error}");
        WireError::new(ErrorKind::Resources, message).hint("Nothing was transferred.")
    })
}

/// Returns the plan of the process: this server's own program by its descriptor, as the account,
/// with nothing of the request's in its environment.
fn plan(own: &OwnProgram, account: &Account, job: &str, stdin: bool, handed: Handed) -> Plan {
    Plan {
        program: own.path.clone(),
        arg0: "rcmd-server".into(),
        args: vec![ARGUMENT.into()],
        // By this its tree is known.
        env: vec![(OsString::from(JOB), OsString::from(job))],
        cwd: PathBuf::from("/"),
        folder: None,
        trusted: false,
        job: job.to_owned(),
        stdin,
        sealed: Some(own.file.clone()),
        handed: Some(handed),
        credentials: account.credentials.clone(),
        no_new_privs: true,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::admission::folders::OpenFolders;

    #[test]
    fn the_room_of_folders_is_taken_until_the_last_of_them_is_closed() {
        let all = OpenFolders::new(2, 2);
        let room: Arc<dyn Any + Send + Sync> = Arc::new(all.take("a", 2).unwrap());
        let open = (0..2).map(|_| OwnedFd::from(File::open("/").unwrap()));
        let mut folders = counted(open, Some(&room));
        drop(room);
        let copy = folders.clone();
        assert!(all.take("a", 1).is_err());
        folders.clear();
        assert!(all.take("a", 1).is_err());
        drop(copy);
        assert!(all.take("a", 2).is_ok());
    }
}
