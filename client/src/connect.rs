//! The way to a server, step by step: name, TCP, TLS, hello.
//!
//! [`Client::connect`](crate::Client::connect) takes the steps together. Each failure has kind
//! `unreachable` or `tls`, names host and address, and hints at the next command.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rcmd_certs::{
    explain,
    text::sentence,
    tls::{AHEAD, check_alpn},
};
use rcmd_protocol::{
    error::ProtocolError,
    frame::{Frame, Hello},
    io::ConnectionError,
    limits::KEEPALIVE,
    outcome::{ErrorKind, WireError},
};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    config::Config,
    link::{
        connection::Connection,
        dial::{Connector, DialError, Dialing},
    },
    target::Target,
};

/// Time that an address has before the next one is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Failed addresses that a message names.
const NAMED: usize = 4;

/// Looks up all addresses of a target, in the order in which they are to be tried.
///
/// # Errors
/// Kind `unreachable`: the name is unknown, or was not found by `deadline`.
pub async fn resolve(target: &Target, deadline: Instant) -> Result<Vec<SocketAddr>, WireError> {
    let lookup = lookup_host((target.host.as_str(), target.port));
    let why = match timeout_at(deadline, lookup).await {
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.collect();
            if !addresses.is_empty() {
                return Ok(addresses);
            }
            "it has no address".to_owned()
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the name service did not answer in time".to_owned(),
    };
    let of =
        target.name.as_ref().map(|name| format!(", the address of {name}")).unwrap_or_default();
    let message = format!("cannot find the host {}{of}: {why}", target.host);
    let hint = format!("Check the name with `getent hosts {}`, or use an address.", target.host);
    Err(WireError::new(ErrorKind::Unreachable, message).hint(hint))
}

/// Connects to the first address that answers, by TCP. Each address has 250 ms, then the next is
/// tried beside it; one that fails makes way at once.
///
/// # Errors
/// Kind `unreachable`: none answered by `deadline`.
pub async fn tcp(
    target: &Target,
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, WireError> {
    let mut waiting = addresses.iter().copied();
    let mut failed = Vec::new();
    let mut attempts = JoinSet::new();
    loop {
        if let Some(address) = waiting.next() {
            attempts.spawn(async move { (address, TcpStream::connect(address).await) });
        } else if attempts.is_empty() {
            return Err(unreachable(target, &failed, "no address answered"));
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some(attempt) = attempts.join_next() => match attempt {
                Ok((_, Ok(stream))) => return Ok(tuned(stream)),
                Ok((address, Err(error))) => failed.push(format!("{address}: {error}")),
                Err(error) => failed.push(error.to_string()),
            },
            () = sleep(STAGGER), if more => {}
            () = sleep_until(deadline) => {
                return Err(unreachable(target, &failed, "no answer in time"));
            }
        }
    }
}

fn unreachable(target: &Target, failed: &[String], otherwise: &str) -> WireError {
    let why = match failed.get(..failed.len().min(NAMED)) {
        None | Some([]) => otherwise.to_owned(),
        Some(some) => some.join(", "),
    };
    let message = format!("cannot reach {} ({why})", place(target));
    WireError::new(ErrorKind::Unreachable, message).hint(doctor(target))
}

fn doctor(target: &Target) -> String {
    format!("Try `rcmd-client doctor {target}`.")
}

/// Returns host and port, also where the port is the usual one, behind the name if it has one.
fn place(target: &Target) -> String {
    let address = match target.host.contains(':') {
        true => format!("[{}]:{}", target.host, target.port),
        false => format!("{}:{}", target.host, target.port),
    };
    match &target.name {
        Some(name) => format!("{name} at {address}"),
        None => address,
    }
}

fn tuned(stream: TcpStream) -> TcpStream {
    // Neither decides whether the connection works, so neither's failure does.
    let _ = stream.set_nodelay(true);
    // Finds a dead host also while the process is suspended and sends no pings.
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(3);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    stream
}

/// Makes the TLS handshake. The server has not judged the client's certificate by then (RFC 8446,
/// section 2): its refusal comes with the first read.
///
/// # Errors
/// Kind `tls`.
pub async fn tls(
    config: &Config,
    target: &Target,
    tcp: TcpStream,
    deadline: Instant,
) -> Result<TlsStream<TcpStream>, WireError> {
    handshake(config, target, tcp, deadline).await.map_err(|dial_error| dial_error.failure)
}

async fn handshake(
    config: &Config,
    target: &Target,
    tcp: TcpStream,
    deadline: Instant,
) -> Result<TlsStream<TcpStream>, DialError> {
    let address = tcp.peer_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string());
    let failed = |why: &str, hint: String| {
        let message = format!("TLS with {} ({address}) failed: {why}", place(target));
        WireError::new(ErrorKind::Tls, message).hint(hint)
    };
    let name =
        ServerName::try_from(target.certificate_name().to_owned()).map_err(|_| DialError {
            failure: failed("this is no name that a certificate can hold", doctor(target)),
            is_final: true,
        })?;
    let connecting = TlsConnector::from(Arc::clone(&config.tls)).connect(name, tcp);
    let mut stream = match timeout_at(deadline, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            // A link that broke in the handshake may hold next time; a verdict stays.
            let is_final = explain::tls_error(&error).is_some();
            let failure = match explain::on_client_io(&error, &config.files) {
                Some(why) => failed(&why.reason, sentence(&why.hint)),
                None => failed(&error.to_string(), doctor(target)),
            };
            return Err(DialError { failure, is_final });
        }
        Err(_) => {
            let failure = failed("no answer in time", doctor(target));
            return Err(DialError { failure, is_final: false });
        }
    };
    let (_, connection) = stream.get_mut();
    connection.set_buffer_limit(Some(AHEAD));
    check_alpn(connection).map_err(|error| DialError {
        failure: failed(&error.to_string(), doctor(target)),
        is_final: true,
    })?;
    Ok(stream)
}

/// Returns what the server says when it refuses the client's certificate. In TLS 1.3 that comes
/// with the first read.
fn refusal(config: &Config, target: &Target, error: &io::Error) -> Option<WireError> {
    let Some(rustls::Error::AlertReceived(_)) = explain::tls_error(error) else { return None };
    let why = explain::on_client_io(error, &config.files)?;
    let message = format!("{} refused this client: {}", place(target), why.reason);
    Some(WireError::new(ErrorKind::Tls, message).hint(sentence(&why.hint)))
}

/// Exchanges hellos, which shows that the server accepts the client's certificate, and closes.
///
/// # Errors
/// Kind `tls` when the server refuses the certificate, what the server says when it closes with a
/// reason, `protocol` when it is no rcmd server, `unreachable` else.
pub async fn hello(
    config: &Config,
    target: &Target,
    stream: TlsStream<TcpStream>,
    deadline: Instant,
) -> Result<Hello, WireError> {
    let mut connection = Connection::new(Box::new(stream), false);
    let first = timeout_at(deadline, connection.next()).await;
    connection.close(true).await;
    let unreachable = |why: &str| {
        let message = format!("{} did not say hello: {why}", place(target));
        WireError::new(ErrorKind::Unreachable, message).hint(doctor(target))
    };
    match first {
        Ok(Ok(Frame::Hello(hello))) => Ok(hello),
        Ok(Ok(frame)) => {
            let frame = frame.kind().as_str();
            Err(ProtocolError::Unexpected { frame, why: "hello comes first" }.failure())
        }
        Ok(Err(ConnectionError::ClosedByPeer(failure))) => Err(failure),
        Ok(Err(ConnectionError::Protocol(fault))) => Err(fault.failure()),
        Ok(Err(ConnectionError::Io(error))) => {
            Err(refusal(config, target, &error).unwrap_or_else(|| unreachable(&error.to_string())))
        }
        Ok(Err(ended)) => Err(unreachable(&ended.to_string())),
        Err(_) => Err(unreachable("no answer in time")),
    }
}

/// A target, with all that it takes to reach it again.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    config: Config,
    target: Target,
}

impl Host {
    pub(crate) fn new(config: &Config, target: &Target) -> Self {
        Self { config: config.clone(), target: target.clone() }
    }

    /// Returns this host with the certificate as it is now, renewed if it is time: a command may
    /// run across the end of the certificate that it began with.
    async fn refreshed(self) -> Result<Self, DialError> {
        let not_final = |failure| DialError { failure, is_final: false };
        let config = self.config.refreshed().await.map_err(not_final)?;
        Ok(Self { config, ..self })
    }

    /// Connects: name, TCP and TLS under one deadline.
    pub(crate) async fn connect(&self) -> Result<TlsStream<TcpStream>, DialError> {
        let Self { config, target } = self;
        let deadline = Instant::now() + config.connect_timeout;
        let not_final = |failure| DialError { failure, is_final: false };
        let addresses = resolve(target, deadline).await.map_err(not_final)?;
        let stream = tcp(target, &addresses, deadline).await.map_err(not_final)?;
        handshake(config, target, stream, deadline).await
    }
}

impl Connector for Host {
    fn dial(&self) -> Dialing {
        let host = self.clone();
        Box::pin(async move {
            host.refreshed().await?.connect().await.map(|stream| Box::new(stream) as _)
        })
    }

    fn compresses(&self) -> bool {
        self.config.compress
    }

    fn refusal(&self, error: &io::Error) -> Option<WireError> {
        refusal(&self.config, &self.target, error)
    }
}

#[cfg(test)]
mod tests {
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
        let failure = tcp(&target, &[address], soon()).await.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Unreachable);
        assert!(failure.message.contains(&address.to_string()), "{failure}");
        assert_eq!(failure.hint, Some(format!("Try `rcmd-client doctor {address}`.")));
    }

    #[tokio::test]
    async fn addresses_of_a_numeric_target_need_no_name_service() {
        let target: Target = "[::1]:9".parse().unwrap();
        assert_eq!(resolve(&target, soon()).await.unwrap(), ["[::1]:9".parse().unwrap()]);
    }
}
