//! The judgement of a job: whether it may run, and go on running when the rules change.

use std::{sync::Arc, time::SystemTime};

use rcmd_protocol::{outcome::WireError, request::Request};

use super::exit;
use crate::{
    admission::budget::Share,
    policy::{Access, AuthorizedRequest, Denial, RequestFacts, Rules, access::FileFacts},
    trust::Peer,
};

/// The judgement of a job.
#[derive(Debug)]
pub(super) enum Judgement {
    /// The job is being judged; these rules were loaded meanwhile.
    Pending(Option<Arc<Rules>>),
    /// The job may run, as long as later rules permit it too. Its request is kept for them.
    Permitted {
        /// The request that was permitted.
        request: AuthorizedRequest,
        /// The memory that the request takes of the budget.
        _held: Share,
    },
    /// The job may run, whatever rules come.
    Settled,
    /// The job may not run, or no longer.
    Denied(Denial),
}

impl Judgement {
    /// Takes a permitted request. Rules that were loaded meanwhile are asked too.
    ///
    /// # Errors
    /// The denial by those rules.
    pub(super) fn permit(
        &mut self,
        request: AuthorizedRequest,
        held: Share,
        peer: &Peer,
    ) -> Result<(), Denial> {
        let newer = match self {
            Self::Pending(newer) => newer.take(),
            _ => None,
        };
        *self = Self::Permitted { request, _held: held };
        newer.map_or(Ok(()), |rules| self.revise(&rules, peer))
    }

    /// Judges by other rules a job that the rules before permitted. A job that is not judged yet
    /// remembers them, because the rules before these may be judging it.
    ///
    /// # Errors
    /// The denial, once.
    pub(super) fn revise(&mut self, rules: &Arc<Rules>, peer: &Peer) -> Result<(), Denial> {
        match self {
            Self::Pending(newer) => *newer = Some(Arc::clone(rules)),
            Self::Permitted { request, .. } => {
                if let Err(denial) = request.recheck(rules, peer, SystemTime::now()) {
                    *self = Self::Denied(denial.clone());
                    return Err(denial);
                }
            }
            Self::Settled | Self::Denied(_) => {}
        }
        Ok(())
    }

    /// Returns the permitted request, until the judgement is settled.
    pub(super) fn request(&self) -> Option<&Request> {
        match self {
            Self::Permitted { request, .. } => Some(&request.request),
            _ => None,
        }
    }

    /// Returns the verb of a permitted transfer, and what it begins with, until the judgement is
    /// settled.
    pub(super) fn files(&self) -> Option<(&'static str, impl Iterator<Item = &FileFacts>)> {
        let Self::Permitted { request, .. } = self else { return None };
        let transfer = request.request.as_transfer()?;
        Some((transfer.verb.as_str(), request.facts.files()))
    }

    /// Returns the first access of a permitted transfer with each action that it asks for, until the
    /// judgement is settled.
    pub(super) fn roots(&self) -> Vec<Access> {
        match self {
            Self::Permitted { request, .. } => request.facts.roots().into_iter().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Replaces the facts of a permitted request by newer ones.
    pub(super) fn renew(&mut self, facts: RequestFacts) {
        if let Self::Permitted { request, .. } = self {
            request.facts = facts;
        }
    }

    /// Lets the job run to its end, whatever rules come.
    pub(super) fn settle(&mut self) {
        *self = Self::Settled;
    }

    pub(super) fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Denied(denial) => Some(denial),
            _ => None,
        }
    }

    /// Returns the failure of a job that may no longer run.
    pub(super) fn failure(&self) -> WireError {
        self.denial().cloned().map_or_else(exit::draining, WireError::from)
    }
}
