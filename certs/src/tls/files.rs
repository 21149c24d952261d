//! The paths of the certificates and keys of a server and a client.

use std::path::PathBuf;

use crate::{names::Kind, paths::Layout};

/// The files of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// The authorities whose clients are let in.
    pub ca: PathBuf,
    /// The server's certificate, followed by its intermediates.
    pub cert: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
    /// The rules for the certificates of other authorities; the file need not exist.
    pub identity: PathBuf,
}

/// The files of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// The authorities whose servers are trusted.
    pub ca: PathBuf,
    /// The client's certificate, followed by its intermediates.
    pub cert: PathBuf,
    /// The client's private key.
    pub key: PathBuf,
    /// The revocation lists by which servers are judged; the file need not exist.
    pub list: PathBuf,
    /// The rules for the certificates of other authorities; the file need not exist.
    pub identity: PathBuf,
}

impl From<&Layout> for ServerFiles {
    fn from(layout: &Layout) -> Self {
        let (cert, key) = (layout.server_cert(), layout.server_key());
        Self { ca: layout.ca(), cert, key, identity: layout.identity_toml() }
    }
}

impl From<&Layout> for ClientFiles {
    fn from(layout: &Layout) -> Self {
        let (cert, key) = (layout.client_cert(), layout.client_key());
        let list = layout.member_list(Kind::Client);
        Self { ca: layout.ca(), cert, key, list, identity: layout.identity_toml() }
    }
}
