//! What may be typed to choose hosts of a set.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Options that choose hosts. Of those for which a command is run the short help has other things to tell.
#[derive(Args, Debug, Default)]
pub(crate) struct SetOptions {
    /// Leave out these hosts; repeatable
    ///
    /// One that excludes nothing is warned of.
    #[arg(short = 'x', long, value_name = "EXPR", hide_short_help = true)]
    pub(crate) exclude: Vec<String>,
    /// Also the hosts of a file, or of standard input (-)
    ///
    /// An expression a line; given more than once, those of all.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub(crate) hosts_file: Vec<PathBuf>,
    /// An inventory of Ansible: INI, YAML, or a program
    ///
    /// It goes before hosts.toml. An executable FILE is run with --list, for at most 60 s.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub(crate) inventory: Option<PathBuf>,
    /// Only those with this label in hosts.toml
    ///
    /// Given more than once, those that have them all.
    #[arg(long = "where", value_name = "LABEL=VALUE", hide_short_help = true)]
    pub(crate) having: Vec<String>,
    /// So many of them, drawn by lot
    ///
    /// All of them, if there are no more.
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pick: Option<u32>,
}

impl SetOptions {
    /// Returns whether any of them was typed.
    pub(crate) fn are_used(&self) -> bool {
        let Self { exclude, hosts_file, inventory, having, pick } = self;
        let lists = exclude.is_empty() && hosts_file.is_empty() && having.is_empty();
        !lists || inventory.is_some() || pick.is_some()
    }
}
