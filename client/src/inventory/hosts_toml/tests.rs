use super::*;

const EXAMPLE: &str = r#"
[groups]
web = "web[01-20]"
all = "@web,db1"

[hosts.web02]
address = "10.0.0.2"
port = 7264
certificate = "web02.example.org"
user = "deploy"
labels = { role = "web", rack = 7 }
vars = { id = 10, big = 1_000, flag = true, name = "x y", list = [1] }

[hosts.db1]
[hosts."[::1]:7263"]
address = "[fd00::1]"
"#;

fn read(text: &str) -> Result<Source, InventoryError> {
    parse(text.as_bytes(), "F".as_ref())
}

fn told(text: &str) -> String {
    let error = read(text).unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.ends_with('.')), "{error}");
    error.to_string()
}

#[test]
fn hosts_have_settings_labels_and_vars_in_the_order_of_the_file() {
    let source = read(EXAMPLE).unwrap();
    let names: Vec<_> = source.hosts().iter().map(|host| &*host.name).collect();
    assert_eq!(names, ["web02", "db1", "[::1]:7263"]);
    let web = source.host("web02").unwrap();
    assert_eq!(web.address.as_deref(), Some("10.0.0.2"));
    assert_eq!(web.port, Some(7264));
    assert_eq!(web.certificate.as_deref(), Some("web02.example.org"));
    assert_eq!(web.user.as_deref(), Some("deploy"));
    assert_eq!((&*web.labels["role"], &*web.labels["rack"]), ("web", "7"));
    assert_eq!(source.host("[::1]:7263").unwrap().address.as_deref(), Some("fd00::1"));
    let groups: Vec<_> = source.groups().map(|(name, _)| name).collect();
    assert_eq!(groups, ["web", "all"]);
    assert_eq!(source.group("web"), Some(&Members::Expression("web[01-20]".to_owned())));
}

#[test]
fn a_var_is_the_text_as_the_file_has_it() {
    let text = "[hosts.a.vars]\nbig = 1_000\nhex = 0xFF\nflag = true\nday = 1979-05-27\nx = 1.50\n\
        text = \"000\"\nlist = [1]\nmap = {}";
    let source = read(text).unwrap();
    let vars = &source.host("a").unwrap().vars;
    for (name, value) in [
        ("big", "1_000"),
        ("hex", "0xFF"),
        ("flag", "true"),
        ("day", "1979-05-27"),
        ("x", "1.50"),
        ("text", "000"),
    ] {
        assert_eq!(vars[name], Value::Text(value.to_owned()), "{name}");
    }
    assert_eq!((&vars["list"], &vars["map"]), (&Value::Structure, &Value::Structure));
}

#[test]
fn what_is_wrong_is_told_with_line_and_column() {
    for (text, says) in [
        ("x = ", "F:1:"),
        ("# \u{e9}\nhost.a = 1", "F:2:1: unknown setting `host`"),
        ("hosts = 1", "F:1:9: `hosts` must be a table"),
        ("[hosts]\na = 'x'", "F:2:5: `a` must be a table"),
        ("[hosts.a]\nadress = ''", "F:2:1: unknown setting `adress`"),
        ("[hosts.a]\naddress = '10.0.0.1:22'", "F:2:11: `address` must be a name or an address"),
        ("[hosts.a]\naddress = ''", "`address` must be"),
        ("[hosts.a]\naddress = 'unix:run/x'", "`address` must be unix: and the absolute path"),
        ("[hosts.a]\naddress = 'unix:/run/'", "`address` must be unix: and the absolute path"),
        ("[hosts.a]\naddress = \"unix:/\\u001b\"", "`address` must be unix: and the absolute path"),
        ("[hosts.a]\nvia = 'b'", "F:2:1: `via` is a setting that this version"),
        ("[hosts.a]\nport = 0", "F:2:8: `port` must be a number from 1 to 65535"),
        ("[hosts.a]\nport = 65536", "`port` must be"),
        ("[hosts.a]\nport = '22'", "`port` must be"),
        ("[hosts.a]\ncertificate = 'a b'", "`certificate` must be"),
        ("[hosts.a]\nuser = ''", "`user` must be"),
        ("[hosts.a]\nlabels = { a = [] }", "`a` must be text"),
        ("[hosts.'-rf']\n", "F:1:8: `-rf` is not a valid name of a host: it begins with `-`"),
        ("[hosts.'a b']\n", "it contains a blank"),
        ("[hosts.'..']\n", "it is the name of a folder"),
        ("[hosts.'a[1-2]']\n", "is not allowed"),
        ("[groups]\n'a b' = ''", "`a b` is not a valid name of a group"),
        ("[groups]\nweb = ['a']", "F:2:7: `web` must be an expression in quotes"),
        ("[hosts.a]\n[hosts.a]", "F:2:"),
    ] {
        assert!(told(text).contains(says), "{text:?}: {} and not {says}", told(text));
    }
    let error = parse(b"[hosts]\n\xff", "F".as_ref()).unwrap_err();
    assert_eq!(error.to_string(), "F:2:1: this is not UTF-8");
}

#[test]
fn the_first_file_goes_before_the_second() {
    let mut inventory = Inventory::default();
    inventory.add(read("[hosts.a]\nport = 1\n[groups]\nweb = 'a1'").unwrap());
    inventory
        .add(read("[hosts.a]\nport = 2\nuser = 'u'\n[hosts.b]\n[groups]\nweb = 'b1'").unwrap());
    assert_eq!(inventory.host("a").unwrap().port, Some(1));
    assert_eq!(inventory.host("a").unwrap().user, None);
    assert!(inventory.host("b").is_some());
    let (_, members) = inventory.group(Some("hosts"), "web").unwrap();
    assert_eq!(members, &Members::Expression("a1".to_owned()));
}

#[test]
fn a_file_that_others_may_change_is_refused_and_a_missing_one_says_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (inventory, passed_over) = Inventory::read(folder.path()).unwrap();
    assert!(passed_over.is_empty() && inventory.host("a").is_none());
    let path = folder.path().join(HOSTS_TOML);
    std::fs::write(&path, "[hosts.a]\n").unwrap();
    assert!(Inventory::read(folder.path()).unwrap().0.host("a").is_some());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let error = Inventory::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("chmod go-w"), "{error}");
}
