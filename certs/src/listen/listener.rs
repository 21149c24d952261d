//! A socket that listens, and goes on accepting after any error.

use std::{io, mem, net::SocketAddr, time::Duration};

use rustix::io::Errno;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::yield_now,
    time::sleep,
};
use tracing::{error, info, warn};

use super::{Strangers, bind, plain};

/// The number of connections that are accepted in a row before other tasks run. Each is a new task. If there
/// are more than fit a worker's own queue (256), some go to the queue that it looks into last, and all in that
/// queue wait for as long as the flood lasts.
const IN_A_ROW: u32 = 16;
/// The time until the next attempt when connections can't be accepted.
const PAUSE: Duration = Duration::from_millis(20);

/// A kind of socket that accepts connections.
pub trait Accepts {
    /// The accepted stream.
    type Stream;
    /// Where a connection comes from, as far as the kind of socket tells.
    type From;

    /// Accepts one connection.
    ///
    /// # Cancel safety
    /// Cancel safe: no connection is lost.
    fn accept_one(&self) -> impl Future<Output = io::Result<(Self::Stream, Self::From)>> + Send;
}

impl Accepts for TcpListener {
    type Stream = TcpStream;
    type From = SocketAddr;

    async fn accept_one(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, address) = self.accept().await?;
        Ok((stream, plain(address)))
    }
}

impl Accepts for UnixListener {
    type Stream = UnixStream;
    type From = ();

    async fn accept_one(&self) -> io::Result<(UnixStream, ())> {
        // The address of a client's own end says nothing: it can be any name, and mostly is none.
        self.accept().await.map(|(stream, _)| (stream, ()))
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener<A = TcpListener> {
    socket: A,
    in_a_row: u32,
    /// True if an error that concerns every connection has come since one was accepted.
    is_stuck: bool,
    is_pause_due: bool,
}

impl Listener {
    /// Listens on an address, which is one of `all`; port 0 takes one that is free.
    ///
    /// # Errors
    /// Fails when the address is taken.
    pub fn bind(address: SocketAddr, all: &[SocketAddr]) -> io::Result<Self> {
        bind(address, all).map(Self::new)
    }

    /// Returns the address, with the port that was taken.
    ///
    /// # Errors
    /// If the kernel does not tell it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl<A: Accepts> Listener<A> {
    /// Returns a listener of a socket that listens already.
    pub fn new(socket: A) -> Self {
        Self { socket, in_a_row: 0, is_stuck: false, is_pause_due: false }
    }

    /// Accepts the next connection. No error ends the socket: a trouble is logged once, until a connection is accepted
    /// again. For lack of descriptors or memory, `remedy` says in the log what to do, and one of `strangers` is sent
    /// away before each attempt.
    ///
    /// # Cancel safety
    /// Cancel safe: no connection is lost.
    pub async fn accept(&mut self, strangers: &Strangers, remedy: &str) -> (A::Stream, A::From) {
        loop {
            if self.is_pause_due {
                sleep(PAUSE).await;
                self.is_pause_due = false;
            }
            if self.in_a_row == IN_A_ROW {
                self.in_a_row = 0;
                yield_now().await;
            }
            let error = match self.socket.accept_one().await {
                Ok(accepted) => {
                    self.in_a_row += 1;
                    if mem::take(&mut self.is_stuck) {
                        info!("connections are accepted again");
                    }
                    return accepted;
                }
                Err(error) if is_of_one_peer(&error) => continue,
                Err(error) => error,
            };
            self.is_pause_due = true;
            let is_out_of_room = is_out_of_room(&error);
            let shed = is_out_of_room && strangers.shed();
            if mem::replace(&mut self.is_stuck, true) {
                continue;
            }
            if is_out_of_room {
                warn!(%error, shed, "out of descriptors; {remedy}");
            } else {
                error!(%error, "a connection could not be accepted");
            }
        }
    }
}

/// Returns whether an error of accept(2) concerns this connection only.
fn is_of_one_peer(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::CONNABORTED | Errno::INTR | Errno::PROTO | Errno::PERM))
}

/// Returns whether an error of accept(2) lasts until there are descriptors or memory again.
fn is_out_of_room(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}
