//! The one builder of rustls configurations.
//!
//! Every connection of rcmd is TLS 1.3 with aws-lc-rs, and both ends prove themselves. The first
//! key exchange is X25519MLKEM768, which stays secret also against a later quantum computer; the
//! first cipher is AES-256-GCM, the fastest of the three on processors with AES instructions. The
//! protocol name (ALPN) `rcmd/1` is required.
//!
//! There is no resumption, no ticket and no early data: rustls takes a resumed client's identity
//! from the ticket without asking the verifier, so a revoked or expired client would still come in,
//! and early data can be replayed.
//!
//! Certificates of other authorities work as well: `cert.pem` may hold a chain, leaf first;
//! `ca.pem` several authorities; a key may be PKCS #8, SEC1 or PKCS #1, of any kind that aws-lc-rs
//! signs with. Revocation lists are the affair of [`ClientVerifier`], who judges those who come to a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, CommonState, ServerConfig};

use crate::files::{FileError, shown};
use crate::mapping::{Mapping, MappingError};
use crate::paths::Layout;

mod check;
mod client_verifier;
mod enrollment;
mod load;
mod server_verifier;
mod signatures;

pub use check::{CertificateFinding, Problem, check_client, check_server, date_problem};
pub use client_verifier::{ClientVerifier, Revalidation, Revocation};
pub use enrollment::{
    AUTHORITY_ALPN, LISTENER, LISTENER_NAME, contact_config, listener_config, listener_name,
};
pub(crate) use load::load_first;
pub use load::{
    certificates as load_all, crl_issuers, load_certificates, load_leaf, private_key as load_key,
};
use server_verifier::ServerVerifier;

/// The protocol name that both ends require (RFC 7301).
pub const ALPN: &[u8] = b"rcmd/1";
/// Bytes that a connection may have encrypted before the socket takes them: two frames of data. With
/// the 64 KiB that rustls takes by itself each of them was cut before its last bytes, which cost a
/// record and a system call of their own.
pub const AHEAD: usize = 2 * (64 + 1) * 1024;

/// The files of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// The authorities whose clients are let in.
    pub ca: PathBuf,
    /// The server's certificate, followed by its intermediates.
    pub cert: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
    /// Whom the certificates of other authorities name; need not exist.
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
    /// Whom the certificates of other authorities name; need not exist.
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
        Self { ca: layout.ca(), cert, key, identity: layout.identity_toml() }
    }
}

/// Why no configuration could be made. Each message names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that must be there is not.
    #[error("{} does not exist; {remedy}", shown(path))]
    Missing {
        /// The file.
        path: PathBuf,
        /// The command that makes it.
        remedy: &'static str,
    },
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// `identity.toml` cannot be used.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// A file is not PEM, or a section of it is broken.
    #[error(
        "{} is not readable as PEM ({reason}); \
         restore it, or issue it again with `rcmd-certs issue`",
        shown(path)
    )]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file without any certificate.
    #[error("{} holds no certificate; it needs a `-----BEGIN CERTIFICATE-----` section", shown(.0))]
    NoCertificate(PathBuf),
    /// A certificate that cannot be read.
    #[error("certificate {number} in {} cannot be used: {reason}", shown(path))]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The place of the certificate in the file, from 1.
        number: usize,
        /// What is wrong.
        reason: String,
    },
    /// A file without any private key.
    #[error("{} holds no private key; it needs a `-----BEGIN PRIVATE KEY-----` section", shown(.0))]
    NoKey(PathBuf),
    /// A private key under a passphrase.
    #[error(
        "the private key in {} is encrypted, and nobody is there to type its passphrase; \
         decrypt it with `openssl pkey -in {} -out NEW.pem`",
        shown(.0),
        shown(.0)
    )]
    EncryptedKey(PathBuf),
    /// A private key that aws-lc-rs does not take.
    #[error("the private key in {} cannot be used: {reason}", shown(path))]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The private key belongs to another certificate.
    #[error(
        "the private key in {} does not belong to the first certificate in {}; \
         issue the pair again with `rcmd-certs issue ... --force`, or restore the file that fits",
        shown(key),
        shown(cert)
    )]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// rustls refused the whole.
    #[error("TLS cannot be set up from {}: {reason}", shown(path))]
    Setup {
        /// The file that it hangs on.
        path: PathBuf,
        /// rustls's reason.
        reason: String,
    },
}

/// The cryptography of every connection: what is offered, best first.
///
/// Allocates; keep the result rather than calling it for each connection.
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

/// The server's configuration, from its files. Every client must present a certificate that one of
/// the authorities in `ca` signed.
///
/// Dates and usages are not judged here but by each peer, whose clock counts; [`check_server`]
/// names what peers are going to object to. After a handshake, [`check_alpn`] remains to be called.
///
/// # Errors
///
/// [`TlsError`] when a file is missing, unsafe, or unusable, or key and certificate do not match.
pub fn server_config(files: &ServerFiles) -> Result<Arc<ServerConfig>, TlsError> {
    server_side(files, &Revocation::NotNeeded).map(|side| side.config)
}

/// A server's side of TLS: the configuration, and the judge of clients in it, who can be asked again
/// about those who came in.
#[derive(Clone, Debug)]
pub struct ServerSide {
    /// For the handshake.
    pub config: Arc<ServerConfig>,
    /// For later.
    pub clients: Arc<ClientVerifier>,
}

/// As [`server_config`], with what is known of revocations.
///
/// # Errors
///
/// As [`server_config`].
pub fn server_side(files: &ServerFiles, revocation: &Revocation) -> Result<ServerSide, TlsError> {
    let provider = provider();
    let roots = load::load_roots(&files.ca, load::SERVER_CA_REMEDY)?;
    let pair = load::pair(&files.cert, &files.key, load::SERVER_REMEDY, &provider)?;
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

/// The client's configuration, from its files. The server must present a certificate for the name
/// that was dialled, signed by one of the authorities in `ca`.
///
/// As with [`server_config`], dates and usages are left to the peer; [`check_client`] names them,
/// and [`check_alpn`] remains to be called after the handshake.
///
/// # Errors
///
/// As [`server_config`].
pub fn client_config(files: &ClientFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let verifier = ServerVerifier::new(&files.ca, Mapping::load(&files.identity)?, &provider)?;
    let pair = load::pair(&files.cert, &files.key, load::CLIENT_REMEDY, &provider)?;
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

fn setup(path: &Path, error: &dyn std::error::Error) -> TlsError {
    TlsError::Setup { path: path.to_owned(), reason: error.to_string() }
}

/// The peer did not agree to speak [`ALPN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer speaks TLS but does not name the protocol rcmd/1 (ALPN); is it an rcmd program?")]
pub struct WrongProtocol;

/// Checks, after the handshake, that both ends agreed on [`ALPN`].
///
/// rustls refuses a peer that names other protocols, but not one that names none.
///
/// # Errors
///
/// [`WrongProtocol`] when nothing was agreed on; close the connection.
pub fn check_alpn(connection: &CommonState) -> Result<(), WrongProtocol> {
    if connection.alpn_protocol() == Some(ALPN) { Ok(()) } else { Err(WrongProtocol) }
}
