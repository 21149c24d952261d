//! The state of a running server at one moment, as its operators see it.

use serde::{Deserialize, Serialize};

use super::ServerState;
use crate::{
    audit::AuditHealth,
    job::{
        Message,
        card::JobFacts,
        counts::{JobCountFacts, NamedCount},
    },
};

/// The state of a running server at one moment. Nothing in it is secret, but commands may be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// The program's version.
    pub version: String,
    /// The server's process ID, in its own namespace.
    pub pid: u32,
    /// The start of the server, in Unix time.
    pub since: i64,
    /// True once the server stops: no further command starts.
    pub draining: bool,
    /// The number of commands that run.
    pub running: usize,
    /// The number of commands that wait for a turn or for a lock.
    pub queued: usize,
    /// The number of jobs that are kept for a client that is gone.
    pub kept: usize,
    /// The number of connections of peers that have shown who they are.
    pub connections: usize,
    /// The number of connections that were accepted since the start, from whomever.
    pub accepted: u64,
    /// The number of peers that were sent away before their connection was served, by reason.
    pub handshake_failures: Vec<NamedCount>,
    /// The counters of commands since the start.
    pub commands: JobCountFacts,
    /// The limits of the host, reduced to what it can bear.
    pub limits: LimitFacts,
    /// The state of the audit.
    pub audit: AuditHealth,
    /// The number of rules of the policy in use.
    pub rules: usize,
    /// The date at which the certificate in use expires, in Unix time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_expiry: Option<i64>,
    /// The date at which the revocation list in use expires, in Unix time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_expiry: Option<i64>,
    /// The peers that are connected, in the order of their names.
    pub peers: Vec<PeerFacts>,
    /// The jobs that run or wait, the oldest first.
    pub jobs: Vec<JobFacts>,
}

/// The limits of the host that are in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct LimitFacts {
    /// The number of commands that run at once.
    pub running: usize,
    /// The number of commands that wait.
    pub queued: usize,
    /// The number of connections.
    pub connections: usize,
    /// The number of commands that run, wait, or are being read.
    pub channels: usize,
    /// The number of peers that have not authenticated yet.
    pub unauthenticated: usize,
}

/// A user that is connected.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct PeerFacts {
    /// The user's name.
    pub user: String,
    /// The number of its connections.
    pub connections: usize,
}

/// The answer to an operator that wants a job to end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum KillResult {
    /// The job of this user is told to end.
    Told(String),
    /// The job of this user was told before.
    Again(String),
    /// No such job runs or waits.
    Unknown,
}

impl ServerState {
    /// Returns the state of this moment. Waits for no disk and for no job.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let live = self.registry.all_live();
        let mut jobs: Vec<_> = live.iter().map(|job| job.card().facts()).collect();
        jobs.sort_unstable_by(|a, b| (a.asked_at, &a.job).cmp(&(b.asked_at, &b.job)));
        let peers = self.slots.users().into_iter();
        let peers = peers.map(|(user, connections)| PeerFacts { user, connections }).collect();
        Snapshot { peers, jobs, ..self.summary() }
    }

    /// Returns the state of this moment in numbers, without peers and jobs.
    pub(crate) fn summary(&self) -> Snapshot {
        let (running, queued) = self.jobs.admission.running_and_waiting();
        let limits = &self.settings.limits;
        Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            since: self.began,
            draining: self.is_draining(),
            running,
            queued,
            kept: self.registry.all_live().iter().filter(|job| job.card().is_kept()).count(),
            connections: self.slots.count(),
            accepted: self.counts.all_accepted(),
            handshake_failures: self.counts.all_failed(),
            commands: self.jobs.counts.facts(),
            limits: LimitFacts {
                running: limits.running,
                queued: limits.queued,
                connections: limits.connections,
                channels: limits.channels,
                unauthenticated: limits.unauthenticated,
            },
            audit: self.jobs.audit.health(),
            rules: self.policy.load().len(),
            certificate_expiry: self.trust.certificate_expiry(),
            list_expiry: self.trust.list_expiry(),
            peers: Vec::new(),
            jobs: Vec::new(),
        }
    }

    /// Ends a job, on behalf of the local user `uid`, and records that.
    pub(crate) fn kill(&self, job: &str, uid: u32) -> KillResult {
        let live = self.registry.all_live();
        let Some(handle) = live.iter().find(|handle| handle.card().job() == job) else {
            return KillResult::Unknown;
        };
        let user = handle.card().user().to_owned();
        // One record and one message, however often this is asked for.
        if !handle.card().set_killed() {
            return KillResult::Again(user);
        }
        self.jobs.audit.killed(job, &user, uid);
        handle.tell_soon(Message::Kill, &self.tasks);
        KillResult::Told(user)
    }
}
