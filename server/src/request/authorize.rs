//! From a request to a permit: what it speaks of is found on this host, then judged.
//!
//! The policy itself touches nothing; this is the part that does. What it does waits for the file system
//! and so belongs on [`FileThreads`](crate::process::FileThreads).

use std::{ffi::OsStr, net::IpAddr, sync::Arc, time::SystemTime};

use rcmd_protocol::{frame::Mode, request::Request};

use crate::{
    job::Rejection,
    policy::{self, Action, Authorization, HostFacts, Permit, PolicySlice, RequestContext},
    process::{self, Account, Plan, Resolved, SpawnError, environment},
    trust::Peer,
};

/// What commands are run with on this host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExecContext<'a> {
    /// Whom they run as.
    pub account: &'a Account,
    /// Their PATH.
    pub path: &'a str,
    /// The job's name.
    pub job: &'a str,
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
    exec: ExecContext<'_>,
) -> Result<Permitted, Rejection> {
    let source = peer.address().ip();
    let judged = inspect(slice, request, exec).and_then(|Inspected { plan, note, facts }| {
        let permit = policy::decide(slice, peer, request, plan, &facts, SystemTime::now())?;
        Ok(Permitted { permit, note, facts })
    });
    judged.map_err(|refused| with_advice(refused, slice, request, exec, source))
}

/// As [`permit`], for nobody who is there: what would be judged, from this address and at this time.
///
/// # Errors
/// When it may not be done, or can't be.
pub(crate) fn dry_run(
    slice: &PolicySlice,
    request: &Request,
    exec: ExecContext<'_>,
    context: RequestContext,
) -> Result<(Authorization, HostFacts), Rejection> {
    let judged = inspect(slice, request, exec).and_then(|Inspected { facts, .. }| {
        Ok((policy::authorize(slice, request, &facts, context)?, facts))
    });
    judged.map_err(|refused| with_advice(refused, slice, request, exec, context.source))
}

/// What a request of this user's would find here, whether it is permitted or not.
///
/// # Errors
/// When it can't be done.
pub(crate) fn host_facts(
    user: &str,
    request: &Request,
    exec: ExecContext<'_>,
) -> Result<HostFacts, SpawnError> {
    inspect_for(user, request, exec, false).map(|inspected| inspected.facts)
}

struct Inspected {
    plan: Plan,
    note: Option<String>,
    facts: HostFacts,
}

fn inspect(
    slice: &PolicySlice,
    request: &Request,
    exec: ExecContext<'_>,
) -> Result<Inspected, Rejection> {
    policy::authorize_early(slice, request)?;
    let digest = request.mode() == Mode::Exec && slice.names_digest(Action::Run);
    Ok(inspect_for(&slice.principal().user, request, exec, digest)?)
}

fn inspect_for(
    user: &str,
    request: &Request,
    exec: ExecContext<'_>,
    digest: bool,
) -> Result<Inspected, SpawnError> {
    let ExecContext { account, path, job } = exec;
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
    Ok(Inspected { plan, note, facts })
}

/// Says so when the words of a denied shell line would be permitted without the shell.
fn with_advice(
    refused: Rejection,
    slice: &PolicySlice,
    request: &Request,
    exec: ExecContext<'_>,
    source: IpAddr,
) -> Rejection {
    let Rejection::Denied(denial) = refused else { return refused };
    let Some(words) = policy::plain_words(request) else { return denial.into() };
    let context = RequestContext { source, time: SystemTime::now() };
    let permitted = inspect(slice, &words, exec)
        .is_ok_and(|inspected| policy::authorize(slice, &words, &inspected.facts, context).is_ok());
    if permitted { policy::try_exec(denial).into() } else { denial.into() }
}
