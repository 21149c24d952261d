//! Looking at the host for requests: in turn, and within the server's memory.

use std::{any::Any, sync::Arc};

use rcmd_protocol::outcome::{ErrorKind, WireError};

use crate::{
    admission::budget::Share,
    job::Rejection,
    process::{
        Account, Digest, Looks, OwnProgram,
        look::{
            Facts, Found,
            roots::{FindRoots, FoundRoots},
        },
        resolve::Draft,
    },
    state::ServerState,
};

/// The circumstances in which commands run on this host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExecContext<'a> {
    /// The account that they run as.
    pub account: &'a Account,
    /// Their PATH.
    pub path: &'a str,
    /// The ID of the job.
    pub job: &'a str,
    /// The finder that looks at the host.
    pub finder: Finder<'a>,
    /// The server's own program, which carries transfers out; `None` where nothing is carried out.
    pub own: Option<&'a OwnProgram>,
}

/// The way in which the host is looked at for requests.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Finder<'a> {
    /// A program that serves nobody else.
    Here(&'a Looks),
    /// A server, which gives each identity its turn.
    Server(&'a ServerState),
}

impl Finder<'_> {
    fn looks(&self) -> &Looks {
        match self {
            Self::Here(looks) => looks,
            Self::Server(state) => &state.looks,
        }
    }

    /// Finds what a request of the identity `who` names, with the rights of the account it is to
    /// run as.
    ///
    /// # Errors
    /// If something does not exist or can't be used, or if there was no turn or no answer in time.
    pub(super) async fn find(
        &self,
        who: &str,
        account: &Account,
        draft: &Draft,
    ) -> Result<Found, Rejection> {
        let _turn = match self {
            Self::Here(_) => None,
            Self::Server(state) => Some(state.turns.looks.take(who).await?),
        };
        Ok(self.looks().find(account.credentials.as_ref(), draft.find().clone()).await?)
    }

    /// Finds the roots of a transfer of the identity `who`, with the rights of the account. Returns
    /// them with the room for their folders, to be held as long as these are open.
    ///
    /// # Errors
    /// If they lead nowhere, or if there was no turn, no answer in time or no room.
    pub(super) async fn roots(
        &self,
        who: &str,
        account: &Account,
        order: FindRoots,
    ) -> Result<(FoundRoots, Option<Arc<dyn Any + Send + Sync>>), Rejection> {
        let _turn = match self {
            Self::Here(_) => None,
            Self::Server(state) => Some(state.turns.looks.take(who).await?),
        };
        let found = self.looks().roots(account.credentials.as_ref(), order).await?;
        let room: Option<Arc<dyn Any + Send + Sync>> = match self {
            Self::Here(_) => None,
            Self::Server(state) => Some(Arc::new(state.folders.take(who, found.folders.len())?)),
        };
        Ok((found, room))
    }

    /// Digests a program that was found, if it is an ELF file. If `copy` is set, it is copied into
    /// memory first.
    ///
    /// # Errors
    /// If the program can't be read, or if there was no turn, no memory or no answer in time.
    pub(super) async fn digest(
        &self,
        who: &str,
        account: &Account,
        facts: &Facts,
        copy: bool,
    ) -> Result<Option<Digest>, Rejection> {
        let (looks, whom) = (self.looks(), account.credentials.as_ref());
        if !copy && let Some(known) = looks.known_digest(whom, facts) {
            return Ok(Some(known));
        }
        let (_turn, held) = match self {
            Self::Here(_) => (None, None),
            Self::Server(state) => {
                let turn = state.turns.digests.take(who).await?;
                // A helper copies in any case; a thread of the server reads in pieces unless `copy`
                // is set.
                let held = (copy || whom.is_some()).then(|| hold(state, who, facts.file.size));
                (Some(turn), held.transpose()?)
            }
        };
        Ok(looks.digest(whom, facts, copy, held).await?)
    }
}

/// Reserves memory for a copy of a program of `size` bytes.
fn hold(
    state: &ServerState,
    who: &str,
    size: u64,
) -> Result<Arc<dyn Any + Send + Sync>, WireError> {
    let budget = state.jobs.budget.of(who);
    if !budget.has_room() {
        return Err(WireError::new(
            ErrorKind::Busy,
            "the memory limit for this identity leaves no room for a copy of the program",
        )
        .hint("Nothing ran; try again when waiting commands have started.")
        .retry_after_ms(1000));
    }
    let mut share = Share::new(budget);
    share.set(usize::try_from(size).unwrap_or(usize::MAX));
    Ok(Arc::new(share))
}
