//! Ways around a policy: each is tried for real, none runs anything, and each is audited once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use rcmd_protocol::limits;
use rcmd_server::audit::text::Text;
use rcmd_tests::audit::{assert_whole, events, records};
use rcmd_tests::pki::{Authority, Leaf};
use rcmd_tests::raw::{Dial, RawPeer, Start, frame, hello, text_frame};
use rcmd_tests::{Finished, World, eventually, require, skip, world};
use rustix::process::Signal;
use serde::Deserialize;
use tempfile::TempDir;

/// One request, as it stands in `bypass/*.jsonl`. `@own` is the folder where programs lie as they
/// should, `@open` one below `/tmp`, `@long` a name of 120,000 bytes, and `\xff` in a text that byte.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attempt {
    name: String,
    /// The user and the groups of the request's identity: `user/group,group`.
    who: String,
    /// A program with its arguments, or else a line.
    exec: Option<Vec<String>>,
    shell: Option<String>,
    #[serde(default)]
    env: Vec<String>,
    cwd: Option<String>,
    /// The user as whom the request asks to run.
    user: Option<String>,
    /// The kind of error in the answer: `denied` by the policy, or another kind.
    #[serde(default = "denied")]
    kind: String,
    /// A text that stands in the answer.
    #[serde(default)]
    because: String,
}

fn denied() -> String {
    "denied".to_owned()
}

fn attempts(file: &str) -> Vec<Attempt> {
    let text = fs::read_to_string(Path::new("tests/bypass").join(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A host with programs that lie where they should, and some that do not.
struct Host {
    world: World,
    /// A folder in which nobody else can write.
    own: TempDir,
    /// A folder below `/tmp`.
    open: TempDir,
    identities: RefCell<HashMap<String, PathBuf>>,
}

impl Host {
    fn new() -> Self {
        let world = World::builder().config("host.name = \"db1\"").start();
        let host = Self {
            world,
            own: world::own_folder(),
            open: tempfile::tempdir().unwrap(),
            identities: RefCell::default(),
        };
        host.programs();
        host.reload(&host.policy());
        host
    }

    /// Returns the folder for programs, without links.
    fn own(&self) -> PathBuf {
        self.own.path().canonicalize().unwrap()
    }

    /// Returns a text with `@own`, `@open` and `@long` in it made into what they stand for.
    fn path(&self, text: &str) -> OsString {
        let text = replaced(&bytes(text), b"@own", self.own().as_os_str().as_bytes());
        let text = replaced(&text, b"@open", self.open.path().as_os_str().as_bytes());
        OsString::from_vec(replaced(&text, b"@long", "root".repeat(30_000).as_bytes()))
    }

    fn policy(&self) -> String {
        fs::read_to_string("tests/bypass/policy.cedar")
            .unwrap()
            .replace("@own", self.own().to_str().unwrap())
    }

    fn reload(&self, policy: &str) {
        let reloaded = self.lines("policy reloaded");
        fs::write(self.world.dir().join("policy.cedar"), policy).unwrap();
        self.world.signal_server(Signal::HUP);
        self.world.wait_for_log_lines("policy reloaded", reloaded + 1);
    }

    fn lines(&self, needle: &str) -> usize {
        self.world.log().iter().filter(|line| line.contains(needle)).count()
    }

    fn programs(&self) {
        let (own, open) = (self.own(), self.open.path());
        let say = "#!/bin/sh\necho ran \"$@\"\n";
        for name in ["svc", "deploy", "show"] {
            program(&own.join(name), say, 0o755);
        }
        fs::create_dir(own.join("other")).unwrap();
        program(&own.join("other/svc"), say, 0o755);
        symlink("svc", own.join("link")).unwrap();

        program(&own.join("by-all"), say, 0o777);
        program(&own.join("by-group"), say, 0o775);
        program(&own.join("by-another"), say, 0o755);
        folder(&own.join("by-all.d"), 0o777);
        folder(&own.join("sticky.d"), 0o1777);
        folder(&own.join("by-group.d"), 0o775);
        folder(&own.join("by-another.d"), 0o755);
        for name in ["by-all.d", "sticky.d", "by-group.d", "by-another.d"] {
            program(&own.join(name).join("x"), say, 0o755);
            fs::create_dir(own.join(name).join("below")).unwrap();
            program(&own.join(name).join("below/x"), say, 0o755);
        }
        for name in ["by-another", "by-another.d"] {
            chown(own.join(name), Some(4_321), Some(4_321)).unwrap();
        }
        program(&open.join("script"), say, 0o755);
        fs::copy("/bin/sh", open.join("elf")).unwrap();
        fs::hard_link(open.join("script"), open.join("hard")).unwrap();
        symlink(own.join("svc"), open.join("to-svc")).unwrap();
        symlink(open.join("script"), own.join("to-open")).unwrap();
        symlink(open, own.join("to-open.d")).unwrap();
        symlink("by-all.d/../svc", own.join("through")).unwrap();
        let by = |interpreter: &str| format!("#!{interpreter}\n");
        let open = open.display();
        program(&own.join("bad-interpreter"), &by(&format!("{open}/elf -x")), 0o755);
        program(&own.join("bad-script"), &by(&format!("{}/by-all", own.display())), 0o755);
        program(&own.join("env-open"), &by(&format!("/usr/bin/env {open}/elf")), 0o755);
        program(&own.join("env-path"), &by(&format!("/usr/bin/env PATH={open} elf")), 0o755);
        program(&own.join("env-split"), &by(&format!("/usr/bin/env -S -i {open}/elf")), 0o755);
        program(&own.join("relative"), &by("bin/sh"), 0o755);
    }

    /// Returns the folder of this identity, `user/group,group`, which is made at first.
    fn identity(&self, who: &str) -> PathBuf {
        let make = || {
            let (user, groups) = who.split_once('/').unwrap_or((who, ""));
            let groups = groups.split(',').filter(|group| !group.is_empty());
            let uris: Vec<_> = std::iter::once(format!("rcmd://user/{user}"))
                .chain(groups.map(|group| format!("rcmd://group/{group}")))
                .collect();
            let uris: Vec<_> = uris.iter().map(String::as_str).collect();
            let dir = self.world.scratch(&format!("as-{}", who.replace('/', "-")));
            let leaf = Leaf::client_uris(&uris);
            Authority::of(self.world.dir()).issue(&leaf).write(&dir.join("client"));
            fs::copy(self.world.dir().join("ca.pem"), dir.join("ca.pem")).unwrap();
            dir
        };
        self.identities.borrow_mut().entry(who.to_owned()).or_insert_with(make).clone()
    }

    fn attempt(&self, attempt: &Attempt) -> Finished {
        let mut client = self.world.client().dir(self.identity(&attempt.who));
        for setting in &attempt.env {
            client = client.option("--env").option(self.path(setting));
        }
        if let Some(cwd) = &attempt.cwd {
            client = client.option("--cwd").option(self.path(cwd));
        }
        if let Some(user) = &attempt.user {
            let mut option = OsString::from("--user=");
            option.push(self.path(user));
            client = client.option(option);
        }
        let (mode, words) = match (&attempt.shell, &attempt.exec) {
            (Some(line), None) => ("--shell", vec![self.path(line)]),
            (None, words) => {
                ("--exec", words.iter().flatten().map(|word| self.path(word)).collect())
            }
            (Some(_), Some(_)) => panic!("{} is both", attempt.name),
        };
        client.option(mode).words(words).with_result().run()
    }

    fn peer(&self, who: &str) -> RawPeer {
        let mut peer =
            Dial::to(&self.world).identity(self.identity(who).join("client")).connect().unwrap();
        peer.send(&hello()).unwrap();
        peer.expect_frame("hello");
        peer
    }
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match text.windows(from.len()).position(|window| window == from) {
        Some(at) => [&text[..at], to, &replaced(&text[at + from.len()..], from, to)].concat(),
        None => text.to_vec(),
    }
}

/// Returns a text with `\xff` and the like in it made into bytes.
fn bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let first = parts.next().unwrap_or_default().as_bytes().to_vec();
    parts.fold(first, |mut bytes, part| {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(&part.as_bytes()[2..]);
        bytes
    })
}

fn program(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn folder(path: &Path, mode: u32) {
    fs::create_dir(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn no_way_around_the_policy_runs_anything_and_each_is_audited_once() {
    require!(skip::need_root());
    let host = Host::new();
    let tried = attempts("attempts.jsonl");
    assert!(tried.len() >= 60, "{}", tried.len());
    let mut wrong = Vec::new();
    for attempt in &tried {
        let done = host.attempt(attempt);
        let code = if attempt.kind == "not_executable" { 126 } else { 125 };
        let turned_down = done.code() == code
            && done.result()["error"]["kind"] == attempt.kind
            && done.result()["retry_safe"] == true
            && done.stdout.is_empty()
            && done.stderr_text().contains(&attempt.because);
        if !turned_down {
            wrong.push(format!(
                "{}, not {} {:?}: {}",
                attempt.name,
                attempt.kind,
                attempt.because,
                done.stderr_text()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let denials = tried.iter().filter(|attempt| attempt.kind == "denied").count();
    eventually("each denial is in the log", || host.lines(" denied ") >= denials);
    assert_eq!(host.lines(" denied "), denials);
    assert_eq!(host.lines(" started "), 0);
    let audit = records(&host.world);
    let asked: Vec<_> = audit.iter().filter(|record| record["event"] == "attempt").collect();
    assert_eq!(asked.len(), tried.len());
    for (attempt, record) in tried.iter().zip(asked) {
        let job = record["job"].as_str().unwrap();
        let answer = if attempt.kind == "denied" { "denial" } else { "refusal" };
        assert_eq!(events(&audit, job), ["attempt", answer], "{}: {record}", attempt.name);
        let user = attempt.user.as_ref().map(|user| Text::of(host.path(user).as_bytes()));
        // Of a large request the beginning is recorded.
        if record["size"].is_null() {
            assert_eq!(record["user"], serde_json::to_value(user).unwrap(), "{}", attempt.name);
        }
    }

    // The same rules permit what they are for, or all this would prove nothing.
    let honest = attempts("honest.jsonl");
    for attempt in &honest {
        let done = host.attempt(attempt);
        assert_eq!(done.code(), 0, "{}: {}", attempt.name, done.story());
    }
    eventually("each was started", || host.lines(" started ") >= honest.len());
    assert_eq!(host.lines(" denied "), denials);
}

#[test]
fn a_start_that_two_readers_could_read_differently_is_no_start() {
    require!(skip::need_root());
    let host = Host::new();
    let own = host.own();
    let svc = own.join("svc");
    let start = Start::exec(1, &[svc.to_str().unwrap(), "restart", "nginx"]);
    let (header, payload) = (start.header(), start.payload());
    let text = |len: usize| {
        let mut header = header.clone();
        header["len"] = len.into();
        header.to_string()
    };
    let good = text(payload.len());
    let swapped = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} is not in {good}");
        text_frame(&good.replacen(from, to, 1), &payload)
    };
    let more = [&payload[..], b"sshd\0"].concat();
    let torn = [&payload[..], b"nobody\0root\0"].concat();
    let as_user = text(torn.len()).replacen("\"argc\":3", "\"argc\":3,\"user\":true", 1);
    let broken: [(&str, Vec<u8>); 14] = [
        ("mode twice", swapped("\"mode\":\"exec\"", "\"mode\":\"exec\",\"mode\":\"shell\"")),
        (
            "mode twice, once escaped",
            swapped("\"mode\":\"exec\"", "\"mode\":\"exec\",\"\\u006dode\":\"shell\""),
        ),
        ("mode in capitals", swapped("\"mode\":\"exec\"", "\"Mode\":\"exec\"")),
        ("mode of another case", swapped("\"exec\"", "\"EXEC\"")),
        ("argc twice", swapped("\"argc\":3", "\"argc\":3,\"argc\":2")),
        ("argc as a fraction", swapped("\"argc\":3", "\"argc\":3.0")),
        ("argc as a text", swapped("\"argc\":3", "\"argc\":\"3\"")),
        ("fewer arguments than strings", swapped("\"argc\":3", "\"argc\":2")),
        ("an argument as a setting", swapped("\"argc\":3", "\"argc\":2,\"envc\":1")),
        ("an argument as a folder", swapped("\"argc\":3", "\"argc\":2,\"cwd\":true")),
        ("an argument as a user", swapped("\"argc\":3", "\"argc\":2,\"user\":true")),
        ("more strings than arguments", text_frame(&text(more.len()), &more)),
        ("a user with a NUL", text_frame(&as_user, &torn)),
        ("a NUL in the header", swapped("\"exec\"", "\"exec\\u0000\"")),
    ];
    for (name, bytes) in broken {
        let mut peer = host.peer("alice/oncall");
        peer.send(&bytes).unwrap();
        let message = peer.expect_protocol_error();
        assert!(!message.is_empty(), "{name}");
        peer.expect_closed();
    }
    assert_eq!(host.lines(" started "), 0);
    // Escapes that mean the same are the same.
    let mut peer = host.peer("alice/oncall");
    peer.send(&swapped("\"exec\"", "\"\\u0065xec\"")).unwrap();
    let ran = peer.finish(1).unwrap();
    assert_eq!(ran.exit["code"], 0, "{}", ran.exit);
    assert_eq!(ran.stdout, b"ran restart nginx\n");
}

#[test]
fn what_makes_no_request_is_audited_too() {
    let world = World::start();
    let plain = || Start::exec(1, &["true"]);
    let tried = [
        ("usage", plain().user("")),
        ("usage", Start::exec(1, &[""])),
        ("usage", plain().env("=x")),
        ("too_big", plain().user(&"r".repeat(limits::STRING))),
    ];
    let mut peer = RawPeer::greeted(&world);
    let mut told = Vec::new();
    for (ch, (kind, start)) in (1..).zip(tried) {
        peer.send(&start.channel(ch).frame()).unwrap();
        let exit = peer.finish(ch).unwrap().exit;
        assert_eq!(exit["kind"], kind, "{exit}");
        told.push(exit["message"].clone());
    }
    let of_peers = records(&world).into_iter().filter(|record| record.get("job").is_some());
    let audited: Vec<_> = of_peers.collect();
    assert!(audited.iter().all(|record| record["event"] == "refusal"), "{audited:?}");
    assert_eq!(audited.iter().map(|record| record["message"].clone()).collect::<Vec<_>>(), told);
    assert_whole(&world, None);
}

#[test]
fn a_terminal_is_not_to_be_had_by_asking_for_it_in_another_way() {
    require!(skip::need_root());
    let host = Host::new();
    let svc = host.own().join("svc");
    let start = Start::exec(1, &[svc.to_str().unwrap(), "restart", "nginx"]);
    let mut header = start.header();
    header["tty"] = true.into();
    header["digest"] = "0".repeat(64).into();
    let mut peer = host.peer("alice/oncall");
    peer.send(&frame(&header, &start.payload())).unwrap();
    peer.expect_protocol_error();
    assert_eq!(host.lines(" started "), 0);
}

#[test]
fn the_next_request_of_an_open_connection_is_judged_by_the_tightened_policy() {
    require!(skip::need_root());
    let host = Host::new();
    let svc = host.own().join("svc");
    let words = [svc.to_str().unwrap(), "restart", "nginx"];
    let mut peer = host.peer("alice/oncall");
    let ran = peer.run(&Start::exec(1, &words)).unwrap();
    assert_eq!(ran.exit["code"], 0, "{}", ran.exit);
    host.reload(&host.policy().replace("2=nginx", "2=apache"));
    let ran = peer.run(&Start::exec(2, &words)).unwrap();
    assert_eq!(ran.exit["kind"], "denied", "{}", ran.exit);
    // And a file that became writable, although no rule has changed.
    host.reload(&host.policy());
    assert_eq!(peer.run(&Start::exec(3, &words)).unwrap().exit["code"], 0);
    fs::set_permissions(&svc, fs::Permissions::from_mode(0o757)).unwrap();
    let ran = peer.run(&Start::exec(4, &words)).unwrap();
    assert_eq!(ran.exit["kind"], "denied", "{}", ran.exit);
    assert_eq!(host.lines(" started "), 2);
}

#[test]
fn what_was_digested_is_what_runs_though_the_file_is_swapped() {
    require!(skip::need_root());
    let host = Host::new();
    let elf = host.open.path().join("true");
    fs::copy("/usr/bin/true", &elf).unwrap();
    let digest = rcmd_tests::raw::sha256(&fs::read(&elf).unwrap());
    let rule = format!(
        "permit (principal, action == Action::\"run\", resource)\n\
         when {{ context has digest && context.digest == \"{digest}\" }};\n"
    );
    host.reload(&rule);
    let mut peer = host.peer("alice/oncall");
    let mut ch = 0;
    let mut run = |path: &OsStr| {
        ch += 1;
        peer.run(&Start::exec(ch, &[path.to_str().unwrap()])).unwrap().exit
    };
    assert_eq!(run(elf.as_os_str())["code"], 0);
    // What is executed is the copy that was digested: the file may be another one by then.
    let own = host.open.path().join("readlink");
    fs::copy("/usr/bin/readlink", &own).unwrap();
    let of_own = rcmd_tests::raw::sha256(&fs::read(&own).unwrap());
    host.reload(&rule.replace(&digest, &of_own));
    ch += 1;
    let words = [own.to_str().unwrap(), "/proc/self/exe"];
    let ran = peer.run(&Start::exec(ch, &words)).unwrap();
    let executed = String::from_utf8(ran.stdout).unwrap();
    assert!(executed.starts_with("/memfd:"), "{executed:?}: {}", ran.exit);
    host.reload(&rule);
    let mut run = |path: &OsStr| {
        ch += 1;
        peer.run(&Start::exec(ch, &[path.to_str().unwrap()])).unwrap().exit
    };
    fs::remove_file(&elf).unwrap();
    fs::copy("/usr/bin/false", &elf).unwrap();
    let denied = run(elf.as_os_str());
    assert_eq!(denied["kind"], "denied", "{denied}");
    // A script has no digest: its interpreter would open the file again.
    program(&elf, "#!/bin/sh\n", 0o755);
    assert_eq!(run(elf.as_os_str())["kind"], "denied");
    // A rule that names no digest, or any, does not permit what others can write to.
    fs::copy("/usr/bin/false", &elf).unwrap();
    for when in [
        "",
        "when { context has digest }",
        "when { context has digest && context.digest like \"sha*\" }",
    ] {
        let loose = "@id(\"digest\") permit (principal, action == Action::\"run\", resource)";
        host.reload(&format!("{rule}\n{loose} {when};"));
        let denied = run(elf.as_os_str());
        let message = denied["message"].as_str().unwrap_or_default();
        assert!(message.contains("program_writable"), "{when}: {denied}");
    }
}
