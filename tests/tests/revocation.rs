//! Revocation: connections that are cut, lists that are refused, tickets that nobody has.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rcmd_certs::Layout;
use rcmd_certs::crl::CrlSet;
use rcmd_certs::enroll::Kind;
use rcmd_certs::tls::{ClientFiles, client_config};
use rcmd_tests::authority::Serving;
use rcmd_tests::membership::{enroll, enrolled, serial};
use rcmd_tests::sink::Sink;
use rcmd_tests::soak::Judged as _;
use rcmd_tests::{World, binaries, eventually};
use rustix::process::Signal;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;

fn world(authority: &Serving) -> World {
    let mut world = enrolled(authority, World::builder());
    world.start_server();
    world
}

fn list(world: &World) -> std::path::PathBuf {
    Layout::new(world.dir()).server_list()
}

#[test]
fn one_who_is_revoked_is_cut_off_and_does_not_come_in_again() {
    let authority = Serving::start();
    let world = world(&authority);
    world.exec(["true"]).run().assert_code(0);
    let mut session =
        world.shell("echo here; sleep 600.77").with_result().stdout(Sink::Pipe).spawn();
    assert_eq!(session.read_line(), "here");
    authority.certs(&["revoke", "alice", "--reason", "key-compromise"]);
    let done = session.wait();
    done.assert_code(255);
    done.assert_says("certificate has been revoked");
    world.wait_for_log("cut");
    eventually("the command is ended", || rcmd_tests::proc::descendants(world.pid()).is_empty());
    let refused = world.exec(["true"]).run();
    refused.assert_code(125);
    refused.assert_says("has been revoked");
}

#[test]
fn a_revoked_server_is_believed_until_a_client_renews_and_no_longer() {
    let authority = Serving::start();
    let world = world(&authority);
    let client = Layout::new(world.dir()).member_list(Kind::Client);
    let before = CrlSet::load(&client).unwrap().expect("lists come with the enrollment");
    let said = authority.certs(&["revoke", "localhost"]);
    let end =
        rcmd_certs::tls::load_leaf(&Layout::new(world.dir()).client_cert()).unwrap().not_after;
    let until = rcmd_certs::clock::date(end);
    assert!(said.contains(&format!("the last of them by {until}")), "{said}");
    world.exec(["true"]).run().assert_code(0);

    let renewed = enroll(&binaries().client, &world, &["--renew"]);
    assert!(renewed.status.success(), "{}", String::from_utf8_lossy(&renewed.stderr));
    assert!(CrlSet::load(&client).unwrap().unwrap().number() > before.number());
    let done = world.exec(["true"]).with_result().run();
    done.assert_code(125).assert_says("the server's certificate has been revoked");
    assert_eq!(done.result()["error"]["kind"], "tls");
}

#[test]
fn a_client_without_a_token_checks_the_list_that_was_carried_to_it() {
    let world = World::start();
    let certs = |words: &[&str]| {
        let done = world.certs().args(words).arg("--dir").arg(world.dir()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let said = certs(&["revoke", "localhost"]);
    assert!(said.contains("1 clients of `rcmd-certs issue` never renew"), "{said}");
    world.exec(["true"]).run().assert_code(0);
    let layout = Layout::new(world.dir());
    fs::copy(layout.authority_list(), layout.member_list(Kind::Client)).unwrap();
    world.exec(["true"]).run().assert_code(125).assert_says("has been revoked");
    // Neither is a name of the server's that a rule vouches for a way around it.
    let rule = "[[host]]\nmatch = \"dns:localhost\"\nname = \"127.0.0.1\"\n";
    fs::write(layout.identity_toml(), rule).unwrap();
    world.exec(["true"]).run().assert_code(125).assert_says("has been revoked");
    fs::write(layout.member_list(Kind::Client), "damaged").unwrap();
    world.exec(["true"]).run().assert_code(125).assert_says("client/list.pem");
}

#[test]
fn everywhere_the_revoked_are_cut_within_five_seconds_of_the_list_and_nobody_else() {
    // CI's share; `soak revocation` has twenty servers.
    let figures = rcmd_tests::soak::revocation::run(3);
    assert!(figures.are_good(), "{figures}");
    assert_eq!((figures.from_arrival.len(), figures.unharmed), (9, 6));
}

#[test]
fn stale_empty_garbled_older_and_foreign_lists_leave_the_last_good_one() {
    let authority = Serving::start();
    let world = world(&authority);
    let first = fs::read(list(&world)).unwrap();
    authority.certs(&["revoke", "00ff", "--unlisted"]);
    let number = |bytes: &[u8]| CrlSet::from_pem(bytes).unwrap().number();
    eventually("a new list", || number(&fs::read(list(&world)).unwrap()) > number(&first));
    let second = fs::read(list(&world)).unwrap();

    let other = Serving::start();
    let foreign = fs::read(other.layout().authority_list()).unwrap();
    let mut forged = second;
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    for (taken, (what, bytes)) in [
        ("empty", &b""[..]),
        ("garbled", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"),
        ("older", &first),
        ("foreign", &foreign),
        ("forged", &forged),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(list(&world), bytes).unwrap();
        world.signal_server(Signal::HUP);
        let lines = world.wait_for_log_lines("revocation list not usable", taken + 1);
        let said = lines.last().unwrap();
        assert!(said.contains("old"), "{what}: no age in {said}");
        world.exec(["true"]).run().assert_code(0);
    }
}

#[test]
fn past_its_list_s_date_a_server_takes_nobody_new_and_keeps_who_is_in() {
    let mut authority = Serving::with("list_every = \"1s\"\nlist_life = \"4s\"");
    let world = world(&authority);
    let mut session = world.exec(["cat"]).stdin_pipe().spawn();
    world.wait_for_log("started");
    authority.stop();
    world.wait_for_log("past its date: new peers are refused");
    world.exec(["true"]).run().assert_code(125);
    // The last good one is not replaced by what is too old.
    world.signal_server(Signal::HUP);
    world.wait_for_log("revocation list ended");
    session.write_stdin(b"here\n");
    drop(session.stdin.take());
    assert_eq!(session.wait().stdout_text(), "here\n");
    authority.restart();
    eventually("others come in", || world.exec(["true"]).run().code() == 0);
}

#[test]
fn a_server_without_its_list_takes_an_emergency_alone() {
    let mut authority = Serving::start();
    let mut world = enrolled(&authority, World::builder());
    authority.stop();
    fs::remove_file(list(&world)).unwrap();
    world.start_server();
    let refused = world.exec(["true"]).run();
    refused.assert_code(125);
    refused.assert_says("revocation list is missing");

    let emergency = world.scratch("emergency");
    let folder = emergency.to_str().unwrap();
    authority.certs(&[
        "issue",
        "client",
        "alice",
        "--group",
        "admin",
        "--break-glass",
        "--out",
        folder,
    ]);
    world.exec(["true"]).dir(&emergency).run().assert_code(0);
    let mut show = std::process::Command::new(&binaries().server);
    let shown = show.args(["audit", "show", "--dir"]).arg(world.dir()).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("(break-glass) true"), "{shown}");

    authority.restart();
    eventually("the list comes", || list(&world).exists());
    eventually("others come in", || world.exec(["true"]).run().code() == 0);
}

#[test]
fn status_tells_server_certificate_list_and_authority() {
    let mut authority = Serving::start();
    let mut world = enrolled(&authority, World::builder());
    let dir = world.dir().to_owned();
    let status = || {
        let mut command = std::process::Command::new(&binaries().server);
        let output = command.args(["status", "--dir"]).arg(&dir).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = status();
    assert_eq!(code, 1, "no server runs: {said}");
    for part in [
        "server       not running\n",
        "audit        none yet\n",
        "certificate ",
        " days left",
        "list         number ",
        "reached",
    ] {
        assert!(said.contains(part), "{said}");
    }
    world.start_server();
    let runs = |said: &str, world: &World| {
        let line = said.lines().next().unwrap();
        line.starts_with(&format!("server       running, pid {}, since ", world.pid()))
            && line.ends_with(&format!("listening on {}", world.address()))
    };
    // The line that says where it listens comes first.
    eventually("it runs", || runs(&status().1, &world));
    let (code, said) = status();
    assert!(code == 0 && said.contains("audit        good, "), "{said}");
    authority.stop();
    let (code, said) = status();
    assert!(code == 1 && said.contains("NOT REACHED") && runs(&said, &world), "{said}");
    // A server that was killed does not run, and one that is started again does.
    world.kill_server();
    assert!(status().1.starts_with("server       not running\n"));
    world.start_server();
    eventually("it runs again", || runs(&status().1, &world));
    world.stop_server();
    assert!(status().1.starts_with("server       not running\n"));
}

/// TLS of a client that keeps every session and asks for it again.
#[test]
fn a_kept_ticket_gets_nowhere_100_times_of_100() {
    const TIMES: usize = 100;
    let authority = Serving::start();
    let world = world(&authority);
    let files = ClientFiles::from(&Layout::new(world.dir()));
    let mut config = rustls::ClientConfig::clone(&client_config(&files).unwrap());
    config.resumption = Resumption::in_memory_sessions(256);
    let config = Arc::new(config);
    let attempt = || {
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
        let mut socket = TcpStream::connect(world.address()).unwrap();
        let mut stream = rustls::Stream::new(&mut tls, &mut socket);
        let came = stream.write_all(b"").and_then(|()| stream.read(&mut [0; 1]));
        (came, tls.handshake_kind(), tls.tls13_tickets_received())
    };
    let (came, _, tickets) = attempt();
    assert!(came.unwrap() > 0 && tickets == 0);
    let gone = serial(&world, Kind::Client);
    authority.certs(&["revoke", &gone]);
    eventually("the list comes", || CrlSet::load(&list(&world)).unwrap().unwrap().contains(&gone));
    for _ in 0..TIMES {
        let (came, kind, tickets) = attempt();
        let error = came.unwrap_err().to_string();
        assert!(error.contains("CertificateRevoked"), "{error}");
        assert_eq!((kind, tickets), (Some(rustls::HandshakeKind::Full), 0));
    }
}
