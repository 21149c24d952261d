//! rustls configurations of servers and clients.

use std::sync::Arc;

use rustls::{
    ClientConfig, CommonState, ServerConfig,
    client::Resumption,
    crypto::{
        CryptoProvider,
        aws_lc_rs::{self, cipher_suite, kx_group},
    },
    server::NoServerSessionStorage,
    version::TLS13,
};

use super::{
    client_verifier::{ClientVerifier, Revocation},
    error::{TlsError, setup},
    files::{ClientFiles, ServerFiles},
    load, remedy,
    server_verifier::{self, ServerVerifier},
};
use crate::{mapping::Mapping, names::Kind};

/// The protocol name that both ends require (RFC 7301).
pub const ALPN: &[u8] = b"rcmd/1";
/// The most bytes that a connection may encrypt before the socket takes them: two frames of data. With the
/// 64 KiB that rustls allows by default, each frame was cut before its last bytes, which cost a record
/// and a system call of their own.
pub const AHEAD: usize = 2 * (64 + 1) * 1024;

/// Returns the cryptography of every connection: what is offered, best first.
///
/// The call allocates: keep the result rather than calling it for each connection.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        ..aws_lc_rs::default_provider()
    })
}

/// Returns the server's configuration, from its files. Every client must present a certificate that
/// one of the authorities in `ca` signed.
///
/// Dates and usages of the own certificate are not judged here but by each peer, whose clock counts;
/// [`check_server`](super::check_server) names what peers are going to object to. After a handshake, the
/// caller must call [`check_alpn`].
///
/// # Errors
/// [`TlsError`] when a file is missing, unsafe, or unusable, or key and certificate do not match.
pub fn server_config(files: &ServerFiles) -> Result<Arc<ServerConfig>, TlsError> {
    server_side(files, &Revocation::NotNeeded).map(|side| side.config)
}

/// A server's side of TLS: the configuration, and its verifier of clients, which can judge again those who
/// were let in.
#[derive(Clone, Debug)]
pub struct ServerSide {
    /// The configuration for handshakes.
    pub config: Arc<ServerConfig>,
    /// The verifier, for later.
    pub clients: Arc<ClientVerifier>,
}

/// Returns the same as [`server_config`], given what is known of revocations, with its verifier.
///
/// # Errors
/// As [`server_config`].
pub fn server_side(files: &ServerFiles, revocation: &Revocation) -> Result<ServerSide, TlsError> {
    let provider = provider();
    let roots = load::load_roots(&files.ca, load::SERVER_CA_REMEDY)?;
    let pair = load::pair(&files.cert, &files.key, remedy::enroll(Kind::Server), &provider)?;
    let mapping = Mapping::load(&files.identity)?;
    let outside = server_verifier::external_roots(&mapping)?;
    let clients = ClientVerifier::new(Arc::new(roots), mapping, outside, revocation, &provider)
        .map_err(|error| setup(&files.ca, &error))?;
    let clients = Arc::new(clients);
    let verifier = Arc::clone(&clients);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| setup(&files.cert, &error))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(pair));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(ServerSide { config: Arc::new(config), clients })
}

/// Returns the client's configuration, from its files. The server must present a certificate for
/// the name that was dialled, signed by one of the authorities in `ca`.
///
/// As with [`server_config`], dates and usages are left to the peer;
/// [`check_client`](super::check_client) names them. After the handshake, the caller must call
/// [`check_alpn`].
///
/// # Errors
/// As [`server_config`].
pub fn client_config(files: &ClientFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let verifier = ServerVerifier::new(files, Mapping::load(&files.identity)?, &provider)?;
    let pair = load::pair(&files.cert, &files.key, remedy::enroll(Kind::Client), &provider)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| setup(&files.cert, &error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(pair));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

/// The error of a peer that did not agree to speak [`ALPN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer speaks TLS but does not name the protocol rcmd/1 (ALPN); is it an rcmd program?")]
pub struct WrongProtocol;

/// Checks, after the handshake, that both ends agreed on [`ALPN`].
///
/// rustls refuses a peer that names other protocols, but not one that names none.
///
/// # Errors
/// [`WrongProtocol`] when nothing was agreed on; the caller then closes the connection.
pub fn check_alpn(connection: &CommonState) -> Result<(), WrongProtocol> {
    if connection.alpn_protocol() == Some(ALPN) { Ok(()) } else { Err(WrongProtocol) }
}
