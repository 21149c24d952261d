//! Handshakes that libraries have stumbled over: each ends, at once, and the honest peer beside it is
//! served.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rcmd_certs::listen::{self, Answer};
use rcmd_tests::World;
use rcmd_tests::pki::{Authority, Identity, Leaf};
use rcmd_tests::raw::{Dial, Echo};
use rcmd_tests::wait::DEADLINE;
use rustls::{ClientConnection, NamedGroup, ServerConfig};
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
    let handshake = tokio::spawn(listen::handshake(near, server(&groups), turn));
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
    let handshake = tokio::spawn(listen::handshake(near, server(&[NamedGroup::secp256r1]), turn));
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
