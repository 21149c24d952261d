//! `--compress` and `--delta`: what crosses for a file, and who may ask for it.

use std::fs;
use std::path::Path;

use rcmd_tests::many::events;
use rcmd_tests::{Finished, World};

use crate::{cp, there};

/// Content that does not repeat, of so many bytes.
fn noise(count: usize) -> Vec<u8> {
    let mut noise = vec![0; count];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    noise
}

/// Returns the bytes that crossed for the contents of a transfer.
fn crossed(done: &Finished) -> u64 {
    done.assert_code(0);
    events(done).last().unwrap()["totals"]["crossed"].as_u64().unwrap()
}

fn same(one: &Path, other: &Path) -> bool {
    fs::read(one).unwrap() == fs::read(other).unwrap()
}

#[test]
fn contents_cross_packed_in_both_directions_unless_they_get_no_smaller() {
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    fs::write(path("log"), "a line of a log, with a number: 17\n".repeat(100_000)).unwrap();
    fs::write(path("noise"), noise(1_000_000)).unwrap();
    for (name, most) in [("log", 100_000), ("noise", 1_000_000)] {
        let to = there(&world, path("there"));
        assert!(crossed(&cp(&world, ["--json", "--compress", name, &to]).run()) <= most);
        assert!(same(&path("there"), &path(name)));
        assert!(crossed(&cp(&world, ["--json", "--compress", &to, "back"]).run()) <= most);
        assert!(same(&path("back"), &path(name)));
        let plain = crossed(&cp(&world, ["--json", &to, "plain"]).run());
        assert_eq!(plain, fs::metadata(path(name)).unwrap().len());
        for copy in ["there", "back", "plain"] {
            fs::remove_file(path(copy)).unwrap();
        }
    }
}

#[test]
fn only_what_changed_crosses_in_both_directions() {
    let world = World::start();
    let path = |name: &str| world.scratch(name);
    let old = noise(8_000_000);
    let new = [&old[..3_000_000], b"inserted", &old[3_000_000..], b"appended"].concat();
    fs::write(path("new"), &new).unwrap();
    for (from, to) in [
        ("new".to_owned(), there(&world, path("copy"))),
        (there(&world, path("new")), "copy".to_owned()),
    ] {
        fs::write(path("copy"), &old).unwrap();
        let done = cp(&world, ["--json", "--delta", &from, &to]).run();
        assert!(crossed(&done) < 200_000, "{}", done.story());
        assert!(same(&path("copy"), &path("new")));
    }
    let totals = crossed(&cp(&world, ["--json", "new", &there(&world, path("other"))]).run());
    assert_eq!(totals, new.len() as u64);
}

#[test]
fn a_host_tells_what_is_in_its_files_only_where_they_may_be_read() {
    let mut world = World::builder().prepare();
    let place = world.scratch("").canonicalize().unwrap();
    fs::create_dir_all(place.join("d/closed")).unwrap();
    let rules = r#"permit (principal, action == Action::"write", resource);
permit (principal, action == Action::"read", resource) when { context.path like "{}/d*" };
forbid (principal, action == Action::"read", resource) when { context.path like "{}/d/closed*" };
"#;
    let rules = rules.replace("{}", place.to_str().unwrap());
    fs::write(world.dir().join("policy.cedar"), rules).unwrap();
    world.start_server();
    let old = noise(1_000_000);
    fs::create_dir_all(place.join("s/closed")).unwrap();
    for name in ["f", "d/f", "d/closed/f"] {
        fs::write(place.join(name), &old).unwrap();
    }
    for name in ["s/f", "s/closed/f"] {
        fs::write(place.join(name), [b"new", &old[..]].concat()).unwrap();
    }
    let delta = ["--json", "--delta", "s/f"];
    // With `write` alone nothing is told, and nothing is done.
    let done = cp(&world, delta.iter().copied().chain([&*there(&world, place.join("f"))])).run();
    done.assert_code(125);
    assert!(fs::read(place.join("f")).unwrap() == old);
    let done = cp(&world, ["--json", "s/f", &there(&world, place.join("f"))]).run();
    assert_eq!(crossed(&done), 1_000_003);
    let to = there(&world, place.join("d/f"));
    assert!(crossed(&cp(&world, delta.iter().copied().chain([&*to])).run()) < 100_000);
    // A folder below that may be written and not read is left out.
    let to = there(&world, place.join("d"));
    cp(&world, ["-r", "--delta", "s/", &to]).run().assert_code(1).assert_says("denied");
    assert!(fs::read(place.join("d/closed/f")).unwrap() == old);
    cp(&world, ["-r", "s/", &to]).run().assert_code(0);
    assert!(same(&place.join("d/closed/f"), &place.join("s/closed/f")));
}
