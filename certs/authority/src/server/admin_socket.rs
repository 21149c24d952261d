//! The administrative socket, `authority/serve.sock`: requests from `rcmd-certs` commands on this host.
//!
//! A user who may open it may also read the authority's key beside it: the folder is 0700 and the socket
//! 0600.
#![expect(
    clippy::disallowed_methods,
    reason = "the main thread, before the program serves and after; programs that serve nobody"
)]

use std::{io, sync::Arc, time::Duration};

use rcmd_certs::{clock, enroll::message, files::shown, paths::Layout};
use tokio::{
    net::{UnixListener, UnixStream},
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{error::ServeError, shared::Shared};
use crate::state::{self, AdminRequest, AdminResponse, MAX_ADMIN_REQUEST};

/// The time that a command may take between its requests.
const IDLE: Duration = Duration::from_secs(10);

/// Listens on the socket. No other process does: only the one that has the store comes here.
pub(super) async fn bind(layout: &Layout) -> Result<UnixListener, ServeError> {
    let bound = state::with_socket(layout, async |path| {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The folder keeps everybody else out; the mode is for people who look at the socket.
        let listener = UnixListener::bind(&path)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode)?;
        Ok(listener)
    });
    let address = || shown(&layout.authority_dir().join("serve.sock"));
    bound.await.map_err(|source| ServeError::Listen { address: address(), source })
}

/// Removes the socket, so that no command finds one without a listener.
pub(super) async fn remove(layout: &Layout) {
    // A socket that remains is replaced at the next start.
    let _ = state::with_socket(layout, async |path| std::fs::remove_file(path)).await;
}

pub(super) async fn run(shared: Arc<Shared>, listener: UnixListener) {
    loop {
        tokio::select! {
            () = shared.closing.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    shared.tasks.spawn(attend(Arc::clone(&shared), stream));
                }
                Err(error) => {
                    warn!(%error, "an operator's command could not be accepted");
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
}

async fn attend(shared: Arc<Shared>, mut stream: UnixStream) {
    loop {
        let request = tokio::select! {
            () = shared.closing.cancelled() => return,
            request = timeout(IDLE, message::read::<AdminRequest>(&mut stream, MAX_ADMIN_REQUEST)) => request,
        };
        let response = match request {
            Err(_) | Ok(Ok(None)) => return,
            Ok(Err(error)) => AdminResponse::Failed(format!(
                "the running `rcmd-certs serve` did not understand the request ({error}), and nothing was changed; \
                     restart it, so that both are of the same version"
            )),
            Ok(Ok(Some(request))) => {
                info!(what = %request, "an operator asks");
                let done =
                    shared.worker.run(|state| state.execute(request, clock::now_unix())).await;
                done.unwrap_or_else(|error| AdminResponse::Failed(error.to_string()))
            }
        };
        let last = matches!(response, AdminResponse::Failed(_));
        let sent = timeout(IDLE, state::respond(&mut stream, &response)).await;
        if last || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}
