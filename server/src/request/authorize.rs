//! From a request to a permit: what it speaks of is found on this host, then judged.
//!
//! The policy itself touches nothing; this is the part that has the host looked at. What no rule could
//! permit is denied before.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use rcmd_protocol::{frame::Mode, request::Request};

use super::finder::Finder;
use crate::{
    job::{Judged, Rejection},
    policy::{self, Authorization, HostFacts, PolicySlice, RequestContext},
    process::{Account, Plan, Program, look::Facts, resolve::Draft},
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
    /// What looks at the host.
    pub finder: Finder<'a>,
}

/// Finds what a request speaks of, and has it judged.
///
/// # Errors
/// When it may not be done, or can't be.
pub(crate) async fn permit(
    slice: &PolicySlice,
    peer: &Arc<Peer>,
    request: &Request,
    exec: ExecContext<'_>,
) -> Result<Judged, Rejection> {
    let context = RequestContext { source: peer.address().ip(), time: SystemTime::now() };
    let judged = match inspect(slice, request, exec, context, Purpose::Run).await {
        Ok(Inspected { plan, note, mut facts }) => {
            let permit = policy::decide(slice, peer, request, plan, &facts, SystemTime::now());
            // The copy is the plan's.
            facts.program.digest.iter_mut().for_each(|digest| digest.copy = None);
            permit.map(|permit| Judged { permit, facts, note }).map_err(Rejection::from)
        }
        Err(rejection) => Err(rejection),
    };
    match judged {
        Ok(judged) => Ok(judged),
        Err(refused) => Err(with_advice(refused, slice, request, exec, context.source).await),
    }
}

/// As [`permit`], for nobody who is there: what would be judged, from this address and at this time.
///
/// # Errors
/// When it may not be done, or can't be.
pub(crate) async fn dry_run(
    slice: &PolicySlice,
    request: &Request,
    exec: ExecContext<'_>,
    context: RequestContext,
) -> Result<(Authorization, HostFacts), Rejection> {
    let judged = match inspect(slice, request, exec, context, Purpose::Judge).await {
        Ok(Inspected { facts, .. }) => policy::authorize(slice, request, &facts, context)
            .map(|judged| (judged, facts))
            .map_err(Rejection::from),
        Err(rejection) => Err(rejection),
    };
    match judged {
        Ok(judged) => Ok(judged),
        Err(refused) => Err(with_advice(refused, slice, request, exec, context.source).await),
    }
}

/// What a request of this user's would find here, whether it is permitted or not.
///
/// # Errors
/// When it can't be done.
pub(crate) async fn host_facts(
    user: &str,
    request: &Request,
    exec: ExecContext<'_>,
) -> Result<HostFacts, Rejection> {
    Ok(look(user, request, exec).await?.0.facts)
}

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// What would be run.
    Run,
    /// What is needed to judge it.
    Judge,
}

struct Inspected {
    plan: Plan,
    note: Option<String>,
    facts: HostFacts,
}

async fn inspect(
    slice: &PolicySlice,
    request: &Request,
    exec: ExecContext<'_>,
    context: RequestContext,
    purpose: Purpose,
) -> Result<Inspected, Rejection> {
    policy::authorize_early(slice, request)?;
    let who = &slice.principal().user;
    let (mut inspected, found) = look(who, request, exec).await?;
    let facts = &mut inspected.facts;
    if request.mode() == Mode::Exec && policy::needs_digest(slice, request, facts, context) {
        // What others could change meanwhile is run as it was digested.
        let copy = purpose == Purpose::Run && facts.program.writable.is_some();
        facts.program.digest = exec.finder.digest(who, exec.account, &found, copy).await?;
    }
    Ok(inspected)
}

async fn look(
    user: &str,
    request: &Request,
    exec: ExecContext<'_>,
) -> Result<(Inspected, Facts), Rejection> {
    let ExecContext { account, path, job, finder } = exec;
    let draft = Draft::new(request, account, path, job, user)?;
    let found = finder.find(user, account, &draft).await?;
    let of = found.facts.clone();
    let facts = HostFacts {
        account: account.name.clone(),
        uid: account.uid,
        cwd: of.cwd.clone(),
        program: Program { path: of.path.clone(), writable: of.writable.clone(), digest: None },
    };
    let plan = draft.plan(request, account, job, found);
    Ok((Inspected { plan, note: of.note.clone(), facts }, of))
}

/// Says so when the words of a denied shell line would be permitted without the shell.
async fn with_advice(
    refused: Rejection,
    slice: &PolicySlice,
    request: &Request,
    exec: ExecContext<'_>,
    source: IpAddr,
) -> Rejection {
    let Rejection::Denied(denial) = refused else { return refused };
    let Some(words) = policy::plain_words(request) else { return denial.into() };
    let context = RequestContext { source, time: SystemTime::now() };
    let permitted = inspect(slice, &words, exec, context, Purpose::Judge)
        .await
        .is_ok_and(|inspected| policy::authorize(slice, &words, &inspected.facts, context).is_ok());
    if permitted { policy::try_exec(denial).into() } else { denial.into() }
}
