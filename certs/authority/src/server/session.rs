//! One connection of a member, or of whoever came.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcmd_certs::enroll::message::{self, Ask, Body, MAX_ANSWER, MAX_ASK, MAX_WAIT, Reason};
use rcmd_certs::pem::Der;
use rcmd_certs::text::printable;
use rcmd_certs::x509::Certificate;
use rcmd_certs::{clock, explain, tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use super::Service;
use super::slots::{MemberSeat, StrangerSeat};
use crate::ca::ProvenKey;
use crate::state::{Application, Granted, OfficeError, Published, Standing};

/// From the connection to the end of the first answer; an absolute deadline.
const FIRST: Duration = Duration::from_secs(10);

/// From an answer to the next ask, and for an ask or an answer to cross the wire.
const NEXT: Duration = Duration::from_secs(10);

/// Asks of one connection that has not proved to be a member's: an honest one has one or two.
const ASKS: u32 = 8;

/// How long a peer that was sent away may take to read why.
const LINGER: Duration = Duration::from_secs(1);

/// Receives a peer, answers what it asks, and sees it off.
pub(super) async fn receive(
    service: Arc<Service>,
    stream: TcpStream,
    address: SocketAddr,
    seat: StrangerSeat,
) {
    let deadline = Instant::now() + FIRST;
    let acceptor = TlsAcceptor::from(service.tls());
    let handshake = timeout_at(deadline, acceptor.accept(stream).into_fallible()).await;
    let stream = match handshake {
        Err(_) => return warn!(peer = %address, "the handshake took too long"),
        Ok(Err((error, stream))) => {
            warn!(peer = %address, reason = %explain::server_reason(&error, None), "refused");
            return linger(stream).await;
        }
        Ok(Ok(stream)) => stream,
    };
    if stream.get_ref().1.alpn_protocol() != Some(tls::AUTHORITY_ALPN) {
        warn!(peer = %address, "refused: it does not speak rcmd-authority/1");
        return;
    }
    let key = key_of(&stream);
    let mut visit = Visit { service, stream, address, key, seat: Seat::Stranger(seat) };
    if visit.serve(deadline).await.is_some() {
        let _ = timeout(LINGER, visit.stream.shutdown()).await;
        linger(visit.stream.into_inner().0).await;
    }
}

/// The key that the peer proved in the handshake.
fn key_of(stream: &TlsStream<TcpStream>) -> Option<Arc<ProvenKey>> {
    let leaf = stream.get_ref().1.peer_certificates()?.first()?;
    Certificate::public_key(leaf).and_then(|spki| ProvenKey::from_spki(&spki).ok()).map(Arc::new)
}

struct Visit {
    service: Arc<Service>,
    stream: TlsStream<TcpStream>,
    address: SocketAddr,
    key: Option<Arc<ProvenKey>>,
    seat: Seat,
}

enum Seat {
    Stranger(#[expect(dead_code, reason = "held until it is dropped")] StrangerSeat),
    Member(#[expect(dead_code, reason = "held until it is dropped")] MemberSeat),
}

impl Visit {
    /// Answers until the peer has enough. `None` if it is not worth a farewell.
    async fn serve(&mut self, first: Instant) -> Option<()> {
        let (mut deadline, mut asks) = (first, 0);
        loop {
            asks += 1;
            if asks > ASKS && matches!(self.seat, Seat::Stranger(_)) {
                return Some(());
            }
            let closing = self.service.closing.clone();
            let ask = tokio::select! {
                () = closing.cancelled() => return Some(()),
                ask = timeout_at(deadline, message::read::<Ask>(&mut self.stream, MAX_ASK)) => ask.ok()?,
            };
            let (body, last) = match ask {
                Ok(None) => return Some(()),
                Ok(Some(ask)) => (self.answer(ask).await, false),
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    let message = printable(&format!("not understood: {error}"));
                    (Body::Refused { reason: Reason::Request, message }, true)
                }
                Err(_) => return None,
            };
            if let Body::Refused { reason, message } = &body {
                warn!(peer = %self.address, ?reason, message, "refused");
            }
            let answer = message::Answer { time: clock::now_unix(), body };
            // Strangers have all their asks answered within the first deadline or not at all.
            let limit = match self.seat {
                Seat::Stranger(_) => first,
                Seat::Member(_) => Instant::now() + NEXT,
            };
            let sent = message::write(&mut self.stream, &answer, MAX_ANSWER);
            timeout_at(limit, sent).await.ok()?.ok()?;
            if last {
                return Some(());
            }
            deadline = match self.seat {
                Seat::Stranger(_) => first,
                Seat::Member(_) => Instant::now() + NEXT,
            };
        }
    }

    async fn answer(&mut self, ask: Ask) -> Body {
        let answered = match ask {
            Ask::Enroll { secret, name, request, time } => {
                match ProvenKey::from_request(&request.0) {
                    Ok(key) => self.enroll(Application { secret, name, key, time }).await,
                    Err(error) => Err(OfficeError::refused(Reason::Request, error.to_string())),
                }
            }
            Ask::Renew { .. } => self.renew().await,
            Ask::Lists { newer_than, wait } => self.lists(newer_than, wait.min(MAX_WAIT)).await,
        };
        answered.unwrap_or_else(|error| self.refusal(&error))
    }

    async fn enroll(&self, application: Application) -> Result<Body, OfficeError> {
        let done = self.service.clerk.ask(move |office| {
            let granted = office.enroll(&application, clock::now_unix())?;
            Ok(certificate(granted, office.roots()))
        });
        done.await.inspect(|_| info!(peer = %self.address, "enrolled"))
    }

    async fn renew(&self) -> Result<Body, OfficeError> {
        let key = Arc::clone(self.key()?);
        let done = self.service.clerk.ask(move |office| {
            let granted = office.renew(&key, clock::now_unix())?;
            Ok(certificate(granted, office.roots()))
        });
        done.await.inspect(|_| info!(peer = %self.address, "renewed"))
    }

    async fn lists(&mut self, newer_than: u64, wait: u64) -> Result<Body, OfficeError> {
        // Asked each time: a member that was revoked meanwhile waits no longer.
        let key = self.key()?.fingerprint();
        match self.service.clerk.ask(move |office| office.standing(key)).await? {
            Standing::Member(_) => {}
            Standing::Revoked => {
                return Err(OfficeError::refused(Reason::Revoked, "this member was revoked"));
            }
            Standing::Stranger => return Err(stranger()),
        }
        if matches!(self.seat, Seat::Stranger(_)) {
            let full =
                || OfficeError::refused(Reason::Busy, "too many connections; try again later");
            self.seat = Seat::Member(self.service.seats.seat(key).ok_or_else(full)?);
        }
        let mut news = self.service.news.clone();
        let is_newer = |lists: &Option<Arc<Published>>| {
            lists.as_ref().is_some_and(|lists| lists.number > newer_than)
        };
        let closing = self.service.closing.clone();
        let waited = tokio::select! {
            waited = timeout(Duration::from_secs(wait), news.wait_for(is_newer)) => {
                waited.ok().and_then(Result::ok).and_then(|lists| lists.clone())
            }
            () = closing.cancelled() => None,
        };
        Ok(match waited {
            Some(lists) => Body::Lists {
                number: lists.number,
                lists: lists.lists.clone(),
                roots: lists.roots.clone(),
            },
            None => {
                let number = self.service.news.borrow().as_ref().map_or(0, |lists| lists.number);
                Body::Unchanged { number }
            }
        })
    }

    fn key(&self) -> Result<&Arc<ProvenKey>, OfficeError> {
        self.key.as_ref().ok_or_else(stranger)
    }

    /// What the peer is told; the authority's own faults stay in its log.
    fn refusal(&self, error: &OfficeError) -> Body {
        match error {
            OfficeError::Refused { reason, message } => {
                Body::Refused { reason: *reason, message: message.clone() }
            }
            other => {
                tracing::error!(peer = %self.address, error = %other, "failed");
                let message = "the authority has a fault; its log names it".to_owned();
                Body::Refused { reason: Reason::Internal, message }
            }
        }
    }
}

fn stranger() -> OfficeError {
    OfficeError::refused(
        Reason::Stranger,
        "this takes the certificate of a member; enroll with a token (`rcmd-certs token`)",
    )
}

fn certificate(granted: Granted, roots: Vec<Der>) -> Body {
    Body::Certificate { chain: granted.chain, roots, renew_until: granted.renew_until }
}

/// Reads away what a peer has sent: closing a socket with unread bytes resets it, and the reset may
/// overtake the reason.
async fn linger(mut stream: TcpStream) {
    let drained = async {
        stream.shutdown().await?;
        let mut buffer = [0; 1024];
        while stream.read(&mut buffer).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    let _ = timeout(LINGER, drained).await;
}
