//! The arguments of a command, byte for byte, and the surroundings that are made for it alone.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rcmd_tests::proc::{Process, marked};
use rcmd_tests::pty::Terminal;
use rcmd_tests::{ClientCommand, Random, World, binaries, eventually, eventually_some};
use rcmd_tests::{require, skip};
use rustix::process::Signal;

/// Returns the arguments that a command was given, by its own account, when it was sent these.
fn echoed(world: &World, args: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let args = args.iter().map(|arg| OsStr::from_bytes(arg));
    let done = world.exec(["printf", "%s\\0"].map(OsStr::new)).words(args).run();
    done.assert_code(0);
    let ended = done.stdout.strip_suffix(b"\0").expect("a NUL at the end");
    ended.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect()
}

#[test]
fn arguments_arrive_byte_for_byte() {
    let world = World::start();
    let every_byte: Vec<u8> = (1..=255).collect();
    let args: Vec<Vec<u8>> = [
        &b""[..],
        b" ",
        b"",
        b"two words",
        b"'",
        b"\"",
        b"\\",
        b"\n",
        b"a\nb\n",
        b"$HOME",
        b"$(id)",
        b"`id`",
        b"*",
        b"~",
        b"!!",
        b";",
        b"&",
        b"|",
        b">x",
        b"#",
        b"-",
        b"--",
        b"-n",
        b"--json",
        b"\xff\xfe",
        b"\xc3\xa9",
        b"\xed\xa0\x80",
        &every_byte,
        b"",
    ]
    .map(<[u8]>::to_vec)
    .into();
    assert_eq!(echoed(&world, &args), args);
}

#[test]
fn large_and_many_arguments_arrive() {
    let world = World::start();
    let mut random = Random::new(3);
    let mut large = random.take_bytes(100 << 10);
    large.iter_mut().for_each(|byte| *byte = (*byte).max(1));
    assert!(echoed(&world, &[large.clone()]) == [large]);
    let many: Vec<Vec<u8>> = (0..1000).map(|number: u32| number.to_string().into()).collect();
    assert_eq!(echoed(&world, &many), many);
}

#[test]
fn options_stop_at_the_host() {
    let world = World::start();
    let words = ["printf", "[%s]", "--json", "-n", "--timeout", "-V", "--", "--help", "-h"];
    let done = world.client().words(words).run();
    let expected: String = words[2..].iter().map(|word| format!("[{word}]")).collect();
    assert_eq!(done.assert_code(0).stdout_text(), expected);
    // Right after the host it is the program.
    let done = world.client().words(["--", "echo"]).with_result().run();
    done.assert_code(127).assert_says("\"--\"");
    assert_eq!(done.result()["error"]["kind"], "not_found");
    // Before the host it ends the options.
    let done = world.client().option("--").words(["printf", "%s", "-n"]).run();
    assert_eq!(done.assert_code(0).stdout_text(), "-n");
}

#[test]
fn run_may_stand_before_any_host() {
    let world = World::start();
    let dir = world.dir().to_str().unwrap();
    let (target, run) = (world.target(), ["--dir", dir, "run"]);
    let done = world.bare_client(run).words([&target, "printf", "%s", "run"]).run();
    assert_eq!(done.assert_code(0).stdout_text(), "run");
    let done = world.bare_client(["run", "--dir", dir, "-n", &target, "echo $0"]).run();
    done.assert_code(0);
    // `doctor` is a host here: the complaint is of the command that is missing.
    world
        .bare_client(run)
        .words(["doctor"])
        .run()
        .assert_code(125)
        .assert_says("the command is missing");
    // Without `run` it is a name of rcmd's own, as those of later versions are.
    let done = world.bare_client(["--dir", dir, "job", "x"]).run();
    done.assert_code(125).assert_says("run job");
}

#[test]
fn one_argument_is_a_line_for_the_shell_and_more_are_a_program() {
    let world = World::start();
    let told = |client: ClientCommand| client.run().assert_code(0).stdout_text();
    assert_eq!(told(world.client().words(["echo a  b | tr a-z A-Z; exit"])), "A B\n");
    assert_eq!(told(world.client().words(["echo", "a  b | tr a-z A-Z"])), "a  b | tr a-z A-Z\n");
    // Either may be forced.
    assert_eq!(told(world.client().option("--shell").words(["echo a  b"])), "a b\n");
    let done = world.client().option("--exec").words(["echo a"]).run();
    done.assert_code(127).assert_says("echo a");
    // A line is the user's shell's own, and bytes that are no text are nothing special in it.
    let line = [&b"printf '%s\\0' '\xff\n$x' \"$0\""[..]].map(OsStr::from_bytes);
    let done = world.client().words(line).run();
    let shell = own_passwd()[6].clone();
    let name = Path::new(&shell).file_name().unwrap().as_bytes().to_vec();
    assert_eq!(done.stdout, [b"\xff\n$x\0", &name[..], b"\0"].concat());
}

/// Returns the fields of our own line of passwd(5).
fn own_passwd() -> Vec<String> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let table = fs::read_to_string("/etc/passwd").unwrap();
    let mut lines = table.lines().map(|line| line.split(':').map(str::to_owned).collect());
    lines.find(|fields: &Vec<String>| fields[2] == uid).unwrap()
}

#[test]
fn settings_and_the_folder_are_bytes_too() {
    let world = World::start();
    let odd = OsStr::from_bytes(b"a b\xff\n$x'\"");
    let folder = world.scratch("").join(odd);
    fs::create_dir(&folder).unwrap();
    let folder = folder.canonicalize().unwrap();
    let done = world.exec(["readlink", "/proc/self/cwd"]).option("--cwd").option(&folder).run();
    done.assert_code(0);
    assert_eq!(done.stdout, [folder.as_os_str().as_bytes(), b"\n"].concat());

    let mut odd_value = OsString::from("ODD=x=");
    odd_value.push(odd);
    let settings = [OsStr::new("A="), OsStr::new("B=1"), OsStr::new("B=2"), &odd_value];
    let settings = settings.into_iter().flat_map(|setting| [OsStr::new("--env"), setting]);
    let done = world.exec(["env", "-0"]).options(settings).run();
    let has = |setting: &[u8]| done.stdout.split(|&byte| byte == 0).any(|one| one == setting);
    assert!(has(b"A=") && has(b"B=2") && has(odd_value.as_bytes()), "{}", done.story());
    assert!(!has(b"B=1"));

    let done = world.exec(["env"]).options(["--env", "RCMD_JOB=mine"]).with_result().run();
    done.assert_code(125).assert_says("RCMD_JOB");
    assert_eq!(done.result()["error"]["kind"], "usage");
}

/// A remote `sleep`, looked at from outside.
struct Asleep {
    process: Process,
    client: rcmd_tests::RunningClient,
}

impl Asleep {
    /// Runs it by this client, which has no command yet.
    fn start(client: ClientCommand, time: &str) -> Self {
        let client = client.option("--exec").words(["sleep", time]).spawn();
        let process = eventually_some("it sleeps", || {
            marked(time).into_iter().find(|process| process.name == "sleep")
        });
        Self { process, client }
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.process.pid)
    }

    /// Returns a line of `/proc/PID/status` or `/proc/PID/limits`, without its name.
    fn line(&self, file: &str, name: &str) -> String {
        let text = fs::read_to_string(self.path(file)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
    }

    fn mask(&self, name: &str) -> u64 {
        u64::from_str_radix(&self.line("status", name), 16).unwrap()
    }

    fn environment(&self) -> BTreeMap<String, OsString> {
        let bytes = fs::read(self.path("environ")).unwrap();
        let settings = bytes.split(|&byte| byte == 0).filter(|setting| !setting.is_empty());
        let split = |setting: &[u8]| {
            let at = setting.iter().position(|&byte| byte == b'=').unwrap();
            let name = String::from_utf8(setting[..at].to_vec()).unwrap();
            (name, OsString::from_vec(setting[at + 1..].to_vec()))
        };
        settings.map(split).collect()
    }

    fn descriptors(&self) -> Vec<OsString> {
        let descriptors = fs::read_dir(self.path("fd")).unwrap();
        let mut names: Vec<_> = descriptors.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    /// Asserts all that does not depend on how the server was started, since that must not matter.
    fn assert_has_a_clean_world(&self) {
        // Its dynamic loader has another for a moment.
        eventually("there are descriptors 0 to 2 alone", || self.descriptors() == ["0", "1", "2"]);
        assert_eq!(self.mask("SigBlk:"), 0, "blocked signals");
        assert_eq!(self.mask("SigCgt:"), 0, "caught signals");
        // Without cgroups glibc's posix_spawn leaves its own two, 32 and 33, ignored.
        assert_eq!(self.mask("SigIgn:") & !(3 << 31), 0, "ignored signals");
        assert_eq!(self.line("status", "Umask:"), "0022");
        let stat = fs::read_to_string(self.path("stat")).unwrap();
        // State, parent, group, session, terminal: proc_pid_stat(5).
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        assert_eq!(fields[2], self.process.pid.to_string(), "a group of its own: {stat}");
        assert_eq!(fields[4], "0", "no controlling terminal: {stat}");
    }

    fn end(self) {
        self.client.signal(Signal::TERM);
        self.client.wait().assert_code(128 + 15);
    }
}

/// Returns an argument for `sleep` that no other process has.
fn long_time(test: u32) -> String {
    format!("602.{}{test:02}", std::process::id())
}

#[test]
fn the_environment_is_made_for_the_command() {
    let world = World::builder()
        .config("path = \"/usr/bin:/bin\"")
        .server_env("LANG", "C.UTF-8")
        .server_env("LC_TIME", "C")
        .server_env("TZ", "UTC")
        .server_env("SECRET", "x")
        .server_env("LD_LIBRARY_PATH", "/nowhere")
        .start();
    let asleep = Asleep::start(world.client(), &long_time(1));
    let environment = asleep.environment();
    let known = [
        "HOME",
        "LANG",
        "LC_TIME",
        "LOGNAME",
        "PATH",
        "RCMD_JOB",
        "RCMD_PEER",
        "SHELL",
        "TZ",
        "USER",
    ];
    let names: Vec<_> =
        environment.keys().filter(|name| !name.starts_with("LC_") || *name == "LC_TIME").collect();
    assert_eq!(names, known);
    assert_eq!(environment["PATH"], "/usr/bin:/bin");
    assert_eq!(environment["LANG"], "C.UTF-8");
    assert!(environment["RCMD_PEER"].to_str().unwrap().contains("admin"), "{environment:?}");
    let passwd = own_passwd();
    assert_eq!(environment["HOME"], OsStr::new(&passwd[5]));
    assert_eq!(environment["USER"], OsStr::new(&passwd[0]));
    assert_eq!(environment["SHELL"], OsStr::new(&passwd[6]));
    let folder = fs::read_link(asleep.path("cwd")).unwrap();
    assert_eq!(folder, fs::canonicalize(&passwd[5]).unwrap());
    asleep.assert_has_a_clean_world();
    asleep.end();
}

/// A server that something else starts.
struct Wrapped<'a> {
    world: &'a World,
    wrapper: Child,
    address: String,
}

impl<'a> Wrapped<'a> {
    fn start(world: &'a World, wrapper: &[&str], stdin: Stdio) -> Self {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(&binaries().server).arg("--dir").arg(world.dir());
        command.args(["--listen", "127.0.0.1:0"]).stdin(stdin);
        command.stdout(Stdio::piped()).stderr(File::create(world.scratch("log")).unwrap());
        let mut wrapper = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(wrapper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ");
        let address = address.unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { world, wrapper, address }
    }

    fn client(&self) -> ClientCommand {
        self.world.client().target(&self.address)
    }
}

impl Drop for Wrapped<'_> {
    fn drop(&mut self) {
        let servers = || {
            let ours = marked(self.world.dir().to_str().unwrap()).into_iter();
            ours.filter(|one| one.name == "rcmd-server").collect::<Vec<_>>()
        };
        servers().iter().for_each(|one| rcmd_tests::proc::signal(one.pid, Signal::TERM));
        eventually("the server ends", || servers().iter().all(|one| !one.runs()));
        let _ = self.wrapper.wait();
    }
}

#[test]
fn how_the_server_was_started_does_not_reach_the_command() {
    let wrappers: [&[&str]; 5] = [
        &["nohup"],
        &["sh", "-c", "\"$@\" &", "sh"],
        &["sh", "-c", "umask 077; exec 7</dev/null 8>&2; exec \"$@\"", "sh"],
        &[
            "sh",
            "-c",
            "trap '' HUP INT QUIT PIPE TERM CHLD USR1 USR2 TSTP TTIN TTOU; exec \"$@\"",
            "sh",
        ],
        &["env", "--block-signal", "--ignore-signal"],
    ];
    for (at, wrapper) in (10..).zip(wrappers) {
        let world = World::builder().prepare();
        let server = Wrapped::start(&world, wrapper, Stdio::null());
        let asleep = Asleep::start(server.client(), &long_time(at));
        asleep.assert_has_a_clean_world();
        asleep.end();
    }
}

#[test]
fn the_servers_terminal_is_not_the_commands() {
    let setsid = require!(skip::need_tool("setsid"));
    let terminal = Terminal::open();
    let world = World::builder().prepare();
    let wrapper = [setsid.to_str().unwrap(), "--ctty", "--wait"];
    let server = Wrapped::start(&world, &wrapper, terminal.side().into());
    let asleep = Asleep::start(server.client(), &long_time(20));
    asleep.assert_has_a_clean_world();
    asleep.end();
}

#[test]
fn the_limit_of_descriptors_is_the_one_that_the_server_was_given() {
    let world = World::builder().prepare();
    let wrapper = ["sh", "-c", "ulimit -S -n 700; exec \"$@\"", "sh"];
    let server = Wrapped::start(&world, &wrapper, Stdio::null());
    let asleep = Asleep::start(server.client(), &long_time(21));
    let limits = asleep.line("limits", "Max open files");
    assert_eq!(limits.split_whitespace().next(), Some("700"), "{limits}");
    asleep.end();
}
