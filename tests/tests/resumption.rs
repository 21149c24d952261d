//! A link that breaks under a command heals: every byte is there, or the end is `unknown`, and never
//! is anything started twice.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use rcmd_client::{Client, Config, Outcome, Stdio};
use rcmd_tests::many::count_lines as starts;
use rcmd_tests::pki::Authority;
use rcmd_tests::sink::Sink;
use rcmd_tests::soak::Judged as _;
use rcmd_tests::soak::{cuts, kills};
use rcmd_tests::{Direction, Fault, Plan, Proxy, Random, RunningClient, Tally, World};
use rcmd_tests::{eventually, proc};
use rustix::process::Signal;

/// The ways in which a link breaks and is known at once to be broken.
const BREAKS: [Fault; 2] = [Fault::Reset, Fault::Fin];

/// Starts a client whose command has noted its start in the file and goes on as `then` says.
fn noting(world: &World, proxy: &Proxy, then: &str) -> (RunningClient, PathBuf) {
    let file = world.scratch("starts");
    let line = format!("echo x >> {}; echo ready; {then}", file.display());
    let client = world.shell(line).target(proxy.target()).stdin_pipe().stdout(Sink::Pipe);
    let mut client = client.with_result().spawn();
    assert_eq!(client.read_line(), "ready");
    (client, file)
}

/// Waits until the server knows that the link is lost.
fn await_loss(world: &World) {
    eventually("the server knows of the loss", || world.open_connections() == 0);
}

#[test]
fn whatever_cuts_20_mb_each_way_the_bytes_are_whole_or_the_end_is_unknown() {
    let figures = cuts::run(40, 1);
    println!("{figures}");
    assert!(figures.are_good(), "{figures}");
    assert!(figures.resumed >= 10, "{figures}");
}

#[test]
fn a_connection_that_only_the_server_has_lost_is_noticed_within_the_grace() {
    // With the keepalive alone the client would ask when the command was long killed.
    let world = World::builder().config("grace = \"6s\"").start();
    let proxy = Proxy::to(world.address());
    let gate = world.scratch("gate");
    let wait = format!("until [ -e {} ]; do sleep 0.05; done", gate.display());
    let (mut client, file) = noting(&world, &proxy, &wait);
    proxy.cut(Fault::ServerReset);
    eventually("the client makes another connection", || proxy.connections() == 2);
    fs::write(gate, "").unwrap();
    drop(client.stdin.take());
    client.wait().assert_code(0);
    assert_eq!(starts(&file), 1);
}

#[test]
fn wherever_start_and_end_are_cut_nothing_starts_twice_and_no_end_is_made_up() {
    let world = World::start();
    let before = world.settled_snapshot();
    let outcomes = Mutex::new(BTreeMap::new());
    let ways = [Direction::ToServer, Direction::ToClient];
    let cuts = ways.into_iter().flat_map(|way| (0..6000).step_by(113).map(move |at| (way, at)));
    let cuts = Mutex::new(cuts);
    let next = || cuts.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((way, at)) = next() {
                    let proxy = Proxy::to(world.address());
                    let fault = BREAKS[at as usize % 2];
                    proxy.plan(move |n| match n {
                        0 => Plan::after(way, at, fault),
                        _ => Plan::HONEST,
                    });
                    let file = world.scratch(&format!("{way:?}-{at}"));
                    let line = format!("echo x >> {}; echo whole; exit 3", file.display());
                    let done = world.shell(line).target(proxy.target()).with_result().run();
                    let result = done.result();
                    let outcome = result["outcome"].as_str().unwrap().to_owned();
                    match (&*outcome, done.code()) {
                        ("exited", 3) => assert_eq!(done.stdout, b"whole\n", "{}", done.story()),
                        ("unknown", 255) => assert_eq!(result["error"]["kind"], "lost"),
                        ("not_started", 125) => assert_eq!(result["retry_safe"], true),
                        _ => panic!("cut {way:?} at {at}: {result}\n{}", done.story()),
                    }
                    *outcomes.lock().unwrap().entry(outcome.clone()).or_insert(0) += 1;
                    let may = match &*outcome {
                        "exited" => 1..=1,
                        "unknown" => 0..=1,
                        _ => 0..=0,
                    };
                    let starts = starts(&file);
                    assert!(may.contains(&starts), "{way:?} at {at}: {outcome}, {starts} starts");
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    println!("{outcomes:?}");
    // Where the cut comes in the handshake, nothing was asked for and another connection is made.
    assert!(outcomes["exited"] > 60, "{outcomes:?}");
    world.assert_settles_to(&before);
}

#[test]
fn a_first_connection_that_is_cut_off_in_the_handshake_is_made_again_some_times() {
    let world = World::start();
    for fault in BREAKS {
        let cut = Plan::after(Direction::ToClient, 500, fault);
        let proxy = Proxy::to(world.address());
        proxy.plan(move |n| if n < 2 { cut } else { Plan::HONEST });
        world.exec(["true"]).target(proxy.target()).run().assert_code(0);
        assert_eq!(proxy.connections(), 3);
        let proxy = Proxy::to(world.address());
        proxy.plan(move |_| cut);
        let done = world.exec(["true"]).target(proxy.target()).with_result().run();
        done.assert_code(125).assert_says("TLS with");
        assert_eq!(done.result()["retry_safe"], true);
        assert_eq!(proxy.connections(), 4);
    }
}

#[test]
fn a_cut_that_heals_at_once_is_not_even_mentioned() {
    let world = World::start();
    for fault in BREAKS {
        let proxy = Proxy::to(world.address());
        let (mut client, file) = noting(&world, &proxy, "exec cat");
        proxy.cut(fault);
        client.write_stdin(b"after\n");
        assert_eq!(client.read_line(), "after");
        drop(client.stdin.take());
        let done = client.wait();
        done.assert_code(0);
        assert_eq!(done.stderr_text(), "");
        assert_eq!(proxy.connections(), 2);
        assert_eq!(starts(&file), 1);
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn a_long_loss_is_told_and_so_is_its_end() {
    let world = World::start();
    let proxy = Proxy::to(world.address());
    let (mut client, _) = noting(&world, &proxy, "exec cat >&2");
    proxy.refuse(true);
    proxy.cut(Fault::Reset);
    eventually("it tries again and again", || proxy.connections() >= 8);
    proxy.refuse(false);
    client.write_stdin(b"after\n");
    drop(client.stdin.take());
    let done = client.wait();
    done.assert_code(0);
    done.assert_says("after\n");
    done.assert_says(": connection lost").assert_says(": resumed after");
}

#[test]
fn input_in_flight_is_neither_lost_nor_doubled_and_its_end_comes_once() {
    let world = World::start();
    let content = Random::new(5).take_bytes(3_000_000);
    let tally = Tally::of(&content);
    for fault in BREAKS {
        // Also in the middle of the end of input, which is among the last bytes.
        for at in [10_000, 500_000, 3_000_000, 3_003_000, 3_004_000] {
            let proxy = Proxy::to(world.address());
            proxy.plan(move |n| match n {
                0 => Plan::after(Direction::ToServer, at, fault),
                _ => Plan::HONEST,
            });
            let client = world.shell("echo ready; exec sha256sum").target(proxy.target());
            let mut client = client.stdin_pipe().stdout(Sink::Pipe).with_result().spawn();
            // A client that is cut off before the server's hello can't tell this server from another.
            assert_eq!(client.read_line(), "ready");
            client.write_stdin(&content);
            drop(client.stdin.take());
            assert_eq!(client.read_line(), format!("{}  -", tally.sha256), "cut at {at}");
            client.wait().assert_code(0);
        }
    }
}

#[test]
fn a_silent_connection_gets_another_beside_it_and_can_not_steal_the_command_back() {
    let world = World::start();
    let proxy = Proxy::to(world.address());
    let (mut client, file) = noting(&world, &proxy, "exec cat");
    proxy.cut(Fault::Silence(None));
    client.write_stdin(b"held back\n");
    assert_eq!(client.read_line(), "held back");
    assert_eq!(proxy.connections(), 2, "the second was made beside the first");
    // What the first still holds reaches the server now, and must not be taken again.
    proxy.go_on();
    client.write_stdin(b"after\n");
    assert_eq!(client.read_line(), "after");
    drop(client.stdin.take());
    let done = client.wait();
    done.assert_code(0);
    assert!(done.elapsed >= Duration::from_secs(3), "{:?}", done.elapsed);
    assert_eq!(starts(&file), 1);
}

#[test]
fn an_attempt_to_connect_again_that_gets_no_answer_leaves_time_for_another() {
    let world = World::start();
    let proxy = Proxy::to(world.address());
    proxy.plan(|n| match n {
        1 => Plan::after(Direction::ToServer, 0, Fault::Silence(None)),
        _ => Plan::HONEST,
    });
    let (mut client, file) = noting(&world, &proxy, "exec cat");
    proxy.cut(Fault::Reset);
    client.write_stdin(b"after\n");
    assert_eq!(client.read_line(), "after");
    assert_eq!(proxy.connections(), 3);
    drop(client.stdin.take());
    client.wait().assert_code(0);
    assert_eq!(starts(&file), 1);
}

#[test]
fn a_command_that_ends_while_nobody_is_connected_keeps_its_end() {
    let world = World::start();
    let proxy = Proxy::to(world.address());
    let go = world.scratch("go");
    let wait = format!("while [ ! -e {} ]; do sleep 0.02; done", go.display());
    let (mut client, file) = noting(&world, &proxy, &format!("{wait}; seq 1 50000; exit 7"));
    proxy.refuse(true);
    proxy.cut(Fault::Reset);
    await_loss(&world);
    fs::write(&go, "").unwrap();
    world.wait_for_log("ended");
    proxy.refuse(false);
    let rest = Tally::read(client.stdout.take().unwrap()).unwrap();
    let done = client.wait();
    done.assert_code(7);
    let expected: String = (1..=50_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(rest, Tally::of(expected.as_bytes()));
    assert_eq!(starts(&file), 1);
}

#[test]
fn a_signal_given_while_the_link_is_down_arrives_once() {
    let world = World::start();
    let proxy = Proxy::to(world.address());
    let trap = "trap 'echo interrupted' INT; while read line; do echo $line; done; exit 5";
    let (mut client, _) = noting(&world, &proxy, trap);
    proxy.refuse(true);
    proxy.cut(Fault::Reset);
    await_loss(&world);
    client.signal(Signal::INT);
    proxy.refuse(false);
    assert_eq!(client.read_line(), "interrupted");
    for fault in BREAKS {
        proxy.cut(fault);
        client.write_stdin(b"again\n");
        assert_eq!(client.read_line(), "again", "and no second interrupt");
    }
    drop(client.stdin.take());
    client.wait().assert_code(5);
}

#[test]
fn after_the_grace_the_command_is_gone_and_its_end_unknown() {
    let world = World::builder().config("grace = \"500ms\"").start();
    let before = world.settled_snapshot();
    let proxy = Proxy::to(world.address());
    let mark = kills::mark();
    let (client, file) = noting(&world, &proxy, &format!("setsid sleep {mark}"));
    eventually("it runs", || !proc::marked(&mark).is_empty());
    proxy.refuse(true);
    proxy.cut(Fault::Reset);
    let done = client.wait();
    done.assert_code(255).assert_says("rcmd: ");
    assert_eq!(done.result()["outcome"], "unknown");
    assert_eq!(done.result()["error"]["kind"], "lost");
    let job = done.result()["job"].as_str().unwrap().to_owned();
    done.assert_says(&format!("`rcmd-server audit show --job {job}`"));
    assert_eq!(kills::survivors(&mark), []);
    assert_eq!(starts(&file), 1);
    world.assert_settles_to(&before);
}

#[test]
fn a_server_that_was_started_anew_knows_nothing_and_the_end_is_unknown() {
    let mut world = World::start();
    let proxy = Proxy::to(world.address());
    let (client, file) = noting(&world, &proxy, "exec cat");
    world.kill_server();
    world.start_server();
    let done = client.wait();
    done.assert_code(255);
    assert_eq!(done.result()["outcome"], "unknown");
    assert_eq!(done.result()["retry_safe"], false);
    assert_eq!(starts(&file), 1, "it was not started again");
}

#[test]
fn a_key_is_kept_although_the_server_was_killed() {
    let mut world = World::start();
    let file = world.scratch("runs");
    let line = format!("echo x >> {}; echo done; read line", file.display());
    let keyed = |world: &World| world.shell(&line).option("--key").option("once").with_result();
    let mut client = keyed(&world).stdin_pipe().stdout(Sink::Pipe).spawn();
    assert_eq!(client.read_line(), "done");
    world.kill_server();
    world.start_server();
    let done = client.wait();
    done.assert_code(255);
    assert_eq!(done.result()["retry_safe"], true, "the key makes it safe to ask again");
    for _ in 0..2 {
        let again = keyed(&world).stdin("x\n").run();
        again.assert_code(255);
        assert_eq!(again.result()["outcome"], "unknown");
    }
    assert_eq!(starts(&file), 1);
}

#[test]
fn a_key_whose_command_has_ended_gives_its_end_again() {
    let mut world = World::start();
    let file = world.scratch("runs");
    let line = format!("echo x >> {}; echo done; exit 4", file.display());
    let keyed = |world: &World| world.shell(&line).option("--key").option("once").with_result();
    keyed(&world).run().assert_code(4);
    for turn in 0..2 {
        let again = keyed(&world).run();
        again.assert_code(4);
        assert_eq!(again.result()["truncated"], true, "its output was given before: {turn}");
        world.restart();
    }
    assert_eq!(starts(&file), 1);
    let other = world.exec(["true"]).option("--key").option("once").with_result().run();
    other.assert_code(125);
    assert_eq!(other.result()["error"]["kind"], "key_conflict");
}

#[test]
fn a_client_that_is_no_longer_accepted_can_not_resume() {
    let world = World::builder().config("grace = \"2s\"").start();
    let client_dir = world.scratch("client-dir");
    fs::create_dir(&client_dir).unwrap();
    fs::copy(world.dir().join("ca.pem"), client_dir.join("ca.pem")).unwrap();
    fs::rename(world.dir().join("client"), client_dir.join("client")).unwrap();
    let proxy = Proxy::to(world.address());
    let mark = kills::mark();
    let client = world.exec(["sleep", &mark]).target(proxy.target()).dir(&client_dir);
    let client = client.with_result().spawn();
    world.wait_for_log("started");
    fs::write(world.dir().join("ca.pem"), Authority::new("other").pem()).unwrap();
    world.signal_server(Signal::HUP);
    world.wait_for_log("certificates reloaded");
    proxy.cut(Fault::Reset);
    let done = client.wait();
    done.assert_code(255).assert_says("refused");
    assert_eq!(done.result()["outcome"], "unknown");
    assert_eq!(done.result()["error"]["kind"], "tls");
    assert_eq!(kills::survivors(&mark), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_before_the_start_or_during_a_loss_spoils_nothing() {
    let world = World::start();
    let proxy = Proxy::to(world.address());
    let config = Config::from_dir(world.dir()).unwrap();
    let client = Client::connect(&config, &proxy.target().parse().unwrap()).await.unwrap();
    let line = "echo lost >&2; read line; echo \"$line\"; exit 6";
    let mut child = client.shell(line).stdin(Stdio::Piped).spawn().await.unwrap();
    drop(child.stderr.take());
    child.started().await.unwrap();
    proxy.cut(Fault::Reset);
    drop(child.stdout.take());
    let report = child.wait().await;
    // Its output was closed under it: it ends by that, or has noticed nothing.
    assert!(report.outcome == Outcome::Exited || report.signal.is_some(), "{report:?}");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_channels_of_one_connection_are_all_resumed() {
    let world = World::start();
    let before = world.settled_snapshot();
    let proxy = Proxy::to(world.address());
    let config = Config::from_dir(world.dir()).unwrap();
    let client = Client::connect(&config, &proxy.target().parse().unwrap()).await.unwrap();
    let content = |n: u64| Random::new(n).take_bytes(300_000);
    let mut children = Vec::new();
    for _ in 0..40 {
        let mut child = client.exec("cat").stdin(Stdio::Piped).spawn().await.unwrap();
        child.started().await.unwrap();
        children.push(child);
    }
    let tasks: Vec<_> = (0..)
        .zip(children)
        .map(|(n, mut child)| {
            tokio::spawn(async move {
                let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take());
                let feeding = tokio::spawn(async move {
                    stdin.send(content(n).into()).await.unwrap();
                    stdin.finish().await;
                });
                let mut got = Vec::new();
                while let Some(chunk) = stdout.as_mut().unwrap().chunk().await {
                    assert_eq!(chunk.offset, got.len() as u64);
                    got.extend_from_slice(&chunk.bytes);
                }
                feeding.await.unwrap();
                let report = child.wait().await;
                assert_eq!((report.outcome, report.code), (Outcome::Exited, Some(0)), "{report:?}");
                assert!(got == content(n), "the bytes of {n} differ");
            })
        })
        .collect();
    let mut cuts = 0;
    while tasks.iter().any(|task| !task.is_finished()) && cuts < 20 {
        let made = proxy.connections();
        proxy.cut(BREAKS[cuts % 2]);
        cuts += 1;
        tokio::task::block_in_place(|| {
            eventually("a new connection, or no need of one", || {
                proxy.connections() > made || tasks.iter().all(|task| task.is_finished())
            });
        });
    }
    for task in tasks {
        task.await.unwrap();
    }
    client.close().await;
    tokio::task::block_in_place(|| world.assert_settles_to(&before));
}
