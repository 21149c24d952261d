//! Tests of what the authority grants and refuses, on a clock of our own.

use std::{collections::HashSet, fs, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};
use rcmd_certs::{
    clock::{self, BACKDATE},
    crl::CrlSet,
    enroll::{
        key::{KeyAlgorithm, request},
        message::RefusalReason,
        token::{Names, Token},
    },
    files::{self, Existing, NewFile},
    names::Kind,
    paths::Layout,
    x509::{Certificate, UsageSet},
};

use super::authority_state::Grant;
use super::*;
use crate::ca::{Authority, ProvenKey};

mod limits;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

struct Folder {
    root: tempfile::TempDir,
    state: Option<AuthorityState>,
    now: i64,
}

impl Folder {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let authority = Authority::create(KeyAlgorithm::Ed25519).unwrap();
        files::create_private_dir(&layout.authority_dir()).unwrap();
        let write = |path: &std::path::Path, text: &str| {
            let file = NewFile { path, bytes: text.as_bytes(), private: true };
            files::write_all(&[file], Existing::Keep).unwrap();
        };
        write(&layout.authority_cert(), &authority.cert_pem());
        write(&layout.authority_key(), &authority.key_pem());
        write(&layout.ca(), &authority.root_pem());
        let state = Some(AuthorityState::open(&layout).unwrap());
        Self { root, state, now: clock::now_unix() }
    }

    fn layout(&self) -> Layout {
        Layout::new(self.root.path())
    }

    fn state(&self) -> &AuthorityState {
        self.state.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        self.state = None;
        self.state = Some(AuthorityState::open(&self.layout()).unwrap());
    }

    fn token(&self, kind: Kind, names: Names, groups: &[&str], uses: u32) -> Token {
        let new = NewToken {
            kind,
            names,
            groups: groups.iter().map(ToString::to_string).collect(),
            uses,
            life: None,
            addresses: vec!["localhost:1".into()],
        };
        self.state().token(new, self.now).unwrap()
    }

    fn server_token(&self, name: &str) -> Token {
        self.token(Kind::Server, Names::All(vec![name.into()]), &[], 1)
    }

    fn enroll(
        &self,
        token: &Token,
        name: Option<&str>,
        key: &ProvenKey,
    ) -> Result<Granted, RefusalReason> {
        let (secret, name) = (token.secret.clone(), name.map(str::to_owned));
        let application = Application { secret, name, key: key.clone(), time: self.now };
        self.state().enroll(&application, self.now).map_err(|error| reason(&error))
    }

    fn renew(&self, key: &ProvenKey) -> Result<Granted, RefusalReason> {
        self.state().renew(key, self.now).map_err(|error| reason(&error))
    }

    fn journal(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.layout().journal()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[track_caller]
fn reason(error: &StateError) -> RefusalReason {
    match error {
        StateError::Refused { reason, .. } => *reason,
        other => panic!("{other}"),
    }
}

fn new_key() -> ProvenKey {
    let key = KeyAlgorithm::Ed25519.generate().unwrap();
    ProvenKey::from_request(&request(&key).unwrap()).unwrap()
}

fn facts(granted: &Granted) -> Certificate {
    Certificate::parse(&granted.chain[0].0).unwrap()
}

#[test]
fn a_token_gives_its_names_and_groups_for_a_short_life() {
    let folder = Folder::new();
    let names = Names::All(vec!["Web1.Example".into(), "192.0.2.7".into()]);
    let granted =
        folder.enroll(&folder.token(Kind::Server, names, &[], 1), None, &new_key()).unwrap();
    let server = facts(&granted);
    assert_eq!(server.names.dns, ["web1.example"]);
    assert_eq!(server.names.addresses.len(), 1);
    assert_eq!(server.usage, UsageSet::Only { server: true, client: false });
    assert_eq!(server.not_after, folder.now + 7 * DAY);
    assert_eq!(granted.renew_until, folder.now + 30 * DAY);

    let token = folder.token(Kind::Client, Names::All(vec!["alice".into()]), &["ops", "dev"], 1);
    let client = facts(&folder.enroll(&token, None, &new_key()).unwrap());
    assert_eq!(client.names.uris, ["rcmd://user/alice", "rcmd://group/ops", "rcmd://group/dev"]);
    assert_eq!(client.usage, UsageSet::Only { server: false, client: true });
    assert_eq!(client.not_after, folder.now + DAY);
    assert_eq!(client.not_before, folder.now - i64::try_from(BACKDATE.as_secs()).unwrap());
}

#[test]
fn a_token_is_used_once_and_a_lost_answer_is_given_again() {
    let mut folder = Folder::new();
    let (token, first, second) = (folder.server_token("web1"), new_key(), new_key());
    let granted = folder.enroll(&token, None, &first).unwrap();
    assert_eq!(folder.enroll(&token, None, &second), Err(RefusalReason::UsedToken));
    assert_eq!(folder.enroll(&token, None, &first).unwrap(), granted);
    folder.reopen();
    assert_eq!(folder.enroll(&token, None, &first).unwrap(), granted);
    assert_eq!(folder.enroll(&token, None, &second), Err(RefusalReason::UsedToken));
    folder.now += HOUR;
    assert_eq!(folder.enroll(&token, None, &first), Err(RefusalReason::UsedToken));
}

#[test]
fn expired_revoked_and_forged_tokens_are_refused() {
    let mut folder = Folder::new();
    let token = folder.server_token("web1");
    let forged =
        Token { secret: rcmd_certs::enroll::token::Secret::random().unwrap(), ..token.clone() };
    assert_eq!(folder.enroll(&forged, None, &new_key()), Err(RefusalReason::UnknownToken));
    folder.now += HOUR + 1;
    assert_eq!(folder.enroll(&token, None, &new_key()), Err(RefusalReason::ExpiredToken));

    let token = folder.server_token("web2");
    let id = &token.secret.id()[..12];
    let revoked = folder.state().revoke(id, RevocationReason::Unspecified, false, folder.now);
    assert_eq!(revoked.unwrap().tokens, [id]);
    assert_eq!(folder.enroll(&token, None, &new_key()), Err(RefusalReason::RevokedToken));
    assert!(folder.state().listing(folder.now).unwrap().members.is_empty());
}

#[test]
fn whoever_is_revoked_by_name_has_no_open_token_left() {
    let mut folder = Folder::new();
    let (key, other) = (new_key(), folder.server_token("web2"));
    folder.enroll(&folder.server_token("web1"), None, &key).unwrap();
    let late = folder.server_token("web1");
    folder.now += HOUR + 1;
    let (open, pattern) = (folder.server_token("web1"), "web[1-9]".parse().unwrap());
    let pattern = folder.token(Kind::Server, Names::OneOf(pattern), &[], 2);
    let revoke =
        |what: &str| folder.state().revoke(what, RevocationReason::Unspecified, false, folder.now);
    let revoked = revoke("web1").unwrap();
    assert_eq!(revoked.tokens, [&open.secret.id()[..12]]);
    let enroll = |token| folder.enroll(token, None, &new_key());
    assert_eq!(enroll(&open), Err(RefusalReason::RevokedToken));
    assert_eq!(enroll(&late), Err(RefusalReason::ExpiredToken));
    assert_eq!(enroll(&other), Err(RefusalReason::ExpiredToken));
    folder.enroll(&pattern, Some("web1"), &new_key()).unwrap();
    // A member-to-be with only a token can be revoked by name, too.
    let token = folder.server_token("web3");
    assert_eq!(revoke("web3").unwrap().tokens, [&token.secret.id()[..12]]);
}

#[test]
fn a_token_is_refused_to_another_name() {
    let folder = Folder::new();
    let token = folder.server_token("web1");
    assert_eq!(folder.enroll(&token, Some("web2"), &new_key()), Err(RefusalReason::Name));
    folder.enroll(&token, Some("web1"), &new_key()).unwrap();
}

#[test]
fn a_fleet_takes_each_name_once() {
    let folder = Folder::new();
    let pattern = "web[01-50].example".parse().unwrap();
    let token = folder.token(Kind::Server, Names::OneOf(pattern), &[], 2);
    assert_eq!(folder.enroll(&token, None, &new_key()), Err(RefusalReason::Name));
    assert_eq!(folder.enroll(&token, Some("web51.example"), &new_key()), Err(RefusalReason::Name));
    let granted = folder.enroll(&token, Some("web07.example"), &new_key()).unwrap();
    assert_eq!(facts(&granted).names.dns, ["web07.example"]);
    assert_eq!(folder.enroll(&token, Some("web07.example"), &new_key()), Err(RefusalReason::Name));
    folder.enroll(&token, Some("web08.example"), &new_key()).unwrap();
    assert_eq!(
        folder.enroll(&token, Some("web09.example"), &new_key()),
        Err(RefusalReason::UsedToken)
    );
}

#[test]
fn a_request_gets_nothing_of_what_it_asks_for() {
    let folder = Folder::new();
    let mut wish = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wish.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    wish.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::Any, ExtendedKeyUsagePurpose::ClientAuth];
    for uri in ["rcmd://user/root", "rcmd://group/admin", "rcmd://break-glass", "rcmd://authority"]
    {
        wish.subject_alt_names.push(rcgen::SanType::URI(uri.try_into().unwrap()));
    }
    wish.not_after = rcgen::date_time_ymd(4096, 1, 1);
    wish.distinguished_name.push(rcgen::DnType::CommonName, "rcmd authority");
    // An extension that is critical and that nobody knows.
    let mut unknown = rcgen::CustomExtension::from_oid_content(&[1, 3, 9942, 1], vec![5, 0]);
    unknown.set_criticality(true);
    wish.custom_extensions.push(unknown);
    let secret_key = KeyAlgorithm::EcdsaP256.generate().unwrap();
    let request = wish.serialize_request(&secret_key).unwrap();
    let key = ProvenKey::from_request(request.der()).unwrap();

    let granted = folder.enroll(&folder.server_token("web1"), None, &key).unwrap();
    let server = facts(&granted);
    assert!(!server.is_ca);
    assert_eq!(server.names.dns, ["web1"]);
    assert_eq!(server.names.uris, ["rcmd://host/web1"]);
    assert_eq!(server.usage, UsageSet::Only { server: true, client: false });
    assert_eq!(server.not_after, folder.now + 7 * DAY);
    assert!(server.subject.contains("web1"), "{}", server.subject);
    assert_eq!(server.key, key.fingerprint());
}

#[test]
fn a_clock_an_hour_off_is_named_and_the_token_is_not_used() {
    let folder = Folder::new();
    let (token, key) = (folder.server_token("web1"), new_key());
    for (off, word) in [(-HOUR, "behind"), (HOUR, "ahead")] {
        let (secret, time) = (token.secret.clone(), folder.now + off);
        let application = Application { secret, name: None, key: key.clone(), time };
        let refused = folder.state().enroll(&application, folder.now).unwrap_err();
        assert_eq!(reason(&refused), RefusalReason::Clock);
        let message = refused.to_string();
        assert!(message.contains("clock is 60 minutes") && message.contains(word), "{message}");
    }
    folder.enroll(&token, None, &key).unwrap();
}

#[test]
fn a_key_is_renewed_until_a_month_after_the_last_time() {
    let mut folder = Folder::new();
    let key = new_key();
    let token = folder.token(Kind::Client, Names::All(vec!["alice".into()]), &["ops"], 1);
    let first = folder.enroll(&token, None, &key).unwrap();
    folder.now += HOUR;
    assert_eq!(folder.renew(&key).unwrap(), first, "an answer that was lost is given again");
    folder.now += 16 * HOUR;
    let second = folder.renew(&key).unwrap();
    assert_ne!(second, first);
    assert_eq!(facts(&second).names.uris, facts(&first).names.uris);
    assert_eq!(facts(&second).not_after, folder.now + DAY);
    folder.now += 30 * DAY;
    folder.renew(&key).unwrap();
    folder.now += 30 * DAY + 1;
    assert_eq!(folder.renew(&key), Err(RefusalReason::Late));
    assert_eq!(folder.renew(&new_key()), Err(RefusalReason::Stranger));
}

#[test]
fn a_revoked_member_is_on_the_list_and_never_renews() {
    let mut folder = Folder::new();
    let (alice, bob) = (new_key(), new_key());
    let enroll = |name: &str, key: &ProvenKey| {
        let token = folder.token(Kind::Client, Names::All(vec![name.into()]), &[], 1);
        facts(&folder.enroll(&token, None, key).unwrap()).serial
    };
    let (first, other) = (enroll("alice", &alice), enroll("bob", &bob));
    folder.now += 20 * HOUR;
    let second = facts(&folder.renew(&alice).unwrap()).serial;

    let reason = RevocationReason::KeyCompromise;
    let revoked = folder.state().revoke("alice", reason, false, folder.now).unwrap();
    assert_eq!(revoked.members, ["client alice"]);
    assert_eq!(
        revoked.serials.iter().collect::<HashSet<_>>(),
        HashSet::from([&first, &second]),
        "both certificates are still valid"
    );
    let lists = CrlSet::load(&folder.layout().authority_list()).unwrap().unwrap();
    assert!(lists.contains(&first) && lists.contains(&second) && !lists.contains(&other));
    assert_eq!((lists.number(), lists.next_update()), (1, folder.now + 7 * DAY));
    assert_eq!(folder.renew(&alice), Err(RefusalReason::Revoked));
    folder.renew(&bob).unwrap();

    folder.reopen();
    let next = folder.state().publish(folder.now + HOUR).unwrap();
    assert_eq!((next.number, next.this_update), (2, folder.now + HOUR));
    let over = folder.state().publish(folder.now + 30 * DAY).unwrap();
    let list = rcmd_certs::crl::Crl::from_der(&over.lists[0].0).unwrap();
    assert_eq!(list.revoked, Vec::<String>::new(), "what expired long ago leaves the list");
}

#[test]
fn a_serial_number_revokes_its_member_and_a_foreign_one_only_when_told() {
    let folder = Folder::new();
    let granted = folder.enroll(&folder.server_token("web1"), None, &new_key()).unwrap();
    let serial = facts(&granted).serial;
    let revoke = |what: &str, unlisted| {
        folder.state().revoke(what, RevocationReason::Superseded, unlisted, folder.now)
    };
    assert_eq!(revoke(&serial.to_uppercase(), false).unwrap().members, ["server web1"]);
    let message = revoke("0badcafe", false).unwrap_err().to_string();
    assert!(message.contains("--unlisted"), "{message}");
    assert_eq!(revoke("00:0b:ad", true).unwrap().serials, ["0bad"]);
    assert!(revoke("not a serial", true).is_err());
    let lists = CrlSet::load(&folder.layout().authority_list()).unwrap().unwrap();
    assert!(lists.contains("0bad") && lists.contains(&serial));
}

#[test]
fn an_emergency_certificate_is_marked_short_and_not_renewed() {
    let folder = Folder::new();
    let mut issue = Issue {
        kind: Kind::Client,
        names: vec!["alice".into()],
        groups: vec![],
        life: Duration::from_secs(3600),
        break_glass: true,
    };
    let key = new_key();
    let granted = folder.state().issue(&issue, &key, folder.now).unwrap();
    let identity = rcmd_certs::Identity::from_der(&granted.chain[0].0).unwrap();
    assert!(identity.is_break_glass());
    assert_eq!(folder.renew(&key), Err(RefusalReason::Stranger));
    issue.life += Duration::from_secs(1);
    assert!(folder.state().issue(&issue, &new_key(), folder.now).is_err());
}

#[test]
fn every_certificate_is_in_the_journal() {
    let mut folder = Folder::new();
    let key = new_key();
    folder.enroll(&folder.server_token("web1"), None, &key).unwrap();
    folder.now += 6 * DAY;
    folder.renew(&key).unwrap();
    folder.state().publish(folder.now).unwrap();
    let lines = folder.journal();
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["token", "certificate", "certificate", "lists"]);
    assert_eq!(lines[1]["names"][0], "web1");
    assert_eq!(lines[2]["by"], "renewal");
    let secret = String::from(folder.server_token("web2").secret);
    assert!(!fs::read_to_string(folder.layout().journal()).unwrap().contains(&secret));
}

#[test]
fn a_certificate_that_never_left_is_said_to_be_void() {
    let mut folder = Folder::new();
    folder.enroll(&folder.server_token("web1"), None, &new_key()).unwrap();
    let journal = folder.layout().journal();
    let whole = fs::read_to_string(&journal).unwrap();
    folder.reopen();
    assert_eq!(fs::read_to_string(&journal).unwrap(), whole, "what left is not void");

    // The state after a kill between the line and the commit.
    let last = whole.lines().last().unwrap();
    let serial = serde_json::from_str::<serde_json::Value>(last).unwrap()["serial"].clone();
    let unknown = last.replace(serial.as_str().unwrap(), "0123");
    fs::write(&journal, format!("{whole}{unknown}\n")).unwrap();
    folder.reopen();
    let line = folder.journal().pop().unwrap();
    assert_eq!((&line["event"], &line["serial"]), (&"void".into(), &"0123".into()));
}

#[test]
fn a_certificate_that_could_not_be_kept_is_void_too() {
    let folder = Folder::new();
    let failed: Result<(), StateError> = folder.state().record(folder.now, |rows| {
        let grant = Grant {
            kind: Kind::Server,
            names: vec!["web1".into()],
            groups: vec![],
            life: Duration::from_secs(60),
            break_glass: false,
            by: "command".into(),
        };
        folder.state().sign(rows, grant, &new_key(), folder.now)?;
        Err(StateError::Invalid("the disk is full".into()))
    });
    assert!(failed.is_err());
    let lines = folder.journal();
    assert_eq!(lines[1]["event"], "void");
    assert_eq!(lines[0]["serial"], lines[1]["serial"]);
    folder.state().publish(folder.now).unwrap();
    assert_eq!(folder.journal().len(), 3);
}

#[test]
fn tokens_that_make_no_sense_are_not_made() {
    let folder = Folder::new();
    let good = NewToken {
        kind: Kind::Server,
        names: Names::All(vec!["web1".into()]),
        groups: vec![],
        uses: 1,
        life: None,
        addresses: vec!["localhost:1".into()],
    };
    let fleet = Names::OneOf("web[1-2]".parse().unwrap());
    for bad in [
        NewToken { names: Names::All(vec![]), ..good.clone() },
        NewToken { names: Names::All(vec!["a b".into()]), ..good.clone() },
        NewToken { names: Names::All(vec!["web1.example".into(); 1000]), ..good.clone() },
        NewToken { groups: vec!["ops".into()], ..good.clone() },
        NewToken { uses: 0, ..good.clone() },
        NewToken { uses: 2, ..good.clone() },
        NewToken { uses: 3, names: fleet.clone(), ..good.clone() },
        NewToken { addresses: vec!["localhost".into()], ..good.clone() },
        NewToken { addresses: vec![], ..good.clone() },
        NewToken {
            kind: Kind::Client,
            names: Names::All(vec!["a".into(), "b".into()]),
            ..good.clone()
        },
    ] {
        assert!(folder.state().token(bad.clone(), folder.now).is_err(), "{bad:?}");
    }
    folder.state().listening(&["ca.example:7264".into()]).unwrap();
    let unsaid = NewToken { addresses: vec![], uses: 2, names: fleet, ..good };
    let token = folder.state().token(unsaid, folder.now).unwrap();
    assert_eq!(token.addresses, ["ca.example:7264"]);
}
