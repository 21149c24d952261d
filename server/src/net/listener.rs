//! The loop that accepts connections.

use std::{sync::Arc, time::Duration};

use rcmd_certs::listen::{Listener, Strangers};
use tokio::net::TcpStream;

use super::accept::accept;
use crate::state::ServerState;

/// The advice in the log when there are too few descriptors.
const REMEDY: &str = "raise LimitNOFILE or lower limits.connections";

/// Accepts connections until the server closes. No error ends it.
pub(crate) async fn serve(
    mut listener: Listener,
    state: Arc<ServerState>,
    strangers: Arc<Strangers>,
) {
    loop {
        let (stream, address) = tokio::select! {
            accepted = listener.accept(&strangers, REMEDY) => accepted,
            () = state.closing.cancelled() => return,
        };
        prepare(&stream);
        accept(&state, &strangers, stream, address);
    }
}

/// Sets the options of a socket: small frames are sent at once, and a dead host is detected
/// although nothing is sent, even while its client is suspended.
fn prepare(stream: &TcpStream) {
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(15))
        .with_retries(3);
    let socket = socket2::SockRef::from(stream);
    // Neither option is needed for correctness, and a socket that is closed fails later with a
    // reason.
    let _ = stream.set_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
}
