//! Where members come in: the sockets that listen.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rcmd_certs::listen::{self, AcceptFault, Strangers};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tracing::{error, info, warn};

use super::{error::ServeError, session, shared::Shared};

/// A socket that listens.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on an address, which is one of `all`; port 0 takes one that is free.
    pub(super) fn bind(address: SocketAddr, all: &[SocketAddr]) -> Result<Self, ServeError> {
        let bound = || {
            let socket = listen::bind(address, all)?;
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
        let (mut in_a_row, mut is_stuck) = (0, false);
        loop {
            let accepted = tokio::select! {
                () = shared.closing.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    if std::mem::take(&mut is_stuck) {
                        info!("connections are accepted again");
                    }
                    admit(&shared, stream, listen::plain(address));
                    in_a_row += 1;
                    if in_a_row == listen::IN_A_ROW {
                        in_a_row = 0;
                        tokio::task::yield_now().await;
                    }
                }
                Err(error) => {
                    is_stuck = recover(&error, shared.slots.strangers(), is_stuck).await;
                }
            }
        }
    }
}

fn admit(shared: &Arc<Shared>, stream: TcpStream, address: SocketAddr) {
    // Small answers go out at once; a failure here shows again at the first write.
    let _ = stream.set_nodelay(true);
    let (place, mut shed) = shared.slots.strangers().enter(address.ip());
    let session = session::receive(Arc::clone(shared), stream, address, place);
    shared.tasks.spawn(async move {
        tokio::select! {
            () = session => {}
            () = shed.wait() => warn!(peer = %address, "sent away: too many strangers"),
        }
    });
}

/// Waits out what keeps a connection from being accepted. Returns whether it concerns the next one too; it is
/// logged unless that `is_known`.
async fn recover(error: &io::Error, strangers: &Strangers, is_known: bool) -> bool {
    let fault = AcceptFault::of(error);
    if fault == AcceptFault::OfOnePeer {
        return is_known;
    }
    let is_full = fault == AcceptFault::OutOfRoom;
    let shed = is_full && strangers.shed();
    if is_full && !is_known {
        warn!(%error, shed, "out of descriptors; raise LimitNOFILE");
    } else if !is_known {
        error!(%error, "a connection could not be accepted");
    }
    sleep(Duration::from_millis(20)).await;
    true
}
