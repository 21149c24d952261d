//! A socket that listens, and how it goes on accepting whatever happens.

use std::{io, mem, net::SocketAddr, time::Duration};

use rustix::io::Errno;
use tokio::{
    net::{TcpListener, TcpStream},
    task::yield_now,
    time::sleep,
};

use super::{Strangers, bind, plain};

/// Connections that are accepted in a row before other tasks run. Each is a new task: where there are more
/// than a worker's own queue holds (256), some go to the queue that it looks into last, and there they and
/// whoever else is in it wait for as long as the flood lasts.
const IN_A_ROW: u32 = 16;
/// Time until the next attempt when connections can't be accepted.
const PAUSE: Duration = Duration::from_millis(20);

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    in_a_row: u32,
    /// True from an error that concerns every connection until the next one.
    is_stuck: bool,
    is_pause_due: bool,
    /// Accepted, and to be returned after [`Accepted::Again`].
    held: Option<(TcpStream, SocketAddr)>,
}

/// What has happened at a socket that listens. A trouble is told once, until there is a connection again.
#[derive(Debug)]
pub enum Accepted {
    /// A connection has come from this address.
    Connection(TcpStream, SocketAddr),
    /// A trouble is over: a connection follows.
    Again,
    /// Connections can't be accepted for want of descriptors or memory.
    OutOfRoom {
        /// What the kernel said.
        error: io::Error,
        /// True if a stranger was sent away to make room.
        shed: bool,
    },
    /// Connections can't be accepted for another reason.
    Failed(io::Error),
}

impl Listener {
    /// Listens on an address, which is one of `all`; port 0 takes one that is free.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn bind(address: SocketAddr, all: &[SocketAddr]) -> io::Result<Self> {
        let socket = bind(address, all)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address, in_a_row: 0, is_stuck: false, is_pause_due: false, held: None })
    }

    /// Returns the address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what happens next. No error ends it; where there is no room, one of `strangers` is sent
    /// away before each attempt.
    ///
    /// # Cancel safety
    /// No connection is lost.
    pub async fn next(&mut self, strangers: &Strangers) -> Accepted {
        loop {
            if let Some((stream, address)) = self.held.take() {
                return Accepted::Connection(stream, address);
            }
            if self.is_pause_due {
                sleep(PAUSE).await;
                self.is_pause_due = false;
            }
            if self.in_a_row == IN_A_ROW {
                self.in_a_row = 0;
                yield_now().await;
            }
            let error = match self.socket.accept().await {
                Ok((stream, address)) => {
                    self.in_a_row += 1;
                    if !mem::take(&mut self.is_stuck) {
                        return Accepted::Connection(stream, plain(address));
                    }
                    self.held = Some((stream, plain(address)));
                    return Accepted::Again;
                }
                Err(error) if is_of_one_peer(&error) => continue,
                Err(error) => error,
            };
            self.is_pause_due = true;
            let is_out_of_room = is_out_of_room(&error);
            let shed = is_out_of_room && strangers.shed();
            if !mem::replace(&mut self.is_stuck, true) {
                return match is_out_of_room {
                    true => Accepted::OutOfRoom { error, shed },
                    false => Accepted::Failed(error),
                };
            }
        }
    }
}

/// Returns whether an error of accept(2) concerns one connection, and not the next.
fn is_of_one_peer(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::CONNABORTED | Errno::INTR | Errno::PROTO | Errno::PERM))
}

/// Returns whether an error of accept(2) lasts until there are descriptors or memory again.
fn is_out_of_room(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}
