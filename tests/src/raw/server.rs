//! A server that speaks TLS and otherwise whatever a test wants, to real clients.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::RawPeer;
use crate::World;

/// A listener with the identity of a world's own server.
#[derive(Debug)]
pub struct RawServer {
    listener: TcpListener,
    config: Arc<ServerConfig>,
}

impl RawServer {
    /// Listens at a port of its own, in the place of the world's server.
    ///
    /// # Panics
    ///
    /// When a file can't be read or does not hold what it should.
    #[must_use]
    pub fn of(world: &World) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_file_iter(world.dir().join("ca.pem")).expect("ca.pem") {
            roots.add(cert.expect("ca.pem")).expect("ca.pem");
        }
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let folder = world.dir().join("server");
        let chain = CertificateDer::pem_file_iter(folder.join("cert.pem"))
            .and_then(Iterator::collect)
            .expect("cert.pem");
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("key.pem");
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_client_cert_verifier(clients.build().expect("authorities"))
            .with_single_cert(chain, key)
            .expect("a key that fits");
        config.alpn_protocols = vec![b"rcmd/1".to_vec()];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        Self { listener, config: Arc::new(config) }
    }

    /// Returns the address at which the server listens.
    ///
    /// # Panics
    ///
    /// When the kernel does not know.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("our own socket")
    }

    /// Waits for a client and completes the handshake with it.
    ///
    /// # Errors
    ///
    /// When the handshake fails.
    pub fn accept(&self) -> io::Result<RawPeer<ServerConnection>> {
        let (tcp, _) = self.listener.accept()?;
        let tls = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        RawPeer::shake(tls, tcp)
    }
}
