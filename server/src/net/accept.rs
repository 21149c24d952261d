//! From a byte stream to an authenticated peer, under limits and absolute deadlines.

use std::{net::SocketAddr, sync::Arc};

use rcmd_certs::{
    explain,
    listen::{self, Strangers},
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
use crate::{config::limits::LINGER, net::connection, state::ServerState, trust::Peer};

/// Accepts a peer that comes from `address` over any byte stream.
pub(super) fn accept<S>(
    state: &Arc<ServerState>,
    strangers: &Arc<Strangers>,
    stream: S,
    address: SocketAddr,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &state.settings.limits;
    let deadline = Instant::now() + limits.handshake.0;
    let (hello_guard, overdue) = pending::enter(strangers, address.ip(), deadline);
    let task = {
        let state = Arc::clone(state);
        async move {
            // The guard goes to the connection, which drops it when the hello has come; until then
            // it counts as unauthenticated, and the deadline holds.
            tokio::select! {
                () = admit(state, stream, address, hello_guard) => {}
                reason = overdue.reason() => warn!(peer = %address, reason, "refused"),
            }
        }
    };
    state.tasks.spawn(task);
}

async fn admit<S>(state: Arc<ServerState>, stream: S, address: SocketAddr, hello_guard: HelloGuard)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let tls::ServerSide { config, clients } = state.trust.side();
    let mut tls = match listen::handshake(stream, config, || hello_guard.greet()).await {
        Ok(tls) => tls,
        Err((error, stream)) => {
            let own = Some(state.settings.identity.cert.as_path());
            warn!(peer = %address, reason = %explain::server_reason(&error, own), "refused");
            if let Some(stream) = stream {
                listen::linger(stream, LINGER).await;
            }
            return;
        }
    };
    tls.get_mut().1.set_buffer_limit(Some(tls::AHEAD));
    let session = tls.get_ref().1;
    if let Err(error) = tls::check_alpn(session) {
        warn!(peer = %address, reason = %error, "refused");
        return dismiss(tls, None).await;
    }
    let chain = session.peer_certificates().unwrap_or_default();
    let peer = match Peer::of(chain, clients, address) {
        Ok(peer) => peer,
        Err(error) => {
            warn!(peer = %address, reason = %error, "refused");
            return dismiss(tls, Some(WireError::new(ErrorKind::Tls, error.to_string()))).await;
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

/// Tells a peer why it is refused, if there is something to tell, and closes.
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
