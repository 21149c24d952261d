//! Sets by expressions, held against what the syntax says; see also `tests/tests/hosts.rs`.

use super::*;

fn inventory(groups: &[(&str, &str)]) -> Inventory {
    let mut source = Source::new("hosts", "hosts.toml".as_ref());
    for (name, members) in groups {
        source.set_group(name, Members::Expression((*members).to_owned()));
    }
    let mut inventory = Inventory::default();
    inventory.add(source);
    inventory
}

fn evaluated(text: &str, inventory: &Inventory) -> Result<String, HostsError> {
    let set = Evaluation::new(inventory).evaluate(&Expression::parse(text)?)?;
    Ok(set.iter().map(|name| &**name).collect::<Vec<_>>().join(" "))
}

fn names(text: &str) -> String {
    evaluated(text, &Inventory::default()).unwrap()
}

fn fault(text: &str, groups: &[(&str, &str)]) -> Fault {
    *evaluated(text, &inventory(groups)).unwrap_err().fault
}

#[test]
fn a_set_has_each_host_once_in_the_order_written() {
    assert_eq!(names("b[2,1],a,b1"), "b2 b1 a");
    assert_eq!(names("dc[1-2]n[01-02]"), "dc1n01 dc1n02 dc2n01 dc2n02");
    assert_eq!(names("a[1-9/4]"), "a1 a5 a9");
    assert_eq!(names("web[01-20]!web[02-19]"), "web01 web20");
    assert_eq!(names("a1,A1,a01,a1:7263"), "a1 A1 a01 a1:7263");
}

#[test]
fn operators_go_from_left_to_right() {
    assert_eq!(names("a,b!a,a"), "b a");
    assert_eq!(names("a[1-5]&a[3-9]!a4"), "a3 a5");
    assert_eq!(names("a[1-3]^a[3-4]"), "a1 a2 a4");
    assert_eq!(names("a^a[1,1]"), "a a1");
    assert_eq!(names("a1^a[1,1]"), "");
}

#[test]
fn zeros_are_part_of_a_name() {
    assert_eq!(names("listserv01,listserv3"), "listserv01 listserv3");
    assert_eq!(names("n[0-3]&n0[0-3]"), "");
    assert_eq!(names("a0[1-3],a[01-03]"), "a01 a02 a03");
    assert_eq!(names("n[01-02,1-2]"), "n01 n02 n1 n2");
}

#[test]
fn addresses_have_brackets_and_ports_may_be_ranges() {
    assert_eq!(names("[::1]:[7-8],[fd00::1],::1"), "[::1]:7 [::1]:8 [fd00::1] ::1");
    assert_eq!(names("10.0.0.[1-2]:22"), "10.0.0.1:22 10.0.0.2:22");
}

#[test]
fn the_count_is_known_before_anything_is_made() {
    assert_eq!(fault("a[1-100001]", &[]), Fault::TooMany(100_001));
    assert_eq!(fault("a[1-1000]b[1-1000]c[1-1000]", &[]), Fault::TooMany(1_000_000_000));
    assert_eq!(fault("a[1-999999999999999999]", &[]), Fault::TooMuch);
    assert_eq!(fault(&format!("a{}", "[1-99]x".repeat(10_000)), &[]), Fault::LongName);
    assert_eq!(fault("a[1-60000],b[1-60000]", &[]), Fault::TooMany(120_000));
    let many = vec!["a[1-100000]"; 20].join(",");
    assert_eq!(fault(&many, &[]), Fault::TooMuch);
    assert_eq!(evaluated("a[1-100000]", &inventory(&[])).unwrap().split(' ').count(), 100_000);
    assert_eq!(evaluated("a[1-60000,1-60000]!a[2-60000]", &inventory(&[])).unwrap(), "a1");
}

#[test]
fn groups_hold_expressions_and_groups() {
    let known =
        inventory(&[("web", "web[1-3]"), ("db", "db1"), ("all", "@web,@db!web2"), ("rack1", "r")]);
    assert_eq!(evaluated("@web", &known).unwrap(), "web1 web2 web3");
    assert_eq!(evaluated("@all", &known).unwrap(), "web1 web3 db1");
    assert_eq!(evaluated("@hosts:all!@db", &known).unwrap(), "web1 web3");
    assert_eq!(evaluated("@rack[1]", &known).unwrap(), "r");
    assert_eq!(evaluated("@*", &known).unwrap(), "web1 web2 web3 db1 r");
    assert_eq!(evaluated("@hosts:*&w*", &known).unwrap(), "web1 web2 web3");
    assert_eq!(evaluated("*[2-3],?", &known).unwrap(), "web2 web3 r");
}

#[test]
fn what_is_not_known_is_no_empty_set() {
    let groups = [("web", "web[1-3]"), ("a-b", "x")];
    let unknown = |name: &str, near: Option<&str>| Fault::UnknownGroup {
        name: name.to_owned(),
        near: near.map(str::to_owned),
    };
    assert_eq!(fault("@db", &groups), unknown("db", None));
    assert_eq!(fault("@webs", &groups), unknown("webs", Some("web")));
    assert_eq!(fault("@A_b", &groups), unknown("A_b", Some("a-b")));
    assert_eq!(
        fault("@x:web", &groups),
        Fault::UnknownSource { name: "x".to_owned(), known: vec!["hosts".to_owned()] }
    );
    assert_eq!(fault("@web!q*", &groups), Fault::Unmatched { pattern: "q*".to_owned(), known: 4 });
}

#[test]
fn a_group_that_holds_itself_is_refused_with_its_way() {
    let groups = [("a", "@b"), ("b", "@c,x"), ("c", "@a"), ("me", "@me"), ("ok", "@x"), ("x", "h")];
    let error = evaluated("@ok,@a", &inventory(&groups)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "hosts.toml: group `c`, column 1: the group contains itself: a -> b -> c -> a"
    );
    assert!(matches!(fault("@*", &groups), Fault::Circle(_)));
    assert!(matches!(fault("@me", &groups), Fault::Circle(way) if way == ["me", "me"]));
    // Twice is no circle.
    assert_eq!(evaluated("@ok,@ok", &inventory(&groups)).unwrap(), "h");
}

#[test]
fn groups_in_groups_cost_no_more_than_their_number() {
    let mut groups = vec![("g0".to_owned(), "a!a".to_owned())];
    for level in 1..30 {
        let below = level - 1;
        groups.push((format!("g{level}"), format!("@g{below},@g{below},@g{below}")));
    }
    let known: Vec<_> = groups.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(evaluated("@g29", &inventory(&known)).unwrap(), "");
    let deep: Vec<_> = (0..100).map(|n| (format!("d{n}"), format!("@d{}", n + 1))).collect();
    let deep: Vec<_> = deep.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(fault("@d0", &deep), Fault::TooDeep);
}

#[test]
fn an_exclusion_that_excludes_nothing_is_told() {
    let known = inventory(&[("web", "a!q")]);
    let mut evaluation = Evaluation::new(&known);
    evaluation.evaluate(&Expression::parse("@web,b!b!c[1-3]").unwrap()).unwrap();
    let idle: Vec<_> = evaluation.idle_exclusions().into_iter().map(|idle| idle.text).collect();
    assert_eq!(idle, ["c[1-3]"]);
    assert_eq!(evaluation.idle_exclusions(), []);
}
