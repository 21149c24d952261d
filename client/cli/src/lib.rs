//! The program `rcmd-client`, which runs a command on another machine, without its `main`.
//!
//! | module | holds |
//! | --- | --- |
//! | `arguments` | the command line, up to the words after the host |
//! | `settings` | options, environment and client.toml together |
//! | `session` | the runtime, connecting and closing |
//! | `run`, `doctor`, `enroll`, `hosts` | the subcommands |
//! | `files` | `cp`, `ls` and `edit`: files to hosts and from them |
//! | `commands` | `run --commands`, on one host or many |
//! | `fleet` | one command on many hosts |
//! | `parsers` | the readers of local files, for the fuzz targets alone |
//! | `input` | standard input, read by a thread |
//! | `output` | standard output and standard error, written by threads; the forms of output |
//! | `signals`, `notices` | signals and notices while commands run |
//! | `text` | messages to people |
//! | `terminal` | job control, and whether text is coloured |
//! | `status` | exit statuses |

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may wait"))]

use std::ffi::OsString;
use std::io;

use rcmd_client::{ErrorKind, WireError};

mod arguments;
mod commands;
mod doctor;
mod enroll;
mod files;
mod fleet;
mod hosts;
mod input;
mod notices;
mod output;
#[doc(hidden)]
pub mod parsers;
mod run;
mod session;
mod settings;
mod signals;
mod status;
mod terminal;
mod text;

use arguments::ssh::SshRequest;
use arguments::{ManArguments, Refused, Request, ssh};
use settings::commands::CommandsOverHosts;
use settings::copy::CopyRun;
use settings::fleet::FleetRun;
use settings::listing::{Edit, Listing};
use settings::ssh::SshRun;
use settings::{Run, Work};

/// Carries out a command line, whose first word is the name of the program, and returns the exit status.
pub fn carry_out(typed: Vec<OsString>) -> u8 {
    let done = match Request::parse(typed) {
        Ok(Request::Run(typed)) if settings::commands::is_meant(&typed) => {
            CommandsOverHosts::resolve(*typed).and_then(|run| commands::run_over(&run))
        }
        Ok(Request::Run(typed)) if settings::fleet::is_meant(&typed) => {
            FleetRun::resolve(*typed).and_then(|run| fleet::run(&run))
        }
        Ok(Request::Run(typed)) => Run::resolve(*typed).and_then(|run| match &run.work {
            Work::One(words) => run::run(&run, words),
            Work::Many(many) => commands::run(&run, many),
        }),
        Ok(Request::Copy(typed)) => CopyRun::resolve(*typed).and_then(files::copy),
        Ok(Request::List(typed)) => Listing::resolve(typed).and_then(|list| files::list(&list)),
        Ok(Request::Edit(typed)) => Edit::resolve(typed).and_then(|edit| files::edit(&edit)),
        Ok(Request::Ssh(asked)) => return run_as_ssh(asked),
        Ok(Request::Doctor(doctor)) => doctor::doctor(doctor),
        Ok(Request::Enroll(typed)) => enroll::enroll(&typed),
        Ok(Request::Hosts(typed)) => hosts::hosts(&typed),
        Ok(Request::Runs(typed)) => fleet::runs::runs(&typed),
        Ok(Request::Completions(asked)) => {
            output::print(&arguments::completions::script(asked.shell))
        }
        Ok(Request::Man(man)) => print_man(&man),
        Err(Refused::Answer(answer)) => output::print(help(&answer).as_bytes()),
        Err(Refused::Usage(failure)) => Err(failure),
    };
    done.unwrap_or_else(|failure| {
        text::say(&text::failure(None, &failure));
        failure.kind.not_started_status()
    })
}

/// Carries out a command line of the program `rcmd-ssh`, which programs call in place of ssh, and returns the exit
/// status. The first word is the name of the program.
pub fn carry_out_as_ssh(typed: &[OsString]) -> u8 {
    run_as_ssh(ssh::read("rcmd-ssh", &[], typed.get(1..).unwrap_or_default()))
}

fn run_as_ssh(asked: Result<SshRequest, Refused>) -> u8 {
    let done = match asked {
        Ok(SshRequest::Version) => {
            // ssh prints its version on standard error, where callers look for it.
            text::say(concat!("rcmd-ssh ", env!("CARGO_PKG_VERSION"), "\n"));
            Ok(0)
        }
        Ok(SshRequest::Line(line)) => SshRun::resolve(*line).and_then(|run| match run {
            SshRun::Settings(text) => output::print(text.as_bytes()),
            SshRun::Command(run) => match &run.work {
                Work::One(words) => run::run(&run, words),
                Work::Many(many) => commands::run(&run, many),
            },
        }),
        Err(Refused::Answer(answer)) => output::print(help(&answer).as_bytes()),
        Err(Refused::Usage(failure)) => Err(failure),
    };
    done.unwrap_or_else(|failure| {
        text::say(&text::failure(None, &failure));
        status::SSH_FAILED
    })
}

fn print_man(man: &ManArguments) -> Result<u8, WireError> {
    let failed = |error: io::Error| {
        WireError::new(ErrorKind::LocalIo, format!("cannot write the manual: {error}"))
            .hint("Name a folder that you may write to: `rcmd-client man --out DIR`.")
    };
    match &man.out {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(arguments::tree()).render(&mut page).map_err(failed)?;
            output::print(&page)
        }
        Some(dir) => {
            rcmd_certs::files::create_folders(dir).map_err(failed)?;
            clap_mangen::generate_to(arguments::tree(), dir).map_err(failed)?;
            Ok(0)
        }
    }
}

/// Returns the help or the version, in colour if standard output takes it.
fn help(error: &clap::Error) -> String {
    let text = error.render();
    if terminal::has_colour(&io::stdout()) { text.ansi().to_string() } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_and_manual_name_every_command() {
        let script = arguments::completions::script(clap_complete::Shell::Bash);
        let script = String::from_utf8(script).unwrap();
        let dir = tempfile::tempdir().unwrap();
        print_man(&ManArguments { out: Some(dir.path().to_owned()) }).unwrap();
        for command in [
            "run",
            "cp",
            "ls",
            "edit",
            "ssh",
            "doctor",
            "enroll",
            "hosts",
            "runs",
            "completions",
            "man",
        ] {
            assert!(script.contains(command), "{command}");
            assert!(dir.path().join(format!("rcmd-client-{command}.1")).exists(), "{command}");
        }
        let page = std::fs::read_to_string(dir.path().join("rcmd-client.1")).unwrap();
        assert!(page.contains("connect\\-timeout") && page.contains("255"));
    }
}
