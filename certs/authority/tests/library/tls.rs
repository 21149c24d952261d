//! TLS between members, from the files that an authority made.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256};
use rcmd_authority::ca::{Authority, Issued, LeafSpec, Usage};
use rcmd_certs::{
    Layout,
    enroll::key::KeyAlgorithm,
    identity::{Identity, IdentityError},
    names::HostName,
    tls::{
        ClientFiles, Problem, ServerFiles, WrongProtocol, check_alpn, check_client, check_server,
        client_config, server_config,
    },
};
use rustls::{
    ClientConfig, ClientConnection, CommonState, NamedGroup, ProtocolVersion, ServerConnection,
    client::Resumption,
};
use rustls_pki_types::ServerName;
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Folder {
    root: TempDir,
    authority: Authority,
}

impl Folder {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let authority = Authority::create(KeyAlgorithm::Ed25519).unwrap();
        let folder = Self { root, authority };
        for side in ["server", "client"] {
            fs::create_dir(folder.root.path().join(side)).unwrap();
        }
        folder.write("ca.pem", folder.authority.cert_pem().as_bytes());
        folder.install("server", &folder.issue(&server()));
        folder.install("client", &folder.issue(&client()));
        folder
    }

    fn issue(&self, spec: &LeafSpec) -> Issued {
        self.authority.issue(spec, KeyAlgorithm::Ed25519).unwrap()
    }

    fn install(&self, side: &str, issued: &Issued) {
        self.write(&format!("{side}/cert.pem"), issued.cert_pem().as_bytes());
        self.write(&format!("{side}/key.pem"), issued.key_pem().as_bytes());
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.root.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn layout(&self) -> Layout {
        Layout::new(self.root.path())
    }

    fn server_files(&self) -> ServerFiles {
        ServerFiles::from(&self.layout())
    }

    fn client_files(&self) -> ClientFiles {
        ClientFiles::from(&self.layout())
    }

    fn server_error(&self) -> String {
        server_config(&self.server_files()).unwrap_err().to_string()
    }

    /// Returns both ends after a handshake that must succeed.
    fn connect(&self) -> (ClientConnection, ServerConnection) {
        connect(client_config(&self.client_files()).unwrap(), &self.server_files())
    }
}

fn connect(config: Arc<ClientConfig>, files: &ServerFiles) -> (ClientConnection, ServerConnection) {
    let name = ServerName::try_from("web1.example").unwrap();
    let mut client = ClientConnection::new(config, name).unwrap();
    let mut server = ServerConnection::new(server_config(files).unwrap()).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets().unwrap();
    }
    (client, server)
}

fn server() -> LeafSpec {
    LeafSpec::server(&[HostName::parse("web1.example").unwrap()])
}

fn client() -> LeafSpec {
    LeafSpec::client("alice", &["ops".to_owned(), "admin".to_owned()]).unwrap()
}

#[test]
fn a_connection_is_tls_1_3_post_quantum_aes_256_and_rcmd_1() {
    let (client, server) = Folder::new().connect();
    let ends: [&CommonState; 2] = [&client, &server];
    for end in ends {
        assert_eq!(end.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let group = end.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
        let suite = end.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(suite, rustls::CipherSuite::TLS13_AES_256_GCM_SHA384);
        assert_eq!(check_alpn(end), Ok(()));
    }
}

#[test]
fn the_server_learns_who_the_client_is() {
    let (_, server) = Folder::new().connect();
    let identity = Identity::of_peer(server.peer_certificates()).unwrap();
    assert_eq!(identity.user(), "alice");
    assert_eq!(identity.groups(), ["ops", "admin"]);
    assert_eq!(identity.to_string(), "user:alice");
    assert_eq!(identity.fingerprint().len(), 64);
    let left = identity.not_after().duration_since(SystemTime::now()).unwrap();
    assert!(left > 364 * DAY && left <= 365 * DAY, "{left:?}");
    assert_eq!(Identity::of_peer(None), Err(IdentityError::NoCertificate));
    assert_eq!(Identity::of_peer(Some(&[])), Err(IdentityError::NoCertificate));
}

#[test]
fn a_client_never_gets_a_ticket_and_never_resumes() {
    let folder = Folder::new();
    let mut generous = Arc::unwrap_or_clone(client_config(&folder.client_files()).unwrap());
    generous.resumption = Resumption::in_memory_sessions(8);
    let generous = Arc::new(generous);
    for _ in 0..3 {
        let (mut client, mut server) = connect(Arc::clone(&generous), &folder.server_files());
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets().unwrap();
        assert_eq!(server.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(client.tls13_tickets_received(), 0);
    }
    let config = server_config(&folder.server_files()).unwrap();
    assert!(!config.session_storage.can_cache() && !config.ticketer.enabled());
    assert_eq!((config.send_tls13_tickets, config.max_early_data_size), (0, 0));
}

#[test]
fn a_peer_that_names_no_protocol_is_noticed() {
    let folder = Folder::new();
    let mut silent = Arc::unwrap_or_clone(client_config(&folder.client_files()).unwrap());
    silent.alpn_protocols.clear();
    let (client, server) = connect(Arc::new(silent), &folder.server_files());
    assert_eq!(check_alpn(&server), Err(WrongProtocol));
    assert_eq!(check_alpn(&client), Err(WrongProtocol));
}

#[test]
fn an_outside_authority_may_bring_a_chain_several_roots_and_other_keys() {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyUsagePurpose};

    let folder = Folder::new();
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    };
    let root_key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let root = authority("outside root").self_signed(&root_key).unwrap();
    let root_issuer = Issuer::new(authority("outside root"), root_key);
    let middle_key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let middle = authority("outside middle").signed_by(&middle_key, &root_issuer).unwrap();
    let middle_issuer = Issuer::new(authority("outside middle"), middle_key);
    let mut params = CertificateParams::new(vec!["web1.example".to_owned()]).unwrap();
    // There is no key usage of either kind: everything is allowed.
    params.is_ca = IsCa::NoCa;
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let leaf = params.signed_by(&key, &middle_issuer).unwrap();

    folder.write("server/cert.pem", format!("{}{}", leaf.pem(), middle.pem()).as_bytes());
    folder.write("server/key.pem", key.serialize_pem().as_bytes());
    let roots = format!("# ours\n{}# theirs\n{}", folder.authority.cert_pem(), root.pem());
    folder.write("ca.pem", roots.as_bytes());
    folder.connect();
    assert_eq!(check_server(&folder.server_files()).unwrap(), []);
}

#[test]
fn a_key_of_another_certificate_is_refused_with_both_files() {
    let folder = Folder::new();
    folder.write("server/key.pem", folder.issue(&server()).key_pem().as_bytes());
    let message = folder.server_error();
    assert!(message.contains("server/key.pem does not belong to"), "{message}");
    assert!(message.contains("server/cert.pem"), "{message}");
}

#[test]
fn a_missing_file_names_the_command_that_makes_it() {
    for (name, command) in [
        ("ca.pem", "rcmd-server enroll"),
        ("server/cert.pem", "rcmd-server enroll"),
        ("server/key.pem", "rcmd-server enroll"),
    ] {
        let folder = Folder::new();
        fs::remove_file(folder.root.path().join(name)).unwrap();
        let message = folder.server_error();
        assert!(message.contains(name) && message.contains(command), "{message}");
    }
    let folder = Folder::new();
    fs::remove_file(folder.root.path().join("client/key.pem")).unwrap();
    let message = client_config(&folder.client_files()).unwrap_err().to_string();
    assert!(message.contains("rcmd-client enroll"), "{message}");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = Folder::new();
    let key = folder.layout().server_key();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let message = folder.server_error();
    assert!(message.contains(&format!("chmod 600 {}", key.display())), "{message}");
}

#[test]
fn files_without_sense_are_refused_with_their_name() {
    for (name, bytes) in [
        ("ca.pem", &b""[..]),
        ("ca.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("ca.pem", b"-----BEGIN CERTIFICATE-----\n\xff\xfe\n-----END CERTIFICATE-----\n"),
        ("ca.pem", b"-----BEGIN CERTIFICATE-----\n"),
        ("server/cert.pem", b"\0\0\0\0"),
        ("server/cert.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("server/key.pem", b"no key"),
        ("server/key.pem", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        ("server/key.pem", b"-----BEGIN PRIVATE KEY-----\n*\n-----END PRIVATE KEY-----\n"),
    ] {
        let folder = Folder::new();
        folder.write(name, bytes);
        let message = folder.server_error();
        assert!(message.contains(name), "{message}");
        assert!(!message.chars().any(char::is_control), "{message:?}");
    }
}

#[test]
fn an_encrypted_key_is_named_as_such() {
    let new = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n\
               AAAA\n-----END EC PRIVATE KEY-----\n";
    for pem in [new, old] {
        let folder = Folder::new();
        folder.write("server/key.pem", pem.as_bytes());
        let message = folder.server_error();
        assert!(message.contains("is encrypted") && message.contains("openssl pkey"), "{message}");
    }
}

#[test]
fn a_good_folder_has_no_findings() {
    let folder = Folder::new();
    assert_eq!(check_server(&folder.server_files()).unwrap(), []);
    assert_eq!(check_client(&folder.client_files()).unwrap(), []);
}

#[test]
fn findings_name_the_file_the_fault_and_the_command() {
    let folder = Folder::new();
    let mut spec = client();
    spec.not_before = SystemTime::now() - 10 * DAY;
    spec.not_after = SystemTime::now() - 3 * DAY;
    folder.install("client", &folder.issue(&spec));
    let findings = check_client(&folder.client_files()).unwrap();
    let text = findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert_eq!(findings.len(), 1, "{text}");
    assert!(text.contains("client/cert.pem expired 3 days ago"), "{text}");
    assert!(text.contains("rcmd-client enroll --renew"), "{text}");
}

#[test]
fn each_fault_is_found_by_itself() {
    let folder = Folder::new();
    let found = || {
        let findings = check_server(&folder.server_files()).unwrap();
        findings.into_iter().map(|finding| finding.problem).collect::<Vec<_>>()
    };

    let mut spec = server();
    spec.not_before = SystemTime::now() + DAY;
    folder.install("server", &folder.issue(&spec));
    let problems = found();
    assert!(matches!(problems.as_slice(), [Problem::NotYetValid(_)]), "{problems:?}");
    assert!(problems[0].to_string().contains("clock"));

    let mut spec = server();
    spec.usages = vec![Usage::Client];
    folder.install("server", &folder.issue(&spec));
    assert_eq!(found(), [Problem::WrongUsage { needed: "server" }]);

    folder.install("server", &Issued::self_signed(&server(), KeyAlgorithm::Ed25519).unwrap());
    assert_eq!(found(), [Problem::SelfSigned]);

    let other = Authority::create(KeyAlgorithm::Ed25519).unwrap();
    folder.install("server", &other.issue(&server(), KeyAlgorithm::Ed25519).unwrap());
    let issuer = other.certificate().subject.clone();
    assert_eq!(found(), [Problem::ForeignAuthority { issuer }]);

    folder.write("server/cert.pem", other.cert_pem().as_bytes());
    assert!(found().contains(&Problem::IsAuthority));

    let mut nobody = client();
    nobody.uris.clear();
    folder.install("client", &folder.issue(&nobody));
    let findings = check_client(&folder.client_files()).unwrap();
    assert_eq!(findings[0].problem, Problem::NoIdentity(IdentityError::NoUser));
}
