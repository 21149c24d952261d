//! TCP sockets that listen, and the loop that accepts.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tracing::{error, warn};

use super::{accept::accept, pending::PendingHandshakes};
use crate::state::ServerState;

/// Maximum number of connections that the kernel holds until they are accepted; it has a limit of
/// its own, too.
const BACKLOG: u32 = 4096;

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on an address; port 0 takes one that is free.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restarted server takes its port again while old connections are still in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let socket = socket.listen(BACKLOG)?;
        Ok(Self { address: socket.local_addr()?, socket })
    }

    /// Returns the address, with the port that was taken.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections until the server closes. No error ends it.
    pub(crate) async fn run(
        self,
        state: Arc<ServerState>,
        pending: Arc<PendingHandshakes>,
        numbers: Arc<AtomicU64>,
    ) {
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = state.closing.cancelled() => return,
            };
            match accepted {
                Ok((stream, address)) => {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    prepare(&stream);
                    accept(&state, &pending, number, stream, address);
                }
                Err(error) => recover(&error, &pending).await,
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
/// too.
async fn recover(error: &io::Error, pending: &PendingHandshakes) {
    // accept(2) also reports errors of single connections, which do not concern the next one.
    const OF_ONE_PEER: [Errno; 4] = [Errno::CONNABORTED, Errno::INTR, Errno::PROTO, Errno::PERM];
    let errno = Errno::from_io_error(error);
    if errno.is_some_and(|errno| OF_ONE_PEER.contains(&errno)) {
        return;
    }
    if matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) {
        let shed = pending.shed();
        warn!(%error, shed, "out of descriptors; raise LimitNOFILE or lower limits.connections");
    } else {
        error!(%error, "a connection could not be accepted");
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
}
