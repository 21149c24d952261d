//! Peers that have not authenticated yet: how long each may take, and why one is sent away.

use std::{net::IpAddr, sync::Arc};

use rcmd_certs::listen::{Place, Shed, Strangers};
use tokio::{sync::oneshot, time::Instant};

/// Counts as unauthenticated, under a deadline, until it is dropped: when the hello has come.
#[derive(Debug)]
pub(super) struct HelloGuard {
    place: Place,
    _hello: oneshot::Sender<()>,
}

/// The reasons to send a peer away before its hello.
#[derive(Debug)]
pub(super) struct Overdue {
    hello: oneshot::Receiver<()>,
    shed: Shed,
    deadline: Instant,
}

/// Takes a place for one more peer, which comes from this address.
pub(super) fn enter(
    strangers: &Arc<Strangers>,
    from: IpAddr,
    deadline: Instant,
) -> (HelloGuard, Overdue) {
    let (place, shed) = strangers.enter(from);
    let (sender, hello) = oneshot::channel();
    (HelloGuard { place, _hello: sender }, Overdue { hello, shed, deadline })
}

impl HelloGuard {
    /// Notes that the peer has said a whole ClientHello.
    pub(super) fn greet(&self) {
        self.place.greet();
    }
}

impl Overdue {
    /// Waits for the reason to send the peer away; forever once its hello has come.
    pub(super) async fn reason(mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.hello => std::future::pending().await,
            () = self.shed.wait() => "too many peers have not authenticated; the lot fell on this one",
            () = tokio::time::sleep_until(self.deadline) => "the handshake or the hello took too long",
        }
    }
}
