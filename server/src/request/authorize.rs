//! From a request to a permit: what it speaks of is found on this host, then judged.
//!
//! The policy itself touches nothing; this is the part that does. What it does waits for the file system
//! and so belongs on [`FileThreads`](crate::process::FileThreads).

use std::{ffi::OsStr, net::IpAddr, sync::Arc, time::SystemTime};

use rcmd_protocol::{frame::Mode, outcome::WireError, request::Request};

use crate::{
    policy::{self, Action, Authorization, Denial, HostFacts, Permit, PolicySlice, RequestContext},
    process::{self, Account, Plan, Resolved, SpawnError, environment},
    trust::Peer,
};

/// What commands are run with on this host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground<'a> {
    /// Whom they run as.
    pub account: &'a Account,
    /// Their PATH.
    pub path: &'a str,
    /// The job's name.
    pub job: &'a str,
}

/// Why a request was turned down.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It may not be done.
    Denied(Denial),
    /// It can't be done.
    Failed(WireError),
}

impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<WireError> for Refused {
    fn from(failure: WireError) -> Self {
        Self::Failed(failure)
    }
}

impl From<SpawnError> for Refused {
    fn from(error: SpawnError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Refused> for WireError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Denied(denial) => denial.into(),
            Refused::Failed(failure) => failure,
        }
    }
}

/// What may run.
#[derive(Debug)]
pub(crate) struct Permitted {
    /// Proof of it.
    pub permit: Permit,
    /// What the client should know although it is no error.
    pub note: Option<String>,
    /// What was found, for another judgement.
    pub facts: HostFacts,
}

/// Finds what a request speaks of, and has it judged. It waits for the file system.
///
/// # Errors
/// When it may not be done, or can't be.
pub(crate) fn permit(
    slice: &PolicySlice,
    peer: &Arc<Peer>,
    request: &Request,
    ground: Ground<'_>,
) -> Result<Permitted, Refused> {
    let source = peer.address().ip();
    let judged = look(slice, request, ground).and_then(|Looked { plan, note, facts }| {
        let permit = policy::decide(slice, peer, request, plan, &facts, SystemTime::now())?;
        Ok(Permitted { permit, note, facts })
    });
    judged.map_err(|refused| with_advice(refused, slice, request, ground, source))
}

/// As [`permit`], for nobody who is there: what would be judged, from this address and at this time.
///
/// # Errors
/// When it may not be done, or can't be.
pub(crate) fn rehearse(
    slice: &PolicySlice,
    request: &Request,
    ground: Ground<'_>,
    context: RequestContext,
) -> Result<(Authorization, HostFacts), Refused> {
    let judged = look(slice, request, ground).and_then(|Looked { facts, .. }| {
        Ok((policy::authorize(slice, request, &facts, context)?, facts))
    });
    judged.map_err(|refused| with_advice(refused, slice, request, ground, context.source))
}

/// What a request of this user's would find here, whether it is permitted or not.
///
/// # Errors
/// When it can't be done.
pub(crate) fn find_for(
    user: &str,
    request: &Request,
    ground: Ground<'_>,
) -> Result<HostFacts, SpawnError> {
    find(user, request, ground, false).map(|looked| looked.facts)
}

struct Looked {
    plan: Plan,
    note: Option<String>,
    facts: HostFacts,
}

fn look(slice: &PolicySlice, request: &Request, ground: Ground<'_>) -> Result<Looked, Refused> {
    policy::authorize_early(slice, request)?;
    let digest = request.mode() == Mode::Exec && slice.names_digest(Action::Run);
    Ok(find(&slice.principal().user, request, ground, digest)?)
}

fn find(
    user: &str,
    request: &Request,
    ground: Ground<'_>,
    digest: bool,
) -> Result<Looked, SpawnError> {
    let Ground { account, path, job } = ground;
    let Resolved { mut plan, note } = process::resolve(request, account, path, job, user)?;
    // What is judged is what is entered: the folder without links.
    if let Ok(cwd) = plan.cwd.canonicalize() {
        plan.cwd = cwd;
    }
    let search = environment::get(&plan.env, "PATH").unwrap_or(OsStr::new(""));
    let program = process::examine(&plan.program, &plan.cwd, search, account.uid, digest);
    let facts = HostFacts {
        account: account.name.clone(),
        uid: account.uid,
        cwd: plan.cwd.clone(),
        program,
    };
    Ok(Looked { plan, note, facts })
}

/// Says so when the words of a denied shell line would be permitted without the shell.
fn with_advice(
    refused: Refused,
    slice: &PolicySlice,
    request: &Request,
    ground: Ground<'_>,
    source: IpAddr,
) -> Refused {
    let Refused::Denied(denial) = refused else { return refused };
    let Some(words) = policy::plain_words(request) else { return denial.into() };
    let context = RequestContext { source, time: SystemTime::now() };
    let permitted = look(slice, &words, ground)
        .is_ok_and(|looked| policy::authorize(slice, &words, &looked.facts, context).is_ok());
    if permitted { policy::try_exec(denial).into() } else { denial.into() }
}
