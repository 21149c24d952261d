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
