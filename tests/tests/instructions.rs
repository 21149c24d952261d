//! The protocol's hot paths take no more instructions than they did.

use rcmd_tests::instructions::{PATHS, baseline, driver, each};
use rcmd_tests::{require, skip};

/// Percent by which a count may grow: other versions of the compiler and of libc differ by less.
const GROWTH: u64 = 15;

#[test]
fn no_hot_path_takes_many_more_instructions_than_its_baseline() {
    require!(skip::need_tool("valgrind"));
    // The counts are those of x86-64.
    if cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let (driver, baseline) = (driver().unwrap(), baseline());
    let mut grown = Vec::new();
    for (path, &before) in &baseline {
        let now = each(&driver, path).unwrap();
        assert!(now > 0, "{path} was not counted");
        if now * 100 > before * (100 + GROWTH) {
            grown.push(format!("{path}: {before} before, {now} now"));
        }
    }
    let way_on = "if it is worth it, write the new counts to tests/src/instructions.json";
    assert!(grown.is_empty(), "{grown:#?}\n{way_on}");
}

#[test]
fn every_path_without_digests_has_a_baseline() {
    let named: Vec<_> = baseline().into_keys().collect();
    let mut counted: Vec<_> =
        PATHS.into_iter().filter(|path| !path.ends_with("digested")).collect();
    counted.sort_unstable();
    assert_eq!(named, counted);
}
