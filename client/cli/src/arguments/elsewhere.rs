//! Options and hosts as users of ssh, docker, kubectl or systemd write them, with advice on what to write here.

use clap::error::{ContextKind, ContextValue};
use rcmd_certs::text::{Complaint, complaint, nearest};
use rcmd_protocol::outcome::{ErrorKind, WireError};

use super::SUBCOMMANDS;

/// The advice for a set of hosts where one host is needed.
pub(crate) const ONE_HOST: &str = "Name one of the hosts; `rcmd-client hosts EXPR` lists them.";

/// Options of other programs, with advice. No option of rcmd-client is among them.
const OPTIONS: &[(&[&str], &str)] = &[
    (&["-p", "--port"], "Write the port after the host: web1:7263."),
    (&["-u", "-U", "--uid", "--username", "--login"], "Name the user with -l USER."),
    (
        &["-S", "--sudo", "--become", "--privileged"],
        "Name the user with -l, as in `-l root`; the host's policy decides who may.",
    ),
    (&["-w", "--workdir", "--working-directory", "--chdir"], "Name the folder with --cwd DIR."),
    (&["-e", "-E", "--setenv", "--env-file"], "Set a variable with --env NAME=VALUE."),
    (
        &["--interactive", "--stdin", "--pipe", "-P"],
        "One host gets standard input without an option (-n sends none), several hosts get it with -i.",
    ),
    (
        &["--identity", "--identity-file", "--key-file", "--cert", "--cacert", "--ca"],
        "Certificate and key are in the folder that --dir names; see `rcmd-client enroll -h`.",
    ),
    (
        &["-t", "--tty", "--pty"],
        "This version gives a command no terminal; standard input and output are passed unchanged.",
    ),
    (&["-T", "--no-tty"], "A command never gets a terminal: leave the option out."),
    (
        &["-H", "-m", "-M", "--host", "--hosts", "--machine", "--context", "--target"],
        "Write the host before the command, without an option: `rcmd-client HOST COMMAND...`.",
    ),
    (
        &["-d", "--detach", "--background", "--no-block", "--scope"],
        "This version starts nothing that outlives its client; `rcmd-client HOST COMMAND &` runs the \
         client in the background.",
    ),
    (
        &["--wait", "--attach", "--rm", "--collect"],
        "The client always waits for the command to end: leave the option out.",
    ),
    (&["-C", "--compression"], "Compress with --compress."),
    (&["-c", "--command"], "Write the command after the host: `rcmd-client HOST COMMAND...`."),
    (&["-4", "-6"], "Write an IPv4 or IPv6 address instead of the host's name."),
    (
        &["-o", "-F", "-O", "-k", "--config", "--options"],
        "rcmd-client has no such settings; client.toml has its own, see `rcmd-client --help`.",
    ),
    (
        &["-A", "-a", "-X", "-Y", "-L", "-R", "-D", "-W", "-N", "-J", "-g", "-K", "--forward"],
        "This version cannot forward ports or agents, and cannot go through another host.",
    ),
    (
        &["--limit"],
        "Write the hosts as an expression, such as '@web&dc1*'; see `rcmd-client hosts -h`.",
    ),
    (
        &["--forks", "--max-parallel", "--concurrency"],
        "Set the number of hosts at a time with -f N.",
    ),
    (&["--serial"], "`--batch N` waits for each batch to end before the next begins."),
    (&["--verbosity", "--debug"], "For more messages: -v."),
    (&["--silent"], "For fewer messages: -q."),
    (&["--output"], "For output as events: --json. For the result in a file: --result FILE."),
    (
        &["--timeout-sec", "--time-limit", "--kill-after"],
        "Set a time limit with --timeout, as in --timeout 30s.",
    ),
    (&["--check", "--whatif"], "To ask whether the command would be permitted: --dry-run."),
    (
        &["--retries"],
        "While the host is busy, `--busy-wait 1m` tries again; `--retry N` tries hosts again where nothing ran.",
    ),
];

/// Returns clap's error in the form of this program: what is wrong, and advice.
pub(crate) fn usage(error: &clap::Error) -> WireError {
    let Complaint { message, hint } = complaint("rcmd-client", &error.render().to_string());
    let option = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) => here(option),
        _ => None,
    };
    WireError::new(ErrorKind::Usage, message).hint(option.map_or(hint, str::to_owned))
}

/// Returns the advice for an option that only other programs have.
fn here(option: &str) -> Option<&'static str> {
    let names = |(names, _): &&(&[&str], _)| names.contains(&option);
    OPTIONS.iter().find(names).map(|&(_, hint)| hint)
}

/// Returns the advice for a word that is not a valid host.
pub(crate) fn no_host(typed: &str) -> String {
    if let Some((user, host)) = typed.split_once('@').filter(|_| !typed.contains("://")) {
        return format!("Name the user with -l: `rcmd-client -l {user} {host} COMMAND...`.");
    }
    if let Some((_, rest)) = typed.split_once("://") {
        let host = rest.split('/').next().and_then(|place| place.rsplit('@').next());
        let host = host.filter(|host| !host.is_empty()).unwrap_or("HOST");
        return format!("Write only the host: `rcmd-client {host} COMMAND...`.");
    }
    let hint = match typed {
        "" => {
            "Write `rcmd-client HOST COMMAND...`; a shell variable that is not set is an empty word."
        }
        _ if typed.contains('%') => {
            "Use the host's name, or an address without a zone; `rcmd-client doctor HOST` tests it."
        }
        _ if typed.contains(":/") || typed.contains(":~") => {
            return format!(
                "To copy files: `rcmd-client cp {typed} .`, or `rcmd-client cp FILE {typed}`."
            );
        }
        _ => "Write options before the host, and the command after it.",
    };
    hint.to_owned()
}

/// Returns the subcommand that is probably meant by a host which cannot be found.
pub(crate) fn meant(host: &str) -> Option<&'static str> {
    match SUBCOMMANDS.contains(&host) {
        true => None,
        false => nearest(host, SUBCOMMANDS, |length| 1 + length / 7),
    }
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
