//! A gibibyte of input, and input of every size, through the real server and back.

use std::io::Read as _;

use bytes::Bytes;
use rcmd_client::{Client, Config, Outcome, Stdio};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;

use crate::sink::Sink;
use crate::{Random, Tally, World};

/// Commands at once on the one connection of [`sizes`].
const AT_ONCE: usize = 16;

/// Sends so many random bytes through `cat`, and asserts that they come back.
///
/// # Panics
///
/// When one byte is missing, one too many or another.
pub fn random(world: &World, bytes: u64) {
    let expected = Tally::read(Random::new(bytes).take(bytes)).expect("random bytes");
    let cat = world.exec(["cat"]).stdin_from(Random::new(bytes).take(bytes));
    let done = cat.stdout(Sink::Hash).with_result().run();
    done.assert_code(0);
    assert_eq!(done.stdout_tally(), expected, "{}", done.story());
}

/// Sends as many bytes as each of `sizes` says through a `cat` of its own, all on one connection,
/// and asserts that they come back.
///
/// # Panics
///
/// When one byte is missing, one too many or another.
pub fn sizes(world: &World, sizes: impl IntoIterator<Item = usize>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let config = Config::from_dir(world.dir()).expect("the world's identity");
        let target = world.target().parse().expect("an address and a port");
        let client = Client::connect(&config, &target).await.expect("a connection");
        let mut running = JoinSet::new();
        for size in sizes {
            if running.len() == AT_ONCE {
                running.join_next().await.expect("one that runs").expect("the same bytes");
            }
            running.spawn(echo(client.clone(), size));
        }
        while let Some(ended) = running.join_next().await {
            ended.expect("the same bytes");
        }
        client.close().await;
    });
}

async fn echo(client: Client, size: usize) {
    let sent = Bytes::from(Random::new(size as u64).take_bytes(size));
    let mut child = client.exec("cat").stdin(Stdio::Piped).spawn().await.expect("a request");
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (mut stdin, mut stdout) = (stdin.expect("stdin"), stdout.expect("stdout"));
    let sending = async {
        stdin.send(sent.clone()).await.expect("cat reads all");
        stdin.finish().await;
    };
    let mut back = Vec::new();
    let ((), read) = tokio::join!(sending, stdout.read_to_end(&mut back));
    let report = child.wait().await;
    assert_eq!((report.outcome, report.code), (Outcome::Exited, Some(0)), "{size}: {report:?}");
    assert!(read.is_ok() && back == sent, "{size} bytes sent, {} came back", back.len());
}
