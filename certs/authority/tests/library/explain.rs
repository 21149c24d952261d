//! Real handshakes in memory, between a client and a server one of which has a fault.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcmd_authority::ca::{Authority, Issued, LeafSpec, Usage};
use rcmd_certs::{
    enroll::key::KeyAlgorithm,
    explain::{Explanation, on_client, on_client_io, on_server, server_reason, tls_error},
    names::HostName,
    tls::{ClientFiles, ServerFiles, check_alpn, client_config, server_config},
};
use rustls::{ClientConnection, ServerConnection};
use rustls_pki_types::ServerName;
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An authority, a server `web1.example` and a client `alice`, all in order until a test breaks
/// one of them.
struct Pair {
    authority: Authority,
    root: TempDir,
}

impl Pair {
    fn new() -> Self {
        let authority = Authority::create(KeyAlgorithm::Ed25519).unwrap();
        let pair = Self { authority, root: tempfile::tempdir().unwrap() };
        for side in ["client", "server"] {
            std::fs::create_dir(pair.root.path().join(side)).unwrap();
            pair.trust(side, &pair.authority);
        }
        pair.install("server", &pair.issue(&server()));
        pair.install("client", &pair.issue(&client()));
        pair
    }

    fn issue(&self, spec: &LeafSpec) -> Issued {
        self.authority.issue(spec, KeyAlgorithm::Ed25519).unwrap()
    }

    fn install(&self, side: &str, issued: &Issued) {
        let dir = self.root.path().join(side);
        write(&dir.join("cert.pem"), &issued.cert_pem());
        write(&dir.join("key.pem"), &issued.key_pem());
    }

    fn trust(&self, side: &str, authority: &Authority) {
        write(&self.root.path().join(side).join("ca.pem"), &authority.cert_pem());
    }

    fn files(&self) -> (ClientFiles, ServerFiles) {
        let of = |side: &str, name: &str| self.root.path().join(side).join(name);
        let client = ClientFiles {
            ca: of("client", "ca.pem"),
            cert: of("client", "cert.pem"),
            key: of("client", "key.pem"),
            list: of("client", "list.pem"),
            identity: of("client", "identity.toml"),
        };
        let server = ServerFiles {
            ca: of("server", "ca.pem"),
            cert: of("server", "cert.pem"),
            key: of("server", "key.pem"),
            identity: of("server", "identity.toml"),
        };
        (client, server)
    }

    /// Returns each side's explanation of the handshake: `None` if it succeeded.
    fn shake(&self) -> (Option<Explanation>, Option<Explanation>) {
        let (client_files, server_files) = self.files();
        let name = ServerName::try_from("web1.example").unwrap();
        let client = ClientConnection::new(client_config(&client_files).unwrap(), name).unwrap();
        let server = ServerConnection::new(server_config(&server_files).unwrap()).unwrap();
        let (client, server) = converse(client, server);
        (
            client.map(|error| on_client(&error, &client_files)),
            server.map(|error| on_server(&error, None)),
        )
    }

    fn refused(&self) -> (String, String) {
        let (client, server) = self.shake();
        let (client, server) = (client.unwrap(), server.unwrap());
        for explanation in [&client, &server] {
            assert!(!explanation.hint.is_empty());
            assert!(!explanation.to_string().chars().any(char::is_control), "{explanation:?}");
        }
        (client.reason, server.reason)
    }
}

fn server() -> LeafSpec {
    LeafSpec::server(&[HostName::parse("web1.example").unwrap()])
}

fn client() -> LeafSpec {
    LeafSpec::client("alice", &["admin".to_owned()]).unwrap()
}

fn write(path: &Path, text: &str) {
    let file = rcmd_certs::files::NewFile { path, bytes: text.as_bytes(), private: true };
    rcmd_certs::files::write_all(&[file], rcmd_certs::files::Existing::Replace).unwrap();
}

/// Carries bytes both ways until both are done, or one has failed and the other has been told.
fn converse(
    mut client: ClientConnection,
    mut server: ServerConnection,
) -> (Option<rustls::Error>, Option<rustls::Error>) {
    let (mut client_error, mut server_error) = (None, None);
    for _ in 0..20 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        if server_error.is_none() {
            server_error = feed(&wire, |bytes| {
                server.read_tls(bytes).unwrap();
                server.process_new_packets().map(drop)
            });
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        if client_error.is_none() {
            client_error = feed(&wire, |bytes| {
                client.read_tls(bytes).unwrap();
                client.process_new_packets().map(drop)
            });
        }
    }
    if client_error.is_none() && server_error.is_none() {
        assert!(!client.is_handshaking() && !server.is_handshaking(), "the handshake hangs");
        check_alpn(&client).unwrap();
        check_alpn(&server).unwrap();
    }
    (client_error, server_error)
}

fn feed(
    mut wire: &[u8],
    mut take: impl FnMut(&mut &[u8]) -> Result<(), rustls::Error>,
) -> Option<rustls::Error> {
    while !wire.is_empty() {
        if let Err(error) = take(&mut wire) {
            return Some(error);
        }
    }
    None
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{text}` does not say `{part}`");
    }
}

#[test]
fn a_good_pair_agrees_with_both_kinds_of_key() {
    let pair = Pair::new();
    assert_eq!(pair.shake(), (None, None));
    let p256 = pair.authority.issue(&client(), KeyAlgorithm::EcdsaP256).unwrap();
    pair.install("client", &p256);
    assert_eq!(pair.shake(), (None, None));
}

#[test]
fn a_client_of_another_authority_is_refused() {
    let pair = Pair::new();
    let other = Authority::create(KeyAlgorithm::Ed25519).unwrap();
    pair.install("client", &other.issue(&client(), KeyAlgorithm::Ed25519).unwrap());
    let (client, server) = pair.refused();
    assert_says(&client, &["this client's certificate", "does not trust", "unknown authority"]);
    assert_says(&client, &[&other.certificate().subject]);
    assert_says(&server, &["the client's certificate", "unknown authority"]);
}

#[test]
fn a_self_signed_client_is_refused() {
    let pair = Pair::new();
    pair.install("client", &Issued::self_signed(&client(), KeyAlgorithm::Ed25519).unwrap());
    let (client, server) = pair.refused();
    assert_says(&client, &["this client's certificate", "self-signed"]);
    assert_says(&server, &["the client's certificate", "self-signed"]);
}

#[test]
fn an_authority_that_poses_as_a_client_is_refused() {
    let pair = Pair::new();
    let other = Authority::create(KeyAlgorithm::Ed25519).unwrap();
    let dir = pair.root.path().join("client");
    write(&dir.join("cert.pem"), &other.cert_pem());
    write(&dir.join("key.pem"), &other.key_pem());
    let (client, server) = pair.refused();
    assert_says(&client, &["self-signed", "unknown authority"]);
    assert_says(&server, &["self-signed (CA:TRUE)", "unknown authority"]);
}

#[test]
fn an_expired_client_is_refused() {
    let pair = Pair::new();
    let mut spec = client();
    spec.not_before = SystemTime::now() - 10 * DAY;
    spec.not_after = SystemTime::now() - 3 * DAY;
    pair.install("client", &pair.issue(&spec));
    let (client, server) = pair.refused();
    assert_says(&client, &["this client's certificate expired 3 days ago"]);
    assert_says(&server, &["the client's certificate expired 3 days ago"]);
    let hint = pair.shake().0.unwrap().hint;
    assert_says(&hint, &["rcmd-client enroll --renew"]);
}

#[test]
fn a_client_that_is_not_valid_yet_is_refused() {
    let pair = Pair::new();
    let mut spec = client();
    spec.not_before = SystemTime::now() + 3 * DAY + DAY / 2;
    pair.install("client", &pair.issue(&spec));
    let (client, server) = pair.refused();
    assert_says(&client, &["this client's certificate is not valid yet", "3 days", "clock"]);
    assert_says(&server, &["the client's certificate is not valid yet", "3 days"]);
}

#[test]
fn a_server_certificate_at_a_client_is_refused() {
    let pair = Pair::new();
    let mut spec = client();
    spec.usages = vec![Usage::Server];
    spec.names = vec![HostName::parse("web1.example").unwrap()];
    pair.install("client", &pair.issue(&spec));
    let (client, server) = pair.refused();
    assert_says(&client, &["not for a client", "wrong usage"]);
    assert_says(&server, &["the client's certificate is not for a client", "wrong usage"]);
}

#[test]
fn a_client_certificate_at_a_server_is_refused() {
    let pair = Pair::new();
    let mut spec = server();
    spec.usages = vec![Usage::Client];
    pair.install("server", &pair.issue(&spec));
    let (client, server) = pair.refused();
    assert_says(&client, &["the server's certificate is not for a server", "wrong usage"]);
    assert_says(&server, &["not for a server", "wrong usage"]);
}

#[test]
fn a_server_of_another_authority_is_refused() {
    let pair = Pair::new();
    pair.trust("client", &Authority::create(KeyAlgorithm::Ed25519).unwrap());
    let (client, server) = pair.refused();
    assert_says(&client, &["the server's certificate", "unknown authority"]);
    assert_says(&server, &["the client does not trust its authority", "unknown authority"]);
}

#[test]
fn an_expired_server_and_one_not_valid_yet_are_told_apart_by_the_client() {
    let pair = Pair::new();
    let mut spec = server();
    spec.not_before = SystemTime::now() - 10 * DAY;
    spec.not_after = SystemTime::now() - 3 * DAY;
    pair.install("server", &pair.issue(&spec));
    let (client, server) = pair.refused();
    assert_says(&client, &["the server's certificate expired 3 days ago"]);
    assert_says(&server, &["expired, or not valid yet"]);
    let mut spec = self::server();
    spec.not_before = SystemTime::now() + 3 * DAY + DAY / 2;
    pair.install("server", &pair.issue(&spec));
    assert_says(&pair.refused().0, &["the server's certificate is not valid yet", "3 days"]);
}

#[test]
fn a_server_with_another_name_is_refused_and_its_names_are_shown() {
    let pair = Pair::new();
    let names = ["web2.example", "192.0.2.7"].map(|name| HostName::parse(name).unwrap());
    pair.install("server", &pair.issue(&LeafSpec::server(&names)));
    let (client, server) = pair.refused();
    assert_says(&client, &["is for web2.example, 192.0.2.7, not for web1.example"]);
    assert_says(&server, &["wrong host name"]);
}

/// Returns a client with a configuration that rcmd does not make: the client's own with one change.
fn foreign_client(pair: &Pair, change: impl FnOnce(&mut rustls::ClientConfig)) -> ClientConnection {
    let mut config = Arc::unwrap_or_clone(client_config(&pair.files().0).unwrap());
    change(&mut config);
    let name = ServerName::try_from("web1.example").unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let pair = Pair::new();
    let (files, server_files) = pair.files();
    let client =
        foreign_client(&pair, |config| config.client_auth_cert_resolver = Arc::new(NoCertificate));
    let server = ServerConnection::new(server_config(&server_files).unwrap()).unwrap();
    let (client, server) = converse(client, server);
    assert_says(&on_client(&client.unwrap(), &files).reason, &["requires a certificate", "none"]);
    assert_says(
        &on_server(&server.unwrap(), None).reason,
        &["the client presented no certificate"],
    );
}

#[test]
fn another_protocol_is_refused_in_the_handshake() {
    let pair = Pair::new();
    let (files, server_files) = pair.files();
    let client = foreign_client(&pair, |config| config.alpn_protocols = vec![b"h2".to_vec()]);
    let server = ServerConnection::new(server_config(&server_files).unwrap()).unwrap();
    let (client, server) = converse(client, server);
    assert_says(&on_client(&client.unwrap(), &files).reason, &["rcmd/1"]);
    assert_says(&on_server(&server.unwrap(), None).reason, &["rcmd/1"]);
}

/// Returns a ClientHello in the form of OpenSSL's `s_client -tls1_2`: without the extension supported_versions.
fn tls12_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 2, 0xc0, 0x2f, 1, 0]);
    let extensions: &[u8] = &[
        0, 10, 0, 4, 0, 2, 0, 0x1d, // supported_groups: x25519
        0, 11, 0, 2, 1, 0, // ec_point_formats: uncompressed
        0, 13, 0, 4, 0, 2, 8, 7, // signature_algorithms: ed25519
    ];
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    record(1, &body)
}

fn record(handshake: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    let mut bytes = vec![22, 3, 3];
    bytes.extend((length + 4).to_be_bytes());
    bytes.extend([handshake, 0]);
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn a_client_with_tls_1_2_is_refused_with_the_protocol_version_alert() {
    let pair = Pair::new();
    let mut server = ServerConnection::new(server_config(&pair.files().1).unwrap()).unwrap();
    let error = feed(&tls12_hello(), |bytes| {
        server.read_tls(bytes).unwrap();
        server.process_new_packets().map(drop)
    });
    assert_says(&on_server(&error.unwrap(), None).reason, &["the client speaks TLS 1.2 or older"]);
    let mut wire = Vec::new();
    server.write_tls(&mut wire).unwrap();
    assert_eq!(wire, [21, 3, 3, 0, 2, 2, 70], "not a fatal protocol_version alert");
}

#[test]
fn a_server_with_tls_1_2_is_refused() {
    let pair = Pair::new();
    let mut client = foreign_client(&pair, |_| {});
    client.write_tls(&mut Vec::new()).unwrap();
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x2f, 0]);
    let error = feed(&record(2, &hello), |bytes| {
        client.read_tls(bytes).unwrap();
        client.process_new_packets().map(drop)
    });
    let reason = on_client(&error.unwrap(), &pair.files().0).reason;
    assert_says(&reason, &["the server speaks TLS 1.2 or older"]);
    let alerted = rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion);
    assert_says(&on_client(&alerted, &pair.files().0).reason, &["does not speak TLS 1.3"]);
}

#[test]
fn a_port_that_does_not_speak_tls_is_named() {
    let pair = Pair::new();
    for greeting in ["SSH-2.0-OpenSSH_9.2p1\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let mut client = foreign_client(&pair, |_| {});
        client.write_tls(&mut Vec::new()).unwrap();
        let error = feed(greeting.as_bytes(), |bytes| {
            client.read_tls(bytes).unwrap();
            client.process_new_packets().map(drop)
        });
        let reason = on_client(&error.unwrap(), &pair.files().0).reason;
        assert_says(&reason, &["the server does not speak TLS"]);
    }
}

#[test]
fn a_tls_error_is_found_inside_an_io_error() {
    let inner = || rustls::Error::NoCertificatesPresented;
    let once = io::Error::new(io::ErrorKind::InvalidData, inner());
    assert_eq!(tls_error(&once), Some(&inner()));
    let twice = io::Error::other(io::Error::other(inner()));
    assert_eq!(tls_error(&twice), Some(&inner()));
    assert_eq!(tls_error(&io::Error::other("no")), None);
}

#[test]
fn the_servers_log_line_says_something_of_every_error() {
    let refused = io::Error::other(rustls::Error::NoCertificatesPresented);
    assert_says(
        &server_reason(&refused, None),
        &["presented no certificate", "rcmd-certs token client"],
    );
    let gone = io::ErrorKind::UnexpectedEof.into();
    assert_says(&server_reason(&gone, None), &["closed the connection during the TLS handshake"]);
    assert_says(&server_reason(&io::Error::other("odd\u{1b}"), None), &["odd\\u{1b}"]);

    let (files, _) = Pair::new().files();
    assert!(on_client_io(&gone, &files).is_some());
    assert_eq!(on_client_io(&io::ErrorKind::ConnectionRefused.into(), &files), None);
}

#[test]
fn every_alert_is_explained_on_both_sides() {
    let (files, _) = Pair::new().files();
    for code in 0..=u8::MAX {
        let error = rustls::Error::AlertReceived(code.into());
        for explanation in [on_client(&error, &files), on_server(&error, None)] {
            assert!(!explanation.reason.is_empty() && !explanation.hint.is_empty());
        }
    }
}
