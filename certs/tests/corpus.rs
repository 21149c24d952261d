//! What fuzzing the authority's wire has saved, through the function that the fuzz target calls.

// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::{fs, path::Path};

#[path = "../../fuzz/src/authority.rs"]
#[allow(unreachable_pub)] // It is the fuzz target's own module, under fuzz/.
mod fuzzing;

/// The saved inputs, always in the same order.
fn saved() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/authority");
    let entries = fs::read_dir(folder).unwrap();
    let mut saved: Vec<_> = entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(!saved.is_empty());
    saved.sort();
    saved
}

#[test]
fn messages_tokens_and_requests_of_any_bytes() {
    saved().iter().for_each(|input| fuzzing::authority(input));
}

/// Saved inputs with a few bytes changed, cut or doubled. `RCMD_FUZZ_ROUNDS` asks for more of them.
#[test]
fn messages_tokens_and_requests_a_few_bytes_away_from_those() {
    let saved = saved();
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
                1 => input.truncate(at.max(1)),
                2 => input.insert(at, b"\0\x30\x82\xff{}[]\",:9A="[below(14)]),
                _ => input.extend_from_within(at..),
            }
        }
        input.truncate(8_192);
        fuzzing::authority(&input);
    }
}
