//! The same acceptance tests over each way in which a server is started and reached: a port of its own, a socket that
//! a service manager passed to it, a Unix socket.

use std::fs;

use rcmd_tests::sink::Sink;
use rcmd_tests::{ClientCommand, World, eventually, proc};
use rustix::process::Signal;

/// A way in which a server is started and reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Port,
    PassedSocket,
    UnixSocket,
}

/// A server that was started in one way, and the host by which clients reach it.
struct Site {
    world: World,
    host: String,
    _folder: tempfile::TempDir,
}

impl Way {
    fn start(self, settings: &[&str]) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let socket = format!("unix:{}", folder.path().join("rcmd.sock").display());
        let world = settings.iter().fold(World::builder(), |world, line| world.config(line));
        let world = match self {
            Self::Port => world,
            Self::PassedSocket => world.passed_socket(),
            Self::UnixSocket => world.server_arg("--listen").server_arg(&socket),
        };
        let world = world.start();
        let host = match self {
            Self::Port | Self::PassedSocket => world.target(),
            Self::UnixSocket => {
                let text =
                    format!("[hosts.here]\naddress = '{socket}'\ncertificate = 'localhost'\n");
                fs::write(world.client_dir().join("hosts.toml"), text).unwrap();
                "here".to_owned()
            }
        };
        Site { world, host, _folder: folder }
    }
}

impl Site {
    fn shell(&self, line: &str) -> ClientCommand {
        self.world.shell(line).target(&self.host)
    }

    fn exec(&self, words: &[&str]) -> ClientCommand {
        self.world.exec(words).target(&self.host)
    }
}

/// Makes a module with a test for each way of each function.
macro_rules! over_each_way {
    ($($test:ident),+ $(,)?) => {
        over_each_way! { @ port Port $($test)+ }
        over_each_way! { @ passed_socket PassedSocket $($test)+ }
        over_each_way! { @ unix_socket UnixSocket $($test)+ }
    };
    (@ $module:ident $way:ident $($test:ident)+) => {
        mod $module {
            $(#[test] fn $test() { super::$test(super::Way::$way); })+
        }
    };
}

over_each_way! {
    output_arrives_whole_and_apart,
    each_end_has_its_status,
    input_is_forwarded_and_may_be_left,
    signals_reach_the_command,
    a_client_that_is_gone_takes_its_command_along,
    limits_hold,
    the_server_drains_and_is_started_again,
}

fn output_arrives_whole_and_apart(way: Way) {
    let site = way.start(&[]);
    let line = "head -c 3000000 /dev/zero | tr '\\0' a; head -c 2000000 /dev/zero | tr '\\0' b >&2";
    let done = site.shell(line).with_result().run();
    done.assert_code(0);
    assert!(done.stdout.len() == 3_000_000 && done.stdout.iter().all(|&byte| byte == b'a'));
    assert!(done.stderr.len() == 2_000_000 && done.stderr.iter().all(|&byte| byte == b'b'));
    let result = done.result();
    assert_eq!((&result["outcome"], &result["code"]), (&"exited".into(), &0.into()));
    assert_eq!(result["stdout_bytes"], 3_000_000);
    // Nothing of rcmd's own is among it, and it comes as it is produced.
    let mut slow =
        site.shell("echo first; read line; echo $line").stdin_pipe().stdout(Sink::Pipe).spawn();
    assert_eq!(slow.read_line(), "first");
    slow.write_stdin(b"second\n");
    assert_eq!(slow.read_line(), "second");
    slow.wait().assert_code(0);
}

fn each_end_has_its_status(way: Way) {
    let site = way.start(&[]);
    for (line, code) in [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 137)] {
        site.shell(line).run().assert_code(code);
    }
    site.exec(&["/nonexistent/program"]).run().assert_code(127);
    site.exec(&["/etc/passwd"]).run().assert_code(126);
    let late = site.exec(&["sleep", "600"]).option("--timeout").option("300ms").with_result().run();
    late.assert_code(124);
    assert_eq!(late.result()["outcome"], "timed_out");
    let nobody = site.exec(&["true"]).option("-l").option("no-such-user").with_result().run();
    nobody.assert_code(125);
    assert_eq!(nobody.result()["outcome"], "not_started");
}

fn input_is_forwarded_and_may_be_left(way: Way) {
    let site = way.start(&[]);
    let input: Vec<u8> = (0..2_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let done = site.exec(&["cat"]).stdin(input.clone()).run();
    done.assert_code(0);
    assert!(done.stdout == input);
    // A command that reads some of it ends the client all the same.
    let done = site.exec(&["head", "-c", "3"]).stdin(input.clone()).run();
    done.assert_code(0);
    assert_eq!(done.stdout, input[..3]);
    let done = site.exec(&["cat"]).option("-n").stdin(input).run();
    done.assert_code(0);
    assert!(done.stdout.is_empty());
}

fn signals_reach_the_command(way: Way) {
    let site = way.start(&[]);
    let line = "trap 'echo got; exit 5' INT; echo ready; while :; do sleep .05; done";
    let mut client = site.shell(line).stdout(Sink::Pipe).spawn();
    assert_eq!(client.read_line(), "ready");
    client.signal(Signal::INT);
    assert_eq!(client.read_line(), "got");
    client.wait().assert_code(5);
}

fn a_client_that_is_gone_takes_its_command_along(way: Way) {
    let site = way.start(&["grace = '1s'"]);
    let mark = format!("608.{}{}", std::process::id(), way as u32);
    let client = site.shell(&format!("sleep {mark} & sleep {mark}")).spawn();
    eventually("both run", || proc::marked(&mark).len() >= 2);
    client.signal(Signal::KILL);
    let _ = client.wait();
    eventually("both are gone", || proc::marked(&mark).is_empty());
    site.shell("true").run().assert_code(0);
}

fn limits_hold(way: Way) {
    let site = way.start(&["[limits]", "running = 1", "queued = 1", "queue_wait = '300ms'"]);
    let mut first = site.shell("echo ready; read line").stdin_pipe().stdout(Sink::Pipe).spawn();
    assert_eq!(first.read_line(), "ready");
    let second = site.exec(&["true"]).option("--busy-wait").option("0").with_result().run();
    second.assert_code(125);
    let result = second.result();
    assert_eq!((&result["error"]["kind"], &result["retry_safe"]), (&"busy".into(), &true.into()));
    first.write_stdin(b"\n");
    first.wait().assert_code(0);
    site.exec(&["true"]).run().assert_code(0);
}

fn the_server_drains_and_is_started_again(way: Way) {
    let mut site = way.start(&[]);
    let mut client =
        site.shell("echo ready; read line; exit 7").stdin_pipe().stdout(Sink::Pipe).spawn();
    assert_eq!(client.read_line(), "ready");
    site.world.signal_server(Signal::TERM);
    site.world.wait_for_log("stopping: waiting for commands to end");
    client.write_stdin(b"\n");
    client.wait().assert_code(7);
    assert!(site.world.wait_server().success());
    site.world.start_server();
    site.shell("true").run().assert_code(0);
}
