//! The process of a transfer: it takes what it was handed over, confines itself, and transfers.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use rcmd_certs::text::escaped;
use rcmd_transfer::{
    AccountNames, Cancel, Destination, DestinationKind, Failure, FailureKind, Reach, Summary,
    Transfer, TransferError, TransferSource, confine, current_umask,
};
use rustix::{
    pipe::fcntl_setpipe_size,
    process::{DumpableBehavior, set_dumpable_behavior},
};

use super::{
    asker::Asker,
    input::Input,
    list, message,
    order::{TransferOrder, folder_of},
};
use crate::process::{
    Inheritance,
    look::roots::{PlaceKind, Root, RootFailure},
};

/// The first argument that makes the server's program the process of a transfer.
pub(crate) const ARGUMENT: &str = "_transfer";

/// The bytes that the pipe with the contents takes: those of one message.
const PIPE: usize = 256 * 1024;

/// The exit status if something failed, which the account of both ends says.
const FAILED: u8 = 1;
/// The exit status if the transfer broke off.
const BROKE: u8 = 2;

/// Runs as the process of a transfer, if the program was started as one. Returns `None` otherwise.
/// To be called before anything else is done.
pub fn serve(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if arguments.next()? != ARGUMENT {
        return None;
    }
    Some(match live() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            // It holds names of files, and goes to somebody's terminal.
            let _ = writeln!(io::stderr(), "rcmd: {}", escaped(&format!("{error:#}")));
            ExitCode::from(BROKE)
        }
    })
}

/// Carries out the transfer. Returns whether everything was transferred.
fn live() -> Result<bool> {
    // Other processes of the account must not be able to make this one say what they like.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let mut inheritance = Inheritance::of_a_new_process();
    let mut socket = inheritance.socket().context("a server alone starts this")?;
    let order = TransferOrder::decode(&message::read_order(&mut socket)?)?;
    let folders = inheritance.folders(order.folders())?;
    let umask = current_umask();
    let _ = rustix::thread::set_name(c"rcmd-transfer");
    let names = list::Names::read(&order);
    // Its files are read when a name is wanted, by their descriptors.
    let accounts = AccountNames::of_this_host();
    let reach = match order {
        TransferOrder::Receive { .. } => Reach::Writes,
        TransferOrder::Send { .. } | TransferOrder::List { .. } => Reach::Reads,
    };
    let roots: Vec<_> = folders.iter().map(|folder| (folder.as_fd(), reach)).collect();
    let confinement = confine(&roots).context("cannot confine itself")?;
    message::tell_confinement(&mut socket, confinement).context("the server is gone")?;
    let folders: Vec<_> = folders.into_iter().map(Arc::new).collect();
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    if let TransferOrder::List { roots, is_long, .. } = &order {
        return list::list(roots, &folders, &names, *is_long, output).map(|()| true);
    }
    // With the 64 KiB of any pipe both ends wake each other for each piece. A kernel that has given enough to others
    // leaves it at that.
    let _ = match &order {
        TransferOrder::Receive { .. } => fcntl_setpipe_size(io::stdin(), PIPE),
        _ => fcntl_setpipe_size(&output, PIPE),
    };
    let cancel = Cancel::default();
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let input = Input::until_signal(stdin, cancel.clone())?;
    let transfer = Transfer::with_peers_options().umask(umask).cancelled_by(&cancel);
    let transfer = transfer.account_names(accounts);
    let mut asker = Asker::new(socket);
    let ended = match order {
        TransferOrder::Send { roots, .. } => {
            let sources = roots.into_iter().map(|root| source(root, &folders));
            let sources = sources.collect::<Result<_>>()?;
            transfer.send(input, output, sources, &mut asker)
        }
        TransferOrder::Receive { roots, is_delta, .. } => {
            // The server is asked for each file of which anything is told. A source is sent as what a
            // link leads to: one that is a link would lead whoever uses that file elsewhere.
            let transfer = transfer.offering_in_place().refusing_links();
            let transfer = if is_delta { transfer.telling_chunks() } else { transfer };
            let is_home = |root: &Root| matches!(root, Root::Place { is_home: true, .. });
            let transfer = match roots.iter().any(is_home) {
                true => transfer.refusing_deletion(),
                false => transfer,
            };
            transfer.receive(input, output, destination(roots, &folders)?, &mut asker)
        }
        TransferOrder::List { .. } => return Ok(true),
    };
    account(ended, &mut asker)
}

/// Sends the server the account of a transfer that has ended. Returns whether everything was
/// transferred.
fn account(ended: Result<Summary, TransferError>, asker: &mut Asker) -> Result<bool> {
    // The server may be gone, and its audit with it; the other end has its own account.
    let _ = asker.tell(ended.as_ref().ok().map(|summary| summary.digest));
    Ok(ended?.is_complete())
}

fn source(root: Root, folders: &[Arc<OwnedFd>]) -> Result<TransferSource> {
    Ok(match root {
        Root::Source { folder, entry: Some(entry), name, .. } => {
            TransferSource::entry(folder_of(folders, folder)?, &entry)?.under(&name)?
        }
        Root::Source { folder, entry: None, name, .. } => {
            let folder = folder_of(folders, folder)?.try_clone()?;
            TransferSource::folder(folder, &name)?
        }
        Root::Lost { path, why } => {
            // One root at least leads somewhere, so that there is a folder.
            TransferSource::lost(folder_of(folders, 0)?, &path, failure(why))?
        }
        Root::Place { .. } => bail!("a place to receive into is nothing to send"),
    })
}

fn failure(RootFailure { kind, message }: RootFailure) -> Failure {
    Failure::new(FailureKind::parse(&kind).unwrap_or(FailureKind::Io), message)
}

fn destination(roots: Vec<Root>, folders: &[Arc<OwnedFd>]) -> Result<Destination> {
    let Some(Root::Place { folder, kind, .. }) = roots.into_iter().next() else {
        bail!("there is no place to receive into");
    };
    let kind = match kind {
        PlaceKind::Inside => DestinationKind::Inside,
        PlaceKind::Itself => DestinationKind::Itself,
        PlaceKind::Named(name) => DestinationKind::Named(name),
        PlaceKind::NewFolder(name) => DestinationKind::NewFolder(name),
    };
    Ok(Destination::of(folder_of(folders, folder)?.try_clone()?, kind)?)
}
