//! Who may do what: the only place that makes a permit.

use std::sync::Arc;

use rcmd_protocol::request::Request;

use crate::{peer::Peer, process::plan::Plan};

/// Proof that this peer may run exactly this. [`decide`] alone makes one, and nothing starts
/// without it.
#[derive(Debug)]
pub struct Permit {
    peer: Arc<Peer>,
    plan: Plan,
}

impl Permit {
    /// Who asked.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// What may run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

/// Why something may not run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Denial {
    /// For the client and the log.
    pub reason: String,
}

/// Judges one request on what was found for it. Pure: whatever it depends on is an argument.
///
/// Every peer whose certificate the authority has signed for a client may run anything as the
/// server's own user, so that this denies nothing.
///
/// # Errors
/// The denial, for the client and the log.
pub fn decide(peer: &Arc<Peer>, _request: &Request, plan: Plan) -> Result<Permit, Denial> {
    Ok(Permit { peer: Arc::clone(peer), plan })
}
