//! Inventories of Ansible, by the client and held against `ansible-inventory --list`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rcmd_client::inventory::{Inventory, Members, Source, Value};
use rcmd_tests::{World, require, skip};
use serde_json::Value as Json;

fn samples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inventories");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    files
}

/// Returns the hosts of each group, with those of its children.
fn members(source: &Source) -> BTreeMap<String, BTreeSet<String>> {
    fn of(source: &Source, group: &str) -> BTreeSet<String> {
        let Some(Members::Listed { hosts, groups }) = source.group(group) else {
            panic!("{group}")
        };
        let inner = groups.iter().flat_map(|group| of(source, group));
        hosts.iter().map(ToString::to_string).chain(inner).collect()
    }
    source.groups().map(|(name, _)| (name.to_owned(), of(source, name))).collect()
}

/// Returns the same of what `ansible-inventory --list` printed, which leaves empty groups out.
fn their_members(list: &Json) -> BTreeMap<String, BTreeSet<String>> {
    fn of(list: &Json, group: &str) -> BTreeSet<String> {
        let texts = |key: &str| -> Vec<String> {
            let all = list[group][key].as_array().cloned().unwrap_or_default();
            all.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
        };
        let inner: Vec<_> = texts("children").iter().flat_map(|child| of(list, child)).collect();
        texts("hosts").into_iter().chain(inner).collect()
    }
    let groups = list.as_object().unwrap().keys().filter(|name| *name != "_meta");
    groups.map(|name| (name.clone(), of(list, name))).collect()
}

#[test]
fn hosts_groups_and_variables_are_those_that_ansible_finds() {
    let ansible = require!(skip::need_tool("ansible-inventory"));
    let settings = tempfile::Builder::new().suffix(".cfg").tempfile().unwrap();
    for path in samples() {
        let list = Command::new(&ansible)
            .args(["--list", "-i"])
            .arg(&path)
            .env("ANSIBLE_LOCALHOST_WARNING", "False")
            .env("ANSIBLE_CONFIG", settings.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(list.status.success(), "{}: {list:?}", path.display());
        let theirs: Json = serde_json::from_slice(&list.stdout).unwrap();
        let mut inventory = Inventory::default();
        inventory.read_ansible(&path).unwrap_or_else(|error| panic!("{error}"));
        let source = &inventory.sources()[0];

        let mut ours = members(source);
        ours.retain(|_, hosts| !hosts.is_empty());
        let mut their_groups = their_members(&theirs);
        their_groups.retain(|_, hosts| !hosts.is_empty());
        assert_eq!(ours, their_groups, "{}", path.display());
        for host in source.hosts() {
            let empty = serde_json::Map::new();
            let vars = theirs["_meta"]["hostvars"][&*host.name].as_object().unwrap_or(&empty);
            // The port of `NAME:PORT` is ssh's.
            let names: BTreeSet<_> = vars.keys().filter(|key| *key != "ansible_port").collect();
            let own: BTreeSet<_> = host.vars.keys().filter(|key| *key != "ansible_port").collect();
            assert_eq!(own, names, "{}: {}", path.display(), host.name);
            for (name, value) in &host.vars {
                match (value, &vars.get(name)) {
                    (Value::Structure, Some(Json::Array(_) | Json::Object(_))) => {}
                    // A text is the same; what Ansible takes for a number we have as the file has it.
                    (Value::Text(text), Some(Json::String(theirs))) => assert_eq!(text, theirs),
                    (Value::Text(_), Some(Json::Number(_) | Json::Bool(_) | Json::Null)) => {}
                    other => panic!("{}: {} {name}: {other:?}", path.display(), host.name),
                }
            }
            let address = vars.get("ansible_host").and_then(Json::as_str);
            assert_eq!(host.address.as_deref(), address, "{}: {}", path.display(), host.name);
        }
    }
}

#[test]
fn the_client_reads_an_inventory_before_hosts_toml() {
    let world = World::builder().prepare();
    let dir = world.dir().to_str().unwrap();
    fs::write(world.dir().join("hosts.toml"), "[groups]\nweb = \"w1\"\nold = \"o1\"\n").unwrap();
    let file = world.scratch("inventory");
    fs::write(&file, "[web]\na[1:2] ansible_host=10.0.0.1 rcmd_port=9\n").unwrap();
    let printed = |words: &[&str]| {
        let all = ["hosts", "--dir", dir, "--inventory", file.to_str().unwrap()];
        let done = world.bare_client(all.iter().chain(words)).run();
        done.assert_code(0);
        done.stdout_text().trim_end().replace('\n', " ")
    };
    assert_eq!(printed(&["@web"]), "a1 a2");
    assert_eq!(printed(&["@hosts:web,@old"]), "w1 o1");
    let json: Json = serde_json::from_str(&printed(&["--json", "a1"])).unwrap();
    assert_eq!((&json["address"], &json["port"]), (&"10.0.0.1".into(), &9.into()));
}

#[test]
fn a_program_that_fails_is_usage_whatever_it_printed() {
    let world = World::builder().prepare();
    let file = world.scratch("inv.sh");
    let whole = "#!/bin/sh\nprintf '{\"web\":{\"hosts\":[\"a1\",\"a2\"]}}'\n";
    for (text, code, says) in [
        (whole.to_owned(), 0, ""),
        (format!("{whole}echo no token >&2\nexit 1\n"), 125, "no token"),
        ("#!/bin/sh\nprintf '{\"web\":'\n".to_owned(), 125, "not a JSON object"),
        ("#!/bin/sh\n".to_owned(), 125, "not a JSON object"),
        ("[web]\na1\n".to_owned(), 125, "chmod -x"),
        (
            "#!/bin/sh\necho '{\"web\":{\"hosts\":[\"a/../../b\",\"-rf\"]}}'\n".to_owned(),
            125,
            "begins with `-`",
        ),
    ] {
        fs::write(&file, &text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let dir = world.dir().to_str().unwrap();
        let words = ["hosts", "--dir", dir, "--inventory", file.to_str().unwrap(), "@web"];
        let done = world.bare_client(words).run();
        done.assert_code(code).assert_says(says);
        assert_eq!(done.stdout_text().is_empty(), code != 0, "{}", done.story());
    }
}
