//! The inputs that fuzzing has saved, and inputs near them, for tests without cargo-fuzz.

use std::{fs, path::Path};

/// Returns the saved inputs of a target with the names of their files, always in the same order.
fn saved(target: &str) -> Vec<(String, Vec<u8>)> {
    // A package may lie deeper than one folder below the root.
    let folders =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|at| at.join("fuzz/corpus"));
    let folder = folders.filter(|at| at.is_dir()).last().unwrap().join(target);
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut saved: Vec<_> =
        files.map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect();
    assert!(!saved.is_empty(), "{} is empty", folder.display());
    saved.sort();
    saved
}

/// Runs `function` on every saved input. The output of a failed test ends with the name of the one that failed.
pub fn replay(target: &str, function: fn(&[u8])) {
    for (path, input) in saved(target) {
        eprintln!("{path}");
        function(&input);
    }
}

/// Runs `function` on saved inputs with a few bytes changed, cut (not below `least` bytes), inserted out of
/// `words`, or doubled. `RCMD_FUZZ_ROUNDS` sets the number of them.
pub fn near(target: &str, least: usize, words: &[u8], function: fn(&[u8])) {
    let saved = saved(target);
    let rounds = std::env::var("RCMD_FUZZ_ROUNDS").map_or(3_000, |rounds| rounds.parse().unwrap());
    // A linear congruential generator (Knuth, MMIX), for the same inputs each time.
    let mut state = 1_u64;
    let mut below = |end: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % end
    };
    for _ in 0..rounds {
        let (_, mut input) = saved[below(saved.len())].clone();
        for _ in 0..=below(4) {
            let at = below(input.len());
            match below(4) {
                0 => input[at] = below(256) as u8,
                1 => input.truncate(at.max(least)),
                2 => input.insert(at, words[below(words.len())]),
                _ => input.extend_from_within(at..),
            }
        }
        input.truncate(8_192);
        function(&input);
    }
}
