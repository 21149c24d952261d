//! `rcmd-server`: configure, build, say where it listens, run, drain.

use std::{io::Write as _, path::Path, process::ExitCode};

use clap::{CommandFactory as _, Parser as _};
use rcmd_certs::text::escaped;
use rcmd_server::{
    cli::{self, Cli, Command},
    daemon,
};

/// Nothing ran: the same status as the client's.
const NOT_STARTED: u8 = 125;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(NOT_STARTED)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let done = match cli.command {
        Some(Command::Completions { shell }) => print_completions(shell).map(|()| 0),
        Some(Command::Man { out }) => print_manual(out.as_deref()).map(|()| 0),
        Some(Command::Policy(command)) => cli::policy::run(command, &mut std::io::stdout()),
        Some(Command::Enroll(options)) => cli::enroll::run_enroll(&options, &mut std::io::stdout()),
        Some(Command::Status(options)) => cli::enroll::run_status(&options, &mut std::io::stdout()),
        Some(Command::Audit(command)) => command.run().map(|()| 0),
        None => {
            daemon::log::init(&cli.options);
            daemon::run(cli.options).map(|()| 0)
        }
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            // The reason may hold text of files and names; it goes to a terminal.
            let _ = writeln!(std::io::stderr(), "rcmd: {}", escaped(&format!("{error:#}")));
            ExitCode::from(NOT_STARTED)
        }
    }
}

fn print_completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rcmd-server", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

fn print_manual(folder: Option<&Path>) -> anyhow::Result<()> {
    let Some(folder) = folder else {
        return Ok(clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout())?);
    };
    std::fs::create_dir_all(folder)?;
    Ok(clap_mangen::generate_to(Cli::command(), folder)?)
}
