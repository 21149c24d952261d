//! `rcmd-server`: reads the command line, and runs the server or a subcommand.

use std::{
    io::{Write as _, stderr, stdout},
    process::ExitCode,
};

use clap::Parser as _;
use rcmd_certs::text::{Complaint, escaped};
use rcmd_server::{
    cli::{self, Cli, ServerCommand, ServerOptions},
    daemon::{self, Loaded},
    process::look::serve_as_helper,
    transfer,
};

/// Exit status when nothing ran; the client has the same.
const NOT_STARTED: u8 = 125;

fn main() -> ExitCode {
    if let Some(ended) = serve_as_helper(std::env::args_os().skip(1)) {
        return ended;
    }
    if let Some(ended) = transfer::serve_as_helper(std::env::args_os().skip(1)) {
        return ended;
    }
    let cli = match Cli::try_parse().and_then(Cli::settled) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let Complaint { message, hint } = cli::complaint(&error);
            let (message, hint) = (escaped(&message), escaped(&hint));
            let _ = writeln!(stderr(), "rcmd: {message}\nrcmd: hint: {hint}");
            return ExitCode::from(NOT_STARTED);
        }
        Err(answer) => {
            let _ = answer.print();
            return ExitCode::SUCCESS;
        }
    };
    let out = &mut stdout();
    let done = match cli.command {
        Some(ServerCommand::Completions { shell }) => {
            cli::manual::completions(shell, out).map(|()| 0)
        }
        Some(ServerCommand::Man { out: folder }) => {
            cli::manual::manual(folder.as_deref(), out).map(|()| 0)
        }
        Some(ServerCommand::Policy(command)) => cli::policy::run(command, out),
        Some(ServerCommand::Enroll(options)) => cli::enroll::run(&options, out),
        Some(ServerCommand::Status(options)) => cli::status::run(&options, out),
        Some(ServerCommand::Ps(options)) => cli::ps::ps(&options, out),
        Some(ServerCommand::Kill(options)) => cli::ps::kill(&options, out),
        Some(ServerCommand::Config(command)) => cli::config::run(&command, out),
        Some(ServerCommand::Audit(command)) => command.run().map(|()| 0),
        None if cli.options.check_config => cli::check_config::run(cli.options, out).map(|()| 0),
        None => serve(cli.options).map(|()| 0),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            // The reason may hold text of files and names; it goes to a terminal. Lines of it that follow
            // the first are set in, so that none passes for another message.
            let text = format!("{error:#}");
            let lines: Vec<_> = text.lines().map(escaped).collect();
            let _ = writeln!(stderr(), "rcmd: {}", lines.join("\n  "));
            ExitCode::from(NOT_STARTED)
        }
    }
}

fn serve(options: ServerOptions) -> anyhow::Result<()> {
    // The log has a thread.
    let passed = daemon::prepare()?;
    let _log = daemon::log::init(options.log_level(), options.log_format)?;
    daemon::run(Loaded::load(options.dir.as_deref(), options.listen, options.metrics)?, passed)
}
