//! Command lines that make no sense, and what shells complete: the same for all three programs.

use std::io::Write as _;
use std::process::{Command, Stdio};

use rcmd_tests::{World, binaries};
use rcmd_tests::{require, skip};

/// What a program says to a command line that makes no sense. It changes nothing and says nothing else.
fn complaint(program: &str, line: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = binaries().client.with_file_name(program);
    let mut command = Command::new(path);
    command.args(line).env("HOME", folder.path()).env("RCMD_DIR", folder.path());
    let done = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(125), "{program} {line:?}: {said}");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "", "{program} {line:?}");
    assert!(!said.replace('\n', "").chars().any(char::is_control), "{program} {line:?}: {said:?}");
    let lines: Vec<_> = said.lines().collect();
    let [message, hint] = lines[..] else { panic!("{program} {line:?}: {said}") };
    assert!(message.starts_with("rcmd: ") && message.len() > "rcmd: ".len(), "{said}");
    assert!(hint.starts_with("rcmd: hint: "), "{program} {line:?}: {said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{program} {line:?}");
    said
}

#[test]
fn nonsense_is_answered_in_one_style_and_with_one_status() {
    for (program, line, says) in [
        ("rcmd-client", &[][..], "there is no host"),
        ("rcmd-client", &["web1"], "there is no command"),
        ("rcmd-client", &["doctor"], "HOST"),
        ("rcmd-client", &["enroll", "--name"], "NAME"),
        ("rcmd-client", &["completions"], "SHELL"),
        ("rcmd-client", &["--timeout", "5M", "web1", "true"], "write 5m for minutes"),
        ("rcmd-client", &["--key", "", "web1", "true"], "--key deploy-7"),
        ("rcmd-client", &["-p", "22", "web1", "true"], "web1:7263"),
        ("rcmd-client", &["root@web1", "true"], "-l root web1"),
        ("rcmd-client", &["--no\u{1b}[2Jsuch\u{7}", "web1"], "rcmd-client -h"),
        ("rcmd-server", &["frobnicate"], "frobnicate"),
        ("rcmd-server", &["--nonsense"], "`rcmd-server -h`"),
        ("rcmd-server", &["--listen", "nowhere"], "nowhere"),
        ("rcmd-server", &["--listen", "7263"], "0.0.0.0:7263"),
        ("rcmd-server", &["start"], "without a subcommand serves"),
        ("rcmd-server", &["policy"], "subcommand"),
        ("rcmd-server", &["enroll", "--name"], "NAME"),
        ("rcmd-certs", &[], "subcommand"),
        ("rcmd-certs", &["frobnicate"], "frobnicate"),
        ("rcmd-certs", &["issue"], "subcommand"),
        ("rcmd-certs", &["issue", "client", "alice", "--days", "0"], "--days"),
        ("rcmd-certs", &["revoke"], "NAME|SERIAL|TOKEN"),
    ] {
        let said = complaint(program, line);
        assert!(said.contains(says), "{program} {line:?}: {said:?} and not {says:?}");
    }
}

#[test]
fn a_misspelt_subcommand_is_taken_for_a_host_and_that_is_said() {
    let world = World::start();
    let dir = world.dir().to_str().unwrap();
    let done = world.bare_client(["--dir", dir, "docter", "web1"]).run();
    done.assert_code(125).assert_says("did you mean `rcmd-client doctor`?");
}

#[test]
fn an_option_behind_the_host_is_the_command_and_that_is_said() {
    let world = World::start();
    for (words, code, says) in [
        (&["--", "ls"][..], 127, "leave it out"),
        (&["--timeout", "5s", "ls"], 127, "`rcmd-client --timeout HOST COMMAND...`"),
        (&["-n"], 2, "Options stand before the host"),
    ] {
        let done = world.client().words(words).run();
        // What a shell makes of an option is its own affair.
        assert!(done.code() == code || words.len() == 1 && done.code() != 0, "{}", done.story());
        done.assert_says(says);
    }
    // An option of the command's own is none of these.
    let done = world.client().words(["sh", "-c", "exit 3"]).run();
    assert_eq!((done.code(), done.stderr_text()), (3, String::new()));
}

/// What bash completes for these words, of which the last is not whole.
fn completed(program: &str, words: &[&str]) -> Vec<String> {
    let path = binaries().client.with_file_name(program);
    let script = Command::new(&path).args(["completions", "bash"]).output().unwrap();
    assert!(script.status.success());
    let mut script = script.stdout;
    // As bash does it: the function is called with the command, the word and the one before.
    let call = "\nshift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
        call=$(complete -p \"$1\"); [[ $call =~ -F\\ ([^ ]+) ]]; \
        compopt() { :; }; \"${BASH_REMATCH[1]}\" \"$1\" \"${@: -1}\" \"${@: -2:1}\"; \
        printf '%s\\n' \"${COMPREPLY[@]}\"\n";
    script.write_all(call.as_bytes()).unwrap();
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c"]).arg(String::from_utf8(script).unwrap());
    let done = bash.args(["sh", "-", program]).args(words).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stderr), "", "{words:?}");
    let said = String::from_utf8(done.stdout).unwrap();
    said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_subcommands_and_their_options() {
    require!(skip::need_tool("bash"));
    for (program, words, wanted, unwanted) in [
        ("rcmd-client", &["do"][..], "doctor", "run"),
        ("rcmd-client", &["--ti"], "--timeout", "--json"),
        ("rcmd-client", &["doctor", "--"], "--json", "--timeout"),
        ("rcmd-client", &["enroll", "--"], "--renew", "--json"),
        ("rcmd-client", &["--dir", "d", "run", "--comm"], "--commands", "--json"),
        ("rcmd-client", &["--dir", "=", "d", "doc"], "doctor", "run"),
        ("rcmd-client", &["completions", "b"], "bash", "zsh"),
        ("rcmd-server", &["sta"], "status", "audit"),
        ("rcmd-server", &["status", "--"], "--dir", "--listen"),
        ("rcmd-certs", &["iss"], "issue", "list"),
        ("rcmd-certs", &["issue", "client", "--"], "--group", "--dns"),
    ] {
        let found = completed(program, words);
        assert!(found.iter().any(|one| one == wanted), "{program} {words:?}: {found:?}");
        assert!(!found.iter().any(|one| one == unwanted), "{program} {words:?}: {found:?}");
    }
}

#[test]
fn bash_completes_nothing_of_ours_behind_the_host() {
    require!(skip::need_tool("bash"));
    for words in [
        &["web1", ""][..],
        &["web1", "--"],
        &["web1", "ls", "-"],
        &["--timeout", "5s", "web1", "do"],
        &["--timeout", "=", "5s", "web1", "--js"],
        &["run", "web1", "--"],
        &["run", "doctor", "--"],
        &["--", "web1", "--"],
        &["web1", ":", "7263", "--"],
        &["--timeout", ""],
        &["-l", "ro"],
    ] {
        assert_eq!(completed("rcmd-client", words), [""; 0], "{words:?}");
    }
}
