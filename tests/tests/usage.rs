//! Command lines that make no sense, and what shells complete: the same for all three programs.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rcmd_tests::pty::{Resize, Viewer};
use rcmd_tests::{World, binaries, require, skip};

/// Returns the message of a program about a command line that makes no sense. Asserts that the
/// program changes nothing and says nothing else.
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
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{program} {line:?}");
    said
}

#[test]
fn nonsense_is_answered_in_one_style_and_with_one_status() {
    for (program, line, says) in [
        ("rcmd-client", &[][..], "the host is missing"),
        ("rcmd-client", &["web1"], "the command is missing"),
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
        ("rcmd-server", &["policy"], "missing subcommand"),
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

/// Returns the short help of a program or of one of its subcommands, at a width of 80 columns.
fn short_help(program: &str, subcommand: &[String]) -> String {
    let path = binaries().client.with_file_name(program);
    let mut command = Command::new(path);
    command.args(subcommand).arg("-h").env("COLUMNS", "80").stdin(Stdio::null());
    let done = command.output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{program} {subcommand:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// Returns the names in the list of subcommands of a help.
fn subcommands(help: &str) -> Vec<String> {
    let listed = help.split_once("\nCommands:\n").map_or("", |(_, behind)| behind);
    let lines = listed.lines().take_while(|line| line.starts_with("  "));
    lines.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

#[test]
fn each_short_help_fits_a_screen_of_eighty_columns() {
    // The client lists no subcommands: its first word is a host.
    let own = [
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
    ];
    for (program, has, own) in [
        ("rcmd-client", &["--dry-run"][..], &own[..]),
        ("rcmd-server", &["completions", "man"], &[]),
        ("rcmd-certs", &["completions", "man", "rcmd-certs quickstart demo"], &[]),
    ] {
        let first = short_help(program, &[]);
        assert!(has.iter().all(|word| first.contains(word)), "{program}: {first}");
        let mut rest: Vec<_> = own.iter().map(|name| vec![(*name).to_owned()]).collect();
        rest.push(Vec::new());
        let mut seen = 0;
        while let Some(subcommand) = rest.pop() {
            let help = short_help(program, &subcommand);
            let lines = help.lines().count();
            assert!(lines <= 25, "{program} {subcommand:?}: {lines} lines\n{help}");
            assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
            rest.extend(
                subcommands(&help).into_iter().map(|name| [&subcommand[..], &[name]].concat()),
            );
            seen += 1;
        }
        assert!(seen > 7, "{program}: {seen} helps");
    }
}

/// The faults of a command line, in the order of the columns of [`FAULTS`].
const KINDS: [&str; 6] = [
    "an unknown option",
    "an option without its value",
    "a bad value",
    "an unknown subcommand",
    "an option given twice",
    "a missing argument",
];

/// A command line, and what the message about it names.
type Fault = (&'static [&'static str], &'static str);

/// The faults of command lines: for each program a line with each fault, and what the message about
/// it names. In the client the second of two options counts, as in ssh and in most programs that
/// scripts put options before, and a word that is no subcommand is a host.
const FAULTS: [(&str, [Option<Fault>; 6]); 3] = [
    (
        "rcmd-client",
        [
            Some((&["--nonsense", "web1", "true"], "'--nonsense'")),
            Some((&["doctor", "--connect-timeout"], "'--connect-timeout <DURATION>'")),
            Some((&["--timeout", "x", "web1", "true"], "'--timeout <DURATION>'")),
            None,
            None,
            Some((&["doctor"], "HOST")),
        ],
    ),
    (
        "rcmd-server",
        [
            Some((&["status", "--nonsense"], "'--nonsense'")),
            Some((&["--listen"], "'--listen <ADDR:PORT>'")),
            Some((&["--log-format", "x"], "'--log-format <FORMAT>'")),
            Some((&["policy", "frobnicate"], "'frobnicate'")),
            Some((&["--dir", "x", "--dir", "y"], "'--dir <DIR>'")),
            Some((&["policy", "explain", "--as", "alice"], "COMMAND")),
        ],
    ),
    (
        "rcmd-certs",
        [
            Some((&["list", "--nonsense"], "'--nonsense'")),
            Some((&["list", "--dir"], "'--dir <DIR>'")),
            Some((&["token", "server", "web1", "--expires", "x"], "'--expires <DURATION>'")),
            Some((&["issue", "frobnicate"], "'frobnicate'")),
            Some((&["list", "--json", "--json"], "'--json'")),
            Some((&["issue", "client"], "NAME")),
        ],
    ),
];

#[test]
fn each_fault_of_a_command_line_is_named_in_each_program_with_its_help() {
    for (program, faults) in FAULTS {
        for (kind, fault) in KINDS.iter().zip(faults) {
            let Some((line, names)) = fault else { continue };
            let said = complaint(program, line);
            let (message, hint) = said.split_once('\n').unwrap();
            assert!(message.contains(names), "{program}: {kind}: {said}");
            assert!(
                hint.contains(&format!("`{program} ")) && hint.contains("-h`"),
                "{kind}: {said}"
            );
        }
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
        (&["-n"], 2, "Write options before the host"),
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

/// Returns the completions of a program for a shell.
fn script(program: &str, shell: &str) -> Vec<u8> {
    let path = binaries().client.with_file_name(program);
    let script = Command::new(&path).args(["completions", shell]).output().unwrap();
    assert!(script.status.success());
    script.stdout
}

/// Returns the words that bash completes for these, of which the last is not whole.
fn completed(program: &str, words: &[&str]) -> Vec<String> {
    let mut script = script(program, "bash");
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
        ("rcmd-client", &["cp", "--de"], "--delete", "--timeout"),
        ("rcmd-client", &["ssh", "-"], "-p", "--timeout"),
        ("rcmd-client", &["cp", "-r", "/etc/host"], "/etc/hosts", "run"),
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
        &["ssh", "-p", "1", "web1", "--"],
        &["run", "doctor", "--"],
        &["--", "web1", "--"],
        &["web1", ":", "7263", "--"],
        &["--timeout", ""],
        &["-l", "ro"],
    ] {
        assert_eq!(completed("rcmd-client", words), [""; 0], "{words:?}");
    }
}

/// Returns the words that fish completes at the end of a line.
fn completed_by_fish(program: &str, line: &str) -> Vec<String> {
    let home = tempfile::tempdir().unwrap();
    let text = String::from_utf8(script(program, "fish")).unwrap();
    let mut fish = Command::new("fish");
    fish.args(["--no-config", "-c"]).arg(format!("{text}\ncomplete -C '{line}'"));
    let done = fish.env("HOME", home.path()).current_dir(home.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stderr), "", "{line}");
    let said = String::from_utf8(done.stdout).unwrap();
    said.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

/// The settings of an interactive zsh that writes what it completes into a file, and ends.
const ZSHRC: &str = r#"
PROMPT=
fpath=($ZDOTDIR/functions $fpath)
autoload -Uz compinit
compinit -u -D
bindkey '^I' complete-word
zstyle ':completion:*' insert-tab false
compadd() {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then
        builtin compadd "$@"
        return
    fi
    local -a hits
    builtin compadd -A hits "$@"
    print -rl -- $hits >>$ZDOTDIR/completed
    (( $#hits ))
}
finish() { exit }
comppostfuncs=(finish)
: >$ZDOTDIR/ready
"#;

/// Returns the words that zsh completes at the end of a line.
fn completed_by_zsh(program: &str, line: &str) -> Vec<String> {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    fs::create_dir(path("functions")).unwrap();
    fs::write(path("functions").join(format!("_{program}")), script(program, "zsh")).unwrap();
    fs::write(path(".zshrc"), ZSHRC).unwrap();
    fs::write(path("completed"), "").unwrap();
    let mut viewer = Viewer::start(200, Resize::Reflow, |terminal| {
        let mut zsh = Command::new("zsh");
        zsh.args(["-d", "-i"]).env("ZDOTDIR", home.path()).env("TERM", "dumb");
        zsh.stdin(terminal.side()).stdout(terminal.side()).stderr(terminal.side());
        zsh.current_dir(home.path());
        zsh
    });
    viewer.until("zsh has read its settings", |_| path("ready").exists());
    viewer.types(format!("{line}\t").as_bytes());
    viewer.end(Duration::from_secs(60));
    let said = fs::read_to_string(path("completed")).unwrap();
    said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Lines for the other shells: the program, the line, a word that is completed, and one that is not.
const LINES: [(&str, &str, &str, &str); 8] = [
    ("rcmd-client", "rcmd-client do", "doctor", "run"),
    ("rcmd-client", "rcmd-client --ti", "--timeout", "--json"),
    ("rcmd-client", "rcmd-client doctor --", "--json", "--timeout"),
    ("rcmd-client", "rcmd-client run --comm", "--commands", "--json"),
    ("rcmd-client", "rcmd-client --dir d en", "enroll", "run"),
    ("rcmd-server", "rcmd-server sta", "status", "audit"),
    ("rcmd-certs", "rcmd-certs iss", "issue", "list"),
    ("rcmd-certs", "rcmd-certs issue client --", "--group", "--uses"),
];

/// Lines with a host, behind which nothing of ours is completed.
const BEHIND: [&str; 6] = [
    "rcmd-client web1 --",
    "rcmd-client web1 do",
    "rcmd-client run web1 --",
    "rcmd-client run doctor --",
    "rcmd-client --timeout 5s web1 --js",
    "rcmd-client run --timeout 5s web1 ls --js",
];

fn assert_completes(completed: fn(&str, &str) -> Vec<String>) {
    for (program, line, wanted, unwanted) in LINES {
        let found = completed(program, line);
        assert!(found.iter().any(|one| one == wanted), "{line}: {found:?}");
        assert!(!found.iter().any(|one| one == unwanted), "{line}: {found:?}");
    }
    for line in BEHIND {
        assert_eq!(completed("rcmd-client", line), [""; 0], "{line}");
    }
}

#[test]
fn fish_completes_subcommands_and_options_and_nothing_of_ours_behind_the_host() {
    require!(skip::need_tool("fish"));
    assert_completes(completed_by_fish);
}

#[test]
fn zsh_completes_subcommands_and_options_and_nothing_of_ours_behind_the_host() {
    require!(skip::need_tool("zsh"));
    assert_completes(completed_by_zsh);
}
