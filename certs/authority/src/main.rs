//! `rcmd-certs`: the certificate authority of rcmd.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may wait"))]

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use rcmd_certs::text::{Complaint, complaint, escaped};

mod cli;

/// The exit status for a command line that makes no sense; the other programs use the same.
const USAGE: u8 = 125;

fn main() -> ExitCode {
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    match cli::run(arguments) {
        Ok(status) => status,
        Err(cli::Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            // The reader has read enough, as in `rcmd-certs show | head -1`.
            ExitCode::from(141)
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Prints help and versions as answers, and everything else as a complaint in rcmd's form.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return if error.print().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let Complaint { message, hint } = complaint("rcmd-certs", &error.render().to_string());
    complain(&escaped(&message));
    complain(&format!("hint: {}", escaped(&hint)));
    ExitCode::from(USAGE)
}

fn complain(message: &str) {
    // If standard error is closed, only the exit status tells of it.
    let _ = writeln!(io::stderr(), "rcmd: {message}");
}
