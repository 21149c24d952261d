//! Authorization: finds on this host what a request names, and has the request judged.
//!
//! The policy itself does no I/O; this module has the host looked at. A request that no rule could
//! permit is denied before that.

use std::{sync::Arc, time::SystemTime};

use rcmd_protocol::{frame::Mode, request::Request};

use super::{finder::ExecContext, roots};
use crate::{
    job::{Judged, Rejection},
    policy::{
        self, Access, Authorization, Denial, HostFacts, PolicySlice, RequestContext, RequestFacts,
    },
    process::{Plan, Program, look::Facts, resolve::Draft},
    state::ServerState,
    trust::Peer,
};

/// Finds what a request names, and has it judged.
///
/// # Errors
/// If the request is denied, or can't be executed.
pub(crate) async fn permit(
    slice: &PolicySlice,
    peer: &Arc<Peer>,
    request: &Request,
    exec: ExecContext<'_>,
) -> Result<Judged, Rejection> {
    let context = RequestContext::of(peer, SystemTime::now());
    let judged = match inspect(slice, request, exec, context, Purpose::Run).await {
        Ok(Inspected { plan, note, mut facts }) => {
            let permit = policy::decide(slice, peer, request, plan, &facts, SystemTime::now());
            facts.forget_copy();
            permit.map(|permit| Judged { permit, facts, note }).map_err(Rejection::from)
        }
        Err(rejection) => Err(rejection),
    };
    match judged {
        Ok(judged) => Ok(judged),
        Err(refused) => Err(with_advice(refused, slice, request, exec, context).await),
    }
}

/// Judges a request as [`permit`] does, without a peer: as if it came from this address, by this
/// way, at this time.
///
/// # Errors
/// If the request is denied, or can't be executed.
pub(crate) async fn dry_run(
    slice: &PolicySlice,
    request: &Request,
    exec: ExecContext<'_>,
    context: RequestContext,
) -> Result<(Authorization, RequestFacts), Rejection> {
    let judged = match inspect(slice, request, exec, context, Purpose::Judge).await {
        Ok(Inspected { facts, .. }) => policy::authorize_request(slice, request, &facts, context)
            .map(|judged| (judged, facts))
            .map_err(Rejection::from),
        Err(rejection) => Err(rejection),
    };
    match judged {
        Ok(judged) => Ok(judged),
        Err(refused) => Err(with_advice(refused, slice, request, exec, context).await),
    }
}

/// Finds what a request of this user names on this host, whether it is permitted or not.
///
/// # Errors
/// If the request can't be executed.
pub(crate) async fn host_facts(
    user: &str,
    request: &Request,
    exec: ExecContext<'_>,
) -> Result<HostFacts, Rejection> {
    Ok(look(user, request, exec).await?.facts)
}

/// Judges what a peer asks for other than to run a command, by the policy and at the time of this
/// call. Files are judged here before they are read or written.
///
/// # Errors
/// The denial, for the client and the log.
pub(crate) fn access(
    state: &ServerState,
    peer: &Peer,
    access: &Access,
) -> Result<Authorization, Denial> {
    let slice = state.policy.load().slice(peer.principal());
    policy::authorize_access(&slice, access, RequestContext::of(peer, SystemTime::now()))
}

/// The purpose of a look at the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// The request is to run.
    Run,
    /// The request is only to be judged.
    Judge,
}

struct Inspected {
    plan: Plan,
    note: Option<String>,
    facts: RequestFacts,
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
    if let Some(transfer) = request.as_transfer() {
        let (stdin, lock) = (request.stdin(), request.lock());
        let (plan, files) = roots::look(who, stdin, lock, transfer, exec).await?;
        return Ok(Inspected { plan, note: None, facts: RequestFacts::Files(files) });
    }
    let Looked { plan, mut facts, found } = look(who, request, exec).await?;
    if request.mode() == Mode::Exec && policy::needs_digest(slice, request, &facts, context) {
        // A program that others could change meanwhile is run from the copy that was digested.
        let copy = purpose == Purpose::Run && facts.program.writable.is_some();
        facts.program.digest = exec.finder.digest(who, exec.account, &found, copy).await?;
    }
    Ok(Inspected { plan, note: found.note, facts: RequestFacts::Command(facts) })
}

/// The result of a look for a command.
struct Looked {
    plan: Plan,
    facts: HostFacts,
    found: Facts,
}

async fn look(user: &str, request: &Request, exec: ExecContext<'_>) -> Result<Looked, Rejection> {
    let ExecContext { account, path, job, finder, .. } = exec;
    let draft = Draft::new(request, account, path, job, user)?;
    let found = finder.find(user, account, &draft).await?;
    let of = found.facts.clone();
    let facts = HostFacts {
        account: account.name.clone(),
        uid: account.uid,
        cwd: of.cwd.clone(),
        program: Program { path: of.path.clone(), writable: of.writable.clone(), digest: None },
    };
    Ok(Looked { plan: draft.plan(request, account, job, found), facts, found: of })
}

/// Adds advice to a denial if the words of a denied shell line would be permitted without the
/// shell.
async fn with_advice(
    refused: Rejection,
    slice: &PolicySlice,
    request: &Request,
    exec: ExecContext<'_>,
    context: RequestContext,
) -> Rejection {
    let Rejection::Denied(denial) = refused else { return refused };
    let Some(words) = policy::plain_words(request) else { return denial.into() };
    let permitted =
        inspect(slice, &words, exec, context, Purpose::Judge).await.is_ok_and(|inspected| {
            policy::authorize_request(slice, &words, &inspected.facts, context).is_ok()
        });
    if permitted { policy::try_exec(denial).into() } else { denial.into() }
}
