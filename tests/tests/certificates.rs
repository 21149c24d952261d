//! The identities of both sides: a certificate that is not good is refused, with the reason in the
//! client's words and in exactly one line of the server's log.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rcgen::ExtendedKeyUsagePurpose;
use rcmd_tests::pki::{Authority, Identity, Leaf};
use rcmd_tests::raw::{Echo, Start};
use rcmd_tests::{RawPeer, World, eventually, eventually_some, require, skip};
use rustix::process::Signal;

/// Returns the lines with which the server has refused a peer.
fn refusals(world: &World) -> Vec<String> {
    world.log().into_iter().filter(|line| line.contains("refused")).collect()
}

/// Asserts that a client with this identity is refused: it says why, and so does one line of the
/// log.
#[track_caller]
fn refused(world: &World, client: &Identity, told: &str, logged: &str) {
    client.write(&world.dir().join("client"));
    refused_as_it_is(world, told, logged);
}

#[track_caller]
fn refused_as_it_is(world: &World, told: &str, logged: &str) {
    let before = refusals(world).len();
    let done = world.exec(["true"]).with_result().run();
    done.assert_code(125).assert_says(told).assert_says("rcmd: ");
    let result = done.result();
    assert_eq!(result["outcome"], "not_started", "{result}");
    assert_eq!(result["error"]["kind"], "tls", "{result}");
    assert_eq!(result["retry_safe"], true, "{result}");
    let line = eventually_some("a line in the log", || refusals(world).get(before).cloned());
    assert!(line.contains(logged), "{line:?} does not say {logged:?}");
    // Neither hint has a certificate of a year made, or a key that travels.
    for said in [&done.stderr_text(), &line] {
        assert!(!said.contains("rcmd-certs issue") && !said.contains("--force"), "{said}");
    }
    // Once nothing is left of the connection there is nothing more to be logged of it.
    eventually("the connection is closed", || world.open_connections() == 0);
    assert_eq!(refusals(world).len(), before + 1, "{:#?}", refusals(world));
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let world = World::start();
    let before = refusals(&world).len();
    let mut peer = rcmd_tests::raw::Dial::to(&world).without_identity().connect().unwrap();
    let error = peer.read_frame().unwrap_err().to_string();
    assert!(error.contains("CertificateRequired"), "{error}");
    let line = eventually_some("a line in the log", || refusals(&world).get(before).cloned());
    assert!(line.contains("presented no certificate"), "{line}");
    // The command line refuses itself: there is nothing to connect with.
    fs::remove_dir_all(world.dir().join("client")).unwrap();
    let done = world.exec(["true"]).run();
    done.assert_code(125).assert_says("does not exist").assert_says("rcmd-certs");
    assert_eq!(refusals(&world).len(), before + 1);
}

#[test]
fn a_client_that_is_self_signed_or_of_another_authority_is_refused() {
    let world = World::start();
    let leaf = Leaf::client("alice");
    refused(&world, &leaf.self_signed(), "self-signed", "unknown authority");
    let other = Authority::new("another authority");
    refused(&world, &other.issue(&leaf), "unknown authority", "unknown authority");
}

#[test]
fn a_client_that_is_expired_or_not_yet_valid_is_refused() {
    let world = World::start();
    let authority = Authority::of(world.dir());
    let leaf = || Leaf::client("alice");
    refused(&world, &authority.issue(&leaf().expired()), "expired", "expired");
    refused(&world, &authority.issue(&leaf().not_yet_valid()), "not valid yet", "not valid yet");
}

#[test]
fn a_certificate_for_the_other_side_is_refused_by_either() {
    let world = World::start();
    let authority = Authority::of(world.dir());
    let server = authority.issue(&Leaf::server(&["localhost", "127.0.0.1"]));
    refused(&world, &server, "usage", "usage");

    let mut world = World::builder().prepare();
    let authority = Authority::of(world.dir());
    let leaf = Leaf::server(&["localhost", "127.0.0.1"]);
    authority
        .issue(&leaf.usages(&[ExtendedKeyUsagePurpose::ClientAuth]))
        .write(&world.dir().join("server"));
    world.start_server();
    refused_as_it_is(&world, "not for a server (wrong usage)", "usage");
}

#[test]
fn a_client_that_names_no_user_or_two_is_refused() {
    let world = World::start();
    let authority = Authority::of(world.dir());
    let nobody = authority.issue(&Leaf::client_uris(&["https://example.org/"]));
    refused(&world, &nobody, "user", "user");
    let two = authority.issue(&Leaf::client_uris(&["rcmd://user/a", "rcmd://user/b"]));
    refused(&world, &two, "names 2 users", "names 2 users");
}

#[test]
fn a_server_is_refused_by_the_client_for_each_fault_of_its_certificate() {
    let name = "127.0.0.1";
    let good = || Leaf::server(&["localhost", name]);
    let other = Authority::new("another authority");
    type Make<'a> = &'a dyn Fn(&Authority) -> Identity;
    let cases: [(Make<'_>, &str, &str); 5] = [
        (&|_| good().self_signed(), "unknown authority", "trust its authority"),
        (&|_| other.issue(&good()), "unknown authority", "trust its authority"),
        (&|own| own.issue(&good().expired()), "the server's certificate expired", "expired"),
        (
            &|own| own.issue(&good().not_yet_valid()),
            "is not valid yet",
            "this server's certificate is not valid yet",
        ),
        (
            &|own| own.issue(&Leaf::server(&["elsewhere.example"])),
            "wrong host name",
            "wrong host name",
        ),
    ];
    for (make, told, logged) in cases {
        let mut world = World::builder().prepare();
        make(&Authority::of(world.dir())).write(&world.dir().join("server"));
        world.start_server();
        refused_as_it_is(&world, told, logged);
    }
}

#[test]
fn tls_1_2_and_another_protocol_or_none_are_refused() {
    let openssl = require!(skip::need_tool("openssl"));
    let world = World::start();
    let s_client = |args: &[&str]| {
        let mut command = Command::new(&openssl);
        command
            .arg("s_client")
            .args(["-connect", &world.target(), "-CAfile"])
            .arg(world.dir().join("ca.pem"));
        command.arg("-cert").arg(world.dir().join("client/cert.pem"));
        command.arg("-key").arg(world.dir().join("client/key.pem"));
        let done = command.args(args).stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned()
    };
    let cases: [(&[&str], &str, &str); 3] = [
        (&["-tls1_2", "-alpn", "rcmd/1"], "protocol version", "only TLS 1.3 is accepted"),
        (&["-tls1_3", "-alpn", "rcmd/9"], "no application protocol", "rcmd/1 (ALPN)"),
        (&["-tls1_3"], "No ALPN negotiated", "rcmd/1 (ALPN)"),
    ];
    for (number, (args, told, logged)) in cases.into_iter().enumerate() {
        let said = s_client(args);
        assert!(said.contains(told), "{args:?}: {said}");
        let line = eventually_some("a line in the log", || refusals(&world).get(number).cloned());
        assert!(line.contains(logged), "{line}");
    }
    assert_eq!(refusals(&world).len(), 3, "{:#?}", refusals(&world));
}

#[test]
fn a_client_says_what_is_wrong_with_a_port_that_is_no_rcmd_server() {
    let openssl = require!(skip::need_tool("openssl"));
    let world = World::start();
    let mut server = Command::new(openssl);
    server.args(["s_server", "-accept", "127.0.0.1:0", "-tls1_2", "-cert"]);
    server
        .arg(world.dir().join("server/cert.pem"))
        .arg("-key")
        .arg(world.dir().join("server/key.pem"));
    // At the end of its input it would end.
    let mut server =
        server.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(server.stdout.take().unwrap()));
    let target =
        lines.find_map(|line| line.unwrap().strip_prefix("ACCEPT ").map(str::to_owned)).unwrap();
    let done = world.exec(["true"]).target(target).with_result().run();
    server.kill().unwrap();
    server.wait().unwrap();
    done.assert_code(125).assert_says("TLS 1.");
    assert_eq!(done.result()["error"]["kind"], "tls");
}

#[test]
fn a_key_that_others_can_read_is_refused_by_every_program() {
    let world = World::start();
    let key = world.dir().join("client/key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let done = world.exec(["true"]).run();
    done.assert_code(125).assert_says("chmod 600").assert_says("key.pem");

    let key = world.dir().join("server/key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let done = world.server_program().arg("--check-config").output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(125), "{said}");
    assert!(said.contains("chmod 600"), "{said}");

    let key = world.dir().join("authority/key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o604)).unwrap();
    let done =
        world.certs().args(["issue", "client", "bob", "--dir"]).arg(world.dir()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!done.status.success());
    assert!(said.contains("chmod 600"), "{said}");
}

#[test]
fn quickstart_leaves_an_authority_that_is_there_alone() {
    let world = World::start();
    let before = fs::read(world.dir().join("authority/key.pem")).unwrap();
    let done = world.certs().arg("quickstart").arg(world.dir()).output().unwrap();
    assert!(!done.status.success());
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("exists already") || said.contains("already"), "{said}");
    assert_eq!(fs::read(world.dir().join("authority/key.pem")).unwrap(), before);
}

#[test]
fn new_certificates_are_taken_over_without_dropping_a_command_and_bad_ones_are_not() {
    let world = World::start();
    let mut running = Echo::start(&world);
    running.beat();
    let serves = |world: &World| world.exec(["true"]).run().code();

    // Another authority beside the first: the old client's connection goes on, and both come in.
    let first = fs::read_to_string(world.dir().join("ca.pem")).unwrap();
    let other = Authority::new("the next authority");
    other.issue(&Leaf::server(&["localhost", "127.0.0.1"])).write(&world.dir().join("server"));
    fs::write(world.dir().join("ca.pem"), first + other.pem()).unwrap();
    world.signal_server(Signal::HUP);
    world.wait_for_log("certificates reloaded");
    running.beat();
    assert_eq!(serves(&world), 0);
    other.issue(&Leaf::client("admin")).write(&world.dir().join("client"));
    assert_eq!(serves(&world), 0);

    fs::write(world.dir().join("server/cert.pem"), "no certificate").unwrap();
    world.signal_server(Signal::HUP);
    world.wait_for_log("the old ones stay in use");
    running.beat();
    assert_eq!(serves(&world), 0);
    drop(running.end());
}

#[test]
fn who_is_trusted_no_more_is_cut_off() {
    let world = World::start();
    let session = world.exec(["sleep", "600.79"]).spawn();
    world.wait_for_log("started");
    let other = Authority::new("the next authority");
    other.issue(&Leaf::server(&["localhost", "127.0.0.1"])).write(&world.dir().join("server"));
    fs::write(world.dir().join("ca.pem"), other.pem()).unwrap();
    world.signal_server(Signal::HUP);
    world.wait_for_log("is no longer trusted here");
    // It comes again with what it has, and is told.
    let done = session.wait();
    done.assert_code(255);
    done.assert_says("unknown authority");
    eventually("the command is ended", || rcmd_tests::proc::descendants(world.pid()).is_empty());
}

#[test]
fn an_identity_is_the_user_it_names_and_not_the_certificate() {
    let world = World::start();
    let authority = Authority::of(world.dir());
    let start = Start::exec(1, &["echo", "once"]);
    let first = RawPeer::greeted(&world).run(&start).unwrap();
    assert_eq!(first.stdout, b"once\n");
    // The same user with a new certificate meets its own key; another user does not.
    let (renewed, bob) = (world.dir().join("renewed"), world.dir().join("bob"));
    authority.issue(&Leaf::client("admin")).write(&renewed);
    authority.issue(&Leaf::client("bob")).write(&bob);
    let as_user = |folder: &Path| {
        let mut peer = rcmd_tests::raw::Dial::to(&world).identity(folder).connect().unwrap();
        peer.send(&[rcmd_tests::raw::hello(), start.frame()].concat()).unwrap();
        loop {
            let (header, _) = peer.read_frame().unwrap().unwrap();
            if header["ch"] == 1 {
                return header["type"].as_str().unwrap().to_owned();
            }
        }
    };
    eventually("its end is no longer kept", || as_user(&renewed) == "refused");
    assert_eq!(as_user(&bob), "started");
}

#[test]
fn an_outside_authority_serves_as_well() {
    let openssl = require!(skip::need_tool("openssl"));
    for kind in [&["rsa:2048"][..], &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]] {
        let mut world = World::builder().prepare();
        let scratch = world.scratch("outside");
        fs::create_dir(&scratch).unwrap();
        let run = |args: &[&str]| {
            let done = Command::new(&openssl).args(args).current_dir(&scratch).output().unwrap();
            assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        };
        let request = |name: &str, more: &[&str]| {
            let mut args = vec!["req", "-newkey"];
            args.extend(kind);
            let (key, subject) = (format!("{name}.key"), format!("/CN={name}"));
            args.extend(["-nodes", "-keyout", &key, "-subj", &subject]);
            args.extend(more);
            run(&args);
        };
        request("authority", &["-x509", "-days", "30", "-out", "authority.pem"]);
        let leaves = [
            ("server", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"),
            (
                "client",
                "subjectAltName=URI:rcmd://user/alice,URI:rcmd://group/admin\nextendedKeyUsage=clientAuth\n",
            ),
        ];
        for (name, extensions) in leaves {
            fs::write(scratch.join("extensions"), extensions).unwrap();
            let (csr, pem) = (format!("{name}.csr"), format!("{name}.pem"));
            request(name, &["-out", &csr]);
            run(&[
                "x509",
                "-req",
                "-in",
                &csr,
                "-CA",
                "authority.pem",
                "-CAkey",
                "authority.key",
                "-days",
                "10",
                "-extfile",
                "extensions",
                "-CAcreateserial",
                "-out",
                &pem,
            ]);
            let read = |file: String| fs::read_to_string(scratch.join(file)).unwrap();
            let identity = Identity { cert: read(pem), key: read(format!("{name}.key")) };
            identity.write(&world.dir().join(name));
        }
        fs::copy(scratch.join("authority.pem"), world.dir().join("ca.pem")).unwrap();
        world.start_server();
        world.exec(["sh", "-c", "test \"$RCMD_PEER\" = alice"]).run().assert_code(0);
    }
}

/// Names as SPIFFE has them, vouched for by an authority that `identity.toml` alone names.
#[test]
fn an_outside_authority_names_users_groups_and_hosts_by_rules() {
    let mut world = World::builder().prepare();
    let spiffe = Authority::new("spiffe");
    let rules = r#"
        [[user]]
        match = "spiffe://example.org/user/*"
        groups = ["admin"]
        ca = "spiffe.pem"

        [[host]]
        match = "spiffe://example.org/host/*"
        ca = "spiffe.pem"
    "#;
    fs::write(world.dir().join("spiffe.pem"), spiffe.pem()).unwrap();
    fs::write(world.dir().join("identity.toml"), rules).unwrap();
    let host = Leaf::client_uris(&["spiffe://example.org/host/127.0.0.1"]);
    let host = host.usages(&[ExtendedKeyUsagePurpose::ServerAuth]);
    spiffe.issue(&host).write(&world.dir().join("server"));
    let folder = world.dir().join("client");
    let client = |leaf: &Leaf| spiffe.issue(leaf).write(&folder);
    client(&Leaf::client_uris(&["spiffe://example.org/user/alice"]));
    world.start_server();
    let done = world.shell("echo $RCMD_PEER").run();
    done.assert_code(0);
    assert_eq!(done.stdout_text(), "alice\n");

    // It vouches for nobody but those of its rules: not for a name of our own authority's.
    for uri in ["rcmd://user/admin", "spiffe://example.org/host/127.0.0.1"] {
        client(&Leaf::client_uris(&[uri]));
        world.shell("true").run().assert_code(125);
    }
    // Nor for another host.
    let other = Leaf::client_uris(&["spiffe://example.org/host/192.0.2.1"]);
    spiffe
        .issue(&other.usages(&[ExtendedKeyUsagePurpose::ServerAuth]))
        .write(&world.dir().join("server"));
    client(&Leaf::client_uris(&["spiffe://example.org/user/alice"]));
    world.signal_server(Signal::HUP);
    world.wait_for_log("certificates reloaded");
    world.shell("true").run().assert_code(125);
}
