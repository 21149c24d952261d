//! `hosts.toml`: one host by the name that it has there, and sets by groups and labels.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use rcmd_tests::{Finished, World};
use rcmd_tests::{require, skip};

/// Writes `hosts.toml` with the world's server as `a1` and `a2`, and more text behind that.
fn write(world: &World, more: &str) {
    // One that is not started has no port.
    let port = world.address().port().max(1);
    let known = |name: &str| {
        format!(
            "[hosts.{name}]\naddress = \"127.0.0.1\"\nport = {port}\ncertificate = \"localhost\"\n"
        )
    };
    fs::write(world.client_dir().join("hosts.toml"), known("a1") + &known("a2") + more).unwrap();
}

fn hosts(world: &World, words: &[&str]) -> Finished {
    let dir = world.client_dir().to_str().unwrap();
    world.bare_client(["hosts", "--dir", dir].into_iter().chain(words.iter().copied())).run()
}

fn printed(world: &World, words: &[&str]) -> String {
    let done = hosts(world, words);
    done.assert_code(0);
    done.stdout_text().trim_end().replace('\n', " ")
}

#[test]
fn a_host_is_reached_where_the_file_says_and_has_the_certificate_that_it_names() {
    let world = World::start();
    write(&world, "");
    let done = world.exec(["echo", "there"]).target("a1").with_result().run();
    done.assert_code(0);
    assert_eq!(done.stdout_text(), "there\n");
    // A host is its name as it is written, whatever it is reached by.
    assert_eq!(done.result()["host"], "a1");
    let done = world.client().option("--json").target("a2").words(["true", "x"]).run();
    assert!(done.stdout_text().contains(r#""host":"a2""#), "{}", done.story());
    let port = world.address().port();
    let done = world.exec(["true"]).target(format!("a1:{port}")).run();
    done.assert_code(0);
    let dir = world.client_dir().to_str().unwrap();
    let done = world.bare_client(["doctor", "--dir", dir, "a1"]).run();
    done.assert_code(0);
}

#[test]
fn a_host_without_that_certificate_is_refused_by_name() {
    let world = World::start();
    let address = format!("address = \"127.0.0.1\"\nport = {}\n", world.address().port());
    write(&world, &format!("[hosts.b1]\n{address}[hosts.b2]\n{address}certificate = \"other\"\n"));
    for name in ["b1", "b2"] {
        let done = world.exec(["true"]).target(name).with_result().run();
        done.assert_code(125).assert_says(&format!("{name} at 127.0.0.1"));
        assert_eq!(done.result()["error"]["kind"], "tls");
        assert_eq!(done.result()["host"], name);
    }
}

#[test]
fn a_host_that_can_t_be_reached_is_named_with_its_address() {
    let world = World::builder().prepare();
    write(&world, "[hosts.dead]\naddress = \"127.0.0.1\"\nport = 1\n");
    let done = world.exec(["true"]).target("dead").run();
    done.assert_code(125).assert_says("dead at 127.0.0.1:1").assert_says("doctor dead");
}

#[test]
fn the_user_is_the_file_s_unless_one_is_named() {
    require!(skip::need_root());
    let world = World::start();
    let port = world.address().port();
    write(
        &world,
        &format!(
            "[hosts.u1]\naddress = \"127.0.0.1\"\nport = {port}\ncertificate = \"localhost\"\n\
             user = \"nobody\"\n"
        ),
    );
    let done = world.exec(["id", "-un"]).target("u1").run();
    assert_eq!(done.stdout_text(), "nobody\n", "{}", done.story());
    let done = world.exec(["id", "-un"]).options(["-l", "root"]).target("u1").run();
    assert_eq!(done.stdout_text(), "root\n", "{}", done.story());
}

#[test]
fn groups_wildcards_and_labels_choose_hosts() {
    let world = World::builder().prepare();
    write(
        &world,
        "[hosts.db1]\nlabels = { role = \"db\", rack = 7 }\nuser = \"postgres\"\nvars = { id = 12.50 }\n\
         [groups]\nweb = \"web[01-03]\"\nall = \"@web,a1,db1\"\n",
    );
    assert_eq!(printed(&world, &["@web"]), "web01 web02 web03");
    assert_eq!(printed(&world, &["@hosts:all!@web"]), "a1 db1");
    assert_eq!(printed(&world, &["@*"]), "a1 a2 db1 web01 web02 web03");
    assert_eq!(printed(&world, &["a?,d*"]), "a1 a2 db1");
    assert_eq!(printed(&world, &["--where", "role=db", "--where", "rack=7", "@*"]), "db1");
    let json: serde_json::Value =
        serde_json::from_str(&printed(&world, &["--json", "db1"])).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "host": "db1", "index": 0, "address": "db1", "port": 7263, "certificate": "db1",
            "user": "postgres", "labels": {"role": "db", "rack": "7"}, "vars": {"id": "12.50"},
        })
    );
    for (words, says) in [
        (&["--where", "", "@*"][..], "`--where ` is not a valid condition"),
        (&["--where", "role=", "@*"], "is not a valid condition"),
        (&["--where", "role=x", "@*"], "no host of the set has the label `role=x`"),
        (&["@nosuch"], "unknown group `nosuch`"),
        (&["@webs"], "Did you mean `@web`?"),
        (&["@other:web"], "Write @hosts:GROUP, or @GROUP for any."),
        (&["q*"], "no known host matches `q*`"),
    ] {
        hosts(&world, words).assert_code(125).assert_says(says);
    }
}

#[test]
fn a_group_that_holds_itself_is_refused() {
    let world = World::builder().prepare();
    write(&world, "[groups]\na = \"@b\"\nb = \"x,@a\"\nme = \"@me\"\n");
    hosts(&world, &["@a"]).assert_code(125).assert_says("the group contains itself: a -> b -> a");
    hosts(&world, &["@me"]).assert_code(125).assert_says("me -> me");
    hosts(&world, &["@*"]).assert_code(125).assert_says("contains itself");
    assert_eq!(printed(&world, &["a[1-2]"]), "a1 a2");
}

#[test]
fn what_does_not_exist_yet_is_refused_by_name() {
    let world = World::builder().prepare();
    for (more, says) in [
        ("[hosts.x]\nvia = \"a1\"\n", "`via` is a setting that this version does not"),
        ("[hosts.x]\nadress = \"y\"\n", "hosts.toml:10:1: unknown setting `adress`"),
    ] {
        write(&world, more);
        for done in [hosts(&world, &["a1"]), world.exec(["true"]).target("a1").run()] {
            done.assert_code(125).assert_says(says).assert_says("rcmd: hint: ");
        }
    }
}

#[test]
fn a_file_that_others_may_change_is_refused() {
    let world = World::builder().prepare();
    write(&world, "");
    let file = world.client_dir().join("hosts.toml");
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o664);
    hosts(&world, &["a1"]).assert_code(125).assert_says("chmod go-w");
    mode(0o644);
    hosts(&world, &["a1"]).assert_code(0);
    require!(skip::need_root());
    chown(&file, Some(65_534), None).unwrap();
    hosts(&world, &["a1"]).assert_code(125).assert_says("belongs to uid 65534");
    world.exec(["true"]).target("a1").run().assert_code(125).assert_says("belongs to uid 65534");
}

#[test]
fn what_examines_one_host_takes_no_set() {
    let world = World::builder().prepare();
    write(&world, "");
    let dir = world.dir().to_str().unwrap();
    for set in ["a[1-2]", "a1,a2", "@*", "a*", "a1!a2"] {
        let done = world.bare_client(["doctor", "--dir", dir, set]).run();
        done.assert_code(125)
            .assert_says("is a set of hosts")
            .assert_says("rcmd-client hosts EXPR");
    }
    world.exec(["true"]).target("a[1-").run().assert_code(125).assert_says("bracket is not closed");
}
