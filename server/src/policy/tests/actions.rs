//! Tests of the actions beside `run` and `shell`, of the vocabularies, and of where a request comes
//! from.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use super::{
    super::access::{Endpoint, FileFacts, SocketFacts},
    *,
};

const APP: Uid = Uid::from_raw(1000);

fn file(path: &str, size: u64) -> FileFacts {
    FileFacts { path: path.into(), account: "app".into(), uid: APP, size, lock: None }
}

fn socket(endpoint: Endpoint) -> SocketFacts {
    SocketFacts { account: "app".into(), uid: APP, endpoint }
}

fn port(host: &str, address: Option<&str>, port: u16) -> SocketFacts {
    let address = address.map(|address| address.parse().unwrap());
    socket(Endpoint::Port { host: host.into(), address, port })
}

fn path(path: &str) -> SocketFacts {
    socket(Endpoint::Path(path.into()))
}

/// Returns one request for each action but `run` and `shell`.
fn accesses() -> [Access; 9] {
    let owner = || "al".to_owned();
    [
        Access::Terminal(facts("/usr/bin/bash")),
        Access::Attach { owner: owner() },
        Access::Read(file("/srv/data", 10)),
        Access::Write(file("/srv/data", 10)),
        Access::Forward(port("db1", Some("10.0.0.1"), 5432)),
        Access::Listen(port("", Some("127.0.0.1"), 8080)),
        Access::Relay,
        Access::List { owner: owner() },
        Access::Kill { owner: owner() },
    ]
}

fn accessed(rules: &Rules, who: &Principal, access: &Access) -> Result<Authorization, Denial> {
    authorize_access(&rules.slice(who), access, noon())
}

/// Returns the actions that the rules permit to `al`, for the request of each that is made here.
fn permitted(rules: &Rules) -> Vec<&'static str> {
    let al = who("al", &["ops"]);
    let judged = |action: &Action| match action {
        Action::Run => asked(rules, &al, &exec(&[b"id"])).is_ok(),
        Action::Shell => asked(rules, &al, &line(b"id")).is_ok(),
        other => {
            let access = accesses().into_iter().find(|access| access.action() == *other);
            accessed(rules, &al, &access.unwrap()).is_ok()
        }
    };
    Action::ALL.into_iter().filter(judged).map(Action::as_str).collect()
}

const OLD: &str = "run shell attach";
const ALL: &str = "run shell terminal attach read write forward listen relay list kill";

#[test]
fn what_a_rule_permits_follows_from_its_actions_and_from_the_vocabulary() {
    for (text, one, two) in [
        ("permit (principal, action, resource);", OLD, ALL),
        ("permit (principal in Group::\"ops\", action, resource);", OLD, ALL),
        ("permit (principal in Group::\"dev\", action, resource);", "", ""),
        // The same under both: permits that name their actions.
        ("permit (principal, action == Action::\"read\", resource);", "read", "read"),
        (
            "permit (principal, action in [Action::\"run\", Action::\"write\", Action::\"kill\"], resource);",
            "run write kill",
            "run write kill",
        ),
        // A condition does not name what a permit is for.
        ("permit (principal, action, resource) when { action == Action::\"read\" };", "", "read"),
        (
            "permit (principal, action, resource) unless { action == Action::\"write\" };",
            OLD,
            "run shell terminal attach read forward listen relay list kill",
        ),
        (
            "permit (principal, action, resource) when { context has path && context.path == \"/srv/data\" };",
            "",
            "read write",
        ),
        // A forbid that names no action forbids each.
        (
            "permit (principal, action, resource);\nforbid (principal, action, resource);",
            "",
            "",
        ),
        (
            "permit (principal, action in [Action::\"run\", Action::\"read\"], resource);
             forbid (principal, action, resource) when { context.source.isInRange(ip(\"192.0.2.0/24\")) };",
            "",
            "",
        ),
        (
            "permit (principal, action, resource);
             permit (principal, action in [Action::\"read\", Action::\"list\"], resource);
             forbid (principal, action in [Action::\"list\", Action::\"shell\"], resource);",
            "run attach read",
            "run terminal attach read write forward listen relay kill",
        ),
    ] {
        let rules = rules(text);
        assert_eq!(permitted(&rules).join(" "), one, "under vocabulary 1: {text}");
        let rules = rules.under(Vocabulary::Two);
        assert_eq!(permitted(&rules).join(" "), two, "under vocabulary 2: {text}");
    }
}

#[test]
fn the_first_policy_is_the_same_under_both_vocabularies() {
    for vocabulary in [Vocabulary::One, Vocabulary::Two] {
        let rules = rules(INITIAL).under(vocabulary);
        assert_eq!(rules.widened(), []);
        assert_eq!(permitted(&rules).join(" "), "attach list kill", "of its own commands");
        let admin = who("root", &["admin"]);
        for access in accesses() {
            assert_eq!(accessed(&rules, &admin, &access).unwrap().rules, ["admin"], "{access}");
            let own = matches!(access.action(), Action::Attach | Action::List | Action::Kill);
            assert_eq!(accessed(&rules, &who("al", &[]), &access).is_ok(), own, "{access}");
            assert!(accessed(&rules, &who("bob", &[]), &access).is_err(), "{access}");
        }
    }
}

#[test]
fn every_action_of_the_schema_is_an_action_here() {
    let mut known: Vec<_> =
        Action::ALL.map(|action| format!("Action::\"{}\"", action.as_str())).into();
    let mut in_schema: Vec<_> = vocabulary::schema().actions().map(ToString::to_string).collect();
    known.sort();
    in_schema.sort();
    assert_eq!(known, in_schema);
}

/// Checks contexts against the schema; in production they are not checked, for speed.
#[test]
fn contexts_are_of_the_vocabulary() {
    let check = |context: Result<cedar_policy::Context, String>, action: Action| {
        let name = format!("Action::\"{}\"", action.as_str());
        context.unwrap().validate(vocabulary::schema(), &name.parse().unwrap()).unwrap();
    };
    let recent = question::Recent::default();
    let requests = [exec(&[b"a", b"\xff"]), exec(&[b"a"]), line(b"x"), line(b"\xff")];
    let locked = requests.clone().map(|request| locked("deploy", &request));
    for request in requests.into_iter().chain(locked) {
        let digest = Some("sha256:x");
        let found = question::of_request(&request, &facts("/a"), digest, noon(), &recent);
        check(found, question::action(&request));
    }
    let odd = OsStr::from_bytes(b"/\xff");
    let more = [
        Access::Read(FileFacts {
            path: odd.into(),
            account: odd.into(),
            uid: Uid::from_raw(u32::MAX),
            size: u64::MAX,
            lock: Some("deploy".into()),
        }),
        Access::Forward(port("web1", None, 0)),
        Access::Forward(path("/run/x")),
        Access::Listen(path("/run/x")),
        Access::Listen(port("", Some("::ffff:10.0.0.1"), 1)),
        Access::Terminal(HostFacts { account: odd.into(), cwd: odd.into(), ..facts("/a") }),
    ];
    for way in Way::ALL {
        let context = RequestContext { way, source: "::".parse().unwrap(), ..noon() };
        for access in accesses().iter().chain(&more) {
            check(access.context(context, &recent), access.action());
        }
    }
}

#[test]
fn what_no_rule_could_permit_is_denied_before_anything_is_looked_at() {
    let read = r#"permit (principal in Group::"ops", action == Action::"read", resource)
        when { context.path == "/srv/data" };"#;
    let rules = rules(read);
    let early =
        |groups: &[&str], action| authorize_access_early(&rules.slice(&who("al", groups)), action);
    assert_eq!(early(&["ops"], Action::Read), Ok(()));
    for (groups, action, says) in [
        (&[][..], Action::Read, "al may not read anything on db1"),
        (&["ops"], Action::Write, "al may not write anything on db1"),
        (&["ops"], Action::Terminal, "al may not have a terminal on db1"),
        (&["ops"], Action::Relay, "al may not relay connections on db1"),
    ] {
        let denial = early(groups, action).unwrap_err();
        assert_eq!(denial.reason, format!("{says}: no rule permits it"));
    }
}

#[test]
fn a_file_is_judged_by_its_path_account_and_size() {
    let rules = rules(
        r#"permit (principal, action == Action::"write", resource)
             when { context.path like "/srv/in/*" && context.account == "app" && context.size <= 1000 && context.text };
           permit (principal, action == Action::"read", resource)
             when { context.path == "/srv/in" && context.uid == 1000 };"#,
    );
    let al = who("al", &[]);
    let may = |access: Access| accessed(&rules, &al, &access).is_ok();
    assert!(may(Access::Write(file("/srv/in/x", 1000))));
    assert!(!may(Access::Write(file("/srv/in/x", 1001))));
    assert!(!may(Access::Write(file("/srv/in/x", u64::MAX))));
    assert!(!may(Access::Write(file("/srv/in", 1))));
    assert!(!may(Access::Write(FileFacts { account: "root".into(), ..file("/srv/in/x", 1) })));
    let odd = OsStr::from_bytes(b"/srv/in/\xff");
    assert!(!may(Access::Write(FileFacts { path: odd.into(), ..file("", 1) })));
    assert!(may(Access::Read(file("/srv/in", 5))) && !may(Access::Read(file("/srv/in/x", 5))));
    assert!(!may(Access::Read(FileFacts { uid: Uid::ROOT, ..file("/srv/in", 5) })));
}

#[test]
fn a_connection_is_judged_by_its_host_address_port_and_path() {
    let rules = rules(
        r#"permit (principal, action == Action::"forward", resource)
             when { context.host == "db1" && context.port == 5432 && context.address.isInRange(ip("10.0.0.0/8")) };
           permit (principal, action == Action::"forward", resource) when { context.path == "/run/db.sock" };
           permit (principal, action == Action::"forward", resource)
             when { context.host == "web1" && context.address == ip("::") && context.port == 0 };"#,
    );
    let may =
        |facts: SocketFacts| accessed(&rules, &who("al", &[]), &Access::Forward(facts)).is_ok();
    assert!(
        may(port("db1", Some("10.0.0.1"), 5432)) && may(port("db1", Some("::ffff:10.0.0.1"), 5432))
    );
    assert!(!may(port("db1", Some("11.0.0.1"), 5432)) && !may(port("db1", Some("10.0.0.1"), 5433)));
    assert!(!may(port("10.0.0.1", Some("10.0.0.1"), 5432)) && !may(port("db1", None, 5432)));
    assert!(may(path("/run/db.sock")) && !may(path("/run/db.sock2")));
    assert!(may(port("web1", None, 0)) && !may(port("web1", Some("10.0.0.1"), 0)));
}

#[test]
fn a_rule_that_names_no_address_lets_listen_on_loopback_alone() {
    let bare = r#"@id("bare") permit (principal, action == Action::"listen", resource) when { context.port > 1023 };"#;
    let named = r#"@id("named") permit (principal, action == Action::"listen", resource)
        when { context.address == ip("192.0.2.1") };"#;
    let no = r#"@id("no") forbid (principal, action, resource) when { context has path && context.path != "" };"#;
    let open = "@id(\"open\") permit (principal, // not context.address\n action, resource);";
    let both = format!("{bare}{named}{no}");
    let both = both.as_str();
    for (text, address, by) in [
        (bare, "127.0.0.1", Ok("bare")),
        (bare, "127.255.0.1", Ok("bare")),
        (bare, "::1", Ok("bare")),
        (bare, "::ffff:127.0.0.1", Ok("bare")),
        (bare, "192.0.2.1", Err("\"bare\" names no address")),
        (bare, "0.0.0.0", Err("\"bare\" names no address")),
        (bare, "::", Err("\"bare\" names no address")),
        (bare, "::ffff:0.0.0.0", Err("\"bare\" names no address")),
        (named, "192.0.2.1", Ok("named")),
        (named, "127.0.0.1", Err("no rule permits it")),
        (both, "192.0.2.1", Ok("named")),
        (both, "192.0.2.2", Err("\"bare\" names no address")),
        (both, "127.0.0.1", Ok("bare")),
        (open, "127.0.0.1", Ok("open")),
        (open, "10.0.0.1", Err("\"open\" names no address")),
    ] {
        let rules = rules(text).under(Vocabulary::Two);
        let judged =
            accessed(&rules, &who("al", &[]), &Access::Listen(port("", Some(address), 8080)));
        match (judged, by) {
            (Ok(judged), Ok(by)) => assert_eq!(judged.rules, [by], "{address}: {text}"),
            (Err(denial), Err(says)) => assert!(denial.reason.contains(says), "{denial}"),
            (judged, _) => panic!("{address}: {judged:?} by {text}"),
        }
    }
    // A socket's path is reached from this host alone.
    let listen = Access::Listen(path("/run/x"));
    assert!(accessed(&rules(open).under(Vocabulary::Two), &who("al", &[]), &listen).is_ok());
    assert!(accessed(&rules(both), &who("al", &[]), &listen).is_err());
}

#[test]
fn a_login_shell_that_others_can_change_is_no_terminal_for_anybody() {
    let rules = rules(INITIAL);
    let mut shell = facts("/tmp/sh");
    let whom = "everybody".into();
    shell.program.writable =
        Some(Writable::By { what: "the file".into(), path: "/tmp/sh".into(), whom });
    let denial = accessed(&rules, &who("alice", &["admin"]), &Access::Terminal(shell)).unwrap_err();
    assert_eq!(denial.rules, [PROGRAM_WRITABLE]);
}

#[test]
fn where_a_request_comes_from_is_an_address_and_a_way() {
    let all = r#"@id("all") permit (principal, action in [Action::"run", Action::"relay"], resource) when"#;
    let may = |condition: &str, source: &str, way: Way| {
        let rules = rules(&format!("{all} {{ {condition} }};"));
        let context = RequestContext { source: source.parse().unwrap(), way, ..noon() };
        let slice = rules.slice(&who("al", &[]));
        let run = authorize(&slice, &exec(&[b"id"]), &facts("/bin/id"), context).is_ok();
        assert_eq!(run, authorize_access(&slice, &Access::Relay, context).is_ok(), "{condition}");
        run
    };
    for way in Way::ALL {
        for other in Way::ALL {
            let is = format!("context.way == \"{}\"", other.as_str());
            assert_eq!(may(&is, "192.0.2.7", way), way == other, "{is}");
        }
        // Where no address can be trusted, the source is in no network but that of all.
        for network in
            ["0.0.0.0/0", "10.0.0.0/8", "127.0.0.0/8", "fe80::/10", "2000::/3", "::1/128"]
        {
            assert!(!may(&format!("context.source.isInRange(ip(\"{network}\"))"), "::", way));
        }
        assert!(!may("context.source.isIpv4() || context.source.isLoopback()", "::", way));
        assert!(may("context.source == ip(\"::\")", "::", way));
    }
    assert!(may("context.source == ip(\"192.0.2.7\")", "::ffff:192.0.2.7", Way::Handed));
}

#[test]
fn a_way_that_there_is_not_is_warned_of() {
    let rules = rules(
        "forbid (principal, action, resource)\nunless { context.way == \"TCP\" || context.way != \"unix\" };",
    );
    let [warning] = rules.warnings() else { panic!("{:?}", rules.warnings()) };
    assert_eq!((warning.line, warning.column), (2, 25), "{warning}");
    assert!(warning.message.contains("\"handed\"") && warning.message.contains("never \"TCP\""));
}

#[test]
fn a_denial_says_what_may_not_be_done() {
    let none = rules("");
    for (access, says) in accesses().iter().zip([
        "have a login shell as root on db1",
        "take up a command of al on db1",
        "read /srv/data as app on db1",
        "write /srv/data as app on db1",
        "connect to db1:5432 at 10.0.0.1 as app on db1",
        "listen on 127.0.0.1:8080 as app on db1",
        "relay connections on db1",
        "see commands of al in a list on db1",
        "end a command of al on db1",
    ]) {
        let denial = accessed(&none, &who("bob", &[]), access).unwrap_err();
        assert_eq!(denial.reason, format!("bob may not {says}: no rule permits it"));
    }
}

#[test]
fn the_rule_that_is_offered_permits_this_access_and_no_other() {
    let locked = |lock: &str| FileFacts { lock: Some(lock.into()), ..file("/srv/data", 10) };
    let more = [
        Access::Read(file("/srv/\"a\\\n", 1)),
        Access::Read(locked("deploy/\"web\"")),
        Access::Read(locked("deploy/db")),
        Access::Forward(path("/run/x")),
        Access::Forward(port("web1", None, 0)),
        Access::Listen(port("", Some("0.0.0.0"), 80)),
        Access::Listen(path("/run/x")),
        Access::Kill { owner: "bob".into() },
    ];
    let all: Vec<_> = accesses().into_iter().chain(more).collect();
    for access in &all {
        let text = explain::rule_for_access("al", access).unwrap();
        let rules = rules(&text);
        for vocabulary in [Vocabulary::One, Vocabulary::Two] {
            let rules = rules.under(vocabulary);
            for other in &all {
                let judged = accessed(&rules, &who("al", &[]), other);
                assert_eq!(judged.is_ok(), other == access, "{other}: {judged:?} by {text}");
            }
            assert!(accessed(&rules, &who("eve", &["admin"]), access).is_err(), "{text}");
        }
    }
    let odd = OsStr::from_bytes(b"/\xff");
    let odd = Access::Read(FileFacts { path: odd.into(), ..file("", 0) });
    assert_eq!(explain::rule_for_access("al", &odd), None);
}
