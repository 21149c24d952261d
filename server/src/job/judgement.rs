//! Whether a job may run, and go on running when the rules change.

use std::{sync::Arc, time::SystemTime};

use rcmd_protocol::{outcome::WireError, request::Request};

use super::exit;
use crate::{
    admission::budget::Share,
    policy::{AuthorizedRequest, Denial, HostFacts, Rules},
    trust::Peer,
};

/// What was judged of a job.
#[derive(Debug)]
pub(super) enum Judgement {
    /// It is being judged; these rules came meanwhile.
    Pending(Option<Arc<Rules>>),
    /// It may, as long as rules that come permit it. Its request is kept for them.
    Permitted {
        /// What was permitted.
        request: AuthorizedRequest,
        /// What the request takes of the budget.
        _held: Share,
    },
    /// It may, whatever rules come.
    Settled,
    /// It may not, or no longer.
    Denied(Denial),
}

impl Judgement {
    /// Takes what was permitted. Rules that came meanwhile are asked too.
    ///
    /// # Errors
    /// What those say against it.
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

    /// Judges by other rules what may run by those before. What is not judged yet remembers them: it may
    /// be being judged by the rules before these.
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

    /// Returns what was permitted, until it is settled.
    pub(super) fn request(&self) -> Option<&Request> {
        match self {
            Self::Permitted { request, .. } => Some(&request.request),
            _ => None,
        }
    }

    /// Takes what was found anew of what may run.
    pub(super) fn renew(&mut self, facts: HostFacts) {
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

    /// Returns why it may run no longer.
    pub(super) fn failure(&self) -> WireError {
        self.denial().cloned().map_or_else(exit::draining, WireError::from)
    }
}
