//! `cargo run --release -p rcmd-tests --bin bench`: what rcmd costs, beside its peers.
//! `docs/performance.md` says what is measured and how.

use std::process::ExitCode;

use clap::Parser as _;
use rcmd_tests::bench::{self, Options};
use rcmd_tests::supervise;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = if options.inner {
        bench::run(&options).map(|()| ExitCode::SUCCESS)
    } else {
        supervise::run("rcmd-bench-")
    };
    done.unwrap_or_else(|error| {
        eprintln!("bench: {error:#}");
        ExitCode::FAILURE
    })
}
