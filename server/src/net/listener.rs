//! TCP sockets that listen, and the loop that accepts.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rcmd_certs::listen::{self, AcceptFault, Strangers};
use tokio::net::{TcpListener, TcpStream};
use tracing::{error, info, warn};

use super::accept::accept;
use crate::state::ServerState;

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on an address, which is one of `all`; port 0 takes one that is free.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub(crate) fn bind(address: SocketAddr, all: &[SocketAddr]) -> io::Result<Self> {
        let socket = listen::bind(address, all)?;
        Ok(Self { address: socket.local_addr()?, socket })
    }

    /// Returns the address, with the port that was taken.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections until the server closes. No error ends it.
    pub(crate) async fn run(self, state: Arc<ServerState>, strangers: Arc<Strangers>) {
        let (mut in_a_row, mut is_stuck) = (0, false);
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = state.closing.cancelled() => return,
            };
            match accepted {
                Ok((stream, address)) => {
                    if std::mem::take(&mut is_stuck) {
                        info!("connections are accepted again");
                    }
                    prepare(&stream);
                    accept(&state, &strangers, stream, listen::plain(address));
                    in_a_row += 1;
                    if in_a_row == listen::IN_A_ROW {
                        in_a_row = 0;
                        tokio::task::yield_now().await;
                    }
                }
                Err(error) => is_stuck = recover(&error, &strangers, is_stuck).await,
            }
        }
    }
}

/// Sets up a socket: small frames go out at once, and a dead host is detected although nothing is
/// sent, even while its client is suspended.
fn prepare(stream: &TcpStream) {
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(15))
        .with_retries(3);
    let socket = socket2::SockRef::from(stream);
    // Neither is needed for correctness; a socket that is gone fails later with a reason.
    let _ = stream.set_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
}

/// Waits after an error that keeps a connection from being accepted, if it concerns the next one
/// too. Returns whether it does; it is logged unless that `is_known`.
async fn recover(error: &io::Error, strangers: &Strangers, is_known: bool) -> bool {
    let fault = AcceptFault::of(error);
    if fault == AcceptFault::OfOnePeer {
        return is_known;
    }
    let is_full = fault == AcceptFault::OutOfRoom;
    let shed = is_full && strangers.shed();
    if is_full && !is_known {
        warn!(%error, shed, "out of descriptors; raise LimitNOFILE or lower limits.connections");
    } else if !is_known {
        error!(%error, "a connection could not be accepted");
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    true
}
