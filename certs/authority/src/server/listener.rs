//! The loop that accepts members' connections.

use std::{net::SocketAddr, sync::Arc};

use rcmd_certs::listen::{Listener, Neighbourhood};
use tokio::net::TcpStream;
use tracing::warn;

use super::{session, shared::Shared};

/// Accepts connections until the service closes. No error ends the loop.
pub(super) async fn serve(mut listener: Listener, shared: Arc<Shared>) {
    loop {
        let (stream, address) = tokio::select! {
            () = shared.closing.cancelled() => return,
            accepted = listener.accept(shared.slots.strangers(), "raise LimitNOFILE") => accepted,
        };
        admit(&shared, stream, address);
    }
}

fn admit(shared: &Arc<Shared>, stream: TcpStream, address: SocketAddr) {
    // Small answers go out at once; a failure here shows again at the first write.
    let _ = stream.set_nodelay(true);
    let (place, mut shed) = shared.slots.strangers().enter(Neighbourhood::of(address.ip()));
    let session = session::receive(Arc::clone(shared), stream, address, place);
    shared.tasks.spawn(async move {
        tokio::select! {
            () = session => {}
            () = shed.wait() => warn!(peer = %address, "refused: too many unauthenticated connections"),
        }
    });
}
