//! One connection of a member or a stranger.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rcmd_certs::{
    clock,
    enroll::message::{
        self, MAX_REQUEST, MAX_RESPONSE, MAX_WAIT, MemberRequest, RefusalReason, ResponseBody,
    },
    explain,
    identity::Identity,
    listen::{self, Place},
    pem::Der,
    text::printable,
    tls,
    x509::Certificate,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use super::{shared::Shared, slots::MemberSlot};
use crate::{
    ca::ProvenKey,
    state::{Application, Granted, KeyStanding, Published, StateError},
};

/// The time from the connection to the end of the first response; an absolute deadline.
const FIRST: Duration = Duration::from_secs(10);

/// The time from a response to the next request, and for either to be sent.
const NEXT: Duration = Duration::from_secs(10);

/// The most requests on a connection that has not proved to be a member's: an honest one has one or two.
const MAX_REQUESTS: u32 = 8;

/// The time that a peer that was sent away has to read why.
const LINGER: Duration = Duration::from_secs(1);

/// Receives a peer, answers its requests, and takes leave of it.
pub(super) async fn receive(
    shared: Arc<Shared>,
    stream: TcpStream,
    address: SocketAddr,
    place: Place,
) {
    let deadline = Instant::now() + FIRST;
    let turn = |_| async { place.greet() };
    let handshake = listen::handshake(stream, shared.tls(), turn, listen::has_left);
    let stream = match timeout_at(deadline, handshake).await {
        Err(_) => return warn!(peer = %address, "the handshake took too long"),
        Ok(Err((error, stream))) => {
            warn!(peer = %address, reason = %explain::server_reason(&error, None), "refused");
            if let Some(stream) = stream {
                listen::linger(stream, LINGER).await;
            }
            return;
        }
        Ok(Ok(stream)) => stream,
    };
    if stream.get_ref().1.alpn_protocol() != Some(tls::AUTHORITY_ALPN) {
        warn!(peer = %address, "refused: it does not speak rcmd-authority/1");
        return;
    }
    let key = key_of(&stream);
    let mut session = Session { shared, stream, address, key, slot: Slot::Stranger(place) };
    if session.serve(deadline).await.is_some() {
        let _ = timeout(LINGER, session.stream.shutdown()).await;
        listen::linger(session.stream.into_inner().0, LINGER).await;
    }
}

/// Returns the key that the peer proved in the handshake.
fn key_of(stream: &TlsStream<TcpStream>) -> Option<Arc<ProvenKey>> {
    let leaf = stream.get_ref().1.peer_certificates()?.first()?;
    Certificate::public_key(leaf).and_then(|spki| ProvenKey::from_spki(&spki).ok()).map(Arc::new)
}

struct Session {
    shared: Arc<Shared>,
    stream: TlsStream<TcpStream>,
    address: SocketAddr,
    key: Option<Arc<ProvenKey>>,
    slot: Slot,
}

enum Slot {
    Stranger(#[expect(dead_code, reason = "held until it is dropped")] Place),
    Member(#[expect(dead_code, reason = "held until it is dropped")] MemberSlot),
}

impl Session {
    /// Answers until the peer has no more requests. Returns `None` if the connection is to be dropped at once.
    async fn serve(&mut self, first: Instant) -> Option<()> {
        let (mut deadline, mut requests) = (first, 0);
        loop {
            requests += 1;
            if requests > MAX_REQUESTS && matches!(self.slot, Slot::Stranger(_)) {
                return Some(());
            }
            let closing = self.shared.closing.clone();
            let read = message::read::<MemberRequest>(&mut self.stream, MAX_REQUEST);
            let request = tokio::select! {
                () = closing.cancelled() => return Some(()),
                request = timeout_at(deadline, read) => request.ok()?,
            };
            let (body, last) = match request {
                Ok(None) => return Some(()),
                Ok(Some(request)) => (self.respond(request).await, false),
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    let message = printable(&format!("not understood: {error}"));
                    (ResponseBody::Refused { reason: RefusalReason::Request, message }, true)
                }
                Err(_) => return None,
            };
            if let ResponseBody::Refused { reason, message } = &body {
                warn!(peer = %self.address, %reason, message, "refused");
            }
            let response = message::MemberResponse { time: clock::now_unix(), body };
            // A stranger's requests are all answered within the first deadline, or not at all.
            let limit = match self.slot {
                Slot::Stranger(_) => first,
                Slot::Member(_) => Instant::now() + NEXT,
            };
            let sent = message::write(&mut self.stream, &response, MAX_RESPONSE);
            timeout_at(limit, sent).await.ok()?.ok()?;
            if last {
                return Some(());
            }
            deadline = match self.slot {
                Slot::Stranger(_) => first,
                Slot::Member(_) => Instant::now() + NEXT,
            };
        }
    }

    async fn respond(&mut self, request: MemberRequest) -> ResponseBody {
        let done = match request {
            MemberRequest::Enroll { secret, name, request, time } => {
                match ProvenKey::from_request(&request.0) {
                    Ok(key) => self.enroll(Application { secret, name, key, time }).await,
                    Err(error) => {
                        Err(StateError::refused(RefusalReason::Request, error.to_string()))
                    }
                }
            }
            MemberRequest::Renew { .. } => self.renew().await,
            MemberRequest::Lists { newer_than, wait } => {
                self.lists(newer_than, wait.min(MAX_WAIT)).await
            }
        };
        done.unwrap_or_else(|error| self.refusal(&error))
    }

    async fn enroll(&self, application: Application) -> Result<ResponseBody, StateError> {
        let done = self.shared.worker.run(move |state| {
            let granted = state.enroll(&application, clock::now_unix())?;
            Ok(certificate(granted, state.roots()))
        });
        done.await.inspect(|body| info!(peer = %self.address, member = who(body), "enrolled"))
    }

    async fn renew(&self) -> Result<ResponseBody, StateError> {
        let key = Arc::clone(self.key()?);
        let done = self.shared.worker.run(move |state| {
            let granted = state.renew(&key, clock::now_unix())?;
            Ok(certificate(granted, state.roots()))
        });
        done.await.inspect(|body| info!(peer = %self.address, member = who(body), "renewed"))
    }

    async fn lists(&mut self, newer_than: u64, wait: u64) -> Result<ResponseBody, StateError> {
        // Asked each time, so that a member that was revoked meanwhile waits no longer.
        let key = self.key()?.fingerprint();
        match self.shared.worker.run(move |state| state.standing(key)).await? {
            KeyStanding::Member(_) => {}
            KeyStanding::Revoked => {
                return Err(StateError::refused(RefusalReason::Revoked, "this member was revoked"));
            }
            KeyStanding::Stranger => return Err(stranger()),
        }
        if matches!(self.slot, Slot::Stranger(_)) {
            let full = || {
                StateError::refused(RefusalReason::Busy, "too many connections; try again later")
            };
            self.slot = Slot::Member(self.shared.slots.slot(key).ok_or_else(full)?);
        }
        let mut updates = self.shared.updates.clone();
        let is_newer = |lists: &Option<Arc<Published>>| {
            lists.as_ref().is_some_and(|lists| lists.number > newer_than)
        };
        let closing = self.shared.closing.clone();
        let waited = tokio::select! {
            waited = timeout(Duration::from_secs(wait), updates.wait_for(is_newer)) => {
                waited.ok().and_then(Result::ok).and_then(|lists| lists.clone())
            }
            () = closing.cancelled() => None,
        };
        Ok(match waited {
            Some(lists) => ResponseBody::Lists {
                number: lists.number,
                lists: lists.lists.clone(),
                roots: lists.roots.clone(),
            },
            None => {
                let number = self.shared.updates.borrow().as_ref().map_or(0, |lists| lists.number);
                ResponseBody::Unchanged { number }
            }
        })
    }

    fn key(&self) -> Result<&Arc<ProvenKey>, StateError> {
        self.key.as_ref().ok_or_else(stranger)
    }

    /// Returns the refusal for the peer; failures of the authority itself are only logged.
    fn refusal(&self, error: &StateError) -> ResponseBody {
        match error {
            StateError::Refused { reason, message } => {
                ResponseBody::Refused { reason: *reason, message: message.clone() }
            }
            other => {
                tracing::error!(peer = %self.address, error = %other, "failed");
                let message = "the authority has an internal error; its log names it".to_owned();
                ResponseBody::Refused { reason: RefusalReason::Internal, message }
            }
        }
    }
}

fn stranger() -> StateError {
    StateError::refused(
        RefusalReason::Stranger,
        "this takes the certificate of a member; enroll with a token (`rcmd-certs token`)",
    )
}

/// Returns the holder of a certificate that is sent, as `client alice` or `server web1, 192.0.2.7`.
fn who(body: &ResponseBody) -> String {
    let ResponseBody::Certificate { chain, .. } = body else { return String::new() };
    let leaf = chain.first().and_then(|leaf| Certificate::parse(&leaf.0).ok());
    let Some(leaf) = leaf else { return String::new() };
    match Identity::from_certificate(&leaf) {
        Ok(identity) => format!("client {}", identity.user()),
        Err(_) => {
            let addresses = leaf.names.addresses.iter().map(ToString::to_string);
            let names: Vec<_> = leaf.names.dns.iter().cloned().chain(addresses).collect();
            format!("server {}", names.join(", "))
        }
    }
}

fn certificate(granted: Granted, roots: Vec<Der>) -> ResponseBody {
    ResponseBody::Certificate { chain: granted.chain, roots, renew_until: granted.renew_until }
}
