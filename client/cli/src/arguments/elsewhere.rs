//! What people type who come from ssh, docker, kubectl or systemd, and what to write instead.

use clap::error::{ContextKind, ContextValue};
use rcmd_certs::text::{Complaint, complaint};
use rcmd_protocol::outcome::{ErrorKind, WireError};

use super::SUBCOMMANDS;

/// What to do with a set of hosts where one is wanted.
pub(crate) const ONE_HOST: &str = "Name one of its hosts; `rcmd-client hosts EXPR` shows them all.";

/// Options of other programs, and what to write here. A name that is an option here does not stand
/// here.
const OPTIONS: &[(&[&str], &str)] = &[
    (&["-p", "--port"], "The port stands behind the host, as in web1:7263."),
    (&["-u", "-U", "--uid", "--username", "--login"], "The user is named by -l USER."),
    (
        &["-S", "--sudo", "--become", "--privileged"],
        "Name the user by -l, as in `-l root`; the host's policy says who may.",
    ),
    (&["-w", "--workdir", "--working-directory", "--chdir"], "The folder is named by --cwd DIR."),
    (&["-e", "-E", "--setenv", "--env-file"], "A variable is set by --env NAME=VALUE."),
    (
        &["--interactive", "--stdin", "--pipe", "-P"],
        "Standard input goes to one host without an option (-n sends none), and to many by -i.",
    ),
    (
        &["--identity", "--identity-file", "--key-file", "--cert", "--cacert", "--ca"],
        "Certificate and key are those in the folder that --dir names; see `rcmd-client enroll -h`.",
    ),
    (
        &["-t", "--tty", "--pty"],
        "This version gives no terminal there; standard input and output are passed as they are.",
    ),
    (&["-T", "--no-tty"], "There is never a terminal there: leave it out."),
    (
        &["-H", "-m", "-M", "--host", "--hosts", "--machine", "--context", "--target"],
        "The host stands without an option before the command: `rcmd-client HOST COMMAND...`.",
    ),
    (
        &["-d", "--detach", "--background", "--no-block", "--scope"],
        "This version starts nothing that outlives its client; `rcmd-client HOST COMMAND &` leaves it \
         to your shell.",
    ),
    (
        &["--wait", "--attach", "--rm", "--collect"],
        "The client always waits for the end: leave it out.",
    ),
    (&["-C", "--compression"], "Compression is asked for by --compress."),
    (&["-c", "--command"], "The command stands behind the host: `rcmd-client HOST COMMAND...`."),
    (&["-4", "-6"], "Name an address instead of the host's name."),
    (
        &["-o", "-F", "-O", "-k", "--config", "--options"],
        "Settings of other programs mean nothing here; client.toml has ours, see `rcmd-client --help`.",
    ),
    (
        &["-A", "-a", "-X", "-Y", "-L", "-R", "-D", "-W", "-N", "-J", "-g", "-K", "--forward"],
        "This version forwards neither ports nor agents, and jumps over no host.",
    ),
    (
        &["--limit"],
        "The hosts are those of HOSTS, such as '@web&dc1*'; see `rcmd-client hosts -h`.",
    ),
    (&["--forks", "--max-parallel", "--concurrency"], "Hosts at once are set by -f N."),
    (&["--serial"], "`--batch N` waits for each batch to end before the next begins."),
    (&["--verbosity", "--debug"], "More is said with -v."),
    (&["--silent"], "Less is said with -q."),
    (&["--output"], "Events for programs come with --json, a result alone with --result FILE."),
    (
        &["--timeout-sec", "--time-limit", "--kill-after"],
        "A limit of time is set by --timeout 30s.",
    ),
    (&["--check", "--whatif"], "`--dry-run` asks whether it would be permitted."),
    (
        &["--retries"],
        "`--busy-wait 1m` tries again while the host is busy, `--retry N` where nothing ran.",
    ),
];

/// Returns clap's complaint as ours: what is wrong, and what to do.
pub(crate) fn usage(error: &clap::Error) -> WireError {
    let Complaint { message, hint } = complaint(&error.render().to_string());
    let option = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) => here(option),
        _ => None,
    };
    WireError::new(ErrorKind::Usage, message).hint(option.map_or(hint, str::to_owned))
}

/// Returns what to write here instead of an option that only other programs have.
fn here(option: &str) -> Option<&'static str> {
    let names = |(names, _): &&(&[&str], _)| names.contains(&option);
    OPTIONS.iter().find(names).map(|&(_, hint)| hint)
}

/// Returns what to do about a word that can't be a host.
pub(crate) fn no_host(typed: &str) -> String {
    if let Some((user, host)) = typed.split_once('@').filter(|_| !typed.contains("://")) {
        return format!("The user is an option: `rcmd-client -l {user} {host} COMMAND...`.");
    }
    if let Some((_, rest)) = typed.split_once("://") {
        let host = rest.split('/').next().and_then(|place| place.rsplit('@').next());
        let host = host.filter(|host| !host.is_empty()).unwrap_or("HOST");
        return format!("Write the host alone, as in `rcmd-client {host} COMMAND...`.");
    }
    let hint = match typed {
        "" => {
            "Name one, as in `rcmd-client HOST COMMAND...`; a variable that is not set is nothing."
        }
        _ if typed.contains('%') => {
            "Use the host's name, or an address that is good on every link; `rcmd-client doctor` tries it."
        }
        _ if typed.contains(":/") || typed.contains(":~") => {
            "This version copies no files: `rcmd-client HOST cat FILE` reads one, `rsync -e rcmd-client` \
             copies many."
        }
        _ => "Options stand before the host, and the command after it.",
    };
    hint.to_owned()
}

/// Returns the subcommand that a host which can't be found was probably meant to be.
pub(crate) fn meant(host: &str) -> Option<&'static str> {
    let near = |name: &&str| *name != host && distance(host, name) <= 1 + name.len() / 7;
    SUBCOMMANDS.into_iter().find(near)
}

/// The number of letters to be put in, taken out, changed or swapped with their neighbour, to make one
/// word of the other (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<_>, Vec<_>) = (one.chars().collect(), other.chars().collect());
    if one.len().abs_diff(other.len()) > 2 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    let mut last = None;
    for (at, &letter) in one.iter().enumerate() {
        let mut next = vec![at + 1];
        let mut left = None;
        for (column, &theirs) in other.iter().enumerate() {
            let of =
                |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX - 1);
            let changed = of(&row, column) + usize::from(letter != theirs);
            let mut least = changed.min(of(&row, column + 1) + 1).min(of(&next, column) + 1);
            if last == Some(theirs) && left == Some(letter) {
                least = least.min(of(&before, column.saturating_sub(1)) + 1);
            }
            next.push(least);
            left = Some(theirs);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(letter);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::arguments::RunArguments;

    #[test]
    fn no_option_of_ours_is_explained_as_another_programs() {
        let command = RunArguments::command();
        for name in OPTIONS.iter().flat_map(|(names, _)| *names) {
            let ours = command.get_arguments().any(|arg| {
                arg.get_long().is_some_and(|long| format!("--{long}") == **name)
                    || arg.get_short().is_some_and(|short| format!("-{short}") == **name)
            });
            assert!(!ours, "{name}");
            let times = OPTIONS.iter().flat_map(|(names, _)| *names).filter(|other| *other == name);
            assert_eq!(times.count(), 1, "{name}");
        }
    }

    #[test]
    fn a_misspelt_subcommand_is_known_and_a_host_is_left_alone() {
        for (typed, name) in [
            ("docter", "doctor"),
            ("dcotor", "doctor"),
            ("enrll", "enroll"),
            ("enroll1", "enroll"),
            ("completion", "completions"),
            ("rnu", "run"),
            ("mna", "man"),
        ] {
            assert_eq!(meant(typed), Some(name), "{typed}");
        }
        for host in ["web1", "db", "doctor", "ca.example.org", "worker", "a", "ls"] {
            assert_eq!(meant(host), None, "{host}");
        }
    }
}
