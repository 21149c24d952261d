//! Every option with nothing, with the extreme, and with what users of ssh, docker, kubectl and systemd
//! would type: each is right, or refused with what to write instead.

use super::*;
use crate::settings::fleet::FleetRun;
use crate::settings::{self, Run};

/// Returns the refusal of a command line with its hint, or nothing if the line is accepted.
fn verdict(line: &[&str]) -> Result<(), String> {
    let complaint = |failure: WireError| {
        format!("{failure} {}", failure.hint.as_deref().expect("a refusal says what to do"))
    };
    let typed = ["rcmd-client", "--dir", "/nonexistent"].iter().chain(line);
    match Request::parse(typed.map(OsString::from).collect()) {
        Ok(Request::Run(typed)) if settings::fleet::is_meant(&typed) => {
            FleetRun::resolve(*typed).map(drop).map_err(complaint)
        }
        Ok(Request::Run(typed)) => Run::resolve(*typed).map(drop).map_err(complaint),
        Ok(_) => Ok(()),
        Err(Refused::Usage(failure)) => Err(complaint(failure)),
        Err(Refused::Answer(answer)) => panic!("{line:?}: {answer}"),
    }
}

/// Refuses the line, and says this.
fn assert_refused(line: &[&str], says: &str) {
    match verdict(line) {
        Ok(()) => panic!("{line:?} is taken"),
        Err(text) => {
            assert!(text.contains(says), "{line:?} is answered with {text:?}, not {says:?}")
        }
    }
}

#[test]
fn every_option_with_nothing_is_refused() {
    let command = RunArguments::command();
    for option in command.get_opts().filter(|option| option.get_action().takes_values()) {
        let Some(long) = option.get_long() else { continue };
        let option = format!("--{long}");
        assert_refused(&[&option, "", "web1", "true"], "");
        assert_refused(&[&format!("{option}="), "web1", "true"], "");
        assert_refused(&[&option], "");
    }
    for (line, says) in [
        (&[][..], "the host is missing"),
        (&["web1"], "the command is missing"),
        (&["", "true"], "a shell variable that is not set"),
        (&["web1", ""], "the command is empty"),
        (&["--exec", "web1", ""], "the command is empty"),
        (&["--key", "", "web1", "true"], "--key deploy-7"),
        (&["--user", "", "web1", "true"], "leave the option out for the server's own"),
        (&["--cwd", "", "web1", "true"], "leave the option out for the home"),
        (&["--lock", "", "web1", "true"], "--lock deploy"),
        (&["--env", "", "web1", "true"], "--env NAME=VALUE"),
        (&["--env", "=1", "web1", "true"], "--env NAME=VALUE"),
        (&["--encoding", "", "web1", "true"], "Leave out --encoding"),
        (&["doctor"], "HOST"),
    ] {
        assert_refused(line, says);
    }
}

#[test]
fn an_argument_may_be_nothing() {
    assert_eq!(verdict(&["web1", "printf", "%s", ""]), Ok(()));
    assert_eq!(verdict(&["--env", "EMPTY=", "web1", "true"]), Ok(()));
}

#[test]
fn the_extremes_are_right_or_refused() {
    let long = "a".repeat(300);
    for (line, says) in [
        (&["--timeout", "0", "web1", "true"][..], "for no limit, leave the option out"),
        (&["--timeout", "-1", "web1", "true"], ""),
        (&["--timeout", "99999999999d", "web1", "true"], "ten years"),
        (&["--connect-timeout", "0", "web1", "true"], "greater than zero"),
        (&["--busy-wait", "1e99", "web1", "true"], "write a number"),
        (&["--lock-wait", "5s", "web1", "true"], "--lock"),
        (&["--parallel", "0", "--commands", "f", "web1"], "1..=1024"),
        (&["--parallel", "1025", "--commands", "f", "web1"], "1..=1024"),
        (&["--parallel", "-1", "--commands", "f", "web1"], ""),
        (&["--max-output", "9999999999999", "--commands", "f", "web1"], ""),
        (&["web1:0", "true"], "1 to 65535"),
        (&["web1:65536", "true"], "1 to 65535"),
        (&[&long, "true"], "not a host name"),
    ] {
        assert_refused(line, says);
    }
    for line in [
        &["--timeout", "1ms", "web1", "true"][..],
        &["--timeout", "3650d", "web1", "true"],
        &["--busy-wait", "0", "web1", "true"],
        &["--lock", "l", "--lock-wait", "0", "web1", "true"],
        &["--parallel", "1024", "--max-output", "0", "--commands", "f", "web1"],
        &["web1:65535", "true"],
        &["--timeout", "1s", "--timeout", "2s", "web1", "true"],
        &["-qqq", "web1", "true"],
        &["-vvvv", "web1", "true"],
    ] {
        assert_eq!(verdict(line), Ok(()), "{line:?}");
    }
}

#[test]
fn durations_of_other_programs_are_right_or_refused_by_name() {
    for (typed, says) in [
        ("5M", "write 5m for minutes"),
        ("1H", "units are written in lower case: 1h"),
        ("2mo", "is not a unit"),
        ("1y", "is not a unit"),
        ("1month", "is not a unit"),
        ("infinity", "leave the option out"),
        ("none", "leave the option out"),
        ("1:30", "write a number with a unit"),
        ("PT5M", "is not a unit"),
        ("5 m i n", "is not a unit"),
    ] {
        assert_refused(&["--timeout", typed, "web1", "true"], says);
    }
    for typed in ["5min", "1h30m", "90s", "90", "2 hours", "1.5h", "1d", "500ms", "1week"] {
        assert_eq!(verdict(&["--timeout", typed, "web1", "true"]), Ok(()), "{typed}");
    }
}

#[test]
fn hosts_of_other_programs_are_refused_with_what_to_write() {
    for (host, says) in [
        ("root@web1", "`rcmd-client -l root web1 COMMAND...`"),
        ("ssh://root@web1:22", "`rcmd-client web1:22 COMMAND...`"),
        ("ssh://web1", "`rcmd-client web1 COMMAND...`"),
        ("https://web1:7263/", "`rcmd-client web1:7263 COMMAND...`"),
        ("fe80::1%eth0", "a zone, such as %eth0, is not supported"),
        ("[fe80::1%2]:7263", "a zone, such as %eth0, is not supported"),
        ("web1:/etc/passwd", "`rcmd-client cp web1:/etc/passwd .`"),
        ("::1:7263:x", ""),
        ("[::1", "the bracket is not closed"),
        ("web 1", "not a host name"),
    ] {
        assert_refused(&[host, "true"], says);
    }
}

#[test]
fn options_of_other_programs_are_refused_with_what_to_write() {
    for (line, says) in [
        // ssh
        (&["-p", "22", "web1", "true"][..], "web1:7263"),
        (&["-t", "web1", "top"], "no terminal"),
        (&["-tt", "web1", "top"], "no terminal"),
        (&["-T", "web1", "top"], "never gets a terminal"),
        (&["-o", "User=x", "web1", "true"], "client.toml"),
        (&["-F", "file", "web1", "true"], "client.toml"),
        (&["-J", "bastion", "web1", "true"], "cannot go through another host"),
        (&["-L", "80:x:80", "web1", "true"], "cannot forward ports"),
        (&["-A", "web1", "true"], "cannot forward ports"),
        (&["-f", "web1", "true"], "web1"),
        (&["-C", "web1", "true"], "--compress"),
        (&["-4", "web1", "true"], "address"),
        // docker, kubectl
        (&["-it", "web1", "sh"], "no terminal"),
        (&["-d", "web1", "true"], "outlives its client"),
        (&["--detach", "web1", "true"], "outlives its client"),
        (&["-e", "A=1", "web1", "env"], "--env NAME=VALUE"),
        (&["-w", "/srv", "web1", "pwd"], "--cwd DIR"),
        (&["--workdir=/srv", "web1", "pwd"], "--cwd DIR"),
        (&["-u", "root", "web1", "id"], "-l USER"),
        (&["--tty", "web1", "sh"], "no terminal"),
        (&["-c", "true", "web1"], "after the host"),
        (&["--context", "x", "web1", "true"], "without an option"),
        // systemd-run, systemctl, sudo, Ansible
        (&["-H", "web1", "true"], "without an option"),
        (&["-M", "web1", "true"], "without an option"),
        (&["--wait", "web1", "true"], "leave the option out"),
        (&["--setenv=A=1", "web1", "env"], "--env NAME=VALUE"),
        (&["--uid=1000", "web1", "id"], "-l USER"),
        (&["--working-directory=/", "web1", "pwd"], "--cwd DIR"),
        (&["--become", "web1", "true"], "-l root"),
        (&["--check", "web1", "true"], "--dry-run"),
        (&["--forks", "3", "web1", "true"], "-f N"),
    ] {
        assert_refused(line, says);
    }
}

#[test]
fn what_is_the_same_elsewhere_is_right() {
    for line in [
        &["-l", "root", "web1", "id"][..],
        &["-n", "web1", "true"],
        &["-q", "web1", "true"],
        &["-v", "web1", "true"],
        &["--user=root", "web1", "id"],
        &["--env", "A=1", "--env", "B=2", "web1", "env"],
        &["--timeout=30s", "web1", "true"],
        &["web1:7263", "true"],
        &["[::1]:7263", "true"],
        &["10.0.0.7", "true"],
    ] {
        assert_eq!(verdict(line), Ok(()), "{line:?}");
    }
}
