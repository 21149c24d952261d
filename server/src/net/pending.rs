//! Peers that have not greeted yet: how long each may take, and why one is sent away.

use std::sync::Arc;

use rcmd_certs::listen::{Neighbourhood, Place, Shed, Strangers};
use tokio::{sync::oneshot, time::Instant};

/// The stay of a peer before its hello, which ends when this is dropped.
///
/// Until the peer is known it holds a place among the strangers and may lose it to another.
#[derive(Debug)]
pub(super) struct HelloGuard {
    stranger: Option<(Place, oneshot::Sender<()>)>,
    _hello: oneshot::Sender<()>,
}

/// The events for which a peer is sent away before its hello.
#[derive(Debug)]
pub(super) struct Overdue {
    hello: oneshot::Receiver<()>,
    known: oneshot::Receiver<()>,
    shed: Shed,
    deadline: Instant,
}

/// Takes a place for one more peer, which comes from `from`.
pub(super) fn enter(
    strangers: &Arc<Strangers>,
    from: Neighbourhood,
    deadline: Instant,
) -> (HelloGuard, Overdue) {
    let (place, shed) = strangers.enter(from);
    let (still_unknown, known) = oneshot::channel();
    let (sender, hello) = oneshot::channel();
    let stranger = Some((place, still_unknown));
    (HelloGuard { stranger, _hello: sender }, Overdue { hello, known, shed, deadline })
}

impl HelloGuard {
    /// Notes that the peer has sent a whole ClientHello.
    pub(super) fn greet(&self) {
        if let Some((place, _)) = &self.stranger {
            place.greet();
        }
    }

    /// Notes that the peer has shown who it is, and counts among its identity's connections: it gives
    /// its place back and loses it to nobody any more, not even if the lot has just fallen on it.
    pub(super) fn know(&mut self) {
        self.stranger = None;
    }
}

impl Overdue {
    /// Waits for the reason to send the peer away; forever once its hello has come. After
    /// [`HelloGuard::know`] it may be called once more.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn reason(&mut self) -> &'static str {
        let shed = async {
            tokio::select! {
                biased;
                _ = &mut self.known => std::future::pending().await,
                () = self.shed.wait() => {}
            }
        };
        tokio::select! {
            biased;
            _ = &mut self.hello => std::future::pending().await,
            () = shed => "too many peers have not authenticated; this one was chosen at random to go",
            () = tokio::time::sleep_until(self.deadline) => "the handshake or the hello took too long",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, time::Duration};

    use tokio::time::timeout;

    use super::*;

    fn enter_two() -> ((HelloGuard, Overdue), (HelloGuard, Overdue)) {
        let strangers = Arc::new(Strangers::new(1));
        let deadline = Instant::now() + Duration::from_secs(10);
        let from = Neighbourhood::of(IpAddr::from([192, 0, 2, 1]));
        (enter(&strangers, from, deadline), enter(&strangers, from, deadline))
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_goes_when_another_has_its_place() {
        let ((_guard, mut overdue), _other) = enter_two();
        assert!(overdue.reason().await.contains("at random"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_known_stays_although_the_lot_has_fallen_on_it_and_greets_in_time() {
        let ((mut guard, mut overdue), _other) = enter_two();
        guard.know();
        assert!(overdue.reason().await.contains("took too long"));
        let ((mut guard, mut overdue), _other) = enter_two();
        guard.know();
        drop(guard);
        assert!(timeout(Duration::from_secs(60), overdue.reason()).await.is_err());
    }
}
