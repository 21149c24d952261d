//! Enrollment, renewal and revocation, against a real `rcmd-certs serve`.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rcmd_certs::clock;
use rcmd_certs::crl::CrlSet;
use rcmd_certs::enroll::token::{Secret, Token};
use rcmd_certs::enroll::{
    EnrollError, EnrollmentOptions, Fetched, Kind, Member, RefusalReason, enroll,
};
use rcmd_certs::tls::{self, ClientFiles, ServerFiles, check_client, check_server};
use rcmd_certs::x509::UsageSet;
use rcmd_tests::authority::Serving;
use rcmd_tests::membership::output_with;
use rcmd_tests::skip::need_tool;
use rcmd_tests::soak::Judged as _;
use rcmd_tests::{binaries, eventually, eventually_some, proc, require, soak};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

fn enroll_as(authority: &Serving, token: &Token, folder: &str) -> Result<Fetched, EnrollError> {
    block_on(enroll(token, &authority.member(folder), &EnrollmentOptions::default()))
}

#[track_caller]
fn reason(result: Result<Fetched, EnrollError>) -> RefusalReason {
    match result {
        Err(EnrollError::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

fn member(authority: &Serving, kind: Kind, name: &str) -> Member {
    let kind_word = kind.to_string();
    enroll_as(authority, &authority.token(&[&kind_word, name]), name).unwrap();
    Member::load(&authority.member(name), kind).unwrap().unwrap()
}

#[test]
fn two_empty_folders_become_a_working_pair_by_token() {
    let authority = Serving::start();
    enroll_as(&authority, &authority.token(&["server", "web1", "127.0.0.1"]), "server").unwrap();
    let token = authority.token(&["client", "alice", "--group", "ops"]);
    let fetched = enroll_as(&authority, &token, "client").unwrap();
    assert_eq!((fetched.names, fetched.groups), (vec!["alice".into()], vec!["ops".into()]));
    let (server, client) = (authority.member("server"), authority.member("client"));
    assert_eq!(check_server(&ServerFiles::from(&server)).unwrap(), []);
    assert_eq!(check_client(&ClientFiles::from(&client)).unwrap(), []);
}

#[test]
fn a_token_is_read_from_standard_input_and_one_in_the_arguments_is_warned_about() {
    let authority = Serving::start();
    let programs = binaries();
    let warning = "can be read by every user of this machine";
    for (program, kind) in [(&programs.server, "server"), (&programs.client, "client")] {
        let ways: [(&[&str], bool); 3] = [(&[], true), (&["-"], true), (&["TOKEN"], false)];
        for (n, (words, as_input)) in ways.into_iter().enumerate() {
            let token = authority.certs(&["token", kind, &format!("m{n}")]);
            let words = words.iter().map(|word| word.replace("TOKEN", token.trim()));
            let mut command = Command::new(program);
            command.arg("enroll").args(words).arg("--dir");
            let layout = authority.member(&format!("{kind}-{n}"));
            let done = output_with(command.arg(layout.dir()), if as_input { &token } else { "" });
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(done.status.success(), "{said}");
            assert_eq!(said.contains(warning), !as_input, "{said}");
        }
        let mut command = Command::new(program);
        let done = output_with(command.args(["enroll", "--dir", "/nonexistent/rcmd"]), "");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains("not an enrollment token"), "{said}");
    }
}

#[test]
fn the_authority_s_log_names_members_and_reasons_in_words() {
    let authority = Serving::start();
    let token = authority.token(&["server", "web1", "192.0.2.7"]);
    enroll_as(&authority, &token, "web1").unwrap();
    assert_eq!(reason(enroll_as(&authority, &token, "web2")), RefusalReason::UsedToken);
    block_on(member(&authority, Kind::Client, "alice").renew()).unwrap();
    let line = |needles: [&str; 2]| {
        eventually_some("a line in the log", || {
            let all = authority.log();
            all.into_iter().find(|line| needles.iter().all(|needle| line.contains(needle)))
        })
    };
    line(["enrolled", "server web1, 192.0.2.7"]);
    line(["enrolled", "client alice"]);
    line(["renewed", "client alice"]);
    let refused = line(["refused", "reason=used_token"]);
    assert!(!refused.contains("UsedToken"), "{refused}");
}

#[test]
fn used_expired_revoked_forged_and_other_tokens_are_refused() {
    let authority = Serving::start();
    let token = authority.token(&["server", "web1"]);
    enroll_as(&authority, &token, "first").unwrap();
    assert_eq!(reason(enroll_as(&authority, &token, "second")), RefusalReason::UsedToken);

    let short = authority.token(&["server", "web2", "--expires", "1s"]);
    let expired = || {
        let census = authority.census();
        let tokens = census["tokens"].as_array().unwrap().clone();
        tokens.iter().any(|token| token["standing"] == "expired")
    };
    eventually("the token expires", expired);
    assert_eq!(reason(enroll_as(&authority, &short, "third")), RefusalReason::ExpiredToken);

    let revoked = authority.token(&["client", "bob"]);
    authority.certs(&["revoke", &revoked.secret.id()[..12]]);
    assert_eq!(reason(enroll_as(&authority, &revoked, "fourth")), RefusalReason::RevokedToken);

    let forged = Token { secret: Secret::random().unwrap(), ..authority.token(&["client", "eve"]) };
    assert_eq!(reason(enroll_as(&authority, &forged, "fifth")), RefusalReason::UnknownToken);

    // A token of another authority, shown to this one.
    let other = Serving::start();
    let foreign = Token {
        addresses: vec![authority.address().to_string()],
        ..other.token(&["client", "mallory"])
    };
    let shown = enroll_as(&authority, &foreign, "sixth");
    assert!(matches!(shown, Err(EnrollError::Impostor { .. })), "{shown:?}");
    for folder in ["second", "third", "fourth", "fifth", "sixth"] {
        let layout = authority.member(folder);
        assert!(!layout.server_key().exists() && !layout.client_key().exists(), "{folder}");
    }
}

#[test]
fn a_token_gives_no_other_host_a_name() {
    let authority = Serving::start();
    let named =
        |name: &str| EnrollmentOptions { name: Some(name.into()), ..EnrollmentOptions::default() };
    let token = authority.token(&["server", "web1"]);
    let other = block_on(enroll(&token, &authority.member("other"), &named("web2")));
    assert_eq!(reason(other), RefusalReason::Name);
    block_on(enroll(&token, &authority.member("own"), &named("web1"))).unwrap();

    let fleet = authority.token(&["server", "--for", "web[01-50]", "--uses", "2"]);
    block_on(enroll(&fleet, &authority.member("a"), &named("web07"))).unwrap();
    let again = block_on(enroll(&fleet, &authority.member("b"), &named("web07")));
    assert_eq!(reason(again), RefusalReason::Name);
    block_on(enroll(&fleet, &authority.member("b"), &named("web08"))).unwrap();
    let more = block_on(enroll(&fleet, &authority.member("c"), &named("web09")));
    assert_eq!(reason(more), RefusalReason::UsedToken);
}

/// Raises the limit on descriptors, for many sockets in this process.
fn raise_nofile() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).unwrap();
}

#[test]
fn of_a_thousand_parallel_attempts_at_one_token_exactly_one_wins() {
    const ATTEMPTS: usize = 1000;

    raise_nofile();
    let authority = Serving::start();
    let token = Arc::new(authority.token(&["server", "web1"]));
    let outcomes = block_on(async {
        let mut attempts = tokio::task::JoinSet::new();
        for number in 0..ATTEMPTS {
            let (token, layout) = (Arc::clone(&token), authority.member(&number.to_string()));
            attempts
                .spawn(async move { enroll(&token, &layout, &EnrollmentOptions::default()).await });
        }
        attempts.join_all().await
    });
    assert_eq!(outcomes.len(), ATTEMPTS);
    let (winners, losers): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(winners.len(), 1);
    for loser in losers {
        let error = loser.unwrap_err();
        let told = matches!(&error, EnrollError::Refused { reason: RefusalReason::UsedToken, .. });
        // At the limit on strangers the oldest is sent away, and may have tried in vain.
        assert!(told || error.is_temporary(), "{error}");
    }
    let census = authority.census();
    assert_eq!(census["members"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&census["tokens"][0]["left"], &census["tokens"][0]["uses"]),
        (&0.into(), &1.into())
    );
    let signed = authority.journal();
    let by_token =
        signed.iter().filter(|line| line["by"].as_str().is_some_and(|by| by.starts_with("token ")));
    assert_eq!(by_token.count(), 1, "more was signed than left");
}

#[test]
fn a_request_for_everything_gets_what_the_token_says() {
    let openssl = require!(need_tool("openssl"));
    let authority = Serving::start();
    let token = authority.token(&["server", "web1"]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(
        path("wish"),
        "[req]\ndistinguished_name=dn\nreq_extensions=v3\nprompt=no\n[dn]\nCN=rcmd authority\n[v3]\n\
         basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
         extendedKeyUsage=clientAuth,anyExtendedKeyUsage\n1.2.3.4.5=critical,ASN1:NULL\n\
         subjectAltName=DNS:evil.example,URI:rcmd://user/root,URI:rcmd://group/admin,\
         URI:rcmd://authority,URI:rcmd://break-glass\n",
    )
    .unwrap();
    let made = Command::new(openssl)
        .args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .arg("-config")
        .arg(path("wish"))
        .args(["-outform", "DER", "-out"])
        .arg(path("request"))
        .arg("-keyout")
        .arg(path("key"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let request = std::fs::read(path("request")).unwrap();
    let answer = block_on(raw::ask_enroll(&authority, &token, request));
    let leaf = &answer["chain"][0];
    let facts = raw::facts(leaf.as_str().unwrap());
    assert!(!facts.is_ca);
    assert_eq!(
        (facts.names.dns, facts.names.uris),
        (vec!["web1".into()], vec!["rcmd://host/web1".into()])
    );
    assert_eq!(facts.usage, UsageSet::Only { server: true, client: false });
    assert!(facts.not_after - clock::now_unix() <= 7 * 24 * 3600);
}

#[test]
fn a_clock_an_hour_off_is_named_on_both_sides() {
    let authority = Serving::start();
    let token = authority.token(&["server", "web1"]);
    for off in [-3600, 3600] {
        let answer = block_on(raw::ask_enroll_at(&authority, &token, clock::now_unix() + off));
        assert_eq!((&answer["answer"], &answer["reason"]), (&"refused".into(), &"clock".into()));
        let message = answer["message"].as_str().unwrap();
        assert!(
            message.contains("clock is 60 minutes") && message.contains("date -u"),
            "{message}"
        );
        assert!(answer["time"].as_i64().unwrap().abs_diff(clock::now_unix()) < 60);
    }
    // The token was not used for it.
    enroll_as(&authority, &token, "web1").unwrap();
}

#[test]
fn revoking_reaches_the_watchers_and_ends_renewal() {
    let authority = Serving::start();
    let server = member(&authority, Kind::Server, "web1");
    let alice = member(&authority, Kind::Client, "alice");
    let serial = tls::load_leaf(&alice.layout().client_cert()).unwrap().serial;
    block_on(async {
        let first = server.fetch_lists(0).await.unwrap().unwrap();
        assert!(!first.contains(&serial));
        let mut watch = server.watch().await.unwrap();
        let number = first.number();
        let pushed = tokio::spawn(async move { watch.next(number).await.unwrap() });
        let said = authority.certs(&["revoke", "alice", "--reason", "key-compromise"]);
        assert!(said.contains(&serial), "{said}");
        let next = pushed.await.unwrap();
        assert!(next.contains(&serial) && next.number() > number);
        let refused = alice.renew().await.unwrap_err();
        assert!(
            matches!(refused, EnrollError::Refused { reason: RefusalReason::Revoked, .. }),
            "{refused}"
        );
        server.renew().await.unwrap();
    });
    let lists = CrlSet::load(&authority.layout().authority_list()).unwrap().unwrap();
    assert!(lists.contains(&serial));
    let census = authority.census();
    let standing = |kind: &str| {
        let members = census["members"].as_array().unwrap().clone();
        members.iter().find(|member| member["kind"] == kind).unwrap()["standing"].clone()
    };
    assert_eq!((standing("client"), standing("server")), ("revoked".into(), "active".into()));
}

#[test]
fn commands_work_beside_a_running_authority_and_without_one() {
    let mut authority = Serving::start();
    let beside = authority.token(&["client", "alice"]);
    authority.stop();
    let without = authority.token(&["client", "bob"]);
    let said = authority.certs(&["revoke", "0badcafe", "--unlisted"]);
    assert!(said.contains("no `rcmd-certs serve` is running"), "{said}");
    authority.restart();
    enroll_as(&authority, &beside, "alice").unwrap();
    enroll_as(&authority, &without, "bob").unwrap();
    // Without it, commands at the same time wait for each other.
    authority.stop();
    let authority = &authority;
    let tokens: Vec<_> = std::thread::scope(|scope| {
        let make = |number: u32| authority.token(&["client", &format!("user{number}")]);
        let running: Vec<_> = (0..8).map(|number| scope.spawn(move || make(number))).collect();
        running.into_iter().map(|running| running.join().unwrap()).collect()
    });
    let ids: HashSet<_> = tokens.iter().map(|token| token.secret.id()).collect();
    assert_eq!(ids.len(), 8);
}

#[test]
fn a_second_authority_on_the_same_store_is_refused() {
    let authority = Serving::start();
    let refused = authority.try_certs(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("in use by another"), "{said}");
    // The first one's socket is still there.
    assert!(authority.census()["members"].as_array().unwrap().is_empty());
}

#[test]
fn a_bundle_is_worthless_after_its_use() {
    let authority = Serving::start();
    let file = authority.layout().dir().join("image.token");
    let path = file.to_str().unwrap();
    authority.certs(&["bundle", "--out", path, "server", "--for", "web[1-3]", "--uses", "1"]);
    let token = Token::load(&file).unwrap();
    let named =
        |name: &str| EnrollmentOptions { name: Some(name.into()), ..EnrollmentOptions::default() };
    block_on(enroll(&token, &authority.member("a"), &named("web1"))).unwrap();
    let more = block_on(enroll(&token, &authority.member("b"), &named("web2")));
    assert_eq!(reason(more), RefusalReason::UsedToken);
    let again = authority.try_certs(&["bundle", "--out", path, "server", "web9"]);
    assert!(!again.status.success(), "a file was replaced without --force");
}

#[test]
fn an_emergency_certificate_is_marked_and_in_the_journal() {
    let authority = Serving::start();
    let out = authority.member("emergency");
    let dir = out.dir().to_str().unwrap();
    authority.certs(&["issue", "client", "alice", "--break-glass", "--out", dir]);
    let facts = tls::load_leaf(&out.client_cert()).unwrap();
    assert!(rcmd_certs::Identity::from_certificate(&facts).unwrap().is_break_glass());
    assert!(facts.not_after - clock::now_unix() <= 3600);
    assert_eq!(authority.journal().pop().unwrap()["by"], "break-glass");
}

#[test]
fn nothing_that_comes_over_the_wire_harms_the_authority() {
    let authority = Serving::start();
    let token = authority.token(&["server", "web1"]);
    // Not TLS at all, and half a handshake.
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 5000], b"\x16\x03\x01\xff\xff"] {
        let mut stream = TcpStream::connect(authority.address()).unwrap();
        let _ = stream.write_all(bytes);
    }
    block_on(async {
        for bytes in [
            b"\0\0\0\0".to_vec(),
            b"\xff\xff\xff\xff".to_vec(),
            b"\0\0\x40\x01".to_vec(),
            raw::message(b"{}"),
            raw::message(b"nonsense"),
            raw::message(b"{\"ask\":\"renew\",\"time\":0,\"time\":1}"),
            raw::message(b"{\"ask\":\"grant\"}"),
            raw::message(&[b'['; 16_000]),
            raw::message(b"{\"ask\":\"enroll\",\"secret\":\"AAAA\",\"request\":\"\",\"time\":0}"),
        ] {
            let answer = raw::exchange(&authority, &bytes).await;
            assert_eq!(
                answer.map(|answer| answer["reason"].clone()),
                Some("request".into()),
                "{bytes:?}"
            );
        }
        for ask in [&b"{\"ask\":\"renew\",\"time\":0}"[..], b"{\"ask\":\"lists\",\"newer_than\":0}"]
        {
            let answer = raw::exchange(&authority, &raw::message(ask)).await.unwrap();
            assert_eq!(answer["reason"], "stranger");
        }
        // A length that promises more than comes.
        assert!(raw::exchange(&authority, b"\0\0\x10\0{").await.is_none());
    });
    enroll_as(&authority, &token, "web1").unwrap();
}

#[test]
fn strangers_who_stay_do_not_keep_members_out() {
    raise_nofile();
    let authority = Serving::start();
    let token = authority.token(&["server", "web1"]);
    let mut strangers: Vec<_> =
        (0..700).map(|_| TcpStream::connect(authority.address()).unwrap()).collect();
    enroll_as(&authority, &token, "web1").unwrap();
    // The oldest were sent away; none stays longer than its deadline.
    for stranger in &mut strangers {
        stranger.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut end = Vec::new();
        let _ = stranger.read_to_end(&mut end);
        assert!(end.is_empty(), "{end:?}");
    }
}

#[test]
fn sighup_has_the_authority_read_its_settings_again_and_wrong_ones_change_nothing() {
    let authority = Serving::with("client_life = \"1h\"\n");
    let set = |settings: &str| {
        std::fs::write(authority.layout().authority_toml(), settings).unwrap();
        proc::signal(authority.pid(), Signal::HUP);
    };
    let said = |what: &str| authority.log().iter().any(|line| line.contains(what));
    let life = |token: &Token, name: &str| {
        enroll_as(&authority, token, name).unwrap();
        let leaf = tls::load_leaf(&authority.member(name).client_cert()).unwrap();
        (leaf.not_after - clock::now_unix()) / 60
    };
    let token = |name: &str| authority.token(&["client", name]);
    assert!((50..=60).contains(&life(&token("before"), "before")));
    set("client_life = \"5h\"\nlist_every = \"30m\"\n");
    eventually("it has read them", || said("settings reloaded"));
    assert!((290..=300).contains(&life(&token("after"), "after")));
    // Its own commands read the file themselves.
    let still = token("still");
    set("client_life = \"\"\n");
    eventually("it has looked at them", || said("settings not reloaded; the old ones stay in use"));
    assert!((290..=300).contains(&life(&still, "still")));
}

#[test]
fn a_killed_authority_uses_a_token_once_or_not_at_all() {
    let figures = soak::authority::run(10, 0x5eed);
    assert!(figures.are_good(), "{figures}");
}

/// Members of a make that is not ours.
mod raw {
    use std::io;
    use std::sync::Arc;

    use rcmd_certs::enroll::key::{KeyAlgorithm, request};
    use rcmd_certs::enroll::token::Token;
    use rcmd_certs::x509::Certificate;
    use rcmd_tests::authority::Serving;
    use rcmd_tests::raw::Dial;
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;

    pub(super) fn message(json: &[u8]) -> Vec<u8> {
        [&u32::try_from(json.len()).unwrap().to_be_bytes(), json].concat()
    }

    /// Sends bytes and nothing more; the answer, if one comes.
    pub(super) async fn exchange(authority: &Serving, bytes: &[u8]) -> Option<Value> {
        let stream = TcpStream::connect(authority.address()).await.unwrap();
        let dial = Dial::at(authority.layout().dir(), authority.address());
        let config = dial.without_identity().alpn(&[b"rcmd-authority/1"]).config();
        let connector = TlsConnector::from(Arc::new(config));
        let name = "rcmd-authority.invalid".try_into().unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        let exchanged: io::Result<Value> = async {
            stream.write_all(bytes).await?;
            stream.shutdown().await?;
            let length = stream.read_u32().await?;
            let mut answer = vec![0; length.try_into().unwrap()];
            stream.read_exact(&mut answer).await?;
            Ok(serde_json::from_slice(&answer)?)
        }
        .await;
        exchanged.ok()
    }

    async fn enroll(authority: &Serving, token: &Token, request: Vec<u8>, time: i64) -> Value {
        let ask = json!({
            "ask": "enroll",
            "secret": String::from(token.secret.clone()),
            "request": base64(&request),
            "time": time,
            "ca": true,
            "names": ["evil.example"],
            "groups": ["admin"],
            "not_after": 99_999_999_999_i64,
        });
        exchange(authority, &message(ask.to_string().as_bytes())).await.unwrap()
    }

    pub(super) async fn ask_enroll(authority: &Serving, token: &Token, request: Vec<u8>) -> Value {
        enroll(authority, token, request, rcmd_certs::clock::now_unix()).await
    }

    pub(super) async fn ask_enroll_at(authority: &Serving, token: &Token, time: i64) -> Value {
        let key = KeyAlgorithm::Ed25519.generate().unwrap();
        enroll(authority, token, request(&key).unwrap(), time).await
    }

    pub(super) fn facts(leaf: &str) -> Certificate {
        let der: rcmd_certs::pem::Der = serde_json::from_value(leaf.into()).unwrap();
        Certificate::parse(&der.0).unwrap()
    }

    fn base64(bytes: &[u8]) -> Value {
        serde_json::to_value(rcmd_certs::pem::Der(bytes.to_vec())).unwrap()
    }
}

#[test]
fn a_backup_is_the_same_authority_again_and_its_tokens_are_not() {
    let authority = Serving::start();
    member(&authority, Kind::Server, "web1");
    let open = authority.token(&["client", "alice"]);
    let folder = authority.member("vault");
    std::fs::create_dir_all(folder.dir()).unwrap();
    let (file, passphrase) = (folder.dir().join("ca.backup"), folder.dir().join("passphrase"));
    std::fs::write(&passphrase, "correct horse battery staple\n").unwrap();
    let words = |verb: &'static str| {
        [verb, file.to_str().unwrap(), "--passphrase-file", passphrase.to_str().unwrap()]
    };
    authority.certs(&words("backup"));
    let number = authority.census()["list"]["number"].as_u64().unwrap();

    let restored = Serving::made_by(&words("restore"));
    let (before, after) = (authority.census(), restored.census());
    assert_eq!(after["members"], before["members"]);
    let tokens = after["tokens"].as_array().unwrap();
    let alice = tokens.iter().find(|token| token["names"] == "alice").unwrap();
    assert_eq!(alice["standing"], "revoked");
    assert!(after["list"]["number"].as_u64().unwrap() > number, "members refuse lower numbers");
    let root = |serving: &Serving| std::fs::read(serving.layout().ca()).unwrap();
    assert_eq!(root(&authority), root(&restored));
    let open = Token { addresses: vec![restored.address().to_string()], ..open };
    assert_eq!(reason(enroll_as(&restored, &open, "alice")), RefusalReason::RevokedToken);

    std::fs::write(&passphrase, "another horse battery staple").unwrap();
    let refused = Serving::unused().try_certs(&words("restore"));
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && complaint.contains("passphrase"), "{complaint}");
    let again = restored.try_certs(&words("restore"));
    assert!(!again.status.success(), "an authority that is there stays");
}
