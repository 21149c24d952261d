//! The steps of a connection to a server: look-up, TCP, TLS, hello.
//!
//! [`Client::connect`](crate::Client::connect) takes the steps together. Each failure has kind `unreachable` or
//! `tls`, and names host and address and a command to try next.

mod socket;

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use rcmd_certs::{
    explain::{self, Explanation},
    text::sentence,
    tls::{AHEAD, check_alpn},
};
use rcmd_protocol::{
    error::ProtocolError,
    frame::{Frame, Hello},
    io::ConnectionError,
    limits::KEEPALIVE,
    outcome::WireError,
};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub use self::socket::Socket;
use crate::{
    config::Config,
    error::{AddressErrors, Error},
    link::{
        backoff,
        connection::{Connection, PeerWork},
        dial::{Compression, Connector, DialError, Dialing},
    },
    target::Target,
};

/// The time that an address has before the next one is tried in parallel (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// The pauses before a first connection is tried again; each is made longer at random, by up to a half.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(500)];

/// Looks up all addresses of a target, in the order in which they will be tried. A Unix socket has none.
///
/// # Errors
/// Kind `unreachable`: the name is unknown, or was not found by `deadline`.
pub async fn resolve(target: &Target, deadline: Instant) -> Result<Vec<SocketAddr>, Error> {
    if target.socket_path().is_some() {
        return Ok(Vec::new());
    }
    let lookup = lookup_host((target.host.as_str(), target.port));
    let source = match timeout_at(deadline, lookup).await {
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.collect();
            if !addresses.is_empty() {
                return Ok(addresses);
            }
            io::Error::new(ErrorKind::NotFound, "it has no address")
        }
        Ok(Err(error)) => error,
        Err(_) => late("the name service did not answer in time"),
    };
    Err(Error::Resolve { target: Box::new(target.clone()), source })
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::TimedOut, what)
}

/// Connects to a target: by its Unix socket if it has one, else by TCP as [`tcp`] does.
///
/// # Errors
/// Kind `unreachable`: nothing answered by `deadline`.
pub async fn socket(
    target: &Target,
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<Socket, Error> {
    let Some(path) = target.socket_path() else {
        return tcp(target, addresses, deadline).await.map(Socket::Tcp);
    };
    let connected = match timeout_at(deadline, Socket::to_path(path)).await {
        Ok(connected) => connected,
        Err(_) => Err(late("no answer in time")),
    };
    connected.map_err(|source| Error::ConnectLocally { target: Box::new(target.clone()), source })
}

/// Connects by TCP to the first address that answers. After 250 ms, or when an address fails, the next address is
/// tried in parallel.
///
/// # Errors
/// Kind `unreachable`: no address answered by `deadline`.
pub async fn tcp(
    target: &Target,
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, Error> {
    let unreachable = |source| Error::Connect { target: Box::new(target.clone()), source };
    let mut waiting = addresses.iter().copied();
    let mut failed = Vec::new();
    let mut attempts = JoinSet::new();
    loop {
        if let Some(address) = waiting.next() {
            attempts.spawn(async move { (address, TcpStream::connect(address).await) });
        } else if attempts.is_empty() {
            return Err(unreachable(AddressErrors { failed, timed_out: false }));
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some(attempt) = attempts.join_next() => match attempt {
                Ok((_, Ok(stream))) => return Ok(tuned(stream)),
                Ok((address, Err(error))) => failed.push((address, error)),
                // A fault of this program, which counts as no answer of that address.
                Err(_) => {}
            },
            () = sleep(STAGGER), if more => {}
            () = sleep_until(deadline) => {
                return Err(unreachable(AddressErrors { failed, timed_out: true }));
            }
        }
    }
}

fn tuned(stream: TcpStream) -> TcpStream {
    // The connection also works without these options, so their errors are ignored.
    let _ = stream.set_nodelay(true);
    // Detects a dead host also while this process is suspended and sends no pings.
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(3);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    stream
}

/// Makes the TLS handshake. The server may not have checked the client's certificate when it is complete
/// (RFC 8446, section 2): a refusal comes with the first read.
///
/// # Errors
/// Kind `tls`.
pub async fn tls(
    config: &Config,
    target: &Target,
    socket: Socket,
    deadline: Instant,
) -> Result<TlsStream<Socket>, Error> {
    handshake(config, target, socket, deadline).await.map_err(|dial_error| dial_error.error)
}

async fn handshake(
    config: &Config,
    target: &Target,
    socket: Socket,
    deadline: Instant,
) -> Result<TlsStream<Socket>, DialError> {
    let address = socket.peer();
    let failed = |why: Option<Explanation>, source: io::Error| {
        let (why, hint) = match why {
            Some(why) => (why.reason, Some(sentence(&why.hint))),
            None => (source.to_string(), None),
        };
        let (target, address) = (Box::new(target.clone()), address.clone());
        Error::Handshake { target, address, why, hint, source }
    };
    let lasting = |source: io::Error| DialError { error: failed(None, source), is_final: true };
    let name = ServerName::try_from(target.certificate_name().to_owned()).map_err(|_| {
        let no_name = "a certificate cannot contain this name";
        lasting(io::Error::new(ErrorKind::InvalidInput, no_name))
    })?;
    let connecting = TlsConnector::from(Arc::clone(&config.tls)).connect(name, socket);
    let mut stream = match timeout_at(deadline, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            // A link that broke in the handshake may hold next time; a verdict stays.
            let is_final = explain::tls_error(&error).is_some();
            let error = failed(explain::on_client_io(&error, &config.files), error);
            return Err(DialError { error, is_final });
        }
        Err(_) => {
            let error = failed(None, late("no answer in time"));
            return Err(DialError { error, is_final: false });
        }
    };
    let (_, connection) = stream.get_mut();
    connection.set_buffer_limit(Some(AHEAD));
    check_alpn(connection).map_err(|error| lasting(io::Error::other(error)))?;
    Ok(stream)
}

/// Returns the server's reason if `error` is its refusal of the client's certificate, else the error. In TLS 1.3
/// the refusal comes with the first read.
fn refusal(config: &Config, target: &Target, error: io::Error) -> Result<Error, io::Error> {
    let Some(rustls::Error::AlertReceived(_)) = explain::tls_error(&error) else {
        return Err(error);
    };
    let Some(why) = explain::on_client_io(&error, &config.files) else { return Err(error) };
    Ok(Error::Refused {
        target: Box::new(target.clone()),
        why: why.reason,
        hint: sentence(&why.hint),
        source: error,
    })
}

/// Exchanges hellos, which proves that the server accepts the client's certificate, and closes the connection.
///
/// # Errors
/// Kind `tls` if the server refuses the certificate; the server's reason if it closes with one; `protocol` if it
/// is not an rcmd server; otherwise `unreachable`.
pub async fn hello(
    config: &Config,
    target: &Target,
    stream: TlsStream<Socket>,
    deadline: Instant,
) -> Result<Hello, Error> {
    let mut connection = Connection::new(Box::new(stream), Compression::Off);
    let first = timeout_at(deadline, connection.next()).await;
    connection.close(PeerWork::Idle).await;
    let silent = |source| Error::Hello { target: Box::new(target.clone()), source };
    match first {
        Ok(Ok(Frame::Hello(hello))) => Ok(hello),
        Ok(Ok(frame)) => {
            let frame = frame.kind().as_str();
            Err(ProtocolError::Unexpected { frame, why: "hello comes first" }.into())
        }
        Ok(Err(ConnectionError::ClosedByPeer(answer))) => Err(Error::Answer(answer)),
        Ok(Err(ConnectionError::Protocol(fault))) => Err(fault.into()),
        Ok(Err(ConnectionError::Io(error))) => {
            Err(refusal(config, target, error).unwrap_or_else(silent))
        }
        Ok(Err(ended)) => Err(silent(io::Error::other(ended))),
        Err(_) => Err(silent(late("no answer in time"))),
    }
}

/// A target, with all that is needed to connect to it again.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    config: Config,
    target: Target,
}

impl Host {
    pub(crate) fn new(config: &Config, target: &Target) -> Self {
        Self { config: config.clone(), target: target.clone() }
    }

    /// Returns this host with the present certificate, renewed if it is time: a command may run longer than the
    /// certificate that it began with is valid.
    async fn refreshed(self) -> Result<Self, DialError> {
        let not_final = |error| DialError { error, is_final: false };
        let config = self.config.refreshed().await.map_err(not_final)?;
        Ok(Self { config, ..self })
    }

    /// Connects as [`Host::connect`] does, and tries again within the same deadline if the handshake was cut off.
    /// Nothing was requested of the host yet, and a host with too many unauthenticated peers drops some at
    /// random.
    pub(crate) async fn connect_again(&self) -> Result<TlsStream<Socket>, DialError> {
        let deadline = Instant::now() + self.config.connect_timeout;
        for pause in PAUSES {
            match self.connect(deadline).await {
                Err(DialError { error, .. }) if is_cut_off(&error) => {
                    sleep_until(deadline.min(Instant::now() + backoff::spread(pause))).await;
                }
                done => return done,
            }
        }
        self.connect(deadline).await
    }

    /// Connects: look-up, socket and TLS under one deadline.
    async fn connect(&self, deadline: Instant) -> Result<TlsStream<Socket>, DialError> {
        let Self { config, target } = self;
        let not_final = |error| DialError { error, is_final: false };
        let mut addresses = resolve(target, deadline).await.map_err(not_final)?;
        if let Some(family) = config.family.filter(|_| target.socket_path().is_none()) {
            addresses.retain(|address| family.has(address));
            if addresses.is_empty() {
                let reason = format!("it has no {family} address");
                let source = io::Error::new(ErrorKind::NotFound, reason);
                let target = Box::new(target.clone());
                return Err(not_final(Error::Resolve { target, source }));
            }
        }
        let stream = socket(target, &addresses, deadline).await.map_err(not_final)?;
        handshake(config, target, stream, deadline).await
    }
}

/// Returns whether the host, or something between, closed the connection during the handshake without a reason.
fn is_cut_off(error: &Error) -> bool {
    let Error::Handshake { source, .. } = error else { return false };
    let kinds = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    explain::tls_error(source).is_none() && kinds.contains(&source.kind())
}

impl Connector for Host {
    fn dial(&self) -> Dialing {
        let host = self.clone();
        Box::pin(async move {
            let deadline = Instant::now() + host.config.connect_timeout;
            host.refreshed().await?.connect(deadline).await.map(|stream| Box::new(stream) as _)
        })
    }

    fn compression(&self) -> Compression {
        if self.config.compress { Compression::Asked } else { Compression::Off }
    }

    fn refusal(&self, error: io::Error) -> Result<WireError, io::Error> {
        refusal(&self.config, &self.target, error).map(WireError::from)
    }
}

#[cfg(test)]
mod tests {
    use rcmd_protocol::outcome::ErrorKind;
    use tokio::net::TcpListener;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    /// An address of this machine where nobody listens.
    async fn closed() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn an_address_that_refuses_makes_way_for_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let target: Target = "localhost".parse().unwrap();
        let stream = tcp(&target, &[closed().await, open], soon()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn a_host_that_refuses_is_named_with_its_address_and_the_next_command() {
        let address = closed().await;
        let target: Target = address.to_string().parse().unwrap();
        let error = tcp(&target, &[address], soon()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        assert_eq!(error.hint(), Some(format!("Try `rcmd-client doctor {address}`.")));
    }

    #[tokio::test]
    async fn addresses_of_a_numeric_target_need_no_name_service() {
        let target: Target = "[::1]:9".parse().unwrap();
        assert_eq!(resolve(&target, soon()).await.unwrap(), ["[::1]:9".parse().unwrap()]);
    }
}
