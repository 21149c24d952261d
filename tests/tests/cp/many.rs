//! Sets of hosts.

use std::fs;

use rcmd_tests::World;
use rcmd_tests::many::{self, events};

use crate::cp;

fn at(hosts: &str, world: &World, name: &str) -> String {
    format!("{hosts}:{}", world.scratch(name).display())
}

#[test]
fn what_is_fetched_from_many_goes_to_a_folder_for_each() {
    let world = many::world(3);
    fs::write(world.scratch("f"), b"content").unwrap();
    let done = cp(&world, [&at("a[1-3]", &world, "f"), "out/"]).run();
    done.assert_code(0).assert_says("rcmd: 3 hosts: 3 done");
    for host in ["a1", "a2", "a3"] {
        assert_eq!(fs::read(world.scratch("out").join(host).join("f")).unwrap(), b"content");
    }
    // A set of one host is one too.
    let one = cp(&world, [&at("a[1-1]", &world, "f"), "one"]).run();
    one.assert_code(0).assert_says("rcmd: 1 host: 1 done");
    assert!(world.scratch("one/a1/f").exists());
    cp(&world, ["--dry-run", &at("a[1-2]", &world, "f"), "dry"]).run().assert_code(0);
    assert!(!world.scratch("dry").exists());
}

#[test]
fn a_push_reaches_every_host_that_can_be_reached_and_accounts_for_all() {
    let world = many::world(2);
    fs::create_dir(world.scratch("to")).unwrap();
    fs::write(world.scratch("f"), b"content").unwrap();
    let done = cp(&world, ["-f", "1", "f", &at("a1,dead", &world, "to")]).run();
    done.assert_code(125).assert_says("rcmd: 2 hosts: 1 done, 1 not started");
    done.assert_says("cannot reach dead");
    let done = cp(&world, ["--json", "f", &at("a[1-2]", &world, "none/")]).run();
    done.assert_code(1);
    let events = events(&done);
    let ends = events.iter().filter(|event| event["event"] == "end");
    let mut ends: Vec<_> = ends.map(|end| (end["index"].clone(), end["status"].clone())).collect();
    ends.sort_by_key(|(index, _)| index.as_u64());
    assert_eq!(ends, [(0.into(), 1.into()), (1.into(), 1.into())]);
    let account = events.last().unwrap();
    assert_eq!((&account["event"], &account["failed"]), (&"summary".into(), &2.into()));
    assert_eq!(account["total"], 2);
}

#[test]
fn one_that_fails_does_not_keep_the_others_from_ending() {
    let world = many::world(3);
    fs::create_dir(world.scratch("s")).unwrap();
    for number in 0..50 {
        fs::write(world.scratch("s").join(number.to_string()), vec![b'x'; 20_000]).unwrap();
    }
    let done = cp(&world, ["-r", &at("dead,a[1-3]", &world, "s"), "out"]).run();
    done.assert_code(125).assert_says("rcmd: 4 hosts: 3 done, 1 not started");
    for host in ["a1", "a2", "a3"] {
        assert_eq!(fs::read_dir(world.scratch("out").join(host).join("s")).unwrap().count(), 50);
    }
    assert!(!world.scratch("out/dead").exists());
}

#[test]
fn a_push_to_many_sends_all_of_it_to_each() {
    let world = many::world(3);
    fs::create_dir(world.scratch("s")).unwrap();
    for number in 0..1_500 {
        fs::write(world.scratch("s").join(number.to_string()), b"").unwrap();
    }
    let to = at("a1,a2,a3", &world, "to/");
    let done = cp(&world, ["-r", "--dry-run", "--json", "s", &to]).run();
    done.assert_code(0);
    let ends = events(&done).into_iter().filter(|event| event["event"] == "end");
    let totals: Vec<_> = ends.map(|end| end["totals"]["sent"].clone()).collect();
    assert_eq!(totals, [1_500, 1_500, 1_500]);
}
