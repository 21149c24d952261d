//! `rcmd-server`: configure, build, say where it listens, run, drain.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use rcmd_server::{
    cli::{Cli, Command},
    logging, run,
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 125 } else { 0 });
        }
    };
    let done = match cli.command {
        Some(Command::Completions { shell }) => {
            let mut command = Cli::command();
            clap_complete::generate(shell, &mut command, "rcmd-server", &mut std::io::stdout());
            Ok(())
        }
        Some(Command::Man { dir: None }) => {
            clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout()).map_err(Into::into)
        }
        Some(Command::Man { dir: Some(dir) }) => {
            clap_mangen::generate_to(Cli::command(), dir).map_err(Into::into)
        }
        None => {
            logging::init(&cli.options);
            run::run(cli.options)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // The reason may name files and hold text from them; it goes to a terminal.
            let reason = format!("{error:#}").escape_debug().to_string();
            let _ = writeln!(std::io::stderr(), "rcmd: {}", reason.replace("\\\"", "\"").replace("\\'", "'"));
            ExitCode::from(125)
        }
    }
}
