//! Where peers come in: sockets that listen, and the loop that accepts.

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
use tokio::net::{TcpListener, TcpSocket};
use tracing::{error, warn};

use crate::{
    net::accept::{self, PendingHandshakes},
    state::ServerState,
};

/// Connections that the kernel holds until they are accepted; it cuts this to its own limit.
const BACKLOG: u32 = 4096;

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on an address; port 0 takes one that is free.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
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

    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until the service closes. No error ends it.
    pub async fn run(
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
                    accept::accept(&state, &pending, number, stream, address);
                }
                Err(error) => recover(&error, &pending).await,
            }
        }
    }
}

/// Waits out what keeps a connection from being accepted.
async fn recover(error: &io::Error, pending: &PendingHandshakes) {
    // Errors of one connection come through accept as well (accept(2)); the next is not concerned.
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
