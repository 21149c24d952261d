//! From a socket to an authenticated peer, under limits and absolute deadlines.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rcmd_certs::{explain, tls};
use rcmd_protocol::{frame::Frame, outcome::Failure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{config::limits::LINGER, net::connection, state::ServerState, trust::Peer};

/// Peers that have not authenticated yet, oldest first.
///
/// At the limit the oldest goes: an honest peer needs milliseconds, so that whoever holds a place
/// for long is not one.
#[derive(Debug, Default)]
pub struct PendingHandshakes {
    peers: Mutex<VecDeque<(u64, CancellationToken)>>,
}

/// A place among those that have not authenticated; given back when dropped.
struct PendingHandshake {
    pending: Arc<PendingHandshakes>,
    number: u64,
}

impl PendingHandshakes {
    fn enter(self: &Arc<Self>, number: u64, limit: usize) -> (PendingHandshake, CancellationToken) {
        let token = CancellationToken::new();
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        while peers.len() >= limit {
            if let Some((_, oldest)) = peers.pop_front() {
                oldest.cancel();
            }
        }
        peers.push_back((number, token.clone()));
        (PendingHandshake { pending: Arc::clone(self), number }, token)
    }

    /// Sends away the oldest, to free its descriptor. False when there is none.
    pub fn shed(&self) -> bool {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.pop_front().map(|(_, oldest)| oldest.cancel()).is_some()
    }
}

impl Drop for PendingHandshake {
    fn drop(&mut self) {
        let mut peers = self.pending.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(at) = peers.binary_search_by_key(&self.number, |(number, _)| *number) {
            peers.remove(at);
        }
    }
}

/// Takes a new connection in; `number` rises with each.
pub fn accept(
    state: &Arc<ServerState>,
    pending: &Arc<PendingHandshakes>,
    number: u64,
    stream: TcpStream,
    address: SocketAddr,
) {
    let limits = &state.settings.limits;
    let deadline = Instant::now() + limits.handshake.0;
    let (handshake, shed) = pending.enter(number, limits.unauthenticated);
    let task = {
        let state = Arc::clone(state);
        async move {
            // The guard goes to the connection, which drops it when the hello has come; until then
            // it counts as unauthenticated, and the deadline holds.
            let (hello_guard, until_hello) = guard_hello(handshake);
            tokio::select! {
                () = admit(state, stream, address, hello_guard) => {}
                reason = overdue(until_hello, shed, deadline) => {
                    warn!(peer = %address, reason, "refused");
                }
            }
        }
    };
    state.tasks.spawn(task);
}

/// Dropped when the hello has come.
struct HelloGuard {
    _handshake: PendingHandshake,
    _done: tokio::sync::oneshot::Sender<()>,
}

fn guard_hello(handshake: PendingHandshake) -> (HelloGuard, tokio::sync::oneshot::Receiver<()>) {
    let (done, until_hello) = tokio::sync::oneshot::channel();
    (HelloGuard { _handshake: handshake, _done: done }, until_hello)
}

/// Waits for the reason to send a peer away; for ever, once it was greeted.
async fn overdue(
    until_hello: tokio::sync::oneshot::Receiver<()>,
    shed: CancellationToken,
    deadline: Instant,
) -> &'static str {
    tokio::select! {
        biased;
        _ = until_hello => std::future::pending().await,
        () = shed.cancelled() => "too many peers have not authenticated; this was the oldest",
        () = tokio::time::sleep_until(deadline) => "the handshake or the hello took too long",
    }
}

async fn admit(
    state: Arc<ServerState>,
    stream: TcpStream,
    address: SocketAddr,
    hello_guard: HelloGuard,
) {
    prepare(&stream);
    let tls::ServerSide { config, clients } = state.trust.side();
    let acceptor = TlsAcceptor::from(config);
    let mut tls = match acceptor.accept(stream).into_fallible().await {
        Ok(tls) => tls,
        Err((error, stream)) => {
            let own = Some(state.settings.files.cert.as_path());
            warn!(peer = %address, reason = %explain::server_reason(&error, own), "refused");
            return linger(stream).await;
        }
    };
    tls.get_mut().1.set_buffer_limit(Some(tls::AHEAD));
    let connection = tls.get_ref().1;
    if let Err(error) = tls::check_alpn(connection) {
        warn!(peer = %address, reason = %error, "refused");
        return dismiss(tls, None).await;
    }
    let peer = match Peer::of(connection, clients, address) {
        Ok(peer) => peer,
        Err(error) => {
            warn!(peer = %address, reason = %error, "refused");
            let failure = Failure::new(rcmd_protocol::outcome::ErrorKind::Tls, error.to_string());
            return dismiss(tls, Some(failure)).await;
        }
    };
    match state.connection_slot(peer.identity()) {
        Ok(slot) => connection::serve(state, peer, slot, tls, hello_guard).await,
        Err(failure) => {
            warn!(peer = %peer, reason = %failure, "refused");
            dismiss(tls, Some(failure)).await;
        }
    }
}

/// Small frames go out at once; a host that is gone is found although it says nothing, even while
/// its client is suspended.
fn prepare(stream: &TcpStream) {
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(15))
        .with_retries(3);
    let socket = socket2::SockRef::from(stream);
    // Neither is needed for correctness; a socket that is gone already fails later with a reason.
    let _ = stream.set_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
}

/// Says why, and closes.
async fn dismiss(mut tls: TlsStream<TcpStream>, failure: Option<Failure>) {
    let mut bytes = bytes::BytesMut::new();
    if let Some(failure) = failure
        && Frame::Error(failure).encode(&mut bytes).is_err()
    {
        return;
    }
    let told = async {
        tls.write_all(&bytes).await?;
        tls.shutdown().await
    };
    let _ = timeout(LINGER, told).await;
    linger(tls.into_inner().0).await;
}

/// Reads away what a refused peer has sent: closing a socket with unread bytes resets it, and the
/// reset may overtake the reason.
async fn linger(mut stream: TcpStream) {
    let drained = async {
        stream.shutdown().await?;
        let mut buffer = [0; 1024];
        while stream.read(&mut buffer).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    let _ = timeout(LINGER, drained).await;
}
