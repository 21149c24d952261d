//! Counters of connections. They only grow, and are kept while the server runs.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::job::counts::NamedCount;

/// Why a peer was sent away before its connection was served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HandshakeFault {
    /// TLS failed: the certificate, or what is no TLS.
    Tls,
    /// It speaks no protocol that the server does.
    Protocol,
    /// Its certificate does not say who it is.
    Identity,
    /// It, or all together, have the maximum of connections.
    Busy,
    /// It took too long, or there were too many like it.
    Overdue,
}

impl HandshakeFault {
    const ALL: [Self; 5] = [Self::Tls, Self::Protocol, Self::Identity, Self::Busy, Self::Overdue];

    fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Identity => "identity",
            Self::Busy => "busy",
            Self::Overdue => "overdue",
        }
    }
}

/// The counters of connections.
#[derive(Debug, Default)]
pub(crate) struct ConnectionCounts {
    accepted: AtomicU64,
    failed: [AtomicU64; HandshakeFault::ALL.len()],
}

impl ConnectionCounts {
    /// Counts a connection that was accepted, from whomever.
    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one whose peer was sent away.
    pub(crate) fn failed(&self, fault: HandshakeFault) {
        let mut all = HandshakeFault::ALL.iter().zip(&self.failed);
        if let Some((_, count)) = all.find(|(of, _)| **of == fault) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of connections that were accepted.
    pub(super) fn all_accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Returns the numbers of those whose peers were sent away, by reason.
    pub(super) fn all_failed(&self) -> Vec<NamedCount> {
        NamedCount::all(HandshakeFault::ALL.map(HandshakeFault::as_str), &self.failed)
    }
}
