//! Accepting one peer: from a socket to an authenticated peer, under limits and absolute
//! deadlines.

use std::{os::fd::AsFd, sync::Arc};

use rcmd_certs::{
    explain,
    listen::{self, Answer},
    tls,
};
use rcmd_protocol::{
    frame::Frame,
    outcome::{ErrorKind, WireError},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout},
};
use tokio_rustls::server::TlsStream;
use tracing::warn;

use super::pending::{self, HelloGuard};
use crate::{
    admission::{presence::Guest, slots::ConnectionSlot},
    config::limits::LINGER,
    net::connection,
    state::{HandshakeFault, ServerState},
    trust::{Peer, PeerOrigin},
};

/// A peer that is known.
struct Admitted<S> {
    peer: Peer,
    slot: ConnectionSlot,
    tls: TlsStream<S>,
    hello_guard: HelloGuard,
}

/// Accepts a peer that comes from `origin`, over any stream of bytes. The server stays for it as long as it is there.
pub(super) fn accept<S>(state: &Arc<ServerState>, stream: S, origin: PeerOrigin, guest: Guest)
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static,
{
    state.counts.accepted();
    let limits = &state.settings.limits;
    let deadline = Instant::now() + limits.handshake.0;
    let (hello_guard, mut overdue) =
        pending::enter(&state.strangers, origin.neighbourhood(), deadline);
    let task = {
        let state = Arc::clone(state);
        async move {
            let _guest = guest;
            let admitted = tokio::select! {
                // A peer whose proof is here has shown who it is before it is sent away.
                biased;
                admitted = admit(&state, stream, origin, hello_guard) => admitted,
                reason = overdue.reason() => {
                    state.counts.failed(HandshakeFault::Overdue);
                    warn!(peer = %origin, reason, "refused");
                    None
                }
            };
            let Some(Admitted { peer, slot, tls, hello_guard }) = admitted else { return };
            // The guard goes to the connection, which drops it when the hello has come; until then
            // the deadline holds.
            tokio::select! {
                biased;
                () = connection::serve(state, peer, slot, tls, hello_guard) => {}
                reason = overdue.reason() => warn!(peer = %origin, reason, "refused"),
            }
        }
    };
    state.tasks.spawn(task);
}

/// Finds out who a peer is, and gives it a place among its identity's connections. Returns `None`
/// after one that is refused was told so.
async fn admit<S>(
    state: &ServerState,
    stream: S,
    origin: PeerOrigin,
    mut hello_guard: HelloGuard,
) -> Option<Admitted<S>>
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static,
{
    let tls::ServerSide { config, clients } = state.trust.side();
    let guard = &hello_guard;
    let turn = |answer| async move {
        guard.greet();
        let turns = match answer {
            Answer::Keys => &state.turns.handshakes,
            Answer::Retry => &state.turns.retries,
        };
        let neighbourhood = origin.neighbourhood().to_string();
        // No deadline of a handshake is later than the patience of the turns, so that nobody goes on without one.
        turns.take(&neighbourhood).await.ok()
    };
    let mut tls = match listen::handshake(stream, config, turn, listen::has_left).await {
        Ok(tls) => tls,
        Err((error, stream)) => {
            state.counts.failed(HandshakeFault::Tls);
            let own = Some(state.settings.identity.cert.as_path());
            warn!(peer = %origin, reason = %explain::server_reason(&error, own), "refused");
            if let Some(stream) = stream {
                listen::linger(stream, LINGER).await;
            }
            return None;
        }
    };
    tls.get_mut().1.set_buffer_limit(Some(tls::AHEAD));
    let session = tls.get_ref().1;
    if let Err(error) = tls::check_alpn(session) {
        state.counts.failed(HandshakeFault::Protocol);
        warn!(peer = %origin, reason = %error, "refused");
        dismiss(tls, None).await;
        return None;
    }
    let chain = session.peer_certificates().unwrap_or_default();
    let peer = match Peer::of(chain, clients, origin) {
        Ok(peer) => peer,
        Err(error) => {
            state.counts.failed(HandshakeFault::Identity);
            warn!(peer = %origin, reason = %error, "refused");
            dismiss(tls, Some(WireError::new(ErrorKind::Tls, error.to_string()))).await;
            return None;
        }
    };
    match state.connection_slot(peer.identity()) {
        Ok(slot) => {
            hello_guard.know();
            Some(Admitted { peer, slot, tls, hello_guard })
        }
        Err(failure) => {
            state.counts.failed(HandshakeFault::Busy);
            warn!(peer = %peer, reason = %failure, "refused");
            dismiss(tls, Some(failure)).await;
            None
        }
    }
}

/// Sends a peer the reason why it is refused, if there is one to send, and closes the connection.
async fn dismiss<S>(mut tls: TlsStream<S>, failure: Option<WireError>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = bytes::BytesMut::new();
    if let Some(failure) = failure
        && Frame::Error(failure).encode(&mut bytes).is_err()
    {
        return;
    }
    let sent = async {
        tls.write_all(&bytes).await?;
        tls.shutdown().await
    };
    let _ = timeout(LINGER, sent).await;
    listen::linger(tls.into_inner().0, LINGER).await;
}
