//! Handshakes that libraries have stumbled over: each ends, at once, and the honest peer beside it is
//! served.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rcmd_certs::listen::{self, Answer};
use rcmd_tests::pki::{Authority, Identity, Leaf};
use rcmd_tests::raw::{Dial, Echo};
use rcmd_tests::wait::DEADLINE;
use rcmd_tests::{World, eventually};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConnection, NamedGroup, ServerConfig};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::oneshot;
use tokio::task::yield_now;

/// An alert `close_notify` that is not encrypted, as a record.
const CLOSE_NOTIFY: [u8; 7] = [21, 3, 3, 0, 2, 1, 0];

fn connected(world: &World) -> TcpStream {
    let stream = TcpStream::connect(world.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn client(world: &World, fragment: Option<usize>) -> ClientConnection {
    let mut config = Dial::to(world).config();
    config.max_fragment_size = fragment;
    ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap()
}

/// Asserts that the server says no more and closes, although this side does not.
#[track_caller]
fn assert_closed(mut stream: TcpStream) {
    let ended = stream.read_to_end(&mut Vec::new());
    let open = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(!open, "the connection is still open");
}

#[test]
fn a_handshake_in_the_smallest_records_is_a_handshake() {
    let world = World::start();
    let mut stream = connected(&world);
    // 32 is the least that rustls takes, with five bytes for the record's own header.
    let mut client = client(&world, Some(32));
    let mut records = Vec::new();
    client.write_tls(&mut records).unwrap();
    assert!(records.len() > 1000 && records[3..5] == [0, 27], "{:?}", &records[..5]);
    for record in records.chunks(32) {
        stream.write_all(record).unwrap();
    }
    while client.is_handshaking() {
        client.complete_io(&mut stream).unwrap();
    }
    assert_eq!(client.alpn_protocol(), Some(&b"rcmd/1"[..]));
}

#[test]
fn an_end_in_the_middle_of_a_handshake_is_the_end_of_it() {
    let world = World::builder().config("[limits]").config("handshake = \"500ms\"").start();
    let mut honest = Echo::start(&world);
    let mut hello = Vec::new();
    client(&world, None).write_tls(&mut hello).unwrap();
    // Whoever loops over it never comes to see that the time is up.
    for first in [&[][..], &hello] {
        let mut stream = connected(&world);
        stream.write_all(&[first, &CLOSE_NOTIFY].concat()).unwrap();
        honest.beat();
        assert_closed(stream);
    }
    honest.beat();
    drop(honest.end());
}

/// Returns the contents of an authority's certificate, without a limit on what stands below it.
fn intermediate() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "one of many");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

#[test]
fn a_chain_with_a_million_ways_is_given_up_after_a_few() {
    const WIDE: usize = 12;

    // The authority has the name that all in the chain have, so that by their names each may have
    // signed each other: every order of them is a way to try.
    let mut world = World::builder().prepare();
    let authority = Authority::new("one of many");
    authority.issue(&Leaf::server(&["localhost", "127.0.0.1"])).write(&world.dir().join("server"));
    authority.issue(&Leaf::client("admin")).write(&world.dir().join("client"));
    std::fs::write(world.dir().join("ca.pem"), authority.pem()).unwrap();
    world.start_server();
    let mut honest = Echo::start(&world);

    let strangers: Vec<_> = (0..WIDE).map(|_| KeyPair::generate().unwrap()).collect();
    let leaf = Authority::new("one of many").issue(&Leaf::client("admin"));
    let mut chain = leaf.cert;
    for (key, next) in strangers.iter().zip(strangers.iter().cycle().skip(1)) {
        let issuer = Issuer::new(intermediate(), next);
        chain += &intermediate().signed_by(key, &issuer).unwrap().pem();
    }
    let folder = world.scratch("many");
    Identity { cert: chain, key: leaf.key }.write(&folder);
    let mut peer = Dial::to(&world).identity(&folder).connect().unwrap();
    honest.beat();
    let refused = peer.read_frame().unwrap_err();
    assert_ne!(refused.kind(), std::io::ErrorKind::WouldBlock, "it is still at it");
    // Refused for its cost, or this would prove nothing.
    world.wait_for_log("MaximumSignatureChecksExceeded");
    drop(honest.end());
}

/// Returns the configuration of a server's end of a handshake, with a certificate of its own and
/// these groups for keys.
fn server(groups: &[NamedGroup]) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut provider = (*rcmd_certs::tls::provider()).clone();
    provider.kx_groups.retain(|group| groups.contains(&group.name()));
    let config = ServerConfig::builder_with_provider(Arc::new(provider));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(config.with_single_cert(vec![cert.der().clone()], key).unwrap())
}

/// Reads what has come already.
async fn what_came(stream: &mut DuplexStream) -> Vec<u8> {
    for _ in 0..10 {
        yield_now().await;
    }
    let mut bytes = vec![0; 1 << 16];
    let read = tokio::select! {
        biased;
        read = stream.read(&mut bytes) => read.unwrap(),
        () = std::future::ready(()) => 0,
    };
    bytes.truncate(read);
    bytes
}

/// Events of turns, in their order.
type Events = Arc<Mutex<Vec<&'static str>>>;

/// A turn that notes its end.
struct Turn(Events, &'static str);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(self.1);
    }
}

/// The peer of a pipe in memory, which stays.
fn stays(_: &DuplexStream) -> bool {
    false
}

#[tokio::test]
async fn a_client_hello_is_answered_in_its_turn_and_others_run_in_between() {
    let (near, mut far) = duplex(1 << 16);
    let world = World::builder().prepare();
    let mut hello = Vec::new();
    client(&world, None).write_tls(&mut hello).unwrap();
    far.write_all(&hello).await.unwrap();

    let (give, given) = oneshot::channel();
    let (events, given) = (Events::default(), Arc::new(tokio::sync::Mutex::new(Some(given))));
    let turn = {
        let events = Arc::clone(&events);
        move |answer| {
            let (events, given) = (Arc::clone(&events), Arc::clone(&given));
            async move {
                assert_eq!(answer, Answer::Keys);
                given.lock().await.take().unwrap().await.unwrap();
                let neighbour = Arc::clone(&events);
                tokio::spawn(async move { neighbour.lock().unwrap().push("a neighbour runs") });
                Turn(events, "the turn ends")
            }
        }
    };
    let groups = [NamedGroup::X25519MLKEM768, NamedGroup::X25519];
    let handshake = tokio::spawn(listen::handshake(near, server(&groups), turn, stays));
    assert!(what_came(&mut far).await.is_empty());
    give.send(()).unwrap();
    assert!(what_came(&mut far).await.len() > 100);
    assert_eq!(*events.lock().unwrap(), ["a neighbour runs", "the turn ends"]);
    handshake.abort();
}

#[tokio::test]
async fn a_handshake_with_two_hellos_has_a_turn_of_its_own_until_it_is_over() {
    let (near, mut far) = duplex(1 << 16);
    let world = World::builder().prepare();
    let mut client = client(&world, None);
    let events = Events::default();
    let turn = {
        let events = Arc::clone(&events);
        move |answer| {
            events.lock().unwrap().push(match answer {
                Answer::Keys => "keys",
                Answer::Retry => "retry",
            });
            let end = if answer == Answer::Keys { "keys end" } else { "retry ends" };
            std::future::ready(Turn(Arc::clone(&events), end))
        }
    };
    // The client sends keys for other groups first.
    let config = server(&[NamedGroup::secp256r1]);
    let handshake = tokio::spawn(listen::handshake(near, config, turn, stays));
    for _ in 0..2 {
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        far.write_all(&hello).await.unwrap();
        let answer = what_came(&mut far).await;
        assert!(!answer.is_empty());
        client.read_tls(&mut &answer[..]).unwrap();
        // Only the second answer has a certificate, which this client has no reason to trust.
        let _ = client.process_new_packets();
        assert_eq!(*events.lock().unwrap(), ["keys", "keys end", "retry"]);
    }
    drop(far);
    assert!(handshake.await.unwrap().is_err());
    assert_eq!(events.lock().unwrap().last(), Some(&"retry ends"));
}

/// A server's certificate, and how often it was asked for, which is once before each use of its key.
#[derive(Debug)]
struct Counted {
    certificate: Arc<dyn ResolvesServerCert>,
    asked: AtomicUsize,
}

impl ResolvesServerCert for Counted {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.certificate.resolve(hello)
    }
}

/// The behaviour of a peer that waits for its turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meanwhile {
    Stays,
    Closes,
    Resets,
    /// The peer closes its sending side, and may yet read.
    ClosesHalf,
}

/// Carries out a handshake with a peer over TCP. Returns how often the key was to be used, and how the handshake
/// failed.
async fn waited(meanwhile: Meanwhile) -> (usize, String) {
    let world = World::builder().prepare();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    client(&world, None).write_tls(&mut far).unwrap();
    let (socket, far) = (near.try_clone().unwrap(), Mutex::new(Some(far)));
    near.set_nonblocking(true).unwrap();
    let near = tokio::net::TcpStream::from_std(near).unwrap();

    let mut config = (*server(&[NamedGroup::X25519MLKEM768, NamedGroup::X25519])).clone();
    let certificate = Arc::clone(&config.cert_resolver);
    let counted = Arc::new(Counted { certificate, asked: AtomicUsize::default() });
    config.cert_resolver = Arc::<Counted>::clone(&counted);
    let turn = |_| async {
        assert!(!listen::has_left(&socket), "it is there while it waits");
        let mut peer = far.lock().unwrap().take().unwrap();
        match meanwhile {
            Meanwhile::Stays => {
                // Once it has the answer it has seen enough.
                std::thread::spawn(move || peer.read(&mut [0; 1]));
                return;
            }
            Meanwhile::Closes => drop(peer),
            Meanwhile::Resets => {
                SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
                drop(peer);
            }
            Meanwhile::ClosesHalf => {
                peer.shutdown(Shutdown::Write).unwrap();
                *far.lock().unwrap() = Some(peer);
            }
        }
        eventually("it has left", || listen::has_left(&socket));
    };
    let failed = listen::handshake(near, Arc::new(config), turn, listen::has_left).await;
    let (error, _) = failed.unwrap_err();
    (counted.asked.load(Ordering::Relaxed), error.to_string())
}

#[tokio::test]
async fn no_key_is_used_for_a_peer_that_has_left_before_its_turn() {
    for meanwhile in [Meanwhile::Closes, Meanwhile::Resets, Meanwhile::ClosesHalf] {
        let (used, error) = waited(meanwhile).await;
        assert_eq!(used, 0, "{meanwhile:?}: {error}");
        assert!(error.contains("left before its ClientHello was answered"), "{error}");
    }
    let (used, error) = waited(Meanwhile::Stays).await;
    assert_eq!(used, 1, "{error}");
}

#[tokio::test]
async fn who_has_left_before_its_turn_for_two_hellos_is_not_asked_for_the_second() {
    let (near, mut far) = duplex(1 << 16);
    let world = World::builder().prepare();
    let mut hello = Vec::new();
    client(&world, None).write_tls(&mut hello).unwrap();
    far.write_all(&hello).await.unwrap();
    let turns = AtomicUsize::default();
    let turn = |_| std::future::ready(turns.fetch_add(1, Ordering::Relaxed));
    let has_left = |_: &DuplexStream| turns.load(Ordering::Relaxed) == 2;
    let failed = listen::handshake(near, server(&[NamedGroup::secp256r1]), turn, has_left).await;
    let (error, stream) = failed.unwrap_err();
    assert!(stream.is_none() && error.to_string().contains("left before"), "{error}");
    let mut answer = Vec::new();
    far.read_to_end(&mut answer).await.unwrap();
    assert!(answer.is_empty(), "{answer:?}");
}
