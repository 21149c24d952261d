//! What fuzzing the policy has saved, through the function that the fuzz target calls.

// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::{fs, path::Path};

#[path = "../../fuzz/src/policy.rs"]
#[allow(unreachable_pub)] // It is the fuzz target's own module, under fuzz/.
mod fuzzing;

#[test]
fn requests_under_a_policy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/policy");
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        fuzzing::policy(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

/// Saved inputs with a few bytes changed, cut or doubled. `RCMD_FUZZ_ROUNDS` asks for more of them.
#[test]
fn requests_a_few_bytes_away_from_those() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/policy");
    let mut saved: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    saved.sort();
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
                1 => input.truncate(at.max(4)),
                2 => input.insert(at, b"\0 /nw\xff=*"[below(8)]),
                _ => input.extend_from_within(at..),
            }
        }
        input.truncate(4_096);
        fuzzing::policy(&input);
    }
}
