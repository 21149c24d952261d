//! The loop that accepts members' connections.

use std::{net::SocketAddr, sync::Arc};

use rcmd_certs::listen::{Accepted, Listener};
use tokio::net::TcpStream;
use tracing::{error, info, warn};

use super::{session, shared::Shared};

/// Accepts connections until the service closes. No error ends the loop.
pub(super) async fn serve(mut listener: Listener, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            () = shared.closing.cancelled() => return,
            accepted = listener.next(shared.slots.strangers()) => accepted,
        };
        match accepted {
            Accepted::Connection(stream, address) => admit(&shared, stream, address),
            Accepted::Again => info!("connections are accepted again"),
            Accepted::OutOfRoom { error, shed } => {
                warn!(%error, shed, "out of descriptors; raise LimitNOFILE");
            }
            Accepted::Failed(error) => error!(%error, "a connection could not be accepted"),
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
            () = shed.wait() => warn!(peer = %address, "refused: too many unauthenticated connections"),
        }
    });
}
