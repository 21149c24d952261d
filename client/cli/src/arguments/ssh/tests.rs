use super::options::OPTIONS;
use super::*;

fn read_words(words: &[&str]) -> Result<SshRequest, Refused> {
    let words: Vec<_> = words.iter().map(OsString::from).collect();
    read("rcmd-ssh", &[], &words)
}

fn line(words: &[&str]) -> SshLine {
    match read_words(words) {
        Ok(SshRequest::Line(line)) => *line,
        other => panic!("{words:?}: {other:?}"),
    }
}

fn refused(words: &[&str]) -> String {
    match read_words(words) {
        Err(Refused::Usage(failure)) => {
            format!("{failure} {}", failure.hint.as_deref().unwrap_or_default())
        }
        other => panic!("{words:?}: {other:?}"),
    }
}

#[test]
fn options_are_read_again_behind_the_host_up_to_the_first_word_that_is_none() {
    for words in [
        &["-p", "1", "-l", "root", "h", "id", "-un"][..],
        &["h", "-p", "1", "-lroot", "id", "-un"],
        &["-p1", "h", "-l", "root", "id", "-un"],
        &["h", "-p", "1", "-l", "root", "--", "id", "-un"],
        &["-p", "1", "-l", "root", "--", "h", "id", "-un"],
        &["-p", "1", "root@h", "id", "-un"],
        &["ssh://root@h:1/", "id", "-un"],
    ] {
        let line = line(words);
        let host = if words[0].starts_with("ssh:") { "h:1" } else { "h" };
        assert_eq!(line.host, host, "{words:?}");
        assert_eq!(line.port.is_some(), host == "h", "{words:?}");
        assert_eq!(line.user, Some("root".into()), "{words:?}");
        assert_eq!(line.words, ["id", "-un"], "{words:?}");
    }
    assert_eq!(line(&["--", "h", "-x"]).words, ["-x"]);
    assert_eq!(line(&["-x", "-s", "--", "h", "sftp"]).words, ["sftp"]);
    assert!(line(&["h", "-s", "sftp"]).is_subsystem);
    assert_eq!(line(&["-nTxaq", "h", "ls"]).words, ["ls"]);
}

#[test]
fn the_first_of_several_settings_counts() {
    let first = line(&["-l", "a", "-oUser=b", "-p", "1", "-o", "Port 2", "c@h", "-l", "d", "ls"]);
    assert_eq!((first.user, first.port), (Some("a".into()), Some(1)));
    let first = line(&["-oUser=b", "-l", "a", "-o", "Port 2", "-p", "1", "c@h", "ls"]);
    assert_eq!((first.user, first.port), (Some("b".into()), Some(2)));
    assert_eq!(line(&["-oCompression=no", "-C", "h", "ls"]).compress, Some(false));
    // Of -t and -T, and of messages, the last counts, as in ssh.
    assert_eq!(line(&["-tt", "-T", "h", "ls"]).terminal, Some(false));
}

#[test]
fn settings_are_written_in_every_form_and_any_case() {
    for typed in
        ["Port=7", "port 7", "PORT = 7", " Port=\"7\"", "pOrT \"7\" ", "Port='7'", "Port= 7"]
    {
        assert_eq!(line(&["-o", typed, "h", "ls"]).port, Some(7), "{typed}");
        assert_eq!(line(&[&format!("-o{typed}"), "h", "ls"]).port, Some(7), "{typed}");
    }
    let line = line(&[
        "-oSendEnv=LANG LC_*",
        "-oSendEnv=-LC_ALL",
        "-o",
        "SetEnv=A=1 \"B=x y\"",
        "-oConnectTimeout=7",
        "-oHostName=10.0.0.1",
        "-oRequestTTY=force",
        "-oStdinNull=yes",
        "-oAddressFamily=inet6",
        "-oLogLevel=ERROR",
        "h",
        "ls",
    ]);
    assert_eq!(line.send_env, ["LANG", "LC_*", "-LC_ALL"]);
    let set = [("A", "1"), ("B", "x y")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(line.set_env, Some(set.to_vec()));
    assert_eq!(line.connect_timeout, Some(Duration::from_secs(7)));
    assert_eq!(line.host_name.as_deref(), Some("10.0.0.1"));
    assert_eq!((line.terminal, line.no_input), (Some(true), true));
    assert_eq!(line.family, Some(FamilyChoice::Only(AddressFamily::V6)));
    assert_eq!(line.verbosity, Some(SshVerbosity::Quiet));
}

#[test]
fn what_callers_of_ssh_send_is_read() {
    let git = line(&["-G", "-o", "SendEnv=GIT_PROTOCOL", "-p", "7001", "u@h"]);
    assert!(git.prints_settings && git.words.is_empty());
    let lfs = line(&[
        "-oControlMaster=yes",
        "-oControlPath=/tmp/x",
        "h",
        "git-lfs-authenticate a download",
    ]);
    assert_eq!(lfs.words, ["git-lfs-authenticate a download"]);
    let scp = [
        "-x",
        "-oPermitLocalCommand=no",
        "-oClearAllForwardings=yes",
        "-oRemoteCommand=none",
        "-oRequestTTY=no",
        "-oForwardAgent=no",
        "-p",
        "7001",
        "-l",
        "u",
        "-s",
        "--",
        "h",
        "sftp",
    ];
    let scp = line(&scp);
    assert!(scp.is_subsystem && scp.port == Some(7001) && scp.words == ["sftp"]);
    let sftp = line(&[
        "-oForwardX11 no",
        "-oPort 7001",
        "-oBatchMode yes",
        "-l",
        "u",
        "-s",
        "--",
        "h",
        "sftp",
    ]);
    assert!(sftp.is_subsystem && sftp.port == Some(7001));
    let ansible = line(&[
        "-C",
        "-o",
        "ControlMaster=auto",
        "-o",
        "ControlPersist=60s",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "KbdInteractiveAuthentication=no",
        "-o",
        "PreferredAuthentications=gssapi-with-mic,gssapi-keyex,hostbased,publickey",
        "-o",
        "PasswordAuthentication=no",
        "-o",
        "User=\"deploy\"",
        "-o",
        "ConnectTimeout=10",
        "-o",
        "ControlPath=\"/p\"",
        "-tt",
        "web1",
        "echo hi; exit 255",
    ]);
    assert_eq!((ansible.user, ansible.host), (Some("deploy".into()), "web1".into()));
    assert_eq!((ansible.terminal, ansible.compress), (Some(true), Some(true)));
    assert_eq!(ansible.words, ["echo hi; exit 255"]);
}

#[test]
fn what_cannot_be_meant_is_refused_by_name() {
    for (words, says) in [
        (&["-Z", "h", "ls"][..], "no option `-Z`"),
        (&["--frobnicate", "h"], "no option `--frobnicate`"),
        (&["-oFrobnicate=1", "h"], "no setting `Frobnicate`"),
        (&["-o", "ControlPersist"], "`-o ControlPersist` is given no value"),
        (&["-p"], "`-p` is given no value"),
        (&["-p", "0", "h"], "`0` is not a port"),
        (&["-p", "ssh", "h"], "`ssh` is not a port"),
        (&["-oPort=\"7", "h"], "a quote is not closed"),
        (&["-oPort=7 8", "h"], "it takes one value"),
        (&["-oConnectTimeout=soon", "h"], "ConnectTimeout"),
        (&["-oSetEnv=A", "h"], "NAME=VALUE"),
        (&["-l", "", "h"], "the user is empty"),
        (&["@h", "ls"], "the user is empty"),
        (&[], "the host is missing"),
        (&["-N", "h"], "`-N` is not available"),
        (&["-L", "1:h:2", "h"], "`-L` is not available"),
        (&["-R1:h:2", "h"], "`-R` is not available"),
        (&["-D", "1", "h"], "`-D` is not available"),
        (&["-W", "h:1", "h"], "`-W` is not available"),
        (&["-J", "via", "h"], "`-J` is not available"),
        (&["-f", "h", "ls"], "`-f` is not available"),
        (&["-oProxyCommand=nc %h %p", "h"], "`-o ProxyCommand` is not available"),
        (&["-oRemoteCommand=ls", "h"], "`-o RemoteCommand` is not available"),
    ] {
        let text = refused(words);
        assert!(text.contains(says), "{words:?}: {text}");
    }
    assert_eq!(
        line(&["-oProxyCommand=none", "-oTunnel=no", "h", "ls"]).ignored,
        ["ProxyCommand", "Tunnel"]
    );
}

#[test]
fn before_the_subcommand_stand_only_options_that_both_have() {
    let both = |before: &[&str], words: &[&str]| {
        let of = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        read("rcmd-client ssh", &of(before), &of(words))
    };
    let Ok(SshRequest::Line(line)) = both(&["--dir", "/a b", "-q", "-l", "root"], &["h", "ls"])
    else {
        panic!("refused")
    };
    assert_eq!((line.dir, line.user), (Some("/a b".into()), Some("root".into())));
    for before in [&["-x", "web2"][..], &["-n"], &["--json"], &["--timeout", "3"]] {
        assert!(matches!(both(before, &["h", "ls"]), Err(Refused::Usage(_))), "{before:?}");
    }
}

#[test]
fn each_letter_of_the_help_is_read_and_stands_once() {
    for option in &OPTIONS {
        let times = OPTIONS.iter().filter(|other| other.letter == option.letter).count();
        assert_eq!(times, 1, "-{}", char::from(option.letter));
    }
    command("rcmd-ssh").debug_assert();
    let help = command("rcmd-ssh").term_width(80).render_help().to_string();
    assert!(help.lines().count() <= 25, "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    assert!(help.contains("Usage: rcmd-ssh [OPTIONS]") && help.contains("  -p <PORT>"), "{help}");
}

#[test]
fn no_words_make_the_reader_panic() {
    let odd = OsString::from_vec(b"-\xff\xfe".to_vec());
    assert!(matches!(read("rcmd-ssh", &[], &[odd]), Err(Refused::Usage(_))));
    for typed in [
        "-",
        "-o",
        "-o=",
        "-o ",
        "-o\"",
        "--",
        "---",
        "--dir",
        "--dir=",
        "-oSetEnv==",
        "@",
        "ssh://",
        "ssh://@",
    ] {
        for words in [&[typed][..], &[typed, typed], &["h", typed], &[typed, "h", typed]] {
            let _ = read_words(words);
        }
    }
}
