//! The sockets that a server listens on: its own and those that the service manager passed to it.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    os::{linux::net::SocketAddrExt as _, unix},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use rcmd_certs::listen::Listener;
use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::net::{TcpListener, UnixListener};
use tracing::{info, warn};

use super::local_socket;
use crate::{
    config::listen::{ListenAddress, ListenSource},
    control::SocketFile,
    net::{
        listener,
        pulse::{Asker, pulse},
    },
    process::PassedSocket,
    state::ServerState,
};

/// Sockets that listen, until this is dropped.
#[derive(Debug)]
pub(super) struct Listening {
    /// Where they listen, with the ports that were taken.
    pub(super) addresses: Vec<ListenAddress>,
    /// By which each loop is asked whether it still runs.
    pub(super) pulses: Vec<Asker>,
    /// True if the service manager holds all of them, so that connections wait for the next server.
    pub(super) is_held: bool,
    /// The files of Unix sockets.
    _local: Vec<SocketFile>,
}

/// A socket that listens.
enum Socket {
    Tcp(Listener),
    Unix(Listener<UnixListener>),
}

/// A socket with its address. `is_held` is true if the service manager has it too.
struct Opened {
    socket: Socket,
    address: ListenAddress,
    is_held: bool,
}

/// Starts to listen, and says where on standard output. `passed` are the sockets of the service manager.
///
/// # Errors
/// The place where the server can't listen, and the reason.
pub(super) fn listen(state: &Arc<ServerState>, passed: Vec<PassedSocket>) -> Result<Listening> {
    let limits = &state.settings.limits;
    info!(
        running = limits.running,
        queued = limits.queued,
        connections = limits.connections,
        unauthenticated = limits.unauthenticated,
        "limits"
    );
    let (opened, local) = open(state, passed)?;
    let mut listening = Listening {
        addresses: opened.iter().map(|one| one.address.clone()).collect(),
        pulses: Vec::new(),
        is_held: opened.iter().all(|one| one.is_held),
        _local: local,
    };
    let mut out = io::stdout();
    for Opened { socket, address, is_held } in opened {
        writeln!(out, "listening on {address}")?;
        // A connection that comes to a socket of the manager's while this server drains waits for the next one.
        let until = if is_held { state.draining() } else { &state.closing }.clone();
        let (asker, pulse) = pulse();
        listening.pulses.push(asker);
        let (tasks, state) = (&state.tasks, Arc::clone(state));
        match socket {
            Socket::Tcp(socket) => tasks.spawn(listener::serve(socket, state, pulse, until)),
            Socket::Unix(socket) => tasks.spawn(listener::serve(socket, state, pulse, until)),
        };
    }
    out.flush()?;
    Ok(listening)
}

/// Opens all sockets before any of them accepts.
fn open(
    state: &ServerState,
    mut passed: Vec<PassedSocket>,
) -> Result<(Vec<Opened>, Vec<SocketFile>)> {
    let settings = &state.settings;
    let from_manager = [ListenAddress::FromManager];
    // Whoever passes sockets wants them served; only the command line can say otherwise.
    let places = match settings.listen_source {
        ListenSource::Default | ListenSource::File if !passed.is_empty() => &from_manager[..],
        _ => &settings.listen[..],
    };
    let of_tcp = |place: &ListenAddress| match place {
        ListenAddress::Tcp(address) => Some(*address),
        ListenAddress::Unix(_) | ListenAddress::FromManager => None,
    };
    let all: Vec<SocketAddr> = places.iter().filter_map(of_tcp).collect();
    let (mut opened, mut local) = (Vec::new(), Vec::new());
    for place in places {
        let cannot = || format!("cannot listen on {place}");
        match place {
            ListenAddress::Tcp(address) => {
                let socket = Listener::bind(*address, &all).with_context(|| {
                    format!("{}; choose another with --listen ADDR:PORT", cannot())
                })?;
                let address = ListenAddress::Tcp(socket.address().with_context(cannot)?);
                opened.push(Opened { socket: Socket::Tcp(socket), address, is_held: false });
            }
            ListenAddress::Unix(path) => {
                let (socket, file) = local_socket::bind(path).with_context(cannot)?;
                let socket = unix(socket).with_context(cannot)?;
                local.push(file);
                opened.push(Opened { socket, address: place.clone(), is_held: false });
            }
            ListenAddress::FromManager => {
                if passed.is_empty() {
                    bail!(
                        "{}: the service manager passed no socket; start the server by its .socket unit, or \
                         choose an address with --listen ADDR:PORT",
                        cannot()
                    );
                }
                for socket in passed.drain(..) {
                    let name = socket.name.clone();
                    opened.push(take(socket).with_context(|| {
                        format!("cannot listen on the socket {name:?} of the service manager")
                    })?);
                }
            }
        }
    }
    if !passed.is_empty() {
        warn!(
            sockets = passed.len(),
            "the sockets of the service manager are not used; --listen fd uses them"
        );
    }
    doubt(settings.listen_source, &settings.listen, &opened);
    Ok((opened, local))
}

/// Warns of a setting `listen` that has no effect, because the service manager's sockets are served.
fn doubt(source: ListenSource, configured: &[ListenAddress], opened: &[Opened]) {
    let is_served = |place: &ListenAddress| {
        *place == ListenAddress::FromManager || opened.iter().any(|one| one.address == *place)
    };
    let is_held = opened.iter().any(|one| one.is_held);
    if source == ListenSource::File && is_held && !configured.iter().all(is_served) {
        let served: Vec<_> = opened.iter().map(|one| one.address.to_string()).collect();
        warn!(
            served = served.join(", "),
            "listen in server.toml has no effect: the sockets of the service manager are served; change its .socket \
             unit, or disable that"
        );
    }
}

fn unix(socket: unix::net::UnixListener) -> io::Result<Socket> {
    socket.set_nonblocking(true)?;
    Ok(Socket::Unix(Listener::new(UnixListener::from_std(socket)?)))
}

/// Makes a listener of a socket that the service manager passed.
fn take(passed: PassedSocket) -> Result<Opened> {
    let fd = passed.fd;
    if sockopt::socket_type(&fd)? != SocketType::STREAM {
        bail!("it is not a stream; write ListenStream= into its unit");
    }
    if !sockopt::socket_acceptconn(&fd)? {
        bail!("it does not listen; write Accept=no into its unit");
    }
    let (socket, address) = match sockopt::socket_domain(&fd)? {
        AddressFamily::INET | AddressFamily::INET6 => {
            let socket = std::net::TcpListener::from(fd);
            socket.set_nonblocking(true)?;
            let address = ListenAddress::Tcp(socket.local_addr()?);
            (Socket::Tcp(Listener::new(TcpListener::from_std(socket)?)), address)
        }
        AddressFamily::UNIX => {
            let socket = unix::net::UnixListener::from(fd);
            let address = socket.local_addr()?;
            let path = match (address.as_pathname(), address.as_abstract_name()) {
                (Some(path), _) => path.to_owned(),
                (None, name) => {
                    PathBuf::from(format!("@{}", String::from_utf8_lossy(name.unwrap_or_default())))
                }
            };
            (unix(socket)?, ListenAddress::Unix(path))
        }
        other => bail!("sockets of the family {} are not served", other.as_raw()),
    };
    Ok(Opened { socket, address, is_held: true })
}
