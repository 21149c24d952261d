//! Members against a real authority in this process, over loopback.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rcmd_authority::{
    ca::Authority,
    server::{ListenOptions, Serving},
    state::{AdminClient, AdminRequest, AdminResponse, NewToken, RevocationReason},
};
use rcmd_certs::{
    Layout, clock,
    crl::CrlSet,
    enroll::{
        EnrollError, EnrollmentOptions, Fetched, Kind, Member, RefusalReason, enroll,
        key::{KeyAlgorithm, request},
        message::{self, MemberRequest, MemberResponse},
        token::{Names, Secret, Token},
    },
    files::{self as disk, Existing, NewFile},
    pem::Der,
    tls::{self, ClientFiles, ServerFiles, check_client, check_server},
    x509::Certificate,
};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

mod rotation;

struct World {
    root: tempfile::TempDir,
    serving: Serving,
}

impl World {
    async fn new() -> Self {
        Self::with(Authority::create(KeyAlgorithm::Ed25519).unwrap(), "").await
    }

    async fn with(authority: Authority, settings: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path().join("ca"));
        disk::create_private_dir(&layout.authority_dir()).unwrap();
        let write = |path: &std::path::Path, text: &str| {
            let file = NewFile { path, bytes: text.as_bytes(), private: true };
            disk::write_all(&[file], Existing::Keep).unwrap();
        };
        write(&layout.authority_cert(), &authority.cert_pem());
        write(&layout.authority_key(), &authority.key_pem());
        write(&layout.ca(), &authority.root_pem());
        write(&layout.authority_toml(), settings);
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let options = ListenOptions { listen, names: Vec::new() };
        let serving = Serving::start(&layout, &options).await.unwrap();
        Self { root, serving }
    }

    /// Stops the authority and starts it again, as in another process.
    async fn restarted(self) -> Self {
        let Self { root, serving } = self;
        let layout = Layout::new(root.path().join("ca"));
        let listen = serving.addresses().to_vec();
        serving.stop(&layout).await;
        let options = ListenOptions { listen, names: Vec::new() };
        let start = async || Serving::start(&layout, &options).await;
        // The thread that owns the store ends a moment after its last task.
        let mut serving = start().await;
        while serving.is_err() {
            tokio::task::yield_now().await;
            serving = start().await;
        }
        Self { root, serving: serving.unwrap() }
    }

    fn authority(&self) -> Layout {
        Layout::new(self.root.path().join("ca"))
    }

    fn member(&self, name: &str) -> Layout {
        Layout::new(self.root.path().join(name))
    }

    async fn request(&self, request: AdminRequest) -> AdminResponse {
        AdminClient::open(&self.authority()).await.unwrap().request(request).await.unwrap()
    }

    async fn token(&self, kind: Kind, names: Names) -> Token {
        let uses = if matches!(names, Names::OneOf(_)) { 2 } else { 1 };
        let groups = if kind == Kind::Client { vec!["ops".to_owned()] } else { vec![] };
        let new = NewToken { kind, names, groups, uses, life: None, addresses: vec![] };
        match self.request(AdminRequest::Token(new)).await {
            AdminResponse::Token(text) => text.expose().parse().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn enrolled(&self, kind: Kind, name: &str) -> Member {
        let token = self.token(kind, Names::All(vec![name.into()])).await;
        let layout = self.member(name);
        enroll(&token, &layout, &EnrollmentOptions::default()).await.unwrap();
        Member::load(&layout, kind).unwrap().unwrap()
    }

    /// Returns a certificate in PEM for the same names and the same key (PEM), signed by the authority, that
    /// expired years ago.
    fn expired(&self, certificate: &Certificate, key: &[u8]) -> String {
        let authority = Authority::load(&self.authority()).unwrap();
        let signer = KeyPair::from_pem(&authority.key_pem()).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&authority.cert_pem(), signer).unwrap();
        let mut params = CertificateParams::default();
        let uris = certificate.names.uris.iter().map(|uri| SanType::URI(uri.parse().unwrap()));
        params.subject_alt_names = uris.collect();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::from_pem(str::from_utf8(key).unwrap()).unwrap();
        params.signed_by(&key, &issuer).unwrap().pem()
    }

    async fn revoke(&self, what: &str) {
        let reason = RevocationReason::KeyCompromise;
        self.request(AdminRequest::Revoke { what: what.into(), reason, unlisted: false }).await;
    }
}

#[track_caller]
fn refused(result: Result<impl std::fmt::Debug, EnrollError>) -> RefusalReason {
    match result {
        Err(EnrollError::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Asks the authority over a connection of our own.
async fn ask_as(
    world: &World,
    config: Arc<ClientConfig>,
    ask: &MemberRequest,
) -> std::io::Result<MemberResponse> {
    let stream = TcpStream::connect(world.serving.addresses()[0]).await.unwrap();
    let name = tls::listener_name().unwrap();
    let mut stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
    message::write(&mut stream, ask, message::MAX_REQUEST).await?;
    let answer = message::read(&mut stream, message::MAX_RESPONSE).await?;
    Ok(answer.unwrap())
}

#[tokio::test]
async fn two_empty_folders_become_a_pair_that_trusts_each_other() {
    let world = World::new().await;
    let token =
        world.token(Kind::Server, Names::All(vec!["web1".into(), "127.0.0.1".into()])).await;
    let server = world.member("server");
    let fetched = enroll(&token, &server, &EnrollmentOptions::default()).await.unwrap();
    assert_eq!(fetched.names, ["web1", "127.0.0.1"]);
    assert!(fetched.new_roots && fetched.clock.is_none());
    let client = world.enrolled(Kind::Client, "alice").await;

    assert_eq!(check_server(&ServerFiles::from(&server)).unwrap(), []);
    assert_eq!(check_client(&ClientFiles::from(client.layout())).unwrap(), []);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(server.server_dir()), mode(server.server_key())), (0o700, 0o600));
    let mut left: Vec<_> = fs::read_dir(server.server_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(
        left,
        ["authority.toml", "cert.pem", "key.pem", "list.pem"],
        "something else was left"
    );
}

#[tokio::test]
async fn an_identity_is_never_overwritten() {
    let world = World::new().await;
    let member = world.enrolled(Kind::Client, "alice").await;
    let before = fs::read(member.layout().client_key()).unwrap();
    let token = world.token(Kind::Client, Names::All(vec!["bob".into()])).await;
    let again = enroll(&token, member.layout(), &EnrollmentOptions::default()).await;
    assert!(matches!(again, Err(EnrollError::Exists(_))), "{again:?}");
    assert_eq!(fs::read(member.layout().client_key()).unwrap(), before);
    // The refused request did not use up the token.
    enroll(&token, &world.member("bob"), &EnrollmentOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_key() {
    let world = World::new().await;
    let token = world.token(Kind::Server, Names::All(vec!["web1".into()])).await;
    let layout = world.member("web1");
    // The state after a kill between the authority's answer and the first file written: the key that waits for
    // its certificate.
    let key = KeyAlgorithm::Ed25519.generate().unwrap();
    disk::create_private_dir(&layout.server_dir()).unwrap();
    let path = layout.server_dir().join(format!(".enroll-{}.pem", &token.secret.id()[..12]));
    let text = key.serialize_pem();
    let file = NewFile { path: &path, bytes: text.as_bytes(), private: true };
    disk::write_all(&[file], Existing::Keep).unwrap();
    let ask = MemberRequest::Enroll {
        secret: token.secret.clone(),
        name: None,
        request: Der(request(&key).unwrap()),
        time: clock::now_unix(),
    };
    let config = tls::contact_config(&[token.authority], None).unwrap();
    let answer = ask_as(&world, config, &ask).await.unwrap();
    assert!(matches!(answer.body, message::ResponseBody::Certificate { .. }), "{answer:?}");

    enroll(&token, &layout, &EnrollmentOptions::default()).await.unwrap();
    assert_eq!(check_server(&ServerFiles::from(&layout)).unwrap(), []);
    let other = enroll(&token, &world.member("other"), &EnrollmentOptions::default()).await;
    assert_eq!(refused(other), RefusalReason::UsedToken);
}

#[tokio::test]
async fn a_name_is_chosen_from_a_fleet_s() {
    let world = World::new().await;
    let token = world.token(Kind::Server, Names::OneOf("web[01-50]".parse().unwrap())).await;
    let named =
        |name: &str| EnrollmentOptions { name: Some(name.into()), ..EnrollmentOptions::default() };
    let nobody = enroll(&token, &world.member("a"), &EnrollmentOptions::default()).await;
    assert!(nobody.unwrap_err().to_string().contains("--name"));
    assert!(enroll(&token, &world.member("a"), &named("web51")).await.is_err());
    let fetched = enroll(&token, &world.member("a"), &named("Web07")).await.unwrap();
    assert_eq!(fetched.names, ["web07"]);
    assert_eq!(
        refused(enroll(&token, &world.member("b"), &named("web07")).await),
        RefusalReason::Name
    );
}

#[tokio::test]
async fn an_authority_that_the_token_does_not_name_gets_no_secret() {
    let (world, other) = (World::new().await, World::new().await);
    let mut token = world.token(Kind::Server, Names::All(vec!["web1".into()])).await;
    token.addresses = vec![other.serving.addresses()[0].to_string()];
    let layout = world.member("web1");
    let result = enroll(&token, &layout, &EnrollmentOptions::default()).await;
    assert!(matches!(result, Err(EnrollError::Impostor { .. })), "{result:?}");
    assert!(!layout.server_key().exists());
}

#[tokio::test]
async fn a_forged_token_and_an_absent_authority_are_told_apart() {
    let world = World::new().await;
    let mut token = world.token(Kind::Client, Names::All(vec!["alice".into()])).await;
    token.secret = Secret::random().unwrap();
    let layout = world.member("alice");
    assert_eq!(
        refused(enroll(&token, &layout, &EnrollmentOptions::default()).await),
        RefusalReason::UnknownToken
    );
    token.addresses = vec!["127.0.0.1:1".into()];
    let absent = enroll(&token, &layout, &EnrollmentOptions::default()).await.unwrap_err();
    assert!(absent.is_temporary() && absent.to_string().contains("rcmd-certs serve"), "{absent}");
}

#[tokio::test]
async fn a_member_renews_with_an_expired_certificate_too() {
    let authority = Authority::create(KeyAlgorithm::Ed25519).unwrap();
    // The life is so short that no renewal is answered with the certificate before.
    let world = World::with(authority, "client_life = \"5s\"\n").await;
    let layout = world.enrolled(Kind::Client, "alice").await.layout().clone();
    let (cert, key) = (layout.client_cert(), fs::read(layout.client_key()).unwrap());
    fs::write(&cert, world.expired(&tls::load_leaf(&cert).unwrap(), &key)).unwrap();
    let member = Member::load(&layout, Kind::Client).unwrap().unwrap();
    let first = tls::load_leaf(&cert).unwrap();
    assert!(first.not_after < clock::now_unix());
    let fetched = member.renew().await.unwrap();
    let second = tls::load_leaf(&cert).unwrap();
    assert_eq!((&second.names.uris, second.key), (&first.names.uris, first.key));
    assert!(second.serial != first.serial && second.not_after > first.not_after);
    assert_eq!((fetched.names, fetched.groups), (vec!["alice".to_owned()], vec!["ops".to_owned()]));
    assert_eq!(fs::read(member.layout().client_key()).unwrap(), key);
}

#[tokio::test]
async fn a_stolen_certificate_without_its_key_renews_nothing() {
    use rustls::sign::{CertifiedKey, SingleCertAndKey};
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

    let world = World::new().await;
    let (alice, eve) =
        (world.enrolled(Kind::Client, "alice").await, world.enrolled(Kind::Client, "eve").await);
    // Alice's certificate with a signature by Eve's key.
    let certificate = CertificateDer::from_pem_file(alice.layout().client_cert()).unwrap();
    let key = PrivateKeyDer::from_pem_file(eve.layout().client_key()).unwrap();
    let key = tls::provider().key_provider.load_private_key(key).unwrap();
    let pair = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
    let config = tls::contact_config(&alice.contact().authorities, None).unwrap();
    let mut config = ClientConfig::clone(&config);
    config.client_auth_cert_resolver = Arc::new(pair);

    let ask = MemberRequest::Renew { time: clock::now_unix() };
    let error = ask_as(&world, Arc::new(config), &ask).await.unwrap_err();
    assert!(error.to_string().contains("DecryptError"), "{error}");
}

#[tokio::test]
async fn new_lists_come_at_once_to_those_who_watch() {
    let world = World::new().await;
    let server = world.enrolled(Kind::Server, "web1").await;
    let alice = world.enrolled(Kind::Client, "alice").await;
    let first = server.fetch_lists(0).await.unwrap().unwrap();
    assert_eq!(server.fetch_lists(first.number()).await.unwrap(), None);
    let mut watch = server.watch().await.unwrap();
    let number = first.number();
    let next = tokio::spawn(async move { watch.next(number).await.unwrap() });
    world.revoke("alice").await;
    let next = next.await.unwrap();
    assert_eq!(next.number(), number + 1);
    let serial = tls::load_leaf(&alice.layout().client_cert()).unwrap().serial;
    assert!(next.contains(&serial));
    let written = CrlSet::load(&world.authority().authority_list()).unwrap().unwrap();
    assert_eq!(written.all(), next.all());
    assert_eq!(refused(alice.renew().await), RefusalReason::Revoked);
    assert_eq!(refused(alice.fetch_lists(0).await), RefusalReason::Revoked);
}

#[tokio::test]
async fn an_intermediate_signs_and_only_the_root_is_trusted() {
    let (root, signing) = Authority::create_pair(KeyAlgorithm::Ed25519).unwrap();
    let world = World::with(signing, "").await;
    let server = world.enrolled(Kind::Server, "web1").await;
    let client = world.enrolled(Kind::Client, "alice").await;
    assert_eq!(fs::read_to_string(client.layout().ca()).unwrap(), root.root_pem());
    let chain = tls::load_certificates(&server.layout().server_cert()).unwrap();
    assert_eq!((chain.len(), chain[1].is_ca), (2, true));
    assert_eq!(check_server(&ServerFiles::from(server.layout())).unwrap(), []);
    assert_eq!(check_client(&ClientFiles::from(client.layout())).unwrap(), []);
    server.renew().await.unwrap();
    assert!(server.fetch_lists(0).await.unwrap().is_some());
}

#[tokio::test]
async fn a_member_s_own_server_is_not_taken_for_the_authority() {
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    let world = World::new().await;
    let server = world.enrolled(Kind::Server, "rcmd-authority.invalid").await;
    // The root is appended, as the authority's own listener sends it.
    let cert = server.layout().server_cert();
    let whole =
        fs::read_to_string(&cert).unwrap() + &fs::read_to_string(server.layout().ca()).unwrap();
    fs::write(&cert, whole).unwrap();
    let mut config = rustls::ServerConfig::clone(
        &tls::server_config(&ServerFiles::from(server.layout())).unwrap(),
    );
    config.alpn_protocols = vec![tls::AUTHORITY_ALPN.to_vec()];
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let accept = tokio::spawn(async move {
        let (stream, _) = socket.accept().await.unwrap();
        TlsAcceptor::from(Arc::new(config)).accept(stream).await.map(drop)
    });
    let place = server.layout().contact(Kind::Server);
    let known = fs::read_to_string(&place).unwrap();
    let own = world.serving.addresses()[0].to_string();
    fs::write(&place, known.replace(&own, &address)).unwrap();
    let member = Member::load(server.layout(), Kind::Server).unwrap().unwrap();
    let opened = member.fetch_lists(0).await;
    let message = opened.unwrap_err().to_string();
    assert!(message.contains("a member's and not the authority's own"), "{message}");
    let _ = accept.await;
}
