//! Sockets that listen, and the code that a server and an authority share for peers that have not shown who
//! they are.

mod listener;
mod strangers;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{HandshakeKind, ServerConfig, server::Acceptor};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket},
    task::yield_now,
    time::timeout,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tracing::warn;

pub use self::{
    listener::{Accepts, Listener},
    strangers::{Neighbourhood, Place, Shed, Strangers},
};

/// The most connections that the kernel holds until they are accepted; its own limit may be lower
/// (listen(2)).
const BACKLOG: u32 = 4096;
/// Listens on an address; port 0 takes one that is free. `all` are the addresses that are listened on
/// together: if one of IPv4 has the same port, `[::]` is for IPv6 alone. An address that this host does not have
/// (yet, as when the network comes up later) is listened on all the same, and that is logged.
///
/// # Errors
/// Fails when the address is taken.
fn bind(address: SocketAddr, all: &[SocketAddr]) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    let is_beside = |other: &SocketAddr| other.is_ipv4() && other.port() == address.port();
    if address.is_ipv6() && address.port() != 0 && all.iter().any(is_beside) {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    // A program that starts again gets its port while old connections are still in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    match socket.bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            match address {
                SocketAddr::V4(_) => rustix::net::sockopt::set_ip_freebind(&socket, true)?,
                SocketAddr::V6(_) => rustix::net::sockopt::set_ipv6_freebind(&socket, true)?,
            }
            socket.bind(address)?;
            warn!(%address, "this host does not have the address now; it is served as soon as it does");
        }
        bound => bound?,
    }
    socket.listen(BACKLOG)
}

/// Returns an address of IPv4 that was mapped into IPv6 (RFC 4291, 2.5.5.2) as an address of IPv4, and any
/// other unchanged.
fn plain(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// An answer to a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The server's keys and signature, which take as long to compute as many frames of others.
    Keys,
    /// A HelloRetryRequest (RFC 8446, 4.1.4). The keys follow with the second hello, whenever it comes.
    Retry,
}

/// Carries out a server's part of a TLS handshake. When the ClientHello is complete, awaits `turn(Answer::Keys)` and
/// keeps what it returns until the answer is computed and each task that was ready meanwhile has run. If the answer
/// is a HelloRetryRequest, awaits `turn(Answer::Retry)` before it is sent, and keeps that until the handshake is over.
/// When a turn has come, `has_left` is asked whether the peer has left meanwhile; if so, nothing is computed for it.
///
/// # Errors
/// Returns the reason of a failure with the stream, so that an alert can reach the peer before the stream is
/// closed; without one if the peer has left.
///
/// # Cancel safety
/// Not cancel safe: the stream is dropped with the call.
pub async fn handshake<S, T>(
    stream: S,
    config: Arc<ServerConfig>,
    turn: impl Fn(Answer) -> T,
    has_left: impl Fn(&S) -> bool,
) -> Result<TlsStream<S>, (io::Error, Option<S>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Future,
{
    let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), stream);
    let started = match (&mut acceptor).await {
        Ok(started) => started,
        Err(error) => return Err((error, acceptor.take_io())),
    };
    let keys = turn(Answer::Keys).await;
    if has_left(&started.io) {
        return Err((left(), None));
    }
    let mut kind = None;
    let answered =
        started.into_stream_with(config, |connection| kind = connection.handshake_kind());
    yield_now().await;
    drop(keys);
    let _retry = match kind {
        Some(HandshakeKind::FullWithHelloRetryRequest) => {
            let retry = turn(Answer::Retry).await;
            if answered.get_ref().is_some_and(&has_left) {
                return Err((left(), None));
            }
            Some(retry)
        }
        _ => None,
    };
    let accepted = answered.into_fallible().await;
    accepted.map_err(|(error, stream)| (error, Some(stream)))
}

fn left() -> io::Error {
    let why = "the peer left before its ClientHello was answered";
    io::Error::new(io::ErrorKind::ConnectionAborted, why)
}

/// Returns whether the peer of a socket has closed its side, or the connection is broken. Bytes that came before and
/// were not read make no difference. For a handshake that is its end: what proves who the peer is, it would send only
/// after the server's answer. A peer that went without a word is still there.
pub fn has_left<S: AsFd>(socket: &S) -> bool {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    // A hang-up and an error are reported unasked (poll(2)).
    let mut sockets = [PollFd::new(socket, PollFlags::RDHUP)];
    // A call that fails says nothing about the peer.
    poll(&mut sockets, Some(&at_once)).is_ok_and(|events| events > 0)
}

/// Reads and drops, for at most `time`, the bytes of a peer that is turned away. Closing a socket with unread
/// bytes resets it, and the reset may overtake the reason.
pub async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, time: Duration) {
    let drained = async {
        stream.shutdown().await?;
        let mut buffer = [0; 1024];
        while stream.read(&mut buffer).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    let _ = timeout(time, drained).await;
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use rustix::io::Errno;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn both_families_are_listened_on_by_the_same_port() {
        let v4 = bind(address("0.0.0.0:0"), &[]).unwrap();
        let port = v4.local_addr().unwrap().port();
        let both = [SocketAddr::from(([0, 0, 0, 0], port)), address(&format!("[::]:{port}"))];
        if let Err(error) = TcpSocket::new_v6() {
            assert_eq!(error.raw_os_error(), Some(Errno::AFNOSUPPORT.raw_os_error()), "{error}");
            return;
        }
        bind(both[1], &both).unwrap();
        // By itself `[::]` also serves IPv4, and so its port is taken here.
        assert_eq!(bind(both[1], &both[1..]).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn an_address_that_comes_later_is_listened_on_now() {
        // Reserved for documentation (RFC 5737, RFC 3849).
        let v4 = bind(address("192.0.2.77:0"), &[]).unwrap().local_addr().unwrap();
        assert!(v4.port() > 0 && v4.ip() == address("192.0.2.77:0").ip(), "{v4}");
        if TcpSocket::new_v6().is_ok() {
            let v6 = bind(address("[2001:db8::77]:0"), &[]).unwrap();
            assert!(v6.local_addr().unwrap().port() > 0);
        }
    }

    #[test]
    fn a_peer_has_left_when_it_sends_no_more_whatever_came_before() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (listener.accept().unwrap().0, far)
        };
        let wait = |near: &std::net::TcpStream| {
            let mut sockets = [PollFd::new(near, PollFlags::RDHUP)];
            poll(&mut sockets, None).unwrap();
        };
        let (near, mut far) = connect();
        assert!(!has_left(&near));
        far.write_all(b"not read").unwrap();
        let mut sockets = [PollFd::new(&near, PollFlags::IN)];
        poll(&mut sockets, None).unwrap();
        assert!(!has_left(&near));
        far.shutdown(std::net::Shutdown::Write).unwrap();
        wait(&near);
        assert!(has_left(&near));

        // A socket that is closed with bytes that nobody has read is reset.
        let (near, mut far) = connect();
        far.write_all(b"not read").unwrap();
        let mut sockets = [PollFd::new(&near, PollFlags::IN)];
        poll(&mut sockets, None).unwrap();
        drop(near);
        wait(&far);
        assert!(has_left(&far));
    }

    #[test]
    fn an_address_of_ipv4_is_shown_as_one() {
        for (came, shown) in [
            ("[::ffff:192.0.2.7]:9", "192.0.2.7:9"),
            ("192.0.2.7:9", "192.0.2.7:9"),
            ("[2001:db8::7]:9", "[2001:db8::7]:9"),
            ("[fe80::1%3]:9", "[fe80::1%3]:9"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(plain(address(came)), address(shown));
        }
    }
}
