//! The options that choose the hosts of a set.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// The options that choose hosts. The short help of runs leaves them out.
#[derive(Args, Debug, Default)]
pub(crate) struct SetOptions {
    /// Leave out these hosts; repeatable
    ///
    /// If none of them is in the set, a warning says so.
    #[arg(short = 'x', long, value_name = "EXPR", hide_short_help = true)]
    pub(crate) exclude: Vec<String>,
    /// Add the hosts in a file, or in standard input (-)
    ///
    /// The file has one expression on each line. Repeatable.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub(crate) hosts_file: Vec<PathBuf>,
    /// Ansible inventory: INI, YAML, or a program
    ///
    /// The inventory overrides hosts.toml. An executable FILE is run with --list, for at most 60 s.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub(crate) inventory: Option<PathBuf>,
    /// Keep only hosts with this label in hosts.toml
    ///
    /// If given more than once, hosts need all of the labels.
    #[arg(long = "where", value_name = "LABEL=VALUE", hide_short_help = true)]
    pub(crate) having: Vec<String>,
    /// Keep only N hosts, chosen at random
    ///
    /// A set of N hosts or fewer keeps all.
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pick: Option<u32>,
}

impl SetOptions {
    /// Returns whether any of the options was given.
    pub(crate) fn are_used(&self) -> bool {
        let Self { exclude, hosts_file, inventory, having, pick } = self;
        let lists = exclude.is_empty() && hosts_file.is_empty() && having.is_empty();
        !lists || inventory.is_some() || pick.is_some()
    }
}
