//! The loop that accepts connections of one socket.

use std::{future::poll_fn, io, os::fd::AsFd, pin::pin, sync::Arc, time::Duration};

use rcmd_certs::listen::{Accepts, Listener};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{accept::accept, pulse::Answerer};
use crate::{admission::presence::Guest, state::ServerState, trust::PeerOrigin};

/// The advice in the log when there are too few descriptors.
pub(crate) const REMEDY: &str = "raise LimitNOFILE or lower limits.connections";

/// A kind of socket whose connections the server takes.
pub(crate) trait Serves:
    Accepts<Stream: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static, From: Send>
    + Send
    + Sync
    + 'static
{
    /// Sets the options of an accepted stream, and returns where it comes from.
    ///
    /// # Errors
    /// If that can't be found out.
    fn greet(stream: &Self::Stream, from: Self::From) -> io::Result<PeerOrigin>;
}

impl Serves for TcpListener {
    /// Small frames are sent at once, and a dead host is detected although nothing is sent, even while its client is
    /// suspended.
    fn greet(stream: &TcpStream, from: Self::From) -> io::Result<PeerOrigin> {
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(30))
            .with_interval(Duration::from_secs(15))
            .with_retries(3);
        // Neither option is needed for correctness, and a socket that is closed fails later with a reason.
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive);
        Ok(PeerOrigin::Network(from))
    }
}

impl Serves for UnixListener {
    fn greet(stream: &UnixStream, (): Self::From) -> io::Result<PeerOrigin> {
        let peer = stream.peer_cred()?;
        // A process that this PID namespace does not have is shown as 0 (unix(7)).
        Ok(PeerOrigin::Local { uid: peer.uid(), pid: peer.pid().filter(|&pid| pid > 0) })
    }
}

/// Accepts connections until `until` is cancelled, or the server is closed because it is idle, and answers that it
/// lives. No error ends it.
pub(crate) async fn serve<A: Serves>(
    mut listener: Listener<A>,
    state: Arc<ServerState>,
    mut pulse: Answerer,
    until: CancellationToken,
) {
    loop {
        let ((stream, from), guest) = tokio::select! {
            () = until.cancelled() => return,
            () = pulse.answer() => continue,
            accepted = enter(&mut listener, &state) => accepted,
        };
        match A::greet(&stream, from) {
            Ok(origin) => accept(&state, stream, origin, guest),
            Err(error) => warn!(%error, "refused a connection whose origin is unknown"),
        }
    }
}

/// Accepts a connection, and takes it in among the guests in the same step: none is accepted by a server that ends.
async fn enter<A: Serves>(
    listener: &mut Listener<A>,
    state: &ServerState,
) -> ((A::Stream, A::From), Guest) {
    let mut accepting = pin!(listener.accept(&state.strangers, REMEDY));
    poll_fn(|context| state.presence.poll_entering(|| accepting.as_mut().poll(context))).await
}
