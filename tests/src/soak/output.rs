//! A gibibyte of output through the real programs, equal by SHA-256.

use std::io::{self, Read as _};

use crate::sink::Sink;
use crate::{Tally, World};

/// Lets a command write so many zeros, and asserts that they arrive.
///
/// # Panics
///
/// When one byte is missing, one too many or another.
pub fn zeros(world: &World, bytes: u64) {
    let expected = Tally::read(io::repeat(0).take(bytes)).expect("zeros");
    let size = bytes.to_string();
    let done =
        world.exec(["head", "-c", &size, "/dev/zero"]).stdout(Sink::Hash).with_result().run();
    done.assert_code(0);
    assert_eq!(done.stdout_tally(), expected, "{}", done.story());
    assert_eq!(done.result()["stdout_bytes"], bytes);
}
