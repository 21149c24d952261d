//! Trees of many files.

use std::env;
use std::fs;
use std::path::Path;

use rcmd_tests::many::events;
use rcmd_tests::{Finished, World};

use crate::{cp, there};

/// Returns what part of the full numbers is taken: `RCMD_TRANSFER_FILES=all` is all of them.
fn some_of(all: u64) -> u64 {
    if env::var_os("RCMD_TRANSFER_FILES").is_some_and(|set| set == "all") { all } else { all / 20 }
}

/// Makes so many files of this size, 1,000 in each folder.
fn fill(root: &Path, files: u64, size: usize) {
    for number in 0..files {
        let folder = root.join(format!("{}", number / 1_000));
        if number % 1_000 == 0 {
            fs::create_dir_all(&folder).unwrap();
        }
        let mut content = number.to_le_bytes().to_vec();
        content.resize(size, b'x');
        fs::write(folder.join(format!("{number}")), &content).unwrap();
    }
}

fn totals(done: &Finished, name: &str) -> u64 {
    done.assert_code(0);
    events(done).last().unwrap()["totals"][name].as_u64().unwrap()
}

/// Copies so many files there and back, and again to where they are.
fn go_there_and_back(files: u64, size: usize) {
    let world = World::start();
    fill(&world.scratch("s"), files, size);
    let to = there(&world, world.scratch("there"));
    for (from, to) in [("s", &*to), (&*to, "back")] {
        assert_eq!(totals(&cp(&world, ["-rT", "--json", from, to]).run(), "sent"), files);
        // The folders are unchanged too.
        assert!(totals(&cp(&world, ["-rT", "--json", from, to]).run(), "unchanged") >= files);
    }
    for number in 0..files {
        let path = world.scratch(&format!("back/{}/{number}", number / 1_000));
        let mut content = number.to_le_bytes().to_vec();
        content.resize(size, b'x');
        assert!(fs::read(path).unwrap() == content, "{number}");
    }
}

#[test]
fn many_small_files_go_there_and_back() {
    go_there_and_back(some_of(10_000), 4_096);
}

#[test]
fn many_empty_files_go_there_and_back() {
    go_there_and_back(some_of(100_000), 0);
}
