//! Tests of rules against requests, without a host.

mod actions;
mod former;
mod locked;

use std::{
    net::IpAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use rcmd_protocol::{frame::Lock, request::Request};

use super::*;
use crate::{
    process::{Program, Uid, Writable},
    trust::{Principal, Way},
};

fn host() -> Host {
    Host { name: "db1".into(), labels: vec!["database".into(), "prod".into()] }
}

fn parse(text: &str) -> Result<Rules, Vec<Diagnostic>> {
    Rules::parse(text, host(), Vocabulary::One)
}

fn rules(text: &str) -> Rules {
    parse(text).unwrap_or_else(|diagnostics| {
        panic!("{}", diagnostics.iter().map(ToString::to_string).collect::<String>())
    })
}

fn who(user: &str, groups: &[&str]) -> Principal {
    Principal { user: user.into(), groups: groups.iter().map(|&group| group.into()).collect() }
}

fn exec(words: &[&[u8]]) -> Request {
    Request::exec(words.iter().copied()).build().unwrap()
}

fn line(line: &[u8]) -> Request {
    Request::shell(line).build().unwrap()
}

/// Returns the same request with this setting.
fn setting(setting: &[u8], request: Request) -> Request {
    request.to_builder().env(setting).build().unwrap()
}

/// Returns the same request under this lock.
fn locked(name: &str, request: &Request) -> Request {
    let lock = Lock { name: name.into(), wait_ms: 5 };
    request.to_builder().lock(lock).build().unwrap()
}

fn facts(program: &str) -> HostFacts {
    HostFacts {
        account: "root".into(),
        uid: Uid::ROOT,
        cwd: "/root".into(),
        program: Program { path: PathBuf::from(program), writable: None, digest: None },
    }
}

fn noon() -> RequestContext {
    RequestContext {
        source: IpAddr::from([192, 0, 2, 7]),
        way: Way::Tcp,
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * 86_400 + 12 * 3600),
    }
}

fn asked(rules: &Rules, who: &Principal, request: &Request) -> Result<Authorization, Denial> {
    authorize(&rules.slice(who), request, &facts("/usr/bin/systemctl"), noon())
}

#[test]
fn the_first_policy_permits_the_group_admin_everything_and_nobody_else_anything() {
    let rules = rules(INITIAL);
    assert_eq!(rules.warnings(), []);
    let odd = exec(&[b"\xff", b""]);
    for request in [exec(&[b"id"]), line(b"id; rm -rf x"), odd] {
        let admin = asked(&rules, &who("alice", &["x", "admin"]), &request).unwrap();
        assert_eq!(admin.rules, ["admin"]);
        for other in [who("admin", &[]), who("eve", &["admins", "Admin"])] {
            assert_eq!(asked(&rules, &other, &request).unwrap_err().kind, DenialKind::NoRule);
        }
    }
}

#[test]
fn whoever_may_start_may_take_up_its_own_commands_alone() {
    let rules = rules(INITIAL);
    let slice = rules.slice(&who("bob", &[]));
    let own = authorize_access(&slice, &Access::Attach { owner: "bob".into() }, noon());
    assert_eq!(own.unwrap().rules, ["own-commands"]);
    let other = authorize_access(&slice, &Access::Attach { owner: "alice".into() }, noon());
    assert_eq!(other.unwrap_err().kind, DenialKind::NoRule);
}

#[test]
fn a_host_without_a_policy_denies_everything_and_says_what_to_type() {
    let rules = Rules::missing(host(), Vocabulary::One);
    let denial = asked(&rules, &who("alice", &["admin"]), &exec(&[b"id"])).unwrap_err();
    assert_eq!(denial.kind, DenialKind::NoPolicy);
    assert!(denial.hint.contains("rcmd-server policy init"), "{}", denial.hint);
}

#[test]
fn a_denial_names_the_rule_that_forbids() {
    let rules = rules(
        r#"@id("all") permit (principal, action, resource);
           @id("no-shell") forbid (principal, action == Action::"shell", resource in Label::"database");
           @id("elsewhere") forbid (principal, action, resource in Label::"web");"#,
    );
    let denial = asked(&rules, &who("alice", &[]), &line(b"id")).unwrap_err();
    assert_eq!((denial.kind, denial.rules), (DenialKind::Forbidden, vec!["no-shell".to_owned()]));
    assert!(denial.reason.contains("\"no-shell\" forbids it"), "{}", denial.reason);
    asked(&rules, &who("alice", &[]), &exec(&[b"id"])).unwrap();
}

#[test]
fn a_rule_of_another_host_permits_nothing_here() {
    let rules = rules(
        r#"permit (principal, action, resource == Host::"db2");
           permit (principal, action, resource in Label::"web");
           permit (principal, action, resource == Host::"DB1");"#,
    );
    for request in [exec(&[b"id"]), line(b"id")] {
        let denial = asked(&rules, &who("alice", &["admin"]), &request).unwrap_err();
        assert_eq!(denial.kind, DenialKind::NoRule);
    }
}

#[test]
fn a_rule_that_can_not_be_evaluated_denies() {
    let rules = rules(
        r#"@id("all") permit (principal, action == Action::"run", resource);
           @id("overflow") forbid (principal, action == Action::"run", resource)
           when { context.argc * 9223372036854775807 == 0 };"#,
    );
    asked(&rules, &who("alice", &[]), &exec(&[b"id"])).unwrap();
    let denial = asked(&rules, &who("alice", &[]), &exec(&[b"id", b"x"])).unwrap_err();
    assert_eq!((denial.kind, &denial.rules[..]), (DenialKind::Error, &["overflow".to_owned()][..]));
    assert!(denial.reason.contains("overflow"), "{}", denial.reason);
}

#[test]
fn arguments_are_exact_by_position_and_patterns_stay_within_one() {
    let rules = rules(
        r#"@id("exact") permit (principal == User::"a", action == Action::"run", resource)
             when { context.argv == ["0=systemctl", "1=restart", "2=nginx"] };
           @id("pattern") permit (principal == User::"b", action == Action::"run", resource)
             when { context.argc == 3 && context.args has "2" && context.args["2"] like "nginx*" };"#,
    );
    let may = |user, words: &[&[u8]]| asked(&rules, &who(user, &[]), &exec(words)).is_ok();
    assert!(may("a", &[b"systemctl", b"restart", b"nginx"]));
    assert!(!may("a", &[b"systemctl", b"restart", b"nginx", b""]));
    assert!(!may("a", &[b"systemctl", b"nginx", b"restart"]));
    assert!(!may("a", &[b"systemctl", b"restart 2=nginx"]));
    assert!(!may("a", &[b"systemctl", b"restart", b"nginx\xff"]));
    assert!(!may("a", &[b"systemctl", b"restart", b"nginx", b"\xff"]));
    assert!(may("b", &[b"x", b"restart", b"nginx@1"]));
    assert!(!may("b", &[b"x", b"restart", b"nginx", b"sshd"]));
    assert!(!may("b", &[b"x", b"restart", b"nginx\xff"]));
}

#[test]
fn arguments_past_those_with_a_place_still_count() {
    let words: Vec<Vec<u8>> = (0..40).map(|n| format!("w{n}").into_bytes()).collect();
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let all = r#"permit (principal, action, resource) when { context.argc == 40 && context.argv.contains("39=w39") && !(context.args has "32") };"#;
    let broken = all.replace("\"32\"", "\"31\"");
    // The vocabulary ends at 31, so that a rule which names 32 is refused when it is read.
    assert!(parse(all).is_err());
    let rules = rules(
        &broken
            .replace("!(context.args has \"31\")", "context.args has \"31\"")
            .replace("action,", "action == Action::\"run\","),
    );
    asked(&rules, &who("a", &[]), &exec(&words)).unwrap();
}

#[test]
fn what_is_no_text_is_said_to_be_none() {
    let rules = rules(
        r#"permit (principal, action in [Action::"run", Action::"shell"], resource) when { context.text };"#,
    );
    let may = |request: Request| asked(&rules, &who("a", &[]), &request).is_ok();
    assert!(may(exec(&[b"a", b"\xc3\xbc"])) && may(line(b"x")));
    assert!(!may(exec(&[b"a", b"\xff"])) && !may(line(b"\xff")));
    assert!(!may(setting(b"LC_\xff=x", exec(&[b"a"]))));
}

#[test]
fn time_and_address_are_compared_as_what_they_are() {
    let rules = rules(
        r#"permit (principal, action == Action::"run", resource) when {
             context.source.isInRange(ip("192.0.2.0/24")) &&
             context.time.toTime() >= duration("8h") && context.time.toTime() < duration("18h") };"#,
    );
    let slice = rules.slice(&who("a", &[]));
    let at = |hour: u64, source: &str| {
        let time = noon().time - Duration::from_secs(12 * 3600) + Duration::from_secs(hour * 3600);
        let context = RequestContext { source: source.parse().unwrap(), time, ..noon() };
        authorize(&slice, &exec(&[b"a"]), &facts("/bin/a"), context).is_ok()
    };
    assert!(at(12, "192.0.2.7") && at(8, "::ffff:192.0.2.7"));
    assert!(!at(18, "192.0.2.7") && !at(7, "192.0.2.7") && !at(12, "198.51.100.1"));
    // A network includes its first and its last address, and neither of their neighbours.
    assert!(at(12, "192.0.2.0") && at(12, "192.0.2.255"));
    assert!(!at(12, "192.0.1.255") && !at(12, "192.0.3.0") && !at(12, "c000:207::"));
    // A time out of range leads to a denial, not to a panic.
    for seconds in [0, 253_402_300_800, u64::from(u32::MAX) * 4_000] {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let context = RequestContext { time, ..noon() };
        assert!(authorize(&slice, &exec(&[b"a"]), &facts("/bin/a"), context).is_err());
    }
}

#[test]
fn a_program_that_others_can_change_is_denied_to_everybody() {
    let rules = rules(INITIAL);
    let writable =
        Writable::By { what: "the folder".into(), path: "/tmp".into(), whom: "everybody".into() };
    let mut facts = facts("/tmp/x");
    facts.program.writable = Some(writable);
    let slice = rules.slice(&who("alice", &["admin"]));
    let denial = authorize(&slice, &exec(&[b"/tmp/x"]), &facts, noon()).unwrap_err();
    assert_eq!(
        (denial.kind, denial.rules),
        (DenialKind::Writable, vec![PROGRAM_WRITABLE.to_owned()])
    );
    assert!(denial.reason.contains("\"/tmp\" can be changed by everybody"), "{}", denial.reason);
}

#[test]
fn of_a_file_that_is_no_policy_nothing_is_shown() {
    for text in ["-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n", "MC4CAQAwBQYDK2Vw", "= 1"] {
        let [diagnostic] = &parse(text).unwrap_err()[..] else { panic!("{text}") };
        let shown = diagnostic.to_string();
        assert!(!shown.contains("MC4C") && shown.contains("is it the right file?"), "{shown}");
    }
}

#[test]
fn one_rule_must_permit_both_the_command_and_its_settings() {
    let rules = rules(
        r#"@id("deploy") @env("RELEASE=v*") permit (principal, action == Action::"run", resource) when { context.program == "/opt/deploy" };
           @id("other") @env("may-run-code: *") permit (principal, action == Action::"run", resource) when { context.program == "/opt/other" };
           @id("old") @env("*") permit (principal, action == Action::"run", resource) when { context.program == "/opt/old" };"#,
    );
    let slice = rules.slice(&who("ci", &[]));
    let may = |program: &str, setting: &str| {
        let request = self::setting(setting.as_bytes(), exec(&[b"x"]));
        authorize(&slice, &request, &facts(program), noon())
    };
    assert!(may("/opt/deploy", "RELEASE=v1").is_ok());
    assert!(may("/opt/other", "FOO=bar").is_ok());
    let denial = may("/opt/deploy", "FOO=bar").unwrap_err();
    assert_eq!((denial.kind, denial.rules), (DenialKind::Environment, vec!["deploy".to_owned()]));
    assert!(denial.reason.contains("FOO"), "{}", denial.reason);
    assert!(may("/opt/other", "LD_PRELOAD=x").is_ok());
    let denial = may("/opt/old", "TAR_OPTIONS=--to-command=sh").unwrap_err();
    assert!(denial.hint.contains("list TAR_OPTIONS"), "{}", denial.hint);
    let [warning] = rules.warnings() else { panic!("{:?}", rules.warnings()) };
    assert_eq!((warning.line, warning.column), (3, 23));
    assert!(warning.message.contains("may-run-code: *"), "{}", warning.message);
}

#[test]
fn of_the_rules_that_permit_one_that_asks_for_no_new_privs_is_enough() {
    let rules = rules(
        r#"@id("plain") permit (principal, action == Action::"run", resource);
           @id("may") @no_new_privs("false") permit (principal in Group::"ci", action, resource);
           @id("must") @no_new_privs("true")
           permit (principal in Group::"ci", action in [Action::"run", Action::"shell"], resource)
           when { context.account == "root" };
           @id("other") @env("FOO") permit (principal, action == Action::"run", resource);"#,
    );
    let asked = |groups: &[&str], request| asked(&rules, &who("bob", groups), &request).unwrap();
    assert!(!asked(&[], exec(&[b"id"])).no_new_privs);
    assert!(asked(&["ci"], exec(&[b"id"])).no_new_privs);
    assert!(asked(&["ci"], line(b"id")).no_new_privs);
    // A rule that does not permit the settings does not permit the request, so that its annotation
    // does not count.
    let judged = asked(&["ci"], setting(b"FOO=x", exec(&[b"id"])));
    assert_eq!((judged.rules, judged.no_new_privs), (vec!["other".to_owned()], false));
}

#[test]
fn a_rule_can_ask_for_a_lock_by_name_and_for_none() {
    let rules = rules(
        r#"permit (principal, action in [Action::"run", Action::"shell"], resource)
           when { context has lock && context.lock == "deploy" };
           permit (principal, action == Action::"run", resource)
           when { !(context has lock) && context.argc == 2 };"#,
    );
    let may = |request: Request, name: Option<&str>| {
        let request = name.map_or(request.clone(), |name| locked(name, &request));
        asked(&rules, &who("ci", &[]), &request).is_ok()
    };
    for request in [exec(&[b"a"]), line(b"a")] {
        assert!(may(request.clone(), Some("deploy")));
        assert!(!may(request.clone(), Some("deploy2")) && !may(request, None));
    }
    assert!(may(exec(&[b"a", b"b"]), None) && !may(exec(&[b"a", b"b"]), Some("x")));
}

#[test]
fn a_wrong_policy_is_refused_with_line_column_and_caret() {
    let diagnostic = |text: &str| parse(text).unwrap_err().remove(0);
    let syntax =
        diagnostic("permit (principal, action, resource);\npermit (principal action, resource);");
    assert_eq!((syntax.line, syntax.column), (2, 19), "{syntax}");
    let attribute = diagnostic(
        "permit (principal, action == Action::\"run\", resource)\nwhen { context.progam == \"x\" };",
    );
    assert_eq!((attribute.line, attribute.column), (2, 8), "{attribute}");
    assert!(attribute.to_string().contains("\n  |        ^"), "{attribute}");
    assert!(attribute.to_string().contains("progam"), "{attribute}");
    let twice = diagnostic(
        "@id(\"a\") permit (principal, action, resource);\n  @id(\"a\") permit (principal, action, resource);",
    );
    assert_eq!((twice.line, twice.column), (2, 3), "{twice}");
    let unguarded = diagnostic(
        "permit (principal, action == Action::\"run\", resource) when { context.args[\"1\"] == \"x\" };",
    );
    assert_eq!(unguarded.line, 1, "{unguarded}");
    let template = diagnostic("\npermit (principal == ?principal, action, resource);");
    assert_eq!((template.line, template.column), (2, 1), "{template}");
    assert!(
        diagnostic("@env(\"=x\") permit (principal, action, resource);").message.contains("@env")
    );
    for (annotation, says) in [
        ("@no_new_privs(\"yes\")", "not \"yes\""),
        ("@no_new_privs", "not \"\""),
        ("@no_new_priv(\"true\")", "unknown annotation @no_new_priv;"),
    ] {
        let text = format!("@id(\"a\")\n  {annotation}\npermit (principal, action, resource);");
        let annotated = diagnostic(&text);
        assert_eq!((annotated.line, annotated.column), (2, 3), "{annotated}");
        assert!(annotated.message.contains(says), "{annotated}");
    }
    let forbid = diagnostic("@no_new_privs(\"true\") forbid (principal, action, resource);");
    assert!(forbid.message.contains("belongs to a permit"), "{forbid}");
    assert_eq!(parse("").unwrap().len(), 0);
}

#[test]
fn the_rule_that_is_offered_permits_what_was_denied_and_nothing_else() {
    let none = rules("");
    let words: [&[u8]; 4] = [b"systemctl", b"", b"a \"b\\\x01\n", "ü".as_bytes()];
    let facts = facts("/usr/bin/systemctl");
    let with_lock = locked("deploy/\"web\"", &exec(&words));
    for request in [exec(&words), line(b"echo \"$HOME\"\n"), with_lock] {
        assert!(asked(&none, &who("al", &[]), &request).is_err());
        let text = explain::rule_for("al", &request, &facts).unwrap();
        let rules = rules(&text);
        asked(&rules, &who("al", &[]), &request).unwrap_or_else(|denial| panic!("{denial} {text}"));
        let mut args = request.args().to_vec();
        args[0].push(b'x');
        let more = request.to_builder().command(request.mode(), args).build().unwrap();
        assert!(asked(&rules, &who("al", &[]), &more).is_err());
        assert!(asked(&rules, &who("bob", &[]), &request).is_err());
        if request.lock().is_some() {
            for other in [exec(&words), locked("deploy/db", &request)] {
                assert!(asked(&rules, &who("al", &[]), &other).is_err());
            }
        }
    }
}

#[test]
fn a_shell_line_of_plain_words_is_the_same_without_the_shell() {
    let words = |text: &[u8]| plain_words(&line(text)).map(|request| request.args().to_vec());
    assert_eq!(words(b" uname  -a").unwrap(), [&b"uname"[..], b"-a"]);
    for odd in
        [&b"a|b"[..], b"a;b", b"$(a)", b"a\nb", b"'a'", b"A=1 b", b"~/a", b"a*", b"\xff", b" "]
    {
        assert_eq!(words(odd), None, "{odd:?}");
    }
    assert_eq!(plain_words(&exec(&[b"a"])), None);
}
