//! What fuzzing the policy and the audit has saved, through the functions that the fuzz targets call.

// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::{fs, path::Path};

#[path = "../../fuzz/src/audit.rs"]
#[allow(unreachable_pub)] // It is the fuzz target's own module, under fuzz/.
mod audit;
#[path = "../../fuzz/src/policy.rs"]
#[allow(unreachable_pub)]
mod policy;

/// The saved inputs of a target, always in the same order.
fn saved(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut saved: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(!saved.is_empty(), "{} is empty", folder.display());
    saved.sort();
    saved
}

/// Saved inputs with a few bytes changed, cut or doubled. `RCMD_FUZZ_ROUNDS` asks for more of them.
fn near(target: &str, least: usize, words: &[u8], function: fn(&[u8])) {
    let saved = saved(target);
    let rounds = std::env::var("RCMD_FUZZ_ROUNDS").map_or(3_000, |rounds| rounds.parse().unwrap());
    // A linear congruential generator (Knuth, MMIX): the same inputs each time.
    let mut state = 1_u64;
    let mut below = |end: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % end
    };
    for _ in 0..rounds {
        let mut input = saved[below(saved.len())].clone();
        for _ in 0..=below(4) {
            let at = below(input.len());
            match below(4) {
                0 => input[at] = below(256) as u8,
                1 => input.truncate(at.max(least)),
                2 => input.insert(at, words[below(words.len())]),
                _ => input.extend_from_within(at..),
            }
        }
        input.truncate(4_096);
        function(&input);
    }
}

#[test]
fn requests_under_a_policy() {
    saved("policy").iter().for_each(|input| policy::policy(input));
}

#[test]
fn requests_a_few_bytes_away_from_those() {
    near("policy", 4, b"\0 /nw\xff=*", policy::policy);
}

#[test]
fn logs_of_any_bytes_and_changes_of_whole_ones() {
    saved("audit").iter().for_each(|input| audit::audit(input));
}

#[test]
fn logs_a_few_bytes_away_from_those() {
    near("audit", 1, b"\0\n{}[]\"\\", audit::audit);
}
