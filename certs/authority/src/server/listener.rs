//! Where members come in: the sockets that listen.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustix::io::Errno;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::sleep,
};
use tracing::{error, warn};

use super::{error::ServeError, session, shared::Shared, slots::Slots};

/// Connections that the kernel holds until they are accepted; it cuts this to its own limit.
const BACKLOG: u32 = 4096;

/// A socket that listens.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on an address; port 0 takes one that is free.
    pub(super) fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        let bound = || {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            // A restarted authority takes its port again while old connections are in TIME_WAIT.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let socket = socket.listen(BACKLOG)?;
            Ok(Self { address: socket.local_addr()?, socket })
        };
        bound().map_err(|source| ServeError::Listen { address: address.to_string(), source })
    }

    /// Returns the address, with the port that was taken.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until the service closes. No error ends it.
    pub(super) async fn run(self, shared: Arc<Shared>) {
        loop {
            let accepted = tokio::select! {
                () = shared.closing.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => admit(&shared, stream, address),
                Err(error) => recover(&error, &shared.slots).await,
            }
        }
    }
}

fn admit(shared: &Arc<Shared>, stream: TcpStream, address: SocketAddr) {
    // Small answers go out at once; a failure here shows again at the first write.
    let _ = stream.set_nodelay(true);
    let (slot, shed) = shared.slots.enter();
    let session = session::receive(Arc::clone(shared), stream, address, slot);
    shared.tasks.spawn(async move {
        tokio::select! {
            () = session => {}
            () = shed.cancelled() => warn!(peer = %address, "sent away: too many strangers"),
        }
    });
}

/// Waits out what keeps a connection from being accepted.
async fn recover(error: &io::Error, slots: &Slots) {
    // Errors of one connection come through accept as well (accept(2)); the next is not concerned.
    const OF_ONE_PEER: [Errno; 4] = [Errno::CONNABORTED, Errno::INTR, Errno::PROTO, Errno::PERM];
    let errno = Errno::from_io_error(error);
    if errno.is_some_and(|errno| OF_ONE_PEER.contains(&errno)) {
        return;
    }
    if matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) {
        slots.shed();
        warn!(%error, "out of descriptors; raise LimitNOFILE");
    } else {
        error!(%error, "a connection could not be accepted");
    }
    sleep(Duration::from_millis(20)).await;
}
