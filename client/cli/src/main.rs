//! `rcmd-client`: runs a command on another machine.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    // The thread that reads standard input may be blocked for ever; returning ends it.
    ExitCode::from(rcmd_client_cli::carry_out(std::env::args_os().collect()))
}
