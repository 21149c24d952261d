//! `rcmd-ssh`: `rcmd-client ssh` as a program of its own, for callers that take the path of a program alone.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let typed: Vec<OsString> = std::env::args_os().collect();
    // The thread that reads standard input may be blocked for ever; returning ends it.
    ExitCode::from(rcmd_client_cli::carry_out_as_ssh(&typed))
}
