use std::fs;

use super::*;
use crate::{
    hosts::{Evaluation, Expression},
    inventory::Value,
};

const INI: &str = r#"
# a comment
mail.example.org ansible_host=10.0.0.9 ansible_port=22 ansible_user=root

[web]
web[01:03]:2222 rack=000123 z=000000 big=1_000 flag=True list=[1,2] motd="a b" # another
[db]
db-[a:b] rcmd_port=7264 rcmd_user=postgres rcmd_certificate=db.example.org

[site:children]
web
db
[site:vars]
rack = "none"
zone=eu
[all:vars]
zone=world
"#;

const YAML: &str = r#"
all:
  vars: {zone: world}
  hosts:
    mail.example.org: {ansible_host: 10.0.0.9, ansible_port: 22}
  children:
    site:
      vars:
        rack: "none"
        zone: eu
      children:
        web:
          hosts:
            web[01:03]:2222:
              rack: 000123
              z: 000000
              big: 1_000
              flag: True
              list: [1, 2]
              motd: 'a b'
        db:
          hosts:
            db-[a:b]: {rcmd_port: 7264, rcmd_user: postgres, rcmd_certificate: db.example.org}
"#;

const JSON: &str = r#"{
  "all": {"vars": {"zone": "world"}, "hosts": ["mail.example.org"], "children": ["site"]},
  "site": {"children": ["web", "db"], "vars": {"rack": "none", "zone": "eu"}},
  "web": {"hosts": ["web01:2222", "web02", "web03"]},
  "db": ["db-a", "db-b"],
  "_meta": {"hostvars": {
    "mail.example.org": {"ansible_host": "10.0.0.9"},
    "web01": {"rack": "000123", "z": "000000", "big": "1_000", "flag": "True", "list": [1], "motd": "a b"},
    "db-a": {"rcmd_port": 7264, "rcmd_user": "postgres", "rcmd_certificate": "db.example.org"}
  }}
}"#;

fn read(text: &str, form: Form) -> Result<Source, InventoryError> {
    parse_ansible(text.as_bytes(), "F".as_ref(), form)
}

fn inventory(text: &str, form: Form) -> Inventory {
    let mut inventory = Inventory::default();
    inventory.add(read(text, form).unwrap());
    inventory
}

fn names(inventory: &Inventory, text: &str) -> String {
    let set = Evaluation::new(inventory).evaluate(&Expression::parse(text).unwrap()).unwrap();
    set.iter().map(|name| &**name).collect::<Vec<_>>().join(" ")
}

fn told(text: &str, form: Form) -> String {
    let error = read(text, form).unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.ends_with('.')), "{error}");
    error.to_string()
}

#[test]
fn the_three_forms_say_the_same() {
    for (text, form) in [(INI, Form::Ini), (YAML, Form::Yaml), (JSON, Form::Json)] {
        let known = inventory(text, form);
        assert_eq!(names(&known, "@web"), "web01 web02 web03", "{form:?}");
        assert_eq!(names(&known, "@inventory:site&db*"), "db-a db-b", "{form:?}");
        assert_eq!(names(&known, "@ungrouped"), "mail.example.org", "{form:?}");
        let all = "mail.example.org web01 web02 web03 db-a db-b";
        assert_eq!(names(&known, &format!("@all&{}", all.replace(' ', ","))).split(' ').count(), 6);
        assert_eq!(names(&known, "@*").split(' ').count(), 6, "{form:?}");
        let mail = known.host("mail.example.org").unwrap();
        // ssh's port and user are not used.
        assert_eq!((mail.address.as_deref(), mail.port), (Some("10.0.0.9"), None));
        assert_eq!(mail.user, None);
        assert_eq!(mail.vars["zone"], Value::Text("world".to_owned()));
        let db = known.host("db-a").unwrap();
        assert_eq!((db.port, db.user.as_deref()), (Some(7264), Some("postgres")));
        assert_eq!(db.certificate.as_deref(), Some("db.example.org"));
        assert_eq!(db.vars["rack"], Value::Text("none".to_owned()), "{form:?}");
        assert_eq!(db.vars["zone"], Value::Text("eu".to_owned()), "{form:?}");
    }
}

#[test]
fn a_value_is_the_text_as_the_file_has_it() {
    for (text, form) in [(INI, Form::Ini), (YAML, Form::Yaml), (JSON, Form::Json)] {
        let known = inventory(text, form);
        let vars = &known.host("web01").unwrap().vars;
        for (name, value) in [
            ("rack", "000123"),
            ("z", "000000"),
            ("big", "1_000"),
            ("flag", "True"),
            ("motd", "a b"),
        ] {
            assert_eq!(vars[name], Value::Text(value.to_owned()), "{form:?} {name}");
        }
        assert_eq!(vars["list"], Value::Structure, "{form:?}");
    }
}

#[test]
fn a_name_that_yaml_makes_no_text_of_or_with_a_blank_is_refused() {
    for (text, says) in [
        (
            "g:\n  hosts:\n    10.0.0.10\n    10.0.0.20\n",
            "F:3: `10.0.0.10 10.0.0.20` is not a valid name",
        ),
        ("g: {hosts: {0123: {}}}", "F:1: `0123` is not text in YAML"),
        ("g:\n hosts:\n  a1:\n  3750:\n", "F:4: `3750` is not text in YAML"),
        ("g: {hosts: {yes: {}, a1: {}}}", "`yes` is not text in YAML"),
        ("g: {hosts: [a1, a2]}", "`hosts` is a list: write each name with a `:` after it"),
        ("g: {hosts: {a1: , a1: }}", "has `a1` twice"),
        ("g: {host: {a1: }}", "unknown setting `host`"),
        ("g: {hosts: {a1: {}}}\n---\ng: {}\n", "there is a second document"),
        ("- a1\n", "the inventory is not a mapping"),
        ("plugin: aws_ec2\n", "the group `plugin` is not a mapping"),
        (
            "g: {hosts: {a1: {ansible_host: '{{ x }}'}}}",
            "`ansible_host` must be a name or an address",
        ),
        ("g: {hosts: {a1: {rcmd_via: b}}}", "`rcmd_via` is a setting that this version"),
        ("g: {hosts: {a1: {rcmd_port: x}}}", "`rcmd_port` must be a number from 1 to 65535"),
        ("g: {hosts: {'-rf': }}", "it begins with `-`"),
        ("a: {children: {b: {children: {a: }}}}", "the group `a` contains itself"),
        ("g: &x {hosts: *x}", "an alias contains itself"),
        ("g: [", "F:"),
        ("g: {hosts: {a1: {}}", "F:"),
    ] {
        assert!(told(text, Form::Yaml).contains(says), "{text:?}: {}", told(text, Form::Yaml));
    }
    let known = inventory("g: {hosts: {'0123': , \"yes\": , 10.0.0.10: }}", Form::Yaml);
    assert_eq!(names(&known, "@g"), "0123 yes 10.0.0.10");
    assert_eq!(names(&inventory("g: {hosts: a1}", Form::Yaml), "@g"), "a1");
}

#[test]
fn anchors_and_merges_are_followed_and_bounded() {
    let text = "x: &v {vars: {a: 1, b: 2}}\ng:\n  hosts:\n    h1: &h {a: 1, b: 2}\n    h2:\n      <<: *h\n      b: 3\n";
    let known = inventory(text, Form::Yaml);
    let vars = &known.host("h2").unwrap().vars;
    assert_eq!((&vars["a"], &vars["b"]), (&Value::Text("1".into()), &Value::Text("3".into())));
    let mut bomb = "a0: &a0 {hosts: {h: }}\n".to_owned();
    for level in 1..40 {
        let below = level - 1;
        bomb += &format!(
            "a{level}: &a{level} {{children: {{x{level}: *a{below}, y{level}: *a{below}}}}}\n"
        );
    }
    assert!(told(&bomb, Form::Yaml).contains("more than"));
    let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
    assert!(told(&deep, Form::Yaml).contains("too deep"));
}

#[test]
fn what_is_wrong_in_ini_and_json_is_told() {
    for (text, says) in [
        ("[web]\na1 rack\n", "F:2: `rack` is not NAME=VALUE"),
        ("[web]\na1 x='y\n", "F:2: a quote is not closed"),
        ("[web:hosts2]\n", "F:1: a section is [web]"),
        ("[x:vars]\na=1\n", "F:1: the group `x` has no section"),
        ("[x:children]\ny\n", "F:2: the group `y` has no section"),
        ("[x:vars]\na\n[x]\n", "F:2: `a` is not NAME=VALUE"),
        ("[a:children]\nb\n[b:children]\na\n", "contains itself"),
        ("a[1:]\n", "F:1: `[1:]` is not a range"),
        ("a[1:1000000]\n", "more than"),
        ("a,b\n", "is not a valid name of a host"),
    ] {
        assert!(told(text, Form::Ini).contains(says), "{text:?}: {}", told(text, Form::Ini));
    }
    for (text, says) in [
        ("", "not a JSON object"),
        ("{\"web\":", "not a JSON object"),
        ("[]", "not a JSON object"),
        (r#"{"web": {"hosts": "a1"}}"#, "`hosts` of the group `web` is not a list"),
        (r#"{"web": {"hosts": [1]}}"#, "which is not text"),
        (r#"{"web": {"host": []}}"#, "has `host`"),
        (r#"{"web": {"hosts": ["a b"]}}"#, "it contains a blank"),
    ] {
        assert!(told(text, Form::Json).contains(says), "{text:?}: {}", told(text, Form::Json));
    }
    assert!(read("{}", Form::Json).unwrap().hosts().is_empty());
}

#[test]
fn the_form_is_known_by_name_and_mode_and_the_owner_s_rule_holds() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let read = |path: &Path| {
        let mut inventory = Inventory::default();
        inventory.read_ansible(path).map(|()| names(&inventory, "@web"))
    };
    assert_eq!(read(&write("hosts", "[web]\na1\n", 0o644)).unwrap(), "a1");
    assert_eq!(read(&write("hosts.yml", "web: {hosts: {a2: }}", 0o644)).unwrap(), "a2");
    let script = write("inv.sh", "#!/bin/sh\necho '{\"web\":{\"hosts\":[\"a3\"]}}'\n", 0o755);
    assert_eq!(read(&script).unwrap(), "a3");
    let refused = |path: &Path| read(path).unwrap_err().to_string();
    assert!(refused(&write("open", "[web]\na1\n", 0o666)).contains("chmod go-w"));
    assert!(refused(&write("run.sh", "#!/bin/sh\n", 0o777)).contains("chmod go-w"));
    assert!(refused(&write("plain", "[web]\na1\n", 0o755)).contains("chmod -x"));
    let half = write("half.sh", "#!/bin/sh\nprintf '{\"web\":'\n", 0o755);
    assert!(refused(&half).contains("not a JSON object"));
    assert!(refused(folder.path()).contains("it is a folder"));
    assert!(refused(&folder.path().join("none")).contains("does not exist"));
}
