//! Where a peer's connection comes from.

use std::{
    fmt,
    net::{Ipv6Addr, SocketAddr},
};

use rcmd_certs::listen::Neighbourhood;

/// The way by which a peer's connection comes, a fact for rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// The server accepted the connection on a TCP port.
    Tcp,
    /// The server accepted the connection on a Unix socket.
    Unix,
    /// Another program accepted the connection and passed the socket to the server.
    Handed,
    /// A relay passes the connection on.
    Relay,
}

impl Way {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Unix, Self::Handed, Self::Relay];

    /// Returns the way's name in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Unix => "unix",
            Self::Handed => "handed",
            Self::Relay => "relay",
        }
    }
}

/// Where a peer's connection comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerOrigin {
    /// An address of the network, over a TCP port of the server.
    Network(SocketAddr),
    /// A process of this host, over a Unix socket of the server (SO_PEERCRED, unix(7)).
    Local {
        /// The user ID that the process had when it connected.
        uid: u32,
        /// The process ID; `None` for a process of another PID namespace.
        pid: Option<i32>,
    },
}

impl PeerOrigin {
    /// Returns the address; `[::]:0` for a connection that has none.
    pub fn address(self) -> SocketAddr {
        match self {
            Self::Network(address) => address,
            Self::Local { .. } => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        }
    }

    /// Returns the way.
    pub fn way(self) -> Way {
        match self {
            Self::Network(_) => Way::Tcp,
            Self::Local { .. } => Way::Unix,
        }
    }

    /// Returns the part of the network, or the account, with which peers share places and turns until they are known.
    pub fn neighbourhood(self) -> Neighbourhood {
        match self {
            Self::Network(address) => Neighbourhood::of(address.ip()),
            Self::Local { uid, .. } => Neighbourhood::Account(uid),
        }
    }
}

impl fmt::Display for PeerOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::Local { uid, pid: Some(pid) } => write!(f, "unix:uid={uid},pid={pid}"),
            Self::Local { uid, pid: None } => write!(f, "unix:uid={uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_peer_is_shown_by_its_account_and_has_no_address() {
        let local = PeerOrigin::Local { uid: 7, pid: Some(9) };
        assert_eq!(local.to_string(), "unix:uid=7,pid=9");
        assert_eq!(local.address().to_string(), "[::]:0");
        assert_eq!(local.way().as_str(), "unix");
        assert_eq!(PeerOrigin::Local { uid: 7, pid: None }.to_string(), "unix:uid=7");
    }

    #[test]
    fn places_are_shared_by_network_or_account() {
        let at = |text: &str| PeerOrigin::Network(text.parse().unwrap()).neighbourhood();
        assert_eq!(at("192.0.2.1:5"), at("192.0.2.9:7"));
        let of = |uid, pid| PeerOrigin::Local { uid, pid }.neighbourhood();
        assert_eq!(of(7, Some(1)), of(7, None));
        assert_ne!(of(7, None), of(8, None));
    }
}
