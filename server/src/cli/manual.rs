//! The subcommands `completions` and `man`, for people and for makers of packages.

use std::{io::Write, path::Path};

use anyhow::Result;
use clap::CommandFactory as _;

use super::Cli;

/// Prints the completions for a shell.
///
/// # Errors
/// If they can't be written.
pub fn completions(shell: clap_complete::Shell, out: &mut impl Write) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rcmd-server", &mut script);
    // For bash, clap_complete writes a name that contains a `-` in two ways, and then finds no
    // subcommand.
    let script = String::from_utf8(script)?.replace("rcmd__subcmd__server", "rcmd__server");
    Ok(out.write_all(script.as_bytes())?)
}

/// Prints the manual page, or writes it and one page for each subcommand into a folder.
///
/// # Errors
/// If they can't be written.
pub fn manual(folder: Option<&Path>, out: &mut impl Write) -> Result<()> {
    let Some(folder) = folder else {
        return Ok(clap_mangen::Man::new(Cli::command()).render(out)?);
    };
    rcmd_certs::files::create_folders(folder)?;
    Ok(clap_mangen::generate_to(Cli::command(), folder)?)
}
