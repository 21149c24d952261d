//! Words that ssh hands to a shell, beside ssh itself.

use rcmd_tests::sshd::Sshd;
use rcmd_tests::{World, require, skip};

use super::{assert_status, on_host, text};

/// Commands as callers of ssh type them. In each, what is printed and how it ends does not depend on the way there.
const COMMANDS: &[&[&str]] = &[
    &["exit", "3"],
    &["command", "-v", "sh"],
    &["type", "sh"],
    &["ulimit -n > /dev/null"],
    &["cd", "/tmp"],
    &["cd", "/tmp", "&&", "pwd"],
    &["FOO=1", "env", "|", "grep", "^FOO="],
    &["test", "~", "=", "\"$HOME\""],
    &["ls", "-d", "/etc/host*"],
    &["echo", "a{1,2}"],
    &["echo", r"x\ y"],
    &["true", "#x"],
    &["!", "false"],
    &[":"],
    &["[", "a", "=", "a", "]"],
    &["time", "true"],
    &["\"ec\"ho", "hi"],
    &["printf '%s|' 'a  b' \"c\" d"],
    &["printf", "'%s|'", "a", "b  c"],
    &["sh", "-c", "'exit 255'"],
    &["/bin/sh -c 'echo $0; exit 7'"],
    &["no-such-program-anywhere"],
    &["/etc/passwd"],
    &["ls '/no such'; echo $?"],
    &[" "],
    &["umask"],
    &["id -un; id -gn"],
];

#[test]
fn each_command_prints_and_ends_as_over_ssh() {
    require!(skip::need_tool("sshd"));
    require!(skip::need_tool("ssh"));
    let sshd = Sshd::start().unwrap();
    let world = World::start();
    for words in COMMANDS {
        let theirs = sshd.ssh().args(*words).output().unwrap();
        let ours = on_host(&world, *words);
        let both = [&theirs, &ours].map(|done| (done.status.code(), text(&done.stdout)));
        assert_eq!(both[0], both[1], "{words:?}: {}\n{}", text(&theirs.stderr), text(&ours.stderr));
    }
}

#[test]
fn a_tilde_is_the_home_and_a_limit_is_that_of_the_command() {
    let world = World::start();
    assert!(assert_status(&on_host(&world, ["echo", "~"]), 0).starts_with('/'));
    assert!(assert_status(&on_host(&world, ["ulimit", "-n"]), 0).trim().parse::<u64>().is_ok());
}
