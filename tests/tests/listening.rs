//! Where a server listens: TCP of both families, Unix sockets, sockets of a service manager.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rcmd_tests::server::passing;
use rcmd_tests::sink::Sink;
use rcmd_tests::{ClientCommand, World, audit, eventually};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

/// Returns the path of the Unix socket of a world, in a folder for it alone.
fn socket_in(folder: &Path) -> PathBuf {
    folder.join("rcmd.sock")
}

/// Writes into the hosts.toml of a world that the host `local` is reached by this socket.
fn name_local(world: &World, socket: &Path) {
    let text = format!(
        "[hosts.local]\naddress = 'unix:{}'\ncertificate = 'localhost'\n",
        socket.display()
    );
    fs::write(world.client_dir().join("hosts.toml"), text).unwrap();
}

/// Returns a client of the host `local` that runs a line.
fn local(world: &World, line: &str) -> ClientCommand {
    world.shell(line).target("local")
}

#[test]
fn one_server_serves_both_families_and_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = socket_in(folder.path());
    let mut server = World::builder();
    for place in ["[::1]:0", &format!("unix:{}", socket.display())] {
        server = server.server_arg("--listen").server_arg(place);
    }
    let world = server.start();
    name_local(&world, &socket);
    let status = world.server_tool().args(["status", "--dir"]).arg(world.dir()).output().unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    let listening = status.lines().next().unwrap().split_once("listening on ").unwrap().1;
    let places: Vec<_> = listening.split(", ").collect();
    assert_eq!(places.len(), 3, "{status}");
    assert_eq!(places[0], world.target());
    assert!(places[1].starts_with("[::1]:"), "{status}");
    assert_eq!(places[2], format!("unix:{}", socket.display()));
    for target in [places[0], places[1], "local"] {
        let done = world.shell("echo here").target(target).run();
        done.assert_code(0);
        assert_eq!(done.stdout, b"here\n", "{target}");
    }
}

#[test]
fn a_peer_at_a_unix_socket_is_known_by_its_account_and_rules_see_its_way() {
    let folder = tempfile::tempdir().unwrap();
    let socket = socket_in(folder.path());
    let mut world = World::builder()
        .config(&format!("listen = ['unix:{}']", socket.display()))
        .server_arg("--listen")
        .server_arg(format!("unix:{}", socket.display()))
        .prepare();
    let rule = r#"permit (principal, action, resource) when { context.way == "unix" && context.source == ip("::") };"#;
    fs::write(world.dir().join("policy.cedar"), rule).unwrap();
    world.start_server();
    name_local(&world, &socket);
    let file = fs::metadata(&socket).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o7777, 0o666);

    local(&world, "true").run().assert_code(0);
    world.shell("true").run().assert_code(125).assert_says("no rule permits it");
    let own = format!("unix:uid={},pid=", rustix::process::geteuid().as_raw());
    let attempts: Vec<_> = audit::records(&world)
        .into_iter()
        .filter(|record| record["event"] == "attempt")
        .map(|record| record["address"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert!(attempts[0].starts_with(&own), "{attempts:?}");
    assert!(attempts[1].starts_with("127.0.0.1:"), "{attempts:?}");
    world.stop_server();
    assert!(!socket.exists(), "the socket goes with its server");
}

#[test]
fn a_socket_that_a_killed_server_left_is_replaced_and_a_living_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let socket = socket_in(folder.path());
    let place = format!("unix:{}", socket.display());
    let mut world = World::builder().server_arg("--listen").server_arg(&place).start();
    name_local(&world, &socket);
    local(&world, "true").run().assert_code(0);
    world.kill_server();
    assert!(socket.exists());
    let done = local(&world, "true").with_result().run();
    done.assert_code(125).assert_says(&format!("cannot reach local at {place}"));
    assert_eq!(done.result()["error"]["kind"], "unreachable");
    assert_eq!(done.result()["retry_safe"], true);
    world.start_server();
    local(&world, "true").run().assert_code(0);

    let other = World::builder().prepare();
    let mut refused = other.server_program();
    let refused = refused.args(["--listen", &place]).output().unwrap();
    assert_eq!(refused.status.code(), Some(125));
    let said = String::from_utf8(refused.stderr).unwrap();
    let why = format!("cannot listen on {place}: somebody listens on the socket of this name");
    assert!(said.contains(&why), "{said}");
    local(&world, "true").run().assert_code(0);
}

#[test]
fn a_client_says_what_is_wrong_with_a_unix_socket() {
    let world = World::builder().prepare();
    let folder = tempfile::tempdir().unwrap();
    let socket = socket_in(folder.path());
    name_local(&world, &socket);
    let done = local(&world, "true").option("--connect-timeout").option("5s").run();
    done.assert_code(125).assert_says("No such file or directory");
    done.assert_says("rcmd-client doctor local");
    // Somebody listens who never answers.
    let _silent = UnixListener::bind(&socket).unwrap();
    let done = local(&world, "true").option("--connect-timeout").option("1s").run();
    done.assert_code(125).assert_says(&format!("TLS with local at unix:{}", socket.display()));
    let dir = world.client_dir().to_str().unwrap();
    let doctor =
        world.bare_client(["doctor", "--dir", dir, "--connect-timeout", "1s", "local"]).run();
    doctor.assert_code(125);
    let account = doctor.stdout_text();
    assert!(account.contains("no name to look up"), "{account}");
    assert!(account.contains(&format!("unix:{}", socket.display())), "{account}");
}

#[test]
fn doctor_examines_a_host_behind_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = socket_in(folder.path());
    let place = format!("unix:{}", socket.display());
    let world = World::builder().server_arg("--listen").server_arg(&place).start();
    name_local(&world, &socket);
    let dir = world.client_dir().to_str().unwrap();
    world.bare_client(["doctor", "--dir", dir, "local"]).run().assert_code(0);
    // Sets go there too, and so do transfers.
    let done = world.shell("echo one").target("local,local!x").option("-x").option("none").run();
    done.assert_code(0);
    assert_eq!(done.stdout, b"local: one\n");
}

#[test]
fn a_socket_that_was_passed_is_served_and_a_setting_without_effect_is_said() {
    let world = World::builder().passed_socket().config("listen = ['127.0.0.1:1']").start();
    world.shell("true").run().assert_code(0);
    let said = world.wait_for_log("listen in server.toml has no effect");
    assert!(said.contains(&world.target()), "{said}");

    let world = World::builder().passed_socket().config("listen = ['fd']").start();
    world.shell("true").run().assert_code(0);
    assert!(!world.log().iter().any(|line| line.contains("has no effect")));
}

#[test]
fn without_a_socket_of_the_service_manager_fd_is_refused() {
    let world = World::builder().prepare();
    let refused = world.server_program().args(["--listen", "fd"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(125));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("cannot listen on fd: the service manager passed no socket"), "{said}");
    // What was passed and is no socket that listens is refused too.
    let pass = "exec 3</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    let server = world.server_program();
    let mut command = Command::new("sh");
    command.args(["-c", pass, "sh"]).arg(server.get_program()).args(server.get_args());
    let refused = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(refused.status.code(), Some(125));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("cannot listen on the socket \"\" of the service manager"), "{said}");
    // A count without descriptors says so.
    let pass = "LISTEN_PID=$$ LISTEN_FDS=9 exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", pass, "sh"]).arg(server.get_program()).args(server.get_args());
    let said = String::from_utf8(command.stdin(Stdio::null()).output().unwrap().stderr).unwrap();
    assert!(said.contains("LISTEN_FDS counts the descriptor 3, which is not open"), "{said}");
}

#[test]
fn a_client_that_comes_between_two_servers_of_a_passed_socket_waits_for_the_second() {
    let mut world = World::builder().passed_socket().start();
    let mut held = world.shell("echo ready; sleep 600").stdout(Sink::Pipe).spawn();
    assert_eq!(held.read_line(), "ready");
    world.signal_server(Signal::TERM);
    world.wait_for_log("stopping: waiting for commands to end");
    // The first server drains and accepts nobody: this one is the second server's.
    let late = world.shell("echo late").option("--connect-timeout").option("60s").spawn();
    eventually("the kernel has taken the late client's connection", || {
        world.open_connections() >= 2
    });
    world.signal_server(Signal::TERM);
    let _ = world.wait_server();
    held.wait().assert_code(143).assert_says("the server was stopped");
    world.start_server();
    let late = late.wait();
    late.assert_code(0);
    assert_eq!(late.stdout, b"late\n");
}

#[test]
fn a_server_that_ends_when_it_is_idle_loses_no_client() {
    let world = World::builder().config("idle_exit = '1ms'").prepare();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = socket.local_addr().unwrap().to_string();
    let over = AtomicBool::new(false);
    let starts = std::thread::scope(|scope| {
        // As a service manager: while no server runs, the first connection starts one.
        let manager = scope.spawn(|| {
            let mut starts = 0;
            while !over.load(Ordering::Relaxed) {
                let mut sockets = [PollFd::new(&socket, PollFlags::IN)];
                let soon = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
                if poll(&mut sockets, Some(&soon)).unwrap() == 0 {
                    continue;
                }
                starts += 1;
                let mut server = passing(&socket, &world.server_program());
                let ended = server.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
                assert!(ended.success(), "{ended}");
            }
            starts
        });
        for number in 0..60 {
            let done = world.shell(format!("echo {number}")).target(&target).run();
            done.assert_code(0);
            assert_eq!(done.stdout_text(), format!("{number}\n"));
        }
        over.store(true, Ordering::Relaxed);
        manager.join().unwrap()
    });
    assert!(starts > 30, "it was started {starts} times only");
}

#[test]
fn a_server_with_a_socket_of_its_own_stays_though_it_is_idle() {
    let world = World::builder().config("idle_exit = '1ms'").start();
    world.wait_for_log("idle_exit has no effect");
    world.shell("true").run().assert_code(0);
    world.shell("true").run().assert_code(0);
}

#[test]
fn a_command_whose_client_is_away_keeps_an_idle_server() {
    let settings = ["idle_exit = '3s'", "grace = '6s'", "retain = '6s'"];
    let mut world = settings
        .iter()
        .fold(World::builder().passed_socket(), |world, setting| world.config(setting))
        .start();
    let mut client = world.shell("echo ready; exec sleep 600").stdout(Sink::Pipe).spawn();
    assert_eq!(client.read_line(), "ready");
    client.signal(Signal::KILL);
    let _ = client.wait();
    // It is ended at the end of the grace, and only when its end is kept no more is the server idle.
    let ended = world.wait_server();
    assert!(ended.success(), "{ended}");
    let log = world.log();
    let at = |says: &str| log.iter().position(|line| line.contains(says));
    let (ended, left) = (at("ended job="), at("nobody has been here for the time of idle_exit"));
    assert!(ended.is_some() && ended < left, "{log:#?}");
}
