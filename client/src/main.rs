//! `rcmd-client`: runs a command on another machine.
#![forbid(unsafe_code)]

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    // The thread that reads standard input may be blocked for ever; returning ends it.
    ExitCode::from(cli::main(std::env::args_os().collect()))
}
