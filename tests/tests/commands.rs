//! The client's other commands, and `--key`: what is asked for twice and done once.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use rcmd_tests::sink::Sink;
use rcmd_tests::{Finished, World};
use rcmd_tests::{require, skip};

#[test]
fn a_key_starts_once_and_gives_the_same_end_again() {
    let mut world = World::start();
    let count = world.scratch("count");
    let line = format!("echo x >> {}; echo out; exit 3", count.display());
    let run = |world: &World| {
        let options = ["--key", "deploy 7"];
        world.shell(&line).options(options).with_result().run()
    };
    let first = run(&world);
    first.assert_code(3);
    assert_eq!(first.stdout, b"out\n");
    assert_eq!(first.result()["truncated"], false);

    let assert_is_the_same = |again: &Finished| {
        again.assert_code(3);
        let (first, again) = (first.result(), again.result());
        for field in ["job", "outcome", "code", "stdout_bytes", "stdout_digest", "ended_at"] {
            assert_eq!(first[field], again[field], "{field}: {again}");
        }
        assert_eq!(again["truncated"], true, "the output was given out already: {again}");
        assert_eq!(fs::read_to_string(&count).unwrap(), "x\n", "it ran once");
    };
    assert_is_the_same(&run(&world));
    // It is written down, so that another server knows it too.
    world.restart();
    assert_is_the_same(&run(&world));

    let other = world.shell("echo other").options(["--key", "deploy 7"]).with_result().run();
    other.assert_code(125).assert_says("rcmd: ");
    let result = other.result();
    assert_eq!(
        (&result["outcome"], &result["error"]["kind"]),
        (&"not_started".into(), &"key_conflict".into())
    );
    world.shell("echo other").options(["--key", "deploy 8"]).run().assert_code(0);
}

#[test]
fn a_second_client_with_the_key_takes_the_running_command_over() {
    let world = World::start();
    let (count, go) = (world.scratch("count"), world.scratch("go"));
    let wait = format!("until [ -e {} ]; do sleep .05; done", go.display());
    let line = format!("echo x >> {}; echo one; {wait}; echo two; exit 4", count.display());
    let client = || world.shell(&line).options(["--key", "k"]).stdout(Sink::Pipe);
    let mut first = client().with_result().spawn();
    assert_eq!(first.read_line(), "one");
    let second = client().with_result().spawn();
    let first = first.wait();
    first.assert_code(255);
    assert_eq!(first.result()["outcome"], "unknown");
    fs::write(&go, "").unwrap();
    let mut second = second;
    let mut seen = second.read_line();
    if seen == "one" {
        // The first client's word that it has this line may not have arrived yet.
        seen = second.read_line();
    }
    assert_eq!(seen, "two");
    second.wait().assert_code(4);
    assert_eq!(fs::read_to_string(&count).unwrap(), "x\n", "it ran once");
}

#[test]
fn the_name_of_a_later_subcommand_is_no_host_and_says_how_such_a_host_is_reached() {
    let world = World::start();
    let dir = world.dir().to_str().unwrap();
    for word in ["shell", "job"] {
        let done = world.bare_client(["--dir", dir, word, "a", "b"]).run();
        done.assert_code(125).assert_says(&format!("`{word}` is reserved"));
        done.assert_says(&format!("`rcmd-client run {word} COMMAND...`"));
    }
    // That host is looked for, and this machine has none of that name.
    let done = world.bare_client(["--dir", dir, "--connect-timeout", "3s", "run", "cp", "a"]).run();
    done.assert_code(125).assert_says("cannot find the host cp");
}

/// Returns the lines of a doctor's account: whether the step is well, and its name.
fn steps(done: &Finished) -> Vec<(String, String)> {
    let text = done.stdout_text();
    let lines = text.lines().filter(|line| !line.starts_with(' '));
    let words = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next().unwrap(), words.next().unwrap())
    };
    lines.map(words).collect()
}

fn marks(done: &Finished) -> Vec<String> {
    steps(done).into_iter().map(|(mark, _)| mark).collect()
}

#[test]
fn the_doctor_finds_nothing_wrong_with_a_good_pair() {
    let world = World::start();
    let dir = world.dir().to_str().unwrap();
    let done = world.bare_client(["doctor", "--dir", dir, &world.target()]).run();
    done.assert_code(0);
    assert_eq!(marks(&done), ["ok"; 6], "{}", done.story());
    let names: Vec<_> = steps(&done).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["certificate", "resolve", "tcp", "tls", "hello", "command"]);
}

#[test]
fn the_doctor_marks_the_step_that_fails_and_says_what_to_do() {
    let world = World::start();
    let dir = world.dir().to_str().unwrap();
    // Bound and not listening.
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    bound.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let dead = bound.local_addr().unwrap().as_socket().unwrap().to_string();
    let done = world.bare_client(["--dir", dir, "doctor", &dead]).run();
    done.assert_code(125);
    assert_eq!(marks(&done), ["ok", "ok", "FAIL", "-", "-", "-"], "{}", done.story());
    assert!(done.stdout_text().contains("what to do: "), "{}", done.story());

    let stranger = World::builder().prepare();
    let dir = stranger.dir().to_str().unwrap();
    let done = world.bare_client(["--dir", dir, "doctor", &world.target()]).run();
    done.assert_code(125);
    assert_eq!(marks(&done), ["ok", "ok", "ok", "FAIL", "-", "-"], "{}", done.story());
    assert!(done.stdout_text().contains("what to do: "), "{}", done.story());

    // One of ours whose own certificate is not trusted there: in TLS 1.3 that shows a step later.
    fs::copy(world.dir().join("ca.pem"), stranger.dir().join("ca.pem")).unwrap();
    let done = world.bare_client(["--dir", dir, "doctor", &world.target()]).run();
    done.assert_code(125);
    let marks = marks(&done);
    assert!(marks.iter().filter(|mark| *mark == "FAIL").count() >= 1, "{}", done.story());
    assert_eq!(marks[5], "-", "{}", done.story());

    let done = world.bare_client(["--dir", "/no/such/folder", "doctor", &world.target()]).run();
    done.assert_code(125);
    assert_eq!(steps(&done)[0].0, "FAIL", "{}", done.story());
}

#[test]
fn the_doctor_marks_the_certificate_for_any_trouble_with_the_key() {
    let world = World::builder().prepare();
    let stranger = World::builder().prepare();
    let dir = world.dir().to_str().unwrap();
    let key = world.dir().join("client/key.pem");
    let good = fs::read(&key).unwrap();
    let doctor = || {
        let done = world.bare_client(["--dir", dir, "doctor", "localhost"]).run();
        done.assert_code(125);
        assert_eq!(marks(&done), ["FAIL", "-", "-", "-", "-", "-"], "{}", done.story());
        let said = done.stdout_text();
        assert!(said.contains("key.pem") && !said.contains("rcmd-client doctor"), "{said}");
    };
    for trouble in
        [fs::read(stranger.dir().join("client/key.pem")).unwrap(), b"no key".to_vec(), Vec::new()]
    {
        fs::write(&key, trouble).unwrap();
        doctor();
    }
    fs::write(&key, &good).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    doctor();
    fs::remove_file(&key).unwrap();
    doctor();
}

#[test]
fn the_doctor_never_sends_to_itself() {
    let world = World::builder().prepare();
    let dir = world.dir().to_str().unwrap();
    // What listens there speaks no TLS, hangs up, or says nothing.
    for answer in [Some(&b"SSH-2.0-x\r\n"[..]), Some(b""), None] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            match answer {
                Some(answer) => socket.write_all(answer).unwrap(),
                None => drop(socket.read_to_end(&mut Vec::new())),
            }
        });
        let line = ["--dir", dir, "--connect-timeout", "2s", "doctor", &target];
        let done = world.bare_client(line).run();
        done.assert_code(125);
        let said = done.stdout_text();
        assert!(said.contains("what to do: ") && !said.contains("rcmd-client doctor"), "{said}");
    }
}

#[test]
fn the_completions_are_a_script_that_bash_takes() {
    let bash = require!(skip::need_tool("bash"));
    let world = World::builder().prepare();
    let script = world.bare_client(["completions", "bash"]).run();
    script.assert_code(0);
    let file = world.scratch("completions");
    fs::write(&file, &script.stdout).unwrap();
    let line = "set -eu; . \"$0\"; complete -p rcmd-client";
    let mut command = Command::new(bash);
    command.args(["--norc", "-c", line]).arg(file).stdin(Stdio::null());
    let done = command.output().unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(done.stderr, b"", "{done:?}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("rcmd-client"), "{done:?}");
}

#[test]
fn the_manual_is_one_that_man_can_show() {
    let groff = require!(skip::need_tool("groff"));
    let world = World::builder().prepare();
    let dir = world.scratch("man");
    let done = world.bare_client(["man", "--out"]).words([&dir]).run();
    done.assert_code(0);
    for page in ["rcmd-client", "rcmd-client-run", "rcmd-client-doctor"] {
        let page = fs::read(dir.join(format!("{page}.1"))).unwrap();
        let mut command = Command::new(&groff);
        command.args(["-man", "-Tascii", "-P-cbou", "-ww"]).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&page).unwrap();
        let shown = child.wait_with_output().unwrap();
        assert!(shown.status.success() && shown.stderr.is_empty(), "{shown:?}");
        let text = String::from_utf8(shown.stdout).unwrap();
        assert!(text.contains("rcmd-client") && text.contains("--dir"), "{text}");
        assert_eq!(undescribed(&text), [""; 0], "{text}");
    }
    let one = world.bare_client(["man"]).run();
    assert_eq!(one.assert_code(0).stdout, fs::read(dir.join("rcmd-client.1")).unwrap());
}

/// Returns the options of a page that stand at the end of their line and have no description below
/// it, which is indented by 14.
fn undescribed(page: &str) -> Vec<&str> {
    let lines: Vec<_> = page.lines().collect();
    let alone = |pair: &&[&str]| {
        let ends_its_line = pair[0].starts_with("       -") && pair[0].ends_with('>');
        ends_its_line && !pair[1].starts_with(&" ".repeat(14))
    };
    lines.windows(2).filter(alone).map(|pair| pair[0].trim()).collect()
}
