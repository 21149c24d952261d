//! The library against a real server, as a program uses it.

use std::time::Duration;

use bytes::Bytes;
use rcmd_certs::enroll::Kind;
use rcmd_certs::{Layout, clock, tls};
use rcmd_client::{Child, Client, Command, Config, ErrorKind, Outcome, Signal, Stdio};
use rcmd_tests::authority::Serving;
use rcmd_tests::membership::{enrolled, serial};
use rcmd_tests::proc::marked;
use rcmd_tests::{Plan, Proxy, Random, Tally, World, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

/// Returns an argument for a long-lived program that no other process has.
fn unique(test: u32) -> String {
    format!("604.{}{test:02}", std::process::id())
}

async fn connected(world: &World) -> Client {
    connected_to(world, &world.target()).await
}

async fn connected_to(world: &World, target: &str) -> Client {
    let config = Config::from_dir(world.dir()).unwrap();
    Client::connect(&config, &target.parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_identity_whose_certificate_has_ended_is_renewed_before_the_first_connection() {
    let mut authority = Serving::with("client_life = \"3s\"");
    let mut world = enrolled(&authority, World::builder());
    world.start_server();
    let config = Config::from_dir(world.dir()).unwrap();
    let cert = Layout::new(world.dir()).client_cert();
    let has_ended = || clock::now_unix() > tls::load_leaf(&cert).unwrap().not_after;
    eventually("its end", has_ended);
    let first = serial(&world, Kind::Client);
    let client = Client::connect(&config, &world.target().parse().unwrap()).await.unwrap();
    assert_eq!(client.exec("true").output().await.unwrap().report.code, Some(0));
    assert_ne!(serial(&world, Kind::Client), first);
    client.close().await;

    // Without the authority it says so, and asks no server.
    eventually("its end", has_ended);
    authority.stop();
    let refused = Client::connect(&config, &world.target().parse().unwrap()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Tls);
    assert!(refused.to_string().contains("could not be renewed"), "{refused}");
}

/// Reads all that a stream gives.
async fn all(stream: Option<rcmd_client::ChildStdout>) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.expect("a stream").read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn the_example_of_the_documentation_works() {
    let world = World::start();
    let (demo, localhost) = (world.dir().to_str().unwrap(), world.target());
    let run = async {
        let config = Config::from_dir(demo.as_ref())?;
        let client = Client::connect(&config, &localhost.parse()?).await?;
        let output = client.exec("uname").arg("-a").output().await?;
        assert_eq!(output.report.outcome, Outcome::Exited);
        println!("{}", String::from_utf8_lossy(&output.stdout));
        client.close().await;
        Ok::<_, Box<dyn std::error::Error>>(output)
    };
    let output = run.await.unwrap();
    let here = std::process::Command::new("uname").arg("-a").output().unwrap();
    assert_eq!(output.stdout, here.stdout);
    // And it is what the documentation has, but for the two names.
    let documentation = include_str!("../../client/src/lib.rs");
    let (own, _) = include_str!("library.rs").split_once("Ok::<").unwrap();
    let (_, own) = own.split_once("let run = async {").unwrap();
    for line in own.trim().lines() {
        let line = line.trim().replace("demo", "\"demo\"").replace("localhost.", "\"localhost\".");
        assert!(
            documentation.contains(&format!("//! {line}\n")),
            "not in the documentation: {line}"
        );
    }
}

#[tokio::test]
async fn many_commands_share_one_connection() {
    let world = World::start();
    let proxy = Proxy::to(world.address());
    proxy.plan(|_| Plan::HONEST);
    let client = connected_to(&world, &proxy.target()).await;
    let mut running = JoinSet::new();
    for number in 0..200_u32 {
        let client = client.clone();
        running.spawn(async move {
            let line = format!("echo {number}; echo error {number} >&2; exit {}", number % 100);
            (number, client.shell(line).output().await.unwrap())
        });
    }
    while let Some(ended) = running.join_next().await {
        let (number, output) = ended.unwrap();
        assert_eq!(output.report.code, u8::try_from(number % 100).ok(), "{:?}", output.report);
        assert_eq!(output.stdout, format!("{number}\n").as_bytes());
        assert_eq!(output.stderr, format!("error {number}\n").as_bytes());
    }
    client.close().await;
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_on_many_threads_may_use_clones_at_once() {
    let world = World::start();
    let client = connected(&world).await;
    let mut running = JoinSet::new();
    for seed in 0..8 {
        let client = client.clone();
        running.spawn(async move {
            for round in 0..10_usize {
                let sent = Random::new(seed).take_bytes(round * 20_000);
                let mut child = client.exec("cat").stdin(Stdio::Piped).spawn().await.unwrap();
                let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take());
                let writing = async {
                    stdin.write_all(&sent).await.unwrap();
                    stdin.shutdown().await.unwrap();
                };
                let ((), back) = tokio::join!(writing, all(stdout));
                assert!(back == sent, "{seed}, round {round}");
                assert_eq!(child.wait().await.code, Some(0));
            }
        });
    }
    running.join_all().await;
    client.close().await;
}

#[tokio::test]
async fn a_stream_that_nobody_reads_does_not_hold_the_other_up() {
    let world = World::start();
    let client = connected(&world).await;
    let line = "head -c 5000000 /dev/zero & head -c 5000000 /dev/zero >&2; wait";
    let mut child = client.shell(line).spawn().await.unwrap();
    // Not to its end: the shell holds both streams until it has written both.
    let mut errors = vec![1; 5_000_000];
    child.stderr.as_mut().unwrap().read_exact(&mut errors).await.unwrap();
    let expected = Tally::of(&vec![0; 5_000_000]);
    assert_eq!(Tally::of(&errors), expected);
    assert_eq!(Tally::of(&all(child.stdout.take()).await), expected);
    let report = child.wait().await;
    assert_eq!((report.code, report.stdout_bytes), (Some(0), 5_000_000));
    client.close().await;
}

#[tokio::test]
async fn chunks_say_where_they_stand_and_when_they_were_read() {
    let world = World::start();
    let client = connected(&world).await;
    let mut command = client.exec("seq");
    command.args(["1", "100000"]).timestamps(true);
    let mut child = command.spawn().await.unwrap();
    let started = child.started().await.expect("a start");
    let mut stdout = child.stdout.take().unwrap();
    let (mut offset, mut time) = (0, started.started_at);
    while let Some(chunk) = stdout.chunk().await {
        assert_eq!(chunk.offset, offset);
        // The clock of a host may be set meanwhile, but not on a test machine by much.
        assert!(chunk.time.is_some_and(|now| now + 1000 >= time), "{:?} after {time}", chunk.time);
        (offset, time) = (offset + chunk.bytes.len() as u64, chunk.time.unwrap());
    }
    let report = child.wait().await;
    assert_eq!((offset, report.job), (report.stdout_bytes, Some(started.job)));
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_can_be_signalled_cancelled_and_dropped() {
    let world = World::start();
    let client = connected(&world).await;
    let asleep = async |test: u32| -> Child {
        let mut child = client.exec("sleep").arg(unique(test)).spawn().await.unwrap();
        child.started().await.expect("a start");
        child
    };
    let mut child = asleep(1).await;
    child.signal(Signal::TERM);
    let report = child.wait().await;
    assert_eq!((report.outcome, report.signal), (Outcome::Signaled, Some(Signal::TERM)));
    assert_eq!(child.wait().await, report, "the end does not change");

    let mut child = asleep(2).await;
    child.cancel();
    let report = child.wait().await;
    assert_eq!((report.outcome, report.signal), (Outcome::Signaled, Some(Signal::KILL)));

    drop(asleep(3).await);
    eventually("its command is gone", || marked(&unique(3)).is_empty());
    assert_eq!(client.exec("true").status().await.unwrap().code, Some(0), "others go on");
    client.close().await;
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_a_broken_pipe_there() {
    let world = World::start();
    let client = connected(&world).await;
    let mut child = client.exec("yes").spawn().await.unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let chunk = stdout.chunk().await.unwrap();
    assert!(chunk.bytes.starts_with(b"y\n"));
    drop(stdout);
    let report = child.wait().await;
    assert_eq!((report.outcome, report.signal), (Outcome::Signaled, Some(Signal::PIPE)));
    client.close().await;
}

#[tokio::test]
async fn input_that_the_command_does_not_take_is_a_broken_pipe_here() {
    let world = World::start();
    let client = connected(&world).await;
    let mut child = client.exec("true").stdin(Stdio::Piped).spawn().await.unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let block = Bytes::from(vec![0; 100_000]);
    let refused = loop {
        if let Err(error) = stdin.send(block.clone()).await {
            break error;
        }
    };
    assert_eq!(refused.kind(), std::io::ErrorKind::BrokenPipe);
    assert_eq!(child.wait().await.code, Some(0));
    client.close().await;
}

#[tokio::test]
async fn what_can_not_be_sent_is_refused_before_it_is() {
    let world = World::start();
    let client = connected(&world).await;
    let kind = async |command: &mut Command| command.status().await.unwrap_err().kind();
    assert_eq!(kind(client.exec("echo").arg("a\0b")).await, ErrorKind::Usage);
    assert_eq!(kind(&mut client.exec("")).await, ErrorKind::Usage);
    assert_eq!(kind(client.exec("x").env("", "y")).await, ErrorKind::Usage);
    assert_eq!(kind(client.exec("echo").args(vec!["x"; 4096])).await, ErrorKind::TooBig);
    assert_eq!(kind(client.exec("echo").arg("x".repeat(1 << 17))).await, ErrorKind::TooBig);
    // The connection has not suffered.
    let output = client.exec("pwd").current_dir("/").env("A", "b").output().await.unwrap();
    assert_eq!(output.stdout, b"/\n");
    client.close().await;
}

#[tokio::test]
async fn a_limit_ends_the_command_and_keeps_its_output() {
    let world = World::start();
    let client = connected(&world).await;
    let line = format!("echo partial; exec sleep {}", unique(4));
    let limit = Duration::from_millis(200);
    let output = client.shell(line).timeout(limit).output().await.unwrap();
    assert_eq!((output.report.outcome, output.report.exit_status()), (Outcome::TimedOut, 124));
    assert_eq!(output.stdout, b"partial\n");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_outlives_a_restart_of_the_server() {
    let mut world = World::start();
    let client = connected(&world).await;
    assert_eq!(client.exec("true").status().await.unwrap().code, Some(0));
    let mut cut_off = client.exec("sleep").arg(unique(5)).spawn().await.unwrap();
    cut_off.started().await.expect("a start");
    world.restart();
    // What ran ended with the server, and that is known or not, but never a success.
    let report = cut_off.wait().await;
    assert_ne!(report.exit_status(), 0, "{report:?}");
    let output = client.exec("echo").arg("again").output().await.unwrap();
    assert_eq!((output.report.code, output.stdout), (Some(0), b"again\n".to_vec()));
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_idle_while_the_server_was_gone_works_again() {
    let mut world = World::start();
    let client = connected(&world).await;
    world.kill_server();
    world.start_server();
    let report = client.exec("true").status().await.unwrap();
    assert_eq!(report.code, Some(0), "{report:?}");
    client.close().await;
}
