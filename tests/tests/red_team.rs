//! Attackers in every role at once: a share of `soak attack`, without its times.

use std::path::Path;
use std::time::Duration;

use rcmd_tests::processors::When;
use rcmd_tests::require;
use rcmd_tests::soak::attack;

/// The time of the attack.
const LASTING: Duration = Duration::from_secs(60);

#[test]
fn attackers_in_every_role_at_once_make_nobody_fail_and_leave_nothing() {
    let program = Path::new(env!("CARGO_BIN_EXE_soak"));
    let report = require!(attack::run(program, LASTING, When::Always));
    println!("{report}");
    assert!(report.is_withstood(), "{report}");
    assert!(report.is_whole(), "some roles did nothing:\n{report}");
}
