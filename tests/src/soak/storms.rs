//! Many clients at once, again and again: each command runs exactly once, its output is whole, and the
//! server holds afterwards what it held before.

use std::fs;
use std::io;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::World;
use crate::raw::{Dial, RawPeer, Start, frame, hello};
use crate::wait::{DEADLINE, poll_for};

/// The time for which a client of a storm tries.
const PATIENCE: Duration = Duration::from_secs(180);

/// The figures of a storm.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// Answers `busy`, each with a time to come again.
    pub busy: usize,
    /// Connections that ended before the command had started.
    pub turned_away: usize,
    /// The time from the start of the clients to the end of the last one.
    pub elapsed: Duration,
}

/// Runs one storm: so many clients, each with a connection of its own, run one command each. Under
/// limits they are told to come again, and do.
///
/// # Panics
///
/// When a command runs twice, loses output, ends otherwise or does not end.
pub fn storm(world: &World, clients: usize) -> Weather {
    let ledger = world.scratch("ledger");
    fs::write(&ledger, "").expect("a file of our own");
    open_to_all(&ledger);
    let (busy, turned_away) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let barrier = Barrier::new(clients);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..clients {
            let (ledger, barrier) = (&ledger, &barrier);
            let (busy, turned_away) = (&busy, &turned_away);
            let client = move || {
                let line = format!(
                    "echo {number} >> {}; exec seq {number} {}",
                    ledger.display(),
                    number + 999
                );
                let start = Start::shell(1, &line);
                barrier.wait();
                let (mut due, mut last) = (Instant::now(), None);
                let served = poll_for(PATIENCE, || {
                    if Instant::now() < due {
                        return None;
                    }
                    last = attempt(world, number, &start);
                    match &last {
                        None => return Some(()),
                        Some(Again::Busy(wait)) => {
                            busy.fetch_add(1, Ordering::Relaxed);
                            due = Instant::now() + *wait;
                        }
                        Some(Again::Away) => {
                            turned_away.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    None
                });
                assert!(served.is_some(), "client {number} was never served: {last:?}");
            };
            let builder = std::thread::Builder::new().stack_size(512 * 1024);
            builder.spawn_scoped(scope, client).expect("a thread");
        }
    });
    let mut ran: Vec<usize> = fs::read_to_string(&ledger)
        .expect("the ledger")
        .lines()
        .map(|line| line.parse().expect("a number"))
        .collect();
    ran.sort_unstable();
    assert_eq!(ran, (0..clients).collect::<Vec<_>>(), "each command runs once");
    Weather {
        busy: busy.into_inner(),
        turned_away: turned_away.into_inner(),
        elapsed: began.elapsed(),
    }
}

/// The reason for which a client comes again.
#[derive(Debug)]
enum Again {
    Busy(Duration),
    Away,
}

fn attempt(world: &World, number: usize, start: &Start) -> Option<Again> {
    let mut peer = match Dial::to(world).connect() {
        Ok(peer) => peer,
        Err(error) => return Some(away(&error)),
    };
    let both = [hello(), start.frame()].concat();
    // What is sent to a peer that has closed is lost; what it said before that is read all the same.
    let _ = peer.send(&both);
    match answer(&mut peer) {
        Err(error) => Some(away(&error)),
        Ok(header) if header["type"] == "error" => Some(busy(&header)),
        Ok(header) => match header["type"].as_str() {
            // Known already: it ran for an attempt whose connection was lost, which none of these are.
            Some("attached" | "refused") => panic!("client {number} started twice: {header}"),
            Some("exit") => {
                // Without this its end is kept under the key, for who comes back.
                let _ = peer.send(&frame(&json!({"type": "done", "ch": 1}), &[]));
                let _ = peer.close();
                peer.expect_closed();
                Some(busy(&header))
            }
            _ => {
                let ran = peer.finish(1).unwrap_or_else(|error| panic!("client {number}: {error}"));
                if ran.exit["outcome"] == "not_started" {
                    return Some(busy(&ran.exit));
                }
                let expected: String = (number..number + 1000).map(|n| format!("{n}\n")).collect();
                assert_eq!(ran.exit["code"], 0, "client {number}: {}", ran.exit);
                assert_eq!(ran.stdout, expected.as_bytes(), "client {number}");
                assert_eq!(ran.stderr, b"", "client {number}");
                let _ = peer.close();
                peer.expect_closed();
                None
            }
        },
    }
}

/// Reads the first frame that says something of the start.
fn answer(peer: &mut RawPeer) -> io::Result<Value> {
    loop {
        let Some((header, _)) = peer.read_frame()? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if header["type"] != "hello" && header["type"] != "ping" {
            return Ok(header);
        }
    }
}

fn busy(header: &Value) -> Again {
    let kind = header["kind"].as_str().unwrap_or_default();
    assert!(["busy", "resources"].contains(&kind), "{header}");
    let wait = header["retry_after_ms"].as_u64();
    if kind == "busy" {
        assert!(wait.is_some(), "busy until when? {header}");
    }
    Again::Busy(Duration::from_millis(wait.unwrap_or(100)).min(Duration::from_secs(2)))
}

fn away(error: &io::Error) -> Again {
    assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "nothing came for {DEADLINE:?}");
    Again::Away
}

fn open_to_all(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o666)).expect("a file of our own");
}

/// Runs `rounds` rounds of [`storm`] with 128, 300 and 500 clients, and passes a line for each
/// storm to `say`.
///
/// # Panics
///
/// When [`storm`] does, and when the server holds more after it than before.
pub fn rounds(world: &World, rounds: usize, say: &mut dyn FnMut(&str)) {
    let before = world.settled_snapshot();
    for round in 1..=rounds {
        for clients in [128, 300, 500] {
            let weather = storm(world, clients);
            world.assert_settles_to(&before);
            say(&format!("round {round}: {clients} clients: {weather:?}"));
        }
    }
    // Whoever comes after a storm is served as before it.
    let ran = RawPeer::greeted(world).run(&Start::exec(1, &["true"])).expect("a command");
    assert_eq!(ran.exit["code"], 0, "{}", ran.exit);
}
