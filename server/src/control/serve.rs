//! The server's side of the local socket.

use std::{io, os::unix::net::UnixListener as StdUnixListener, sync::Arc, time::Duration};

use rcmd_certs::{enroll::message, listen::Listener};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};
use tracing::{info, warn};

use super::{ControlRequest, ControlResponse, REQUEST, RESPONSE};
use crate::{
    config::limits::OPERATORS,
    net::listener::REMEDY,
    state::{KillResult, ServerState},
};

/// The time for a request, and for taking the response.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time for taking the answer that there is no place.
const BRIEF: Duration = Duration::from_millis(100);

/// Answers operators. Never returns, unless the listener can't be used.
pub(super) async fn serve(listener: StdUnixListener, state: &Arc<ServerState>) {
    match UnixListener::from_std(listener) {
        Ok(listener) => accept(Listener::new(listener), state).await,
        Err(error) => warn!(%error, "the local socket is not served"),
    }
}

/// The places of connections: those of root, and those of the server's own user. A command that runs as
/// the server's user can take its places, and keeps root from nothing.
struct Places {
    root: Arc<Semaphore>,
    own: Arc<Semaphore>,
    own_uid: u32,
}

impl Places {
    fn new() -> Self {
        let places = || Arc::new(Semaphore::new(OPERATORS));
        Self { root: places(), own: places(), own_uid: rustix::process::geteuid().as_raw() }
    }

    /// Returns the places of a local user, if it is answered.
    fn of(&self, uid: u32) -> Option<&Arc<Semaphore>> {
        match uid {
            0 => Some(&self.root),
            uid if uid == self.own_uid => Some(&self.own),
            _ => None,
        }
    }
}

/// Accepts connections. Never returns.
async fn accept(mut listener: Listener<UnixListener>, state: &Arc<ServerState>) {
    let places = Places::new();
    let mut tasks = JoinSet::new();
    loop {
        let (stream, ()) = listener.accept(&state.strangers, REMEDY).await;
        while tasks.try_join_next().is_some() {}
        let Ok(uid) = stream.peer_cred().map(|peer| peer.uid()) else { continue };
        let Some(places) = places.of(uid) else {
            warn!(uid, "refused at the local socket, which is for root and the server's own user");
            continue;
        };
        match Arc::clone(places).try_acquire_owned() {
            Ok(place) => _ = tasks.spawn(attend(Arc::clone(state), stream, uid, place)),
            Err(_) => turn_away(stream).await,
        }
    }
}

/// Answers that there is no place. The answer fits into the socket.
async fn turn_away(mut stream: UnixStream) {
    let response = refused("the server has many operators to answer; try again");
    let _ = timeout(BRIEF, message::write(&mut stream, &response, RESPONSE)).await;
}

/// Answers one request.
async fn attend(
    state: Arc<ServerState>,
    mut stream: UnixStream,
    uid: u32,
    _place: OwnedSemaphorePermit,
) {
    let request = timeout(PATIENCE, message::read::<ControlRequest>(&mut stream, REQUEST)).await;
    let response = match request {
        Err(_) | Ok(Ok(None)) => return,
        Ok(Err(error)) => refused(&format!(
            "the running server did not understand the request ({error}); restart it, so that both \
             are of the same version"
        )),
        Ok(Ok(Some(request))) => answer(&state, request, uid),
    };
    let sent = async {
        match message::write(&mut stream, &response, RESPONSE).await {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let too_long = refused(&format!("the answer is too long: {error}"));
                message::write(&mut stream, &too_long, RESPONSE).await
            }
            sent => sent,
        }
    };
    let _ = timeout(PATIENCE, sent).await;
}

fn answer(state: &ServerState, request: ControlRequest, uid: u32) -> ControlResponse {
    match request {
        ControlRequest::Snapshot => ControlResponse::Snapshot(Box::new(state.snapshot())),
        ControlRequest::Kill { job } => match state.kill(&job, uid) {
            KillResult::Told(user) => {
                info!(job, user, uid, "an operator ends a command");
                ControlResponse::Killed { user, again: false }
            }
            KillResult::Again(user) => ControlResponse::Killed { user, again: true },
            KillResult::Unknown => {
                refused("no such job runs or waits here; `rcmd-server ps` lists those that do")
            }
        },
    }
}

fn refused(message: &str) -> ControlResponse {
    ControlResponse::Refused { message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_server_s_user_are_answered_each_at_its_own_places() {
        let places = Places { own_uid: 1000, ..Places::new() };
        assert!(places.of(1001).is_none() && places.of(u32::MAX).is_none());
        let own = places.of(1000).unwrap();
        let taken: Vec<_> =
            (0..OPERATORS).map(|_| Arc::clone(own).try_acquire_owned().unwrap()).collect();
        assert!(Arc::clone(own).try_acquire_owned().is_err());
        assert!(Arc::clone(places.of(0).unwrap()).try_acquire_owned().is_ok());
        drop(taken);
        assert!(Arc::clone(own).try_acquire_owned().is_ok());
    }
}
